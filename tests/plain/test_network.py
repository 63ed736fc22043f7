"""Networks in NumPy answer what Keras answers, and give way to it where they cannot."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers as L

from xray_tf.models.lungs import shipped_segmenter
from xray_tf.nets.classifier import build_classifier, sum_of_sick
from xray_tf.nets.keras_file import save_model
from xray_tf.options import ModelOptions
from xray_tf.plain.layers import LAYERS, Unsupported, resized
from xray_tf.plain.network import open_network

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1)).astype(np.uint8)


def randomised(model):
    """Give every weight a value that no layer starts with."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        layer.set_weights([rng.uniform(0.2, 1, w.shape) / 3 for w in layer.get_weights()])
    return model


def check(model, folder, points, atol=1e-5):
    """Save a model, and hold its points in NumPy against Keras."""
    save_model(model, folder / "model.keras")
    outputs = [model.get_layer(p).output for p in points]
    side = model.input.shape[1]
    pixels = np.resize(PIXELS, (2, side, side, 1)) if side != 32 else PIXELS
    expected = keras.Model(model.input, outputs)(pixels.astype(np.float32), training=False)
    found = open_network(folder / "model.keras").forward(pixels[..., 0], points)
    for point, values in zip(points, expected, strict=True):
        values = np.asarray(values)
        assert found[point].dtype == np.float32 and found[point].shape == values.shape
        np.testing.assert_allclose(
            found[point], values, atol=atol * max(1, np.abs(values).max()), err_msg=point
        )


def test_every_layer_computes_what_keras_computes(tmp_path):
    image = keras.Input((32, 32, 1), name="image")
    x = L.Rescaling(1 / 64, offset=-1.5)(image)
    x = L.LayerNormalization(axis=[1, 2, 3], scale=False, center=False)(x)
    x = L.Concatenate()([x, x, L.Identity()(x)])
    x = L.Conv2D(6, 3, 2, "same", activation="relu6")(x)
    x = L.ZeroPadding2D(((1, 2), (0, 3)))(x)
    a = L.ReLU(6.0)(L.BatchNormalization()(L.Conv2D(8, (3, 2), (2, 1), use_bias=False)(x)))
    b = L.LeakyReLU(0.1)(L.DepthwiseConv2D(5, 1, "same")(a))
    c = L.Multiply()([L.MaxPooling2D(3, 1, "same")(a), L.AveragePooling2D(3, 1, "same")(b)])
    d = L.Add()([c, L.Conv2D(8, 1, activation="silu")(b), a])
    d = L.UpSampling2D(2, interpolation="bilinear")(L.AveragePooling2D(2)(d))
    d = L.UpSampling2D((1, 2))(L.Resizing(7, 9)(d))
    d = L.Resizing(5, 4, antialias=True)(d)
    d = L.Subtract()([d, L.SpatialDropout2D(0.5)(L.Activation("tanh")(d))])
    pooled = L.GlobalAveragePooling2D(name="embedding")(d)
    flat = L.UnitNormalization()(L.Flatten()(d))
    rows = L.Cropping1D((3, 1))(L.Reshape((20, 8))(flat))
    mean = L.GlobalAveragePooling1D()(rows)
    parts = [
        L.Activation(name)(mean)
        for name in ("log_sigmoid", "softplus", "exponential", "sigmoid", "softmax", "relu")
    ]
    x = L.Dropout(0.5)(L.Concatenate()([pooled, *parts]))
    logits = L.Dense(3, name="logits")(x)
    model = randomised(keras.Model(image, L.Softmax(name="probability")(logits)))
    kinds = {type(layer).__name__ for layer in model.layers} - {"InputLayer"}
    assert kinds == set(LAYERS)
    check(model, tmp_path, ("embedding", "logits", "probability"))


@pytest.mark.parametrize("region", ["whole", "lungs"])
def test_a_classifier_answers_as_in_keras(region, tmp_path):
    options = ModelOptions(image_size=64, weights=None, region=region)
    lungs = shipped_segmenter().model if region == "lungs" else None
    model = build_classifier(options, ("a", "b", "c"), lungs=lungs)
    check(sum_of_sick(model), tmp_path, ("embedding", "subtype_logits", "logits"), 1e-4)


def test_the_segmenter_answers_as_in_keras():
    segmenter = shipped_segmenter()
    plain = segmenter.plain
    pixels = np.resize(PIXELS, (1, plain.side, plain.side)).astype(np.uint8)
    expected = segmenter.model.predict_on_batch(pixels[..., None])
    found = plain.forward(pixels, ("lungs", "chest"))
    for name, values in found.items():
        np.testing.assert_allclose(values, np.asarray(expected[name]), atol=1e-4)


def test_resizing_keeps_a_constant_and_clamps_at_the_border():
    assert np.allclose(resized(np.full((1, 5, 6, 1), 7, np.float32), 9, 3, True), 7)
    line = resized(np.arange(2, dtype=np.float32).reshape(1, 1, 2, 1), 1, 4, False)
    np.testing.assert_allclose(line.ravel(), [0, 0.25, 0.75, 1])


def test_what_it_does_not_know_is_left_to_keras(tmp_path):
    image = keras.Input((32, 32, 1), name="image")
    for i, x in enumerate(
        (
            L.GaussianNoise(0.1)(image),
            L.Conv2D(2, 3, dilation_rate=2)(image),
            L.Resizing(8, 8, interpolation="nearest")(image),
            L.Activation("gelu")(image),
        )
    ):
        save_model(keras.Model(image, x), tmp_path / f"{i}.keras")
        with pytest.raises(Unsupported):
            net = open_network(tmp_path / f"{i}.keras")
            net.forward(PIXELS[..., 0], net.outputs)
    with pytest.raises(Unsupported, match="no_such"):
        save_model(keras.Model(image, L.Identity()(image)), tmp_path / "x.keras")
        open_network(tmp_path / "x.keras").forward(PIXELS[..., 0], ["no_such"])


def test_a_few_files_are_predicted_without_tensorflow(binary, phantoms):
    files = sorted(map(str, (phantoms / "train" / "NORMAL").iterdir()))[:2]
    code = (
        "import sys, xray_tf; files = sys.argv[2:]\n"
        "table = xray_tf.load(sys.argv[1]).predict(files)\n"
        "assert not {'tensorflow', 'keras', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "print(*table.probabilities[:, 1], *table.warnings, sep='|')"
    )
    line = [sys.executable, "-c", code, str(binary.folder), *files]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = binary.predict(files)
    found = done.stdout.rstrip("\n").split("|")
    np.testing.assert_allclose(
        [float(p) for p in found[:2]], expected.probabilities[:, 1], atol=1e-5
    )
    assert found[2:] == list(expected.warnings)
