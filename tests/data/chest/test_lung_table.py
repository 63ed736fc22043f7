"""Boxes and areas of lungs: where two discs lie is what is said of them."""

import cv2
import numpy as np
import pytest

from xray_tf.data.chest.lung_table import NO_LUNGS, LungRows, lung_box, lung_row, side_areas


def two_discs(height=80, width=120, left=(30, 40, 20), right=(85, 40, 25)) -> np.ndarray:
    """Two round lungs (x, y, radius)."""
    lungs = np.zeros((height, width), np.float32)
    for x, y, radius in (left, right):
        cv2.circle(lungs, (x, y), radius, 1.0, -1)
    return lungs


def test_the_box_is_around_both_lungs_and_leaves_specks_out():
    lungs = two_discs()
    lungs[0, 119] = 1.0
    assert lung_box(lungs) == (10, 15, 111, 66)
    assert lung_box(lungs).right == 111


def test_there_is_no_box_without_lungs():
    assert lung_box(np.zeros((50, 50))) is None
    assert lung_box(np.full((50, 50), 0.49)) is None


def test_a_batch_is_no_image():
    with pytest.raises(ValueError, match="of one image"):
        lung_box(np.zeros((2, 50, 50)))


@pytest.mark.parametrize("shift", [0, -5, 5])
def test_areas_are_counted_on_each_side_of_the_gap(shift):
    lungs = np.roll(two_discs(), shift, axis=1)
    left, right = side_areas(lungs)
    assert np.isclose((left + right) * lungs.size, (lungs > 0.5).sum())
    assert left < right
    assert np.isclose(left, (two_discs()[:, :52] > 0.5).sum() / lungs.size)


def test_a_row_says_what_was_found_and_survives_the_table(tmp_path):
    sure, unsure = (lung_row("a.png", two_discs(), score, 0.9) for score in (0.95, 0.2))
    assert sure.warning == "" and unsure.warning == NO_LUNGS
    assert (sure.width, sure.height, sure.left, sure.bottom) == (120, 80, 10, 66)
    LungRows([sure, unsure]).write_csv(tmp_path / "lungs.csv")
    read = LungRows.read_csv(tmp_path / "lungs.csv")
    assert [r.area for r in read] == [sure.area, unsure.area]


def test_a_row_of_a_picture_without_lungs_has_no_box():
    row = lung_row("b.png", np.zeros((20, 30), np.float32), 0.0, 0.9)
    assert (row.area, row.left, row.bottom) == (0.0, -1, -1)
