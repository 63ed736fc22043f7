"""Other surroundings around the same lungs, and radiographs without lungs."""

import numpy as np
import pytest

from xray_tf.nets.training.surroundings import OtherSurroundings

COUNT, SIDE = 64, 16


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (COUNT, SIDE, SIDE, 1)).astype(np.float32)
    windows = np.zeros_like(images)
    windows[:, 4:12, 4:12] = 1
    lungs = np.zeros((COUNT, SIDE // 2, SIDE // 2, 1), np.float32)
    lungs[:, 3:5, 3:5] = 1
    targets = np.eye(3, dtype=np.float32)[rng.integers(0, 3, COUNT)]
    return images, windows, lungs, targets


def given(batch, swapped, emptied, seed=0):
    images, targets = OtherSurroundings(swapped, emptied, seed)(*batch, training=True)
    return np.asarray(images), np.asarray(targets)


def test_lungs_stay_and_surroundings_are_the_neighbours(batch):
    images, windows, _, targets = batch
    changed, same = given(batch, 1.0, 0.0)
    outside = windows == 0
    np.testing.assert_allclose(changed[:, 7:9, 7:9], images[:, 7:9, 7:9], atol=1e-3)
    np.testing.assert_allclose(changed[outside], np.roll(images, 1, 0)[outside], atol=1e-3)
    np.testing.assert_array_equal(same, targets)


def test_the_rim_around_the_lungs_is_its_own_or_the_neighbours_and_often_each(batch):
    images, windows, _, _ = batch
    changed, _ = given(batch, 1.0, 0.0)
    seen = windows[0, ..., 0] == 1
    rim = seen.copy()
    rim[5:11, 5:11] = False  # the lungs, enlarged bilinearly, end half a cell further
    own, other = (
        np.abs(changed - x)[:, rim].max((1, 2)) < 1e-3 for x in (images, np.roll(images, 1, 0))
    )
    assert (own ^ other).all()
    assert 0.3 < own.mean() < 0.7
    np.testing.assert_allclose(changed[own][:, seen], images[own][:, seen], atol=1e-3)


def test_emptied_lungs_speak_for_no_class_and_keep_what_is_seen_around_them(batch):
    images = batch[0]
    changed, targets = given(batch, 0.0, 1.0)
    around = np.ones((SIDE, SIDE), bool)
    around[5:11, 5:11] = False  # the lungs, enlarged bilinearly, end half a cell further
    np.testing.assert_allclose(changed[:, around], images[:, around], atol=1e-3)
    np.testing.assert_allclose(targets, 1 / 3, atol=1e-6)
    old, new = (x[:, 7:9, 7:9].reshape(COUNT, -1) for x in (images, changed))
    assert abs(np.corrcoef(old.ravel(), new.ravel())[0, 1]) < 0.2
    assert changed.min() >= 0 and changed.max() <= 255


def test_one_logit_heads_are_told_half(batch):
    images, windows, lungs, targets = batch
    _, new = given((images, windows, lungs, targets[:, :1]), 0.0, 1.0)
    np.testing.assert_allclose(new, 0.5)


def test_shares_are_as_given_and_each_image_draws_its_own(batch):
    images, _, _, targets = batch
    changed, new = given(batch, 0.5, 0.25, seed=3)
    swapped = np.abs(changed - images)[:, 0, 0, 0] > 1e-3
    emptied = np.abs(new - targets).max(1) > 1e-3
    assert 0.3 < swapped.mean() < 0.7 and 0.1 < emptied.mean() < 0.4
    assert (swapped & emptied).any() and (swapped & ~emptied).any()


def test_nothing_changes_when_not_training(batch):
    images, targets = OtherSurroundings(1.0, 1.0)(*batch, training=False)
    np.testing.assert_array_equal(images, batch[0])
    np.testing.assert_array_equal(targets, batch[3])


def test_a_seed_gives_the_same_draws(batch):
    np.testing.assert_array_equal(given(batch, 0.5, 0.5, 7)[0], given(batch, 0.5, 0.5, 7)[0])
