"""What every backend of Keras must do: train with checkpoints and resume, predict, explain, embed,
detect, and refuse what TensorFlow alone can do. `make test-backends` runs this under JAX and
PyTorch; under TensorFlow the rest of the suite does.
"""

import os

import numpy as np
import pytest

import xray_tf

BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
pytestmark = pytest.mark.skipif(
    BACKEND == "tensorflow", reason="`make test-backends` runs these under JAX and PyTorch"
)
TRAIN = {
    **{"image_size": 32, "weights": None, "standardize": False, "region": "whole"},
    **{"epochs": 2, "batch_size": 8, "fine_tune": "1", "fine_tune_epochs": 3, "bootstrap": 20},
    **{"steady_rows": 0, "ema": 0.9, "keep": "last", "backbone": "resnet18", "progress": False},
}


@pytest.fixture(scope="module")
def trained(phantoms, cache, tmp_path_factory):
    """A classifier trained in two phases, with the moving average of its weights."""
    out = tmp_path_factory.mktemp("trained") / "model"
    return xray_tf.train_classifier(str(phantoms), out, cache=str(cache), **TRAIN)


@pytest.fixture(scope="module")
def pixels():
    drawn = [
        xray_tf.draw_phantom(kind, seed=3, patient=i, height=32, width=32).image
        for i, kind in enumerate(("normal", "bacterial", "viral"))
    ]
    return np.stack(drawn)


def test_it_runs_on_the_backend_that_was_asked_for():
    import keras

    assert keras.backend.backend() == BACKEND


def test_training_ends_with_every_epoch_and_is_finite(trained):
    history = (trained.folder / "history.csv").read_text().splitlines()
    assert len(history) == 1 + 2 + 3 and "nan" not in "".join(history).lower()


def test_an_interrupted_training_goes_on_to_the_same_weights(
    trained, phantoms, cache, tmp_path, monkeypatch
):
    from xray_tf.nets.training.loop import Training

    write, out = Training._write_checkpoint, tmp_path / "model"

    def write_and_stop(self, net):
        write(self, net)
        if len(self.history) == 3:
            raise RuntimeError("pulled the plug")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="plug"):
        patch.setattr(Training, "_write_checkpoint", write_and_stop)
        xray_tf.train_classifier(str(phantoms), out, cache=str(cache), **TRAIN)
    again = xray_tf.train_classifier(str(phantoms), out, cache=str(cache), resume=True, **TRAIN)
    for ours, theirs in zip(again.model.get_weights(), trained.model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_grad_cam_is_the_closed_form_where_the_head_is_linear():
    """Mean over places, then Dense: the weight of map k for class c is kernel[k, c] / places."""
    import keras

    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 1))
    features = keras.layers.Conv2D(4, 3, 2, "same", activation="relu", name="features")(image)
    mean = keras.layers.GlobalAveragePooling2D()(features)
    model = keras.Model(image, keras.layers.Dense(3, name="logits")(mean))
    images = np.random.default_rng(0).uniform(0, 255, (5, 16, 16, 1)).astype(np.float32)
    maps = keras.ops.convert_to_numpy(keras.Model(image, features)(images))
    kernel = keras.ops.convert_to_numpy(model.get_layer("logits").kernel)
    classes = np.array([0, 1, 2, 0, 1])
    coarse = np.maximum((maps * kernel.T[classes][:, None, None]).sum(-1, keepdims=True), 0)
    wanted = keras.ops.image.resize(coarse, (16, 16), data_format="channels_last")
    wanted = keras.ops.convert_to_numpy(wanted)[..., 0]
    most = wanted.max(axis=(1, 2), keepdims=True)
    wanted = np.divide(wanted, most, out=np.zeros_like(wanted), where=most > 0)
    found = xray_tf.GradCAM(model)(images, classes)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_every_heat_map_method_answers(trained, pixels):
    from xray_tf.nets.heatmaps.attribution import METHODS

    squares = pixels[:, :, :, None].astype(np.float32)
    for name, method in METHODS.items():
        heat = method(trained.cam, squares)
        assert heat.shape == (3, 32, 32) and np.isfinite(heat).all(), name
        assert set(np.round(heat.max(axis=(1, 2)), 5)) <= {0.0, 1.0}, name


def test_integrated_gradients_add_up_to_the_score(pixels):
    """On a smooth net; between the kinks of a deep one the sum over points converges slowly."""
    import keras

    from xray_tf.nets.heatmaps.attribution import integrated_attributions

    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 1))
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(4, 3, 2, activation="tanh", name="features")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    cam = xray_tf.GradCAM(keras.Model(image, keras.layers.Dense(2, name="logits")(x)))
    squares = pixels[:, :, :, None].astype(np.float32)
    classes = np.array([0, 1, 1], np.int32)
    grey = np.broadcast_to(squares.mean((1, 2), keepdims=True), squares.shape)
    rise = cam.scores(squares, classes) - cam.scores(np.array(grey), classes)
    total = integrated_attributions(cam, squares, classes, 64).sum((1, 2))
    np.testing.assert_allclose(total, rise, atol=0.01 * np.abs(rise).max())


def test_reading_explaining_and_embedding_leave_their_files(trained, phantoms, cache, tmp_path):
    from xray_tf.jobs.heatmaps.explain_files import explain_files

    file = sorted((phantoms / "train" / "PNEUMONIA").iterdir())[0]
    page = trained.read(file).save(tmp_path / "evidence.html")
    assert "heat map" in page.read_text(encoding="utf-8")
    explain_files(trained, [file], tmp_path / "explained", progress=False)
    assert (tmp_path / "explained").is_dir()
    metrics = xray_tf.embed_radiographs(
        trained,
        str(phantoms),
        tmp_path / "embedded",
        cache=str(cache),
        bootstrap=20,
        progress=False,
    )
    assert metrics["knn"]


def test_a_detector_is_fitted_and_scores(phantoms, cache, tmp_path):
    how = {
        **{"report_on_pneumonia": True, "image_size": 32, "latent": 4, "epochs": 2},
        **{"batch_size": 4, "components": 2, "folds": 2, "budget": 0.85, "backbone": "resnet18"},
        **{"weights": "none", "detectors": "zones", "bootstrap": 20, "progress": False},
    }
    detector = xray_tf.fit_detector(
        str(phantoms), tmp_path / "d", cache=str(cache), validation=0.3, test=0.3, **how
    )
    file = sorted((phantoms / "train" / "NORMAL").iterdir())[0]
    assert np.isfinite(detector.score(file).values).all()


def test_what_tensorflow_alone_can_do_is_refused(trained, tmp_path):
    with pytest.raises(ValueError, match="KERAS_BACKEND=tensorflow"):
        xray_tf.export_model(trained)
    with pytest.raises(ValueError, match="KERAS_BACKEND=tensorflow"):
        xray_tf.train_segmenter("phantom", tmp_path, tmp_path / "lungs", progress=False)
    assert not (trained.folder / "saved_model").exists() and not (tmp_path / "lungs").exists()
