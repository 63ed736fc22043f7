"""What several rooms' tests share: a phantom data set, and small artifacts trained on it once a
session.
"""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
SHARED = REPOSITORY.parent / "shared" / "data"
SMALL = {"image_size": 32, "weights": None, "standardize": False}
HEAD_ONLY = {"fine_tune": "none", "keep": "best", "ema": 0.0, "steady_rows": 0}


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The real radiographs beside the checkout, where they are."""
    if not (SHARED / "originals").is_dir():
        pytest.skip("needs ../shared/data, which is not here")
    return SHARED


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory) -> Path:
    """A folder of phantom radiographs in Kaggle's layout."""
    from xray_tf.data.sources.phantom_folder import write_phantoms

    return write_phantoms(
        tmp_path_factory.mktemp("phantoms") / "data", patients=36, seed=0, size=64
    )


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    """A cache folder of the session's own."""
    return tmp_path_factory.mktemp("cache")


def _train(task, phantoms, cache, out):
    from xray_tf.jobs.classifier.train_classifier import train_classifier
    from xray_tf.options import DataOptions, EvaluateOptions, ModelOptions, TrainOptions

    return train_classifier(
        str(phantoms),
        out,
        DataOptions(cache=str(cache)),
        ModelOptions(**SMALL),
        TrainOptions(task=task, epochs=3, batch_size=8, **HEAD_ONLY),
        EvaluateOptions(bootstrap=50),
        command_line=f"python -m xray_tf.train --task {task}",
        progress=False,
    )


@pytest.fixture(scope="session")
def binary(phantoms, cache, tmp_path_factory):
    """A binary classifier, trained for three epochs: fit for contracts, not for figures."""
    return _train("binary", phantoms, cache, tmp_path_factory.mktemp("binary") / "model")


@pytest.fixture(scope="session")
def three_class(phantoms, cache, tmp_path_factory):
    """A three-class classifier, trained for three epochs."""
    return _train("three-class", phantoms, cache, tmp_path_factory.mktemp("three") / "model")


@pytest.fixture(scope="session")
def not_trained():
    """What stands in for `jobs.training.train`: the net as it was built, after one made-up
    epoch.
    """
    from xray_tf.jobs.training import Trained

    numbers = {"loss": 0.1, "val_loss": 0.1, "learning_rate": 0.0, "seconds": 0.0}
    history = [{"phase": "autoencoder", "epoch": 1, **numbers}]
    return lambda run, workshop, build: Trained(build()[0], history, ())
