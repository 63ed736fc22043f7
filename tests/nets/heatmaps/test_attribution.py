import cv2
import keras
import numpy as np
import pytest
from two_blocks import two_block_net

from xray_tf.nets.classifier import seeded
from xray_tf.nets.heatmaps import attribution
from xray_tf.nets.heatmaps.attribution import (
    METHODS,
    flip_averaged,
    grad_cam,
    integrated_attributions,
)
from xray_tf.nets.heatmaps.gradcam import GradCAM, normalised

SIZE, PLACES = 16, 4
IMAGES = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 1)).astype(np.uint8)
CLASSES = np.array([0, 1, 2, 1])


@pytest.fixture(scope="module")
def place_net():
    """A net whose head looks at every position by its own weight, so that the gradient differs from
    place to place and is known.
    """
    with seeded(1):
        image = keras.Input((SIZE, SIZE, 1), name="image")
        x = keras.layers.Rescaling(1 / 127.5, -1)(image)
        x = keras.layers.Conv2D(5, 4, 4, activation="relu", name="features")(x)
        x = keras.layers.Dense(3, name="logits")(keras.layers.Flatten()(x))
        return keras.Model(image, x)


@pytest.fixture(scope="module")
def explainer(place_net):
    return GradCAM(place_net, batch_size=8)


@pytest.fixture(scope="module")
def known(place_net):
    """Return features (N, 4, 4, 5) and the gradients of each image's class by them, float64."""
    features = keras.Model(place_net.input, place_net.get_layer("features").output).predict(
        IMAGES.astype(np.float32), verbose=0
    )
    kernel = place_net.get_layer("logits").get_weights()[0].reshape(PLACES, PLACES, 5, 3)
    return features.astype(np.float64), np.stack([kernel[..., c] for c in CLASSES]).astype(
        np.float64
    )


def shown(evidence):
    resized = [
        cv2.resize(np.maximum(m, 0), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR) for m in evidence
    ]
    return normalised(np.stack(resized))


def plus_plus(features, gradients):
    weights = np.zeros((len(features), 5))
    for n in range(len(features)):
        for k in range(5):
            total = features[n, ..., k].sum()
            for g in gradients[n, ..., k].ravel():
                below = 2 * g**2 + total * g**3
                weights[n, k] += (g**2 / below if below else 0) * max(g, 0)
    return np.einsum("nhwk,nk->nhw", features, weights)


def first_component(features, gradients):
    evidence = []
    for rows in features.reshape(len(features), -1, 5):
        u, s, vt = np.linalg.svd(rows, full_matrices=False)
        projected = rows @ vt[0]
        evidence.append((projected if projected.sum() > 0 else -projected).reshape(PLACES, PLACES))
    return np.stack(evidence)


FORMULAS = {
    "grad_cam": lambda f, g: np.einsum("nhwk,nk->nhw", f, g.mean((1, 2))),
    "grad_cam_plus_plus": plus_plus,
    "layer_cam": lambda f, g: (np.maximum(g, 0) * f).sum(-1),
    "hires_cam": lambda f, g: (g * f).sum(-1),
    "eigen_cam": first_component,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_a_method_equals_its_formula(name, explainer, known):
    np.testing.assert_allclose(
        METHODS[name](explainer, IMAGES, CLASSES), shown(FORMULAS[name](*known)), atol=2e-5
    )


def test_the_formulas_differ_here(known):
    maps = [shown(formula(*known)) for formula in FORMULAS.values()]
    assert all(np.abs(a - b).max() > 0.05 for i, a in enumerate(maps) for b in maps[:i])


def test_occlusion_equals_a_slow_loop(place_net, explainer):
    maps = attribution.occlusion(explainer, IMAGES, CLASSES, patch=5, stride=4)

    def score(image, c):
        return float(place_net(image[None].astype(np.float32))[0, c])

    for image, c, found in zip(IMAGES.astype(np.float64), CLASSES, maps, strict=True):
        total, covers = np.zeros((SIZE, SIZE)), np.zeros((SIZE, SIZE))
        for top in (0, 4, 8, 11):
            for left in (0, 4, 8, 11):
                covered = image.copy()
                covered[top : top + 5, left : left + 5] = image.mean()
                total[top : top + 5, left : left + 5] += score(image, c) - score(covered, c)
                covers[top : top + 5, left : left + 5] += 1
        np.testing.assert_allclose(
            found, normalised(np.maximum(total / covers, 0)[None])[0], atol=1e-4
        )


def test_integrated_gradients_account_for_the_whole_score(place_net, explainer):
    images = IMAGES.astype(np.float32)
    grey = np.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape)
    gained = explainer.scores(images, CLASSES) - explainer.scores(
        np.ascontiguousarray(grey), CLASSES
    )
    attributions = integrated_attributions(explainer, images, CLASSES, steps=200)
    np.testing.assert_allclose(attributions.sum((1, 2)), gained, atol=0.01 * np.abs(gained).max())
    np.testing.assert_allclose(
        attribution.integrated_gradients(explainer, IMAGES, CLASSES, steps=200),
        normalised(np.maximum(attributions, 0)),
        atol=1e-5,
    )


def test_flip_averaging_is_the_mean_of_both_maps_and_symmetric(explainer):
    averaged = flip_averaged(grad_cam)
    plain, mirrored = explainer(IMAGES, CLASSES), explainer(IMAGES[:, :, ::-1], CLASSES)[:, :, ::-1]
    np.testing.assert_allclose(
        averaged(explainer, IMAGES, CLASSES), normalised(plain + mirrored), atol=1e-6
    )
    np.testing.assert_allclose(
        averaged(explainer, IMAGES[:, :, ::-1], CLASSES)[:, :, ::-1],
        averaged(explainer, IMAGES, CLASSES),
        atol=1e-6,
    )
    averaged(explainer, IMAGES)
    np.testing.assert_array_equal(
        explainer.explained, explainer.predicted(IMAGES.astype(np.float32))
    )


@pytest.mark.parametrize("name", METHODS)
def test_every_method_keeps_the_contract(name, explainer):
    model = two_block_net(2)
    net = GradCAM(model)
    maps = METHODS[name](net, IMAGES)
    assert maps.shape == (4, SIZE, SIZE) and maps.dtype == np.float32
    np.testing.assert_allclose(maps.max(axis=(1, 2)), np.where(net.empty, 0.0, 1.0))
    assert maps.min() >= 0
    np.testing.assert_array_equal(net.explained, net.predicted(IMAGES.astype(np.float32)))
    np.testing.assert_array_equal(
        METHODS[name](net, IMAGES, 1), METHODS[name](net, IMAGES[..., 0], [1] * 4)
    )
    with pytest.raises(ValueError, match="NaN"):
        METHODS[name](net, np.full((1, SIZE, SIZE, 1), np.nan))
    with pytest.raises(ValueError, match="from 0 to 1"):
        METHODS[name](net, IMAGES, 2)


def test_a_model_will_do_where_an_explainer_does(place_net, explainer):
    np.testing.assert_array_equal(
        attribution.layer_cam(place_net, IMAGES, 1),
        attribution.layer_cam(explainer, IMAGES, 1, layer="features"),
    )


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda e: attribution.layer_cam(e, IMAGES, layer="conv9"),
            "explains the layer 'features'",
        ),
        (lambda e: attribution.occlusion(e, IMAGES, patch=17), r"patch must lie in \[1, 16\]"),
        (
            lambda e: attribution.integrated_gradients(e, IMAGES, steps=0),
            "steps must be at least 1",
        ),
    ],
)
def test_bad_arguments_are_named(call, message, explainer):
    with pytest.raises(ValueError, match=message):
        call(explainer)
