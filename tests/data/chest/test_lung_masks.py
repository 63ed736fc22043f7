"""Drawn masks: read strictly, divided by patient, compared without what is to be ignored."""

import cv2
import numpy as np
import pytest

from xray_tf.data.chest.lung_masks import (
    HELD_OUT,
    SELECTION,
    TRAINING,
    divide,
    fit_to,
    intersection_over_union,
    read_mask,
    resize_mask,
)


def test_a_patient_is_on_one_side_whatever_the_order():
    patients = [f"p{i % 50}" for i in range(200)]
    parts = divide(patients, {"p1", "p2"})
    by_patient = dict(zip(patients, parts, strict=True))
    assert all(by_patient[p] == part for p, part in zip(patients, parts, strict=True))
    assert {p for p, part in by_patient.items() if part == HELD_OUT} == {"p1", "p2"}
    assert {TRAINING, SELECTION} <= set(parts)
    again = dict(zip(patients[::-1], divide(patients[::-1], {"p1", "p2"}), strict=True))
    assert again == by_patient


def test_a_mask_of_other_greys_is_refused(tmp_path):
    good, bad, none = (tmp_path / f"{name}.png" for name in ("good", "bad", "none"))
    mask = np.zeros((40, 40), np.uint8)
    mask[10:20], mask[30:] = 255, 127
    cv2.imwrite(str(good), mask)
    cv2.imwrite(str(bad), np.where(mask == 255, 254, mask))
    none.write_bytes(b"no picture")
    assert np.array_equal(read_mask(good), mask)
    assert set(np.unique(read_mask(good, 20))) == {0, 127, 255}
    with pytest.raises(ValueError, match="greys 0, 127"):
        read_mask(bad)
    with pytest.raises(ValueError, match="not a picture"):
        read_mask(none)


def test_a_resized_mask_keeps_its_area_and_ignores_generously():
    mask = np.zeros((224, 224), np.uint8)
    cv2.circle(mask, (100, 100), 60, 255, -1)
    mask[:10] = 127
    small = resize_mask(mask, (56, 56))
    assert abs((small == 255).mean() - (mask == 255).mean()) < 0.005
    assert (small == 127).mean() >= (mask == 127).mean()


def test_overlap_leaves_out_what_is_to_be_ignored():
    mask = np.array([[255, 255, 0, 127]], np.uint8)
    assert intersection_over_union(np.array([[0.9, 0.1, 0.1, 0.9]]), mask) == 0.5
    assert intersection_over_union(np.array([[0.9, 0.9, 0.1, 0.1]]), mask) == 1.0
    assert intersection_over_union(np.zeros((1, 4)), np.zeros((1, 4), np.uint8)) == 1.0


def test_images_that_shrink_are_averaged():
    stripes = np.tile(np.array([[0, 200]], np.uint8), (448, 224))
    assert np.all(fit_to(stripes, 224) == 100)
