"""The penultimate vector of any classifier: flat, nested, reloaded or foreign, and the model is
left as it was.
"""

import keras
import numpy as np
import pytest
from two_blocks import two_block_net

from xray_tf.nets.classifier import build_classifier
from xray_tf.nets.embedding import embedding_model, with_embedding
from xray_tf.nets.inference import forward
from xray_tf.nets.trunks.backbones import build_features
from xray_tf.options import ModelOptions
from xray_tf.registry import BACKBONES, TASKS

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 16, 16), np.uint8)
IMAGES = PIXELS[..., None].astype(np.float32)
layers = keras.layers


@pytest.fixture(scope="module")
def net():
    return two_block_net()


@pytest.fixture(scope="module")
def truth(net):
    return keras.Model(net.input, net.get_layer("embedding").output)(IMAGES).numpy()


def trunk_of(net, pooled=False):
    out = net.get_layer("features").output
    return keras.Model(
        net.input, layers.GlobalAveragePooling2D()(out) if pooled else out, name="trunk"
    )


def nested(net):
    image = keras.Input((16, 16, 1))
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling2D()(trunk_of(net)(image)))
    return keras.Model(image, layers.Dense(2, activation="softmax")(x))


def sequential(net):
    return keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            trunk_of(net),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
            layers.Softmax(),
        ]
    )


def pooled_trunk(net):
    image = keras.Input((16, 16, 1))
    return keras.Model(image, layers.Dense(1, name="logits")(trunk_of(net, pooled=True)(image)))


def wrapped(net):
    image = keras.Input((16, 16, 1))
    return keras.Model(image, layers.Activation("linear")(net(image)))


@pytest.mark.parametrize(
    "make",
    [lambda net: net, nested, sequential, pooled_trunk, wrapped],
    ids=["flat", "nested", "sequential", "pooled", "wrapped"],
)
def test_every_shape_of_model_gives_the_vector_before_its_head_fresh_and_reloaded(
    make, net, truth, tmp_path
):
    model = make(net)
    names, weights = [layer.name for layer in model.layers], [w.copy() for w in model.get_weights()]
    np.testing.assert_allclose(embedding_model(model)(IMAGES).numpy(), truth, atol=1e-6)
    model.save(tmp_path / "m.keras")
    np.testing.assert_allclose(
        embedding_model(keras.saving.load_model(tmp_path / "m.keras"))(IMAGES).numpy(),
        truth,
        atol=1e-6,
    )
    assert [layer.name for layer in model.layers] == names
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_hidden_layer_named_embedding_is_preferred_to_the_penultimate_one(net):
    model = keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            trunk_of(net, pooled=True),
            layers.Dense(5, name="embedding"),
            layers.Dense(3),
            layers.Dense(2),
        ]
    )
    assert embedding_model(model).output.shape == (None, 5)


@pytest.mark.parametrize("make", [lambda net: net, pooled_trunk], ids=["flat", "pooled"])
def test_one_pass_gives_embedding_and_logits(make, net, truth):
    model = make(net)
    points = forward(with_embedding(model), PIXELS, points=("embedding", "logits"))
    np.testing.assert_allclose(points["embedding"], truth, atol=1e-6)
    logits = keras.Model(model.input, model.get_layer("logits").output)(IMAGES).numpy()
    np.testing.assert_allclose(points["logits"], logits, atol=1e-6)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_row_has_an_embedding_of_its_width(name):
    # the contract is the width after pooling: building the trunk shows it in half the time
    if BACKBONES[name].family == "applications":
        features = build_features(keras.Input((32, 32, 1)), name, None)
        assert features.shape[-1] == BACKBONES[name].embedding
        return
    model = build_classifier(
        ModelOptions(backbone=name, weights=None, image_size=32, region="whole"),
        TASKS["binary"].class_names,
    )
    assert embedding_model(model).output.shape == (None, BACKBONES[name].embedding)


def test_models_without_one_vector_an_image_are_refused(net):
    with pytest.raises(ValueError, match="none.*features"):
        embedding_model(trunk_of(net))
    image = keras.Input((16, 16, 1))
    with pytest.raises(ValueError, match=r"\(None, 16, 16, 1\)"):
        embedding_model(keras.Model(image, layers.Dense(2)(image)))


def test_an_input_in_a_list_of_one_is_an_image_too(net, truth):
    # as Keras 3.10 reads what it has written
    listed = keras.Model([net.input], net.output)
    assert isinstance(listed.input, list)
    found = forward(with_embedding(listed), PIXELS, points=("embedding", "logits"))
    np.testing.assert_allclose(found["embedding"], truth, atol=1e-5)
    without = keras.Model([net.input], net.get_layer("embedding").output)
    foreign = keras.Model([net.input], layers.Dense(2)(without.output))
    assert forward(foreign, PIXELS, points=(foreign.layers[-1].name,))
