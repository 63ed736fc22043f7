"""The lung segmenter: folding changes no answer, any size works, a classifier can hold it."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from xray_tf.nets.lungs import (
    POINTS,
    LungNetShape,
    build_lung_net,
    copy_weights,
    fold_norms,
    lung_points,
    segment,
)
from xray_tf.nets.training.lung_loop import norm_of

SMALL = LungNetShape(widths=(4, 6, 8, 10), depths=(1, 1, 1, 1))


def with_lived_in_norms(net: keras.Model) -> keras.Model:
    """Give every batch normalisation statistics and scales of its own, as a training would."""
    rng = np.random.default_rng(0)
    for layer in net.layers:
        if layer.name.endswith("_norm"):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return net


def test_folding_the_batch_norms_changes_no_answer():
    net = with_lived_in_norms(build_lung_net(112, SMALL, 0, norm_of))
    folded = fold_norms(net, 112, SMALL)
    images = np.random.default_rng(1).uniform(0, 255, (3, 112, 112, 1)).astype(np.float32)
    before, after = net.predict_on_batch(images), folded.predict_on_batch(images)
    for point in ("lungs", "chest"):
        assert np.abs(before[point] - after[point]).max() < 1e-5
        assert before[point].std() > 0


def test_a_finished_net_holds_stock_layers_only_and_opens_with_plain_keras(tmp_path):
    folded = fold_norms(build_lung_net(112, SMALL, 0, norm_of), 224, SMALL)
    assert all(
        type(layer) is getattr(keras.layers, type(layer).__name__) for layer in folded.layers
    )
    folded.save(tmp_path / "model.keras")
    image = np.full((1, 224, 224, 1), 90, np.float32)
    opened = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(
        opened.predict_on_batch(image)["lungs"], folded.predict_on_batch(image)["lungs"]
    )


def test_the_net_does_not_see_exposure_and_contrast():
    net = build_lung_net(224, SMALL)
    image = np.random.default_rng(2).uniform(50, 200, (1, 224, 224, 1)).astype(np.float32)
    plain, changed = net.predict_on_batch(image), net.predict_on_batch(0.6 * image + 20)
    assert np.abs(plain["lungs"] - changed["lungs"]).max() < 1e-3


@pytest.mark.parametrize("shape", [(224, 224), (90, 300), (600, 450), (1, 1)])
def test_masks_come_back_at_the_size_of_the_image(shape):
    net = build_lung_net(112, SMALL)
    image = np.random.default_rng(4).integers(0, 256, shape).astype(np.uint8)
    ((mask, chest),) = segment(net, [image])
    assert mask.shape == shape and mask.dtype == np.float32
    assert 0 <= mask.min() <= mask.max() <= 1 and 0 <= chest <= 1


def test_a_size_that_is_no_multiple_is_refused():
    with pytest.raises(ValueError, match="multiple of 112"):
        build_lung_net(200)


def test_a_classifier_holds_the_net_in_its_own_graph():
    net = build_lung_net(224, SMALL, seed=5)
    image = keras.Input((224, 224, 1), name="image")
    points = lung_points(image, SMALL, prefix="lungs_")
    share = keras.layers.GlobalAveragePooling2D()(points["lungs"])
    model = keras.Model(image, {**points, "share": share})
    copy_weights(net, model, "lungs_")
    assert tuple(points) == POINTS and points["lung_logits_coarse"].shape == (None, 56, 56, 1)
    images = np.random.default_rng(6).uniform(0, 255, (2, 224, 224, 1)).astype(np.float32)
    alone, inside = net.predict_on_batch(images), model.predict_on_batch(images)
    for point in ("lungs", "chest"):
        assert np.abs(alone[point] - inside[point]).max() < 1e-5
