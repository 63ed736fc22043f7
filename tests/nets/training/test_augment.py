"""Augmentation: off outside training, one resample that means what it says, seeded, in range."""

import numpy as np
import pytest

from xray_tf.nets.training import augment
from xray_tf.nets.training.augment import STRENGTHS, RandomAugment, Strength

STILL = Strength(
    area=1,
    aspect=1,
    rotation=0,
    shear=0,
    shift=0,
    brightness=0,
    contrast=1,
    gamma=1,
    blur=0,
    noise=0,
)


def ramp(count=8, size=32):
    rows = np.linspace(20, 235, size, dtype=np.float32)
    image = rows[:, None] * 0.4 + rows[None, :] * 0.6
    return np.repeat(image[None, :, :, None], count, 0)


def apply(monkeypatch, images, seed=0, **changes):
    monkeypatch.setitem(STRENGTHS, "trial", Strength(**{**STILL.__dict__, **changes}))
    return np.asarray(RandomAugment("trial", seed)(images, training=True))


@pytest.mark.parametrize("strength", ["none", "light", "strong", "robust"])
def test_it_is_the_identity_outside_training(strength):
    images = ramp()
    np.testing.assert_array_equal(
        np.asarray(RandomAugment(strength, 0)(images, training=False)), images
    )


def test_without_changes_only_the_flip_remains(monkeypatch):
    images = ramp(32)
    out = apply(monkeypatch, images)
    same, flipped = (
        np.abs(out - reference).max((1, 2, 3)) < 0.01 for reference in (images, images[:, :, ::-1])
    )
    assert (same ^ flipped).all() and 4 < same.sum() < 28


def test_a_turn_matches_scipys_rotation_in_the_middle(monkeypatch):
    ndimage = pytest.importorskip("scipy.ndimage")
    image = ramp(1)
    monkeypatch.setattr(
        augment.keras.random,
        "uniform",
        lambda shape, low, high, seed: np.full(shape, high, np.float32),
    )
    # draws of their upper bound: flip 1 >= 0.5 means none
    out = apply(monkeypatch, image, rotation=10)[0, 8:24, 8:24, 0]
    turns = [
        ndimage.rotate(image[0, :, :, 0], sign * 10, reshape=False, order=1)[8:24, 8:24]
        for sign in (1, -1)
    ]
    assert min(np.abs(out - t).max() for t in turns) < 0.05


@pytest.mark.parametrize(
    ("change", "law"),
    [
        ({"brightness": 0.1}, lambda x, y: np.ptp(y - x, axis=(1, 2, 3)) < 0.05),
        ({"contrast": 1.5}, lambda x, y: np.abs(y.mean((1, 2, 3)) - x.mean((1, 2, 3))) < 0.6),
    ],
)
def test_intensity_changes_are_what_they_are_called(monkeypatch, change, law):
    images = 0.4 * ramp(16) + 60
    out = apply(monkeypatch, images, **change)
    flipped = np.abs(out - images).sum((1, 2, 3)) > np.abs(out - images[:, :, ::-1]).sum((1, 2, 3))
    images[flipped] = images[flipped][:, :, ::-1]
    assert np.abs(out - images).max() > 1 and law(images, out).all()


def test_a_negative_blur_sharpens_and_a_positive_one_smooths(monkeypatch):
    checks = 100 + 50 * (np.indices((32, 32)).sum(0) // 4 % 2)[None, :, :, None]
    spread = (
        apply(monkeypatch, np.repeat(checks, 64, 0).astype(np.float32), blur=0.8).std((1, 2, 3))
        / checks.std()
    )
    assert (spread < 0.95).sum() > 15 and (spread > 1.05).sum() > 15
    image = np.zeros((1, 9, 9, 1), np.float32)
    image[0, 4, 4] = 1
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    np.testing.assert_allclose(
        np.asarray(augment._binomial_blur(image))[0, 2:7, 2:7, 0], kernel, atol=1e-6
    )


def test_borders_are_black_frames_in_their_share_of_the_images(monkeypatch):
    out = apply(monkeypatch, np.full((400, 32, 32, 1), 200.0, np.float32), border=0.25, chance=0.3)[
        ..., 0
    ]
    framed = (out == 0).any((1, 2))
    assert 0.2 < framed.mean() < 0.4 and set(np.unique(out.round(2))) == {0.0, 200.0}
    assert (out[:, 8:24, 8:24].round(2) == 200).all(), "a border is never wider than it may be"
    black = out[framed] == 0
    frames = black.all(2)[:, :, None] | black.all(1)[:, None, :]
    np.testing.assert_array_equal(black, frames)  # whole rows and columns, nothing else


def test_a_blank_is_one_rectangle_of_one_grey(monkeypatch):
    out = apply(monkeypatch, np.full((200, 32, 32, 1), 77.0, np.float32), blank=0.5, chance=1.0)[
        ..., 0
    ].round(3)
    seen = 0
    for image in out:
        rows, columns = np.nonzero(image != 77)
        if len(rows):
            box = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            assert np.ptp(box) == 0 and max(box.shape) <= 17
            seen += 1
    assert seen > 150


def test_a_larger_area_shrinks_the_radiograph_inside_black(monkeypatch):
    monkeypatch.setattr(
        augment.keras.random,
        "uniform",
        lambda shape, low, high, seed: np.full(shape, high, np.float32),
    )
    # twice the side: half of it is radiograph
    out = apply(monkeypatch, np.full((1, 40, 40, 1), 90.0, np.float32), largest_area=4.0)[
        0, :, :, 0
    ]
    assert (out > 80).sum() == pytest.approx(400, rel=0.12) and (out < 1).sum() == pytest.approx(
        1200, rel=0.12
    )


def test_the_same_seed_gives_the_same_images_and_another_does_not():
    images = ramp()
    first, again, other = (
        np.asarray(RandomAugment("strong", seed)(images, training=True)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1


def test_strong_stays_in_range_and_differs_from_image_to_image():
    out = np.asarray(RandomAugment("strong", 3)(ramp(), training=True))
    assert out.min() >= 0 and out.max() <= 255 and np.isfinite(out).all()
    assert len({round(float(v), 3) for v in out.mean((1, 2, 3))}) == 8


def test_an_unknown_strength_names_the_known_ones():
    with pytest.raises(ValueError, match="none.*light.*strong.*'wild'"):
        RandomAugment("wild")
