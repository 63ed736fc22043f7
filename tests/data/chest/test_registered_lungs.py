"""Registered lungs: each lung fills its half, nothing from outside is in it, and maps find their
way back.
"""

import cv2
import numpy as np
import pytest

from xray_tf.data.chest.lung_numbers import NAMES, lung_numbers
from xray_tf.data.chest.registered_lungs import GREY, PER_DEVIATION, register_lungs
from xray_tf.data.synthetic.phantom import draw_phantom

SIDE = 128


@pytest.fixture(scope="module")
def phantoms():
    return [draw_phantom("normal", 3, i, height=SIDE, width=SIDE) for i in range(4)]


@pytest.fixture(scope="module")
def images(phantoms):
    return np.stack([p.image for p in phantoms])


@pytest.fixture(scope="module")
def masks(phantoms):
    return np.stack([p.lungs for p in phantoms])


def test_each_lung_fills_its_half_with_standardised_grey(images, masks):
    found = register_lungs(images, masks)
    assert found.images.shape == found.lungs.shape == images.shape
    for image, lungs in zip(found.images, found.lungs, strict=True):
        for half in (lungs[:, : SIDE // 2], lungs[:, SIDE // 2 :]):
            rows, columns = np.nonzero(half)
            assert np.ptp(rows) > 0.85 * SIDE and np.ptp(columns) > 0.85 * SIDE / 2
        inside = image[lungs].astype(float)
        assert abs(inside.mean() - GREY) < 12 and abs(inside.std() - PER_DEVIATION) < 10
        assert (image[~lungs] == GREY).all()


def test_nothing_outside_the_lungs_is_in_them(images, masks):
    other, black = images[::-1].copy(), np.zeros_like(images)
    expected = register_lungs(images, masks)
    for outside in (other, black, 255 - black):
        swapped = np.where(masks, images, outside)
        found = register_lungs(swapped, masks)
        np.testing.assert_array_equal(found.images, expected.images)
        np.testing.assert_array_equal(
            lung_numbers(found.images, found.lungs), lung_numbers(expected.images, expected.lungs)
        )


def test_place_size_exposure_and_contrast_of_a_chest_do_not_matter(images, masks):
    move = np.array([[0.8, 0, 20], [0, 0.7, 8]])
    moved = np.stack([cv2.warpAffine(i, move, (SIDE, SIDE)) for i in images]) // 2 + 40
    where = [cv2.warpAffine(m.astype(np.uint8), move, (SIDE, SIDE)) > 0 for m in masks]
    a, b = register_lungs(images, masks), register_lungs(moved.astype(np.uint8), np.stack(where))
    for i in range(len(images)):
        both = a.lungs[i] & b.lungs[i]
        assert both.sum() > 0.9 * a.lungs[i].sum()
        pairs = a.images[i][both].astype(float), b.images[i][both].astype(float)
        assert np.corrcoef(*pairs)[0, 1] > 0.9


def test_maps_are_laid_back_on_the_lungs_they_come_from(images, masks):
    found = register_lungs(images, masks)
    back = found.back(found.images.astype(np.float32))
    for image, mask, laid in zip(images, masks, back, strict=True):
        assert not laid[~mask].any()
        assert np.corrcoef(image[mask].astype(float), laid[mask])[0, 1] > 0.95


def test_crumbs_are_no_lung_and_no_lungs_are_the_usual_ones(images, masks):
    crumbs = masks.copy()
    crumbs[:, :3, :3] = True
    np.testing.assert_array_equal(
        register_lungs(images, crumbs).images, register_lungs(images, masks).images
    )
    nothing = register_lungs(images, np.zeros_like(masks))
    assert nothing.lungs.any(axis=(1, 2)).all()
    one = masks.copy()
    one[:, :, : SIDE // 2] = False
    assert register_lungs(images, one).lungs.any(axis=(1, 2)).all()


def test_numbers_are_finite_whatever_is_there():
    flat = np.full((1, 64, 64), 7, np.uint8)
    for masks in (np.zeros((1, 64, 64), bool), np.ones((1, 64, 64), bool)):
        found = register_lungs(flat, masks)
        numbers = lung_numbers(found.images, found.lungs)
        assert numbers.shape == (1, len(NAMES)) and np.isfinite(numbers).all()
    assert register_lungs(flat[:0], masks[:0]).images.shape == (0, 64, 64)


def test_opacity_in_one_lung_moves_that_lungs_numbers(phantoms):
    image = phantoms[1].image.copy()
    rows, columns = np.indices(image.shape)
    lower = phantoms[1].lungs & (columns < SIDE // 2) & (rows > 0.55 * SIDE)
    image[lower] += 40
    both = register_lungs(np.stack([phantoms[1].image, image]), np.stack([phantoms[1].lungs] * 2))
    a, b = lung_numbers(both.images, both.lungs)
    change = dict(zip(NAMES, b - a, strict=True))
    assert change["zone_21_grey"] > 0.5 > change["zone_22_grey"]


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (np.zeros((2, 8, 8)), np.zeros((2, 8, 8), bool)),
        (np.zeros((2, 8, 6), np.uint8), np.zeros((2, 8, 6), bool)),
        (np.zeros((2, 9, 9), np.uint8), np.zeros((2, 9, 9), bool)),
        (np.zeros((2, 8, 8), np.uint8), np.zeros((1, 8, 8), bool)),
    ],
)
def test_what_does_not_fit_is_refused(images, masks):
    with pytest.raises(ValueError, match="images must be"):
        register_lungs(images, masks)
