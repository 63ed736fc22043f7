"""Radiographs with the histogram or the Fourier amplitudes of another."""

import numpy as np
import pytest

from xray_tf.nets.training.styles import OtherStyles, with_amplitudes, with_histogram

COUNT, SIDE = 64, 32


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 100, (COUNT, 1, 1, 1))
    ramp = np.linspace(0, 1, SIDE).reshape(1, SIDE, 1, 1) * rng.uniform(60, 150, (COUNT, 1, 1, 1))
    return (low + ramp + rng.normal(0, 2, (COUNT, SIDE, SIDE, 1))).clip(0, 255).astype(np.float32)


def test_a_histogram_is_that_of_the_other_and_the_order_of_grey_levels_stays(images):
    others = np.roll(images, 2, axis=0)
    toned = np.asarray(with_histogram(images, others))
    for q in (10, 25, 50, 75, 90):
        of_toned, of_others = (np.percentile(x, q, axis=(1, 2, 3)) for x in (toned, others))
        np.testing.assert_allclose(of_toned, of_others, atol=6)  # a step has 8 grey levels
    order = np.argsort(images[0].ravel())
    assert (np.diff(toned[0].ravel()[order]) > -1e-3).all()
    np.testing.assert_allclose(with_histogram(images, images), images, atol=1e-2)


def test_amplitudes_are_the_others_and_phases_its_own(images):
    others = np.roll(images, 2, axis=0)
    whole = np.ones((COUNT, 1, 1, 1), np.float32)
    mine, theirs, made = (
        np.fft.fft2(np.asarray(x, np.float64)[..., 0])
        for x in (images, others, with_amplitudes(images, others, whole))
    )
    np.testing.assert_allclose(np.abs(made), np.abs(theirs), rtol=0.02, atol=0.5)
    turned = np.angle(made * np.conj(mine))[np.minimum(np.abs(mine), np.abs(made)) > 20]
    np.testing.assert_allclose(turned, 0, atol=0.02)
    np.testing.assert_allclose(with_amplitudes(images, others, 0 * whole), images, atol=1e-2)


def test_some_are_changed_within_range_and_only_while_training(images):
    layer = OtherStyles(0.5, seed=3)
    changed = np.asarray(layer(images, training=True))
    touched = np.abs(changed - images).max((1, 2, 3)) > 0.1
    assert 0.3 < touched.mean() < 0.7
    assert changed.min() >= 0 and changed.max() <= 255
    np.testing.assert_array_equal(layer(images, training=False), images)
    np.testing.assert_array_equal(OtherStyles(0.0)(images, training=True), images)


def test_a_saved_layer_draws_as_before(images):
    first = OtherStyles(0.5, seed=3)
    again = OtherStyles.from_config(first.get_config())
    np.testing.assert_array_equal(first(images, training=True), again(images, training=True))
