"""What several rooms' tests share: a phantom data set, and small artifacts trained on it once a
session.
"""

import gc
from pathlib import Path

import pytest
from tiny import add_tiny

add_tiny()
REPOSITORY = Path(__file__).parents[1]
SHARED = REPOSITORY.parent / "shared" / "data"
SMALL = {"backbone": "tiny", "image_size": 32, "weights": None}
SMALL |= {"standardize": False, "region": "whole"}
HEAD_ONLY = {
    **{"fine_tune": "none", "keep": "best", "ema": 0.0, "steady_rows": 0},
    **{"precision": "float32"},  # not the one that happens to be fast while the tests run
}

# They take half a minute or more, and begin first: one of them at the end would keep one core busy
# and the others idle.
LONG = (
    "test_documents.py",
    "nets/test_classifier.py",
    "jobs/classifier/test_train_classifier.py",
    "commands/test_commands.py",
    "nets/test_serving.py",
    "study/test_reproduce_study.py",
    "jobs/test_add_to_artifact.py",
    "jobs/classifier/test_learning.py",
    "jobs/test_answers.py",
    "nets/training/test_loop.py",
    "test_saved_models.py",
    "jobs/detector/test_fit_detector.py",
    "engines/test_openvino.py",
    "nets/training/test_several_devices.py",
    "engines/test_archives.py",
    "jobs/heatmaps/test_measure_explanations.py",
    "server/test_serve.py",
    "jobs/test_given_data.py",
    "nets/training/test_lung_loop.py",
    "jobs/lungs/test_train_segmenter.py",
)


def pytest_collection_modifyitems(items):
    """Put the long files first; xdist hands the files out in this order."""
    places = {Path(__file__).parent / path: place for place, path in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path, len(LONG)))


def pytest_collection_finish():
    """Look for garbage seldom, and not among what was imported: every graph that TensorFlow traces
    sets the search off, a seventh of the processor time of a training as small as these.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


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
    """A cache folder of the session's own. Its secret, by which patients are keyed and so
    divided, is the same in every session.
    """
    from xray_tf.data.sources.dicom_headers import KEY_NAME

    folder = tmp_path_factory.mktemp("cache")
    (folder / KEY_NAME).write_text("5" * 64 + "\n", encoding="ascii")
    (folder / KEY_NAME).chmod(0o600)
    return folder


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
def exported(tmp_path_factory):
    """A function that returns a folder with the artifact of a classifier and its SavedModel, to be
    copied and not changed; each classifier is exported once a session.
    """
    import shutil

    from xray_tf.jobs.classifier.export_model import export_model

    made = {}

    def folder_of(classifier) -> Path:
        if classifier.folder not in made:
            copy = tmp_path_factory.mktemp("exported") / "model"
            made[classifier.folder] = shutil.copytree(classifier.folder, copy)
            export_model(copy, progress=False)
        return made[classifier.folder]

    return folder_of


@pytest.fixture(scope="session")
def remembered(binary, phantoms, cache, tmp_path_factory):
    """The binary classifier with a reference, and the folder `embed` left."""
    import shutil

    from xray_tf.jobs.neighbors.embed_radiographs import embed_radiographs
    from xray_tf.models.load import load
    from xray_tf.options import DataOptions, EmbedOptions, EvaluateOptions

    place = tmp_path_factory.mktemp("remembered")
    model = shutil.copytree(binary.folder, place / "model")
    embed_radiographs(
        model,
        str(phantoms),
        place / "out",
        DataOptions(cache=str(cache)),
        EmbedOptions(map_rows=0, neighbors=5),
        EvaluateOptions(bootstrap=0),
        save_reference=True,
        progress=False,
    )
    return load(model), place / "out"


@pytest.fixture(scope="session")
def not_trained():
    """What stands in for `jobs.training.train`: the net as it was built, after one made-up
    epoch.
    """
    from xray_tf.jobs.training import Trained

    numbers = {"loss": 0.1, "val_loss": 0.1, "learning_rate": 0.0, "seconds": 0.0}
    history = [{"phase": "autoencoder", "epoch": 1, **numbers}]
    return lambda run, workshop, build: Trained(build()[0], history, ())
