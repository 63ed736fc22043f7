import cv2
import numpy as np
import pytest

from xray_tf.data.chest.lung_fields import usual_lungs
from xray_tf.data.chest.regions import (
    FILLS,
    REGIONS,
    SURROUNDINGS,
    MaskedGrid,
    find_markers,
    region_masks,
    with_surroundings,
    without,
)
from xray_tf.data.synthetic.phantom import draw_phantom

SIDE = 100
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(20, 230, (SIDE, SIDE)).astype(np.uint8)
LUNGS = usual_lungs(SIDE)


def test_regions_are_what_they_say():
    masks = region_masks(IMAGE, LUNGS)
    assert list(masks) == list(REGIONS) and all(
        m.shape == (SIDE, SIDE) and m.dtype == bool for m in masks.values()
    )
    assert (masks["lungs"] >= LUNGS).all() and (masks["lungs_box"] >= masks["lungs"]).all()
    # the same for all
    np.testing.assert_array_equal(
        masks["usual_lungs"], region_masks(255 - IMAGE, np.roll(LUNGS, 9, 1))["usual_lungs"]
    )
    np.testing.assert_array_equal(masks["outside"], ~masks["lungs"])
    np.testing.assert_array_equal(masks["inside_border"], ~masks["border"])
    assert (
        masks["border"].sum() == SIDE**2 - 80**2
        and masks["displaced"].sum() == masks["lungs"].sum()
    )


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("region", [r for r in REGIONS if r != "markers"])
def test_no_fill_carries_anything_of_what_it_replaces(region, fill):
    mask = region_masks(IMAGE, LUNGS)[region]
    other = IMAGE.copy()
    other[mask] = RNG.integers(0, 256, int(mask.sum()))
    one, two = (without(i, mask, fill, np.random.default_rng(1)) for i in (IMAGE, other))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one[~mask], IMAGE[~mask])
    assert one.dtype == np.uint8 and (one[mask] != IMAGE[mask]).mean() > 0.9


def test_fills_by_hand():
    mask = np.zeros((SIDE, SIDE), bool)
    mask[30:60, 30:60] = True
    np.testing.assert_array_equal(
        without(IMAGE, mask, "mean", RNG)[mask], round(IMAGE[~mask].mean())
    )
    noise = without(IMAGE, mask, "noise", np.random.default_rng(0))[mask]
    assert (
        abs(noise.mean() - IMAGE[~mask].mean()) < 8
        and abs(noise.std() / IMAGE[~mask].std() - 1) < 0.15
    )
    ramp = np.broadcast_to(np.linspace(0, 250, SIDE), (SIDE, SIDE)).astype(np.uint8)
    smooth = without(ramp, mask, "smooth", RNG)
    # it continues the ramp, where the mean would be 90 off at its ends
    assert np.abs(smooth[45].astype(int) - ramp[45]).max() < 25


def test_where_nothing_stays_and_where_nothing_goes():
    assert (without(IMAGE, np.ones((SIDE, SIDE), bool), "mean", RNG) == 127).all()
    assert without(IMAGE, np.zeros((SIDE, SIDE), bool), "noise", RNG) is IMAGE
    with pytest.raises(ValueError, match="fill must be one of"):
        without(IMAGE, np.zeros((SIDE, SIDE), bool), "black", RNG)


def test_letters_are_found_and_bones_are_not():
    # soft: whatever was burned in has no edge now
    plain = cv2.GaussianBlur(draw_phantom("normal", 0, 4, height=224, width=224).image, (0, 0), 2)
    lungs = usual_lungs(224)
    before = find_markers(plain, lungs)
    lettered = cv2.putText(
        plain.copy(), "R", (8, 60), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 255, 2, cv2.LINE_AA
    )
    found = find_markers(lettered, lungs)
    drawn = lettered.astype(int) - plain > 60
    assert not before.any() and drawn.sum() > 40
    assert found[drawn].mean() > 0.95 and found.sum() < 8 * drawn.sum()


def test_a_grid_makes_each_row_when_it_is_read():
    pixels = RNG.integers(0, 256, (5, SIDE, SIDE)).astype(np.uint8)
    lungs = np.stack([LUNGS, np.roll(LUNGS, 3, 1)])
    grid = MaskedGrid(
        pixels, [4, 1], lungs, ["a", "b"], [None, ("lungs", "mean"), ("border", "noise")], seed=3
    )
    assert (len(grid), grid.shape) == (6, (6, SIDE, SIDE))
    np.testing.assert_array_equal(grid[np.array([1, 0])], pixels[[1, 4]])
    np.testing.assert_array_equal(
        grid[3][0], without(pixels[1], region_masks(pixels[1], lungs[1])["lungs"], "mean", RNG)
    )
    np.testing.assert_array_equal(grid[4], grid[np.array([5, 4])][1:])
    again = MaskedGrid(pixels, [1], lungs[1:], ["b"], [("border", "noise")], seed=3)
    # its noise follows from the radiograph's key, not from its place
    np.testing.assert_array_equal(again[0], grid[5])


def test_other_surroundings_leave_the_lungs_and_come_from_the_other():
    wide = region_masks(IMAGE, LUNGS)["lungs"]
    other = np.full_like(IMAGE, 60)
    mixed = with_surroundings(IMAGE, LUNGS, other, LUNGS)
    np.testing.assert_array_equal(mixed[LUNGS], IMAGE[LUNGS])
    level = IMAGE[wide & ~LUNGS].mean()  # where they meet, the other has the image's level
    np.testing.assert_allclose(mixed[~wide], round(level), atol=1)


def test_the_box_of_the_other_lungs_is_laid_on_the_box_of_these():
    row, column = np.nonzero(LUNGS)
    other, small = np.zeros_like(IMAGE), np.zeros_like(LUNGS)
    top, left = row.min() // 2 + 10, column.min() // 2 + 10
    bottom, right = row.max() // 2 + 10, column.max() // 2 + 10
    small[top : bottom + 1, left : right + 1] = True
    other[:top] = 200  # above its lungs
    mixed = with_surroundings(np.full_like(IMAGE, 100), LUNGS, other, small)
    wide = region_masks(IMAGE, LUNGS)["lungs"]
    above, below = np.zeros_like(wide), np.zeros_like(wide)
    above[: row.min() - 3], below[row.min() + 3 :] = True, True
    assert mixed[above & ~wide].min() > mixed[below & ~wide].max()


def test_a_grid_draws_the_surroundings_of_another_row():
    pixels = np.stack([np.full((SIDE, SIDE), level, np.uint8) for level in (50, 120, 190)])
    pixels[:, :4, :4] = [[[10]], [[20]], [[30]]]
    grid = MaskedGrid(pixels, [0, 1, 2], np.stack([LUNGS] * 3), list("abc"), [SURROUNDINGS], 1)
    corners = grid[np.arange(3)][:, 0, 0].astype(int)
    # relative to the level of the surroundings, the corner is that of another row
    differences = corners - [50, 120, 190]
    own, theirs = [-40, -100, -160], {-40, -100, -160}
    assert set(differences) <= theirs | {-50, -120, -190} and (differences != own).all()
    np.testing.assert_array_equal(grid[np.arange(3)], grid[np.arange(3)])
