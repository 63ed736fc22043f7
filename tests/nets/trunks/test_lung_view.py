"""A classifier that sees lungs: what reaches its trunk, what weighs, and what learns."""

import cv2
import keras
import numpy as np
import pytest

from xray_tf.data.synthetic.phantom import draw_phantom
from xray_tf.nets.classifier import build_classifier, derive
from xray_tf.nets.keras_file import save_model
from xray_tf.nets.lungs import COARSE, build_lung_net
from xray_tf.nets.training.devices import policy
from xray_tf.nets.training.objective import loss_net, mean_of_output, open_stages
from xray_tf.nets.trunks.lung_view import OFFSET, PREFIX, SCALE, show_lungs
from xray_tf.options import ModelOptions, TrainOptions
from xray_tf.registry import TASKS

SIDE = 112


@pytest.fixture(scope="module")
def segmenter():
    return build_lung_net(SIDE, seed=1)


@pytest.fixture(scope="module")
def model(segmenter):
    options = ModelOptions(image_size=SIDE, weights=None)
    return build_classifier(options, TASKS["three-class"].class_names, 0, segmenter)


@pytest.fixture(scope="module")
def shown():
    """(image, logits) -> what the trunk would see, and the window."""
    image, logits = keras.Input((SIDE, SIDE, 1)), keras.Input((COARSE, COARSE, 1))
    seen = keras.Model([image, logits], show_lungs(image, logits))
    return keras.Model(seen.inputs, [seen.output, seen.get_layer("window").output])


@pytest.fixture(scope="module")
def phantoms():
    """(images (4, S, S, 1) float32, logits of their true lungs)."""
    drawn = [draw_phantom("bacterial" if i % 2 else "normal", i, SIDE) for i in range(4)]

    def squared(pixels, side):
        return cv2.resize(pixels.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)

    share = np.stack([squared(p.lungs, COARSE) for p in drawn])
    images = np.stack([squared(p.image, SIDE) for p in drawn])[..., None]
    return images, (24 * share - 12)[..., None]


def test_lungs_have_one_mean_and_deviation_and_nothing_else_is_seen(shown, phantoms):
    images, logits = phantoms
    seen, window = shown.predict([images, logits], verbose=0)
    assert seen.shape == images.shape and seen.dtype == np.float32
    for picture, lungs, edge in zip(seen, logits, window, strict=True):
        inside = np.kron(lungs[..., 0] > 10, np.ones((2, 2))).astype(bool)
        weights = np.kron(1 / (1 + np.exp(-lungs[..., 0])), np.ones((2, 2)))[..., None]
        mean = np.average(picture, weights=weights)
        assert abs(mean - OFFSET) < 0.1 * SCALE
        assert 0.9 < np.average((picture - mean) ** 2, weights=weights) ** 0.5 / SCALE < 1.2
        assert (edge[inside] > 0.8).all() and (picture[edge == 0] == OFFSET).all()
        assert 0.1 < (edge < 1e-4).mean() < 0.9


def test_exposure_and_contrast_do_not_reach_the_trunk(shown, phantoms):
    images, logits = phantoms
    plain, _ = shown.predict([images, logits], verbose=0)
    other, _ = shown.predict([0.6 * images + 40, logits], verbose=0)
    np.testing.assert_allclose(other, plain, atol=1.0)


def test_what_lies_outside_of_the_lungs_does_not_reach_the_trunk(shown, phantoms):
    images, logits = phantoms
    plain, window = shown.predict([images, logits], verbose=0)
    changed = np.where(window < 1e-4, 255 - images, images)
    other, _ = shown.predict([changed, logits], verbose=0)
    # cells of the coarse grid mix pixels of both sides of the edge
    np.testing.assert_allclose(other, plain, atol=2.0)
    assert np.abs(changed - images).max() > 100


def test_a_picture_of_one_grey_gives_finite_numbers(model):
    for grey in (0, 255):
        assert np.isfinite(
            model.predict(np.full((1, SIDE, SIDE, 1), grey, np.float32), verbose=0)
        ).all()


def test_places_weigh_one_on_average_and_follow_the_lungs(model, phantoms):
    points = derive(model, "merged", "mean_one", "features", "embedding", "prior")
    merged, weights, features, embedding, prior = points.predict(phantoms[0], verbose=0)
    assert features.shape[1:] == (7, 7, 256)  # 1/16 of the side
    np.testing.assert_allclose(weights.mean((1, 2)), 1, atol=1e-5)
    np.testing.assert_allclose(features, merged * weights, rtol=1e-6)
    np.testing.assert_allclose(embedding, features.mean((1, 2)), atol=1e-5)
    # attention starts at zero, so the weights are the segmenter's alone
    lungs = np.exp(prior)
    np.testing.assert_allclose(weights, lungs / lungs.mean((1, 2), keepdims=True), rtol=1e-4)


def test_the_segmenter_inside_is_the_one_given_and_never_learns(model, segmenter):
    inside = {layer.name: layer for layer in model.layers if layer.name.startswith(PREFIX)}
    weighted = [name for name, layer in inside.items() if layer.weights]
    assert len(weighted) > 20
    for name in weighted:
        given = segmenter.get_layer(name.removeprefix(PREFIX)).get_weights()
        for ours, theirs in zip(inside[name].get_weights(), given, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    for stages in ("none", "2", "all"):
        open_stages(model, "efficientnet_lite0", stages, True)
        learning = {v.path.split("/")[0] for v in model.trainable_variables}
        assert {"fine_conv", "deep_conv", "attention", "logits"} <= learning
        assert not any(name.startswith(PREFIX) for name in learning)
        assert ("stem_conv" in learning) == (stages == "all")


def test_plain_keras_opens_it_and_answers_the_same(model, phantoms, tmp_path):
    save_model(model, tmp_path / "model.keras")
    opened = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        opened.predict(phantoms[0], verbose=0), model.predict(phantoms[0], verbose=0), atol=1e-5
    )


@pytest.mark.parametrize("side, cells", [(224, 14), (160, 10), (100, 7)])
def test_any_side_does(segmenter, side, cells):
    options = ModelOptions(image_size=side, weights=None)
    built = build_classifier(options, TASKS["binary"].class_names, 0, segmenter)
    assert built.get_layer("features").output.shape[1:] == (cells, cells, 256)


def test_it_learns_in_half_precision_at_any_side(segmenter):
    names, options = TASKS["binary"].class_names, ModelOptions(image_size=96, weights=None)
    with policy("mixed_bfloat16"):
        model = build_classifier(options, names, 0, segmenter)
        net = loss_net(model, TrainOptions(), (1.0, 1.0))
    net.compile(keras.optimizers.SGD(1e-3), loss=mean_of_output)
    images, targets = np.full((2, 96, 96, 1), 90, np.float32), np.array([[0.0], [1.0]])
    assert np.isfinite(net.train_on_batch([images, targets], targets))


def test_a_second_training_starts_from_all_that_the_first_learned(segmenter, tmp_path):
    options = ModelOptions(image_size=SIDE, weights=None)
    model = build_classifier(options, TASKS["three-class"].class_names, 0, segmenter)
    model.get_layer("attention").set_weights([np.full((1, 1, 256, 1), 0.5), np.ones(1)])
    save_model(model, tmp_path / "first.keras")
    again = ModelOptions(image_size=2 * SIDE, weights=str(tmp_path / "first.keras"))
    same = build_classifier(again, TASKS["three-class"].class_names, 5, segmenter)
    for name in ("fine_conv", "deep_conv", "attention", "logits", "stem_conv"):
        for ours, theirs in zip(
            same.get_layer(name).get_weights(), model.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
    # a head for other classes starts anew
    other = build_classifier(again, TASKS["binary"].class_names, 5, segmenter)
    assert other.get_layer("logits").output.shape == (None, 1)


def test_what_it_cannot_do_without_is_named(segmenter):
    with pytest.raises(ValueError, match="needs the lung segmenter"):
        build_classifier(ModelOptions(weights=None), TASKS["binary"].class_names)
    with pytest.raises(ValueError, match="one of twice its side.*InceptionV3.*has none"):
        build_classifier(
            ModelOptions(backbone="InceptionV3", image_size=224, weights=None),
            TASKS["binary"].class_names,
            0,
            segmenter,
        )
