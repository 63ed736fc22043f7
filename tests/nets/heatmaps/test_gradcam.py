import json

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from two_blocks import two_block_net

from xray_tf.nets.classifier import build_classifier
from xray_tf.nets.heatmaps.gradcam import GradCAM, normalised
from xray_tf.options import ModelOptions

two_block_net = two_block_net


def pixels(count=5, size=16, channels=1, seed=0):
    return (
        np.random.default_rng(seed).integers(0, 256, (count, size, size, channels)).astype(np.uint8)
    )


def closed_form(model, images, class_index=None):
    """relu(sum_k w_k f_k) of a pooled linear head, resized by OpenCV and divided by its maximum;
    the class is the predicted one when None.
    """
    features = (
        keras.Model(model.input, model.get_layer("features").output)
        .predict(images.astype(np.float32), verbose=0)
        .astype(np.float64)
    )
    kernel, bias = model.get_layer("logits").get_weights()
    logits = features.mean((1, 2)) @ kernel + bias
    one_logit = kernel.shape[1] == 1
    classes = (logits[:, 0] > 0).astype(int) if one_logit else logits.argmax(1)
    classes = classes if class_index is None else np.broadcast_to(class_index, len(images))
    weights = np.stack([kernel[:, 0] * (2 * c - 1) if one_logit else kernel[:, c] for c in classes])
    maps = np.maximum(np.einsum("nhwk,nk->nhw", features, weights), 0)
    maps = np.stack(
        [cv2.resize(m, images.shape[2:0:-1], interpolation=cv2.INTER_LINEAR) for m in maps]
    )
    most = maps.max((1, 2), keepdims=True)
    return maps / np.where(most > 0, most, 1), classes


def nested_net(classes=3, size=16):
    """The two-block trunk called as a layer, with another model as its head; and the flat model
    that it must agree with.
    """
    flat = two_block_net(classes, size)
    trunk = keras.Model(flat.input, flat.get_layer("features").output, name="trunk")
    image = keras.Input((size, size, 1))
    x = trunk(keras.layers.Rescaling(1.0, name="as_it_is")(image))
    for name in ("embedding", "logits", "probability"):
        x = flat.get_layer(name)(x)
    return keras.Model(image, x), flat


@pytest.mark.parametrize("classes", [2, 3])
def test_a_pooled_linear_head_gives_the_closed_form(classes):
    model, images = two_block_net(classes), pixels()
    explainer = GradCAM(model)
    for class_index in (None, 0, 1, [0, 1, 1, 0, 1]):
        expected, explained = closed_form(model, images, class_index)
        maps = explainer(images, class_index)
        assert maps.shape == (5, 16, 16) and maps.dtype == np.float32
        np.testing.assert_allclose(maps, expected, atol=1e-5)
        np.testing.assert_array_equal(explainer.explained, explained)


def test_a_normal_prediction_is_explained_as_normal():
    model, images = two_block_net(2), pixels()
    kernel, _ = model.get_layer("logits").get_weights()
    model.get_layer("logits").set_weights([kernel, np.array([-100.0], np.float32)])
    explainer = GradCAM(model)
    predicted = explainer(images)
    assert (explainer.explained == 0).all()
    np.testing.assert_array_equal(predicted, explainer(images, 0))
    np.testing.assert_allclose(predicted, closed_form(model, images, 0)[0], atol=1e-5)
    assert np.abs(predicted - explainer(images, 1)).max() > 0.5


def test_a_map_without_evidence_is_reported_and_stays_zero():
    model, images = two_block_net(2), pixels()
    # features are >= 0, so nothing speaks for class 0
    model.get_layer("logits").set_weights(
        [np.full((8, 1), 0.3, np.float32), np.zeros(1, np.float32)]
    )
    explainer = GradCAM(model)
    maps = explainer(images, [0, 1, 0, 1, 0])
    np.testing.assert_array_equal(explainer.empty, [True, False, True, False, True])
    assert (maps[explainer.empty] == 0).all() and (
        maps[~explainer.empty].max(axis=(1, 2)) == 1
    ).all()


def test_rounding_errors_are_not_stretched_into_a_map():
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(2, 1, use_bias=False, name="features")(image)
    x = keras.layers.Dense(1, use_bias=False, name="logits")(
        keras.layers.GlobalAveragePooling2D()(x)
    )
    model = keras.Model(image, x)
    model.get_layer("features").set_weights([np.array([1.0, 1.0], np.float32).reshape(1, 1, 1, 2)])
    # the terms cancel up to the last bit
    model.get_layer("logits").set_weights([np.array([[1.0], [-1.0 + 6e-8]], np.float32)])
    explainer = GradCAM(model)
    assert not explainer(pixels(2, 8), 1).any() and explainer.empty.all()


def test_a_nested_trunk_gives_the_same_map_as_the_flat_one():
    nested, flat = nested_net()
    images = pixels()
    for name in ("features", "block0_relu"):
        np.testing.assert_allclose(
            GradCAM(nested, name)(images), GradCAM(flat, name)(images), atol=1e-6
        )
    assert GradCAM(nested).layer == "trunk/features"
    assert GradCAM(nested, "trunk/block1_bn").layer == "trunk/block1_bn"


def test_models_within_models_are_cut_wherever_the_layer_lies():
    nested, flat = nested_net()
    images, expected = pixels(), GradCAM(flat)(pixels())
    # the whole classifier as one layer
    around = keras.Sequential([keras.Input((16, 16, 1)), nested])
    trunk = keras.Model(flat.input, flat.get_layer("features").output, name="trunk")
    head = keras.Sequential(
        [flat.get_layer("embedding"), flat.get_layer("logits"), flat.get_layer("probability")]
    )
    for model in (around, keras.Sequential([keras.Input((16, 16, 1)), trunk, head])):
        np.testing.assert_allclose(GradCAM(model)(images), expected, atol=1e-6)


def test_a_layer_that_a_path_leads_around_has_the_gradient_of_its_own_path():
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="entry")(image)
    branch = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="branch")(x)
    x = keras.layers.Flatten()(keras.layers.Add()([x, branch]))
    model = keras.Model(image, keras.layers.Dense(3, name="logits")(x))
    images = pixels(3, 8).astype(np.float32)
    values = keras.Model(image, [model.get_layer("branch").output, model.output]).predict(
        images, verbose=0
    )
    kernel = model.get_layer("logits").get_weights()[0].reshape(8, 8, 4, 3)
    # the branch is added, so its gradient is the kernel
    weights = np.stack([kernel[..., c].mean((0, 1)) for c in values[1].argmax(1)])
    expected = np.maximum(np.einsum("nhwk,nk->nhw", values[0], weights), 0)
    np.testing.assert_allclose(GradCAM(model, "branch")(images), normalised(expected), atol=1e-5)


@pytest.mark.parametrize("head", ["dense_softmax", "dense_sigmoid", "softmax_layer", "logits_only"])
def test_the_logit_is_found_under_every_head(head):
    reference = two_block_net(2 if head == "dense_sigmoid" else 3)
    kernel, bias = reference.get_layer("logits").get_weights()
    activation = {"dense_softmax": "softmax", "dense_sigmoid": "sigmoid"}.get(head)
    x = keras.layers.Dense(kernel.shape[1], activation=activation, name="top")(
        reference.get_layer("embedding").output
    )
    x = keras.layers.Softmax()(x) if head == "softmax_layer" else x
    model = keras.Model(reference.input, x)
    # large logits: the probability saturates, its own gradient would be 0
    model.get_layer("top").set_weights([kernel * 50, bias])
    reference.get_layer("logits").set_weights([kernel * 50, bias])
    np.testing.assert_allclose(GradCAM(model)(pixels()), GradCAM(reference)(pixels()), atol=1e-6)


def test_maps_are_the_same_after_saving_and_loading(tmp_path):
    for name, model in (("flat", two_block_net(2)), ("nested", nested_net()[0])):
        model.save(tmp_path / f"{name}.keras")
        reloaded = keras.saving.load_model(tmp_path / f"{name}.keras")
        np.testing.assert_array_equal(GradCAM(reloaded)(pixels()), GradCAM(model)(pixels()))


def test_the_model_is_left_as_it_was():
    model, images = nested_net()[0], pixels().astype(np.float32)
    config, weights, answers = (
        json.dumps(model.get_config()),
        model.get_weights(),
        model.predict(images, verbose=0),
    )
    for layer in (None, "block0_conv"):
        GradCAM(model, layer)(images)
    assert json.dumps(model.get_config()) == config
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights(), strict=True))
    np.testing.assert_array_equal(model.predict(images, verbose=0), answers)
    assert model.get_layer("trunk").get_layer("block1_conv").output.shape == (None, 4, 4, 8)


def test_weights_trained_later_are_seen():
    model = two_block_net(3)
    explainer, images = GradCAM(model), pixels()
    explainer(images)
    model.get_layer("logits").set_weights(
        [-model.get_layer("logits").get_weights()[0], np.zeros(3, np.float32)]
    )
    np.testing.assert_allclose(explainer(images), closed_form(model, images)[0], atol=1e-5)


def test_arrays_tensors_and_datasets_give_one_answer_whatever_the_batches():
    model, images = two_block_net(3), pixels(7)
    expected = GradCAM(model)(images)
    dataset = tf.data.Dataset.from_tensor_slices((images.astype(np.float32), np.zeros(7))).batch(3)
    ways = {
        "small batches": (GradCAM(model, batch_size=2), images),
        "no channel axis": (GradCAM(model), images[..., 0]),
        "floats": (GradCAM(model), images * 1.0),
        "tensor": (GradCAM(model), tf.constant(images)),
        "dataset": (GradCAM(model), dataset),
        "batch of one": (GradCAM(model, batch_size=1), images),
    }
    for way, (explainer, given) in ways.items():
        np.testing.assert_allclose(explainer(given), expected, atol=1e-6, err_msg=way)
    np.testing.assert_allclose(
        GradCAM(model)(dataset, [1, 2, 0, 1, 2, 0, 1]),
        GradCAM(model)(images, [1, 2, 0, 1, 2, 0, 1]),
        atol=1e-6,
    )


def test_lower_precision_gives_float32_maps():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = two_block_net(3)
    finally:
        keras.config.set_dtype_policy("float32")
    maps = GradCAM(model, "block1_conv")(pixels())
    assert maps.dtype == np.float32 and np.isfinite(maps).all()


def test_a_model_of_any_image_size_is_explained_at_each():
    image = keras.Input((None, None, 1))
    x = keras.layers.Conv2D(4, 3, 2, "same", activation="relu", name="features")(image)
    model = keras.Model(
        image, keras.layers.Dense(2, name="logits")(keras.layers.GlobalAveragePooling2D()(x))
    )
    explainer = GradCAM(model)
    assert [explainer(pixels(2, size)).shape for size in (16, 24)] == [(2, 16, 16), (2, 24, 24)]


# the other rows share a builder, and the benchmark runs them
@pytest.mark.parametrize("row", ["efficientnet_lite0", "resnet18"])
def test_a_backbone_row_has_its_closed_form(row):
    model = build_classifier(
        ModelOptions(backbone=row, weights=None, image_size=64, region="whole"),
        ("normal", "pneumonia"),
    )
    images = pixels(2, 64)
    np.testing.assert_allclose(
        GradCAM(model)(images, 1), closed_form(model, images, 1)[0], atol=1e-5
    )


def test_without_a_layer_named_features_the_last_map_of_several_positions_is_taken():
    image = keras.Input((16, 16, 1))
    x = keras.layers.Conv2D(4, 3, 2, activation="relu", name="block_conv")(image)
    x = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = keras.layers.Conv2D(3, 1, name="predictions_conv")(x)
    assert (
        GradCAM(keras.Model(image, keras.layers.Softmax()(keras.layers.Flatten()(x)))).layer
        == "block_conv"
    )


def dense_net():
    image = keras.Input((16, 16, 1))
    return keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(image)))


def with_last_layer(layer):
    model = two_block_net(3)
    return keras.Model(
        model.input, layer(keras.layers.Dense(3)(model.get_layer("embedding").output))
    )


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: GradCAM(two_block_net(), "conv5_out"),
            "not a feature map of this model.*Usable layers, the last 7 of 7: block0_.*features",
        ),
        (lambda: GradCAM(two_block_net(), "block1_con"), "Did you mean block1_conv"),
        (lambda: GradCAM(two_block_net(), "embedding"), "not a feature map"),
        (lambda: GradCAM(dense_net()), "no convolution"),
        (
            lambda: GradCAM(keras.Sequential([keras.layers.Dense(2)])),
            "functional or a built Sequential",
        ),
        (lambda: GradCAM("runs/model"), r"Received: str. For an artifact use xray_tf.load"),
        (
            lambda: GradCAM(keras.Model((x := keras.Input((4,))), keras.layers.Dense(2)(x))),
            "one image input",
        ),
        (lambda: GradCAM(with_last_layer(keras.layers.Activation("tanh"))), "activation 'tanh'"),
        (
            lambda: GradCAM(
                keras.Model((m := two_block_net()).input, m.get_layer("features").output)
            ),
            "must end in logits",
        ),
        (lambda: GradCAM(two_block_net(), batch_size=0), "batch_size must be at least 1"),
    ],
)
def test_models_that_cannot_be_explained_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def spoiled(value, at=(3, 2, 2, 0)):
    images = pixels().astype(np.float32)
    images[at] = value
    return images


@pytest.mark.parametrize(
    "images, class_index, message",
    [
        (spoiled(np.nan), None, "image 3 contains NaN"),
        (spoiled(np.inf), None, "image 3 contains NaN or infinite"),
        (pixels() / 255.0, None, r"look scaled to \[0, 1\].*multiply them by 255"),
        (spoiled(-1.0), None, r"must lie in \[0, 255\]. Received: \[-1, 255\]"),
        (pixels().astype(np.uint16) * 16, None, r"must lie in \[0, 255\]"),
        (
            pixels(5, 8),
            None,
            r"shape \(N, 16, 16, 1\), or \(N, 16, 16\). Received: shape \(5, 8, 8, 1\)",
        ),
        (pixels()[0], None, r"image\[None\]"),
        (np.repeat(pixels(), 3, -1), None, r"Received: shape \(5, 16, 16, 3\)"),
        (pixels()[:0], None, "no image"),
        (pixels() > 9, None, "must be numbers"),
        (pixels(), 2, "from 0 to 1"),
        (pixels(), -1, "from 0 to 1"),
        (pixels(), 0.5, "must be integers"),
        (pixels(), [0, 1], "2 classes for more images"),
        (pixels(), [0, 1] * 3, "6 classes for 5 images"),
    ],
)
def test_bad_input_is_named(images, class_index, message):
    explainer = GradCAM(two_block_net(), batch_size=2)
    with pytest.raises(ValueError, match=message):
        explainer(images, class_index)


def test_the_range_is_the_models_own():
    explainer = GradCAM(two_block_net(), value_range=(0, 1))
    assert explainer(pixels() / 255.0).shape == (5, 16, 16)
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        explainer(pixels())


def test_black_images_are_no_scaled_ones():
    assert GradCAM(two_block_net())(np.zeros((2, 16, 16), np.float32)).shape == (2, 16, 16)
