"""Warnings that cost nothing: each in its place, and each a word."""

import numpy as np
import pytest

from xray_tf.data.chest.lung_table import NO_LUNGS
from xray_tf.data.duplicates import look_alikes, looks_of
from xray_tf.data.predictions import Predictions
from xray_tf.data.synthetic.phantom import draw_phantom
from xray_tf.models.decided import BEYOND, DIFFER, KNOWN, NEAR, warnings_of, words_of
from xray_tf.operating_point import OperatingPoint

HALF = OperatingPoint("half", threshold=0.5)


def table(*chances, warnings=None):
    p = np.array(chances)
    names, paths = ("normal", "pneumonia"), [str(i) for i in range(len(p))]
    return Predictions(
        names,
        paths,
        np.stack([1 - p, p], 1),
        HALF.decide(np.stack([1 - p, p], 1)),
        warnings=warnings,
    )


def test_each_doubt_is_told_and_nothing_else():
    answers = table(0.9, 0.55, 0.9, 0.9, 0.9, 0.2, warnings=["", "", "", "", NO_LUNGS, ""])
    votes = table(0.9, 0.9, 0.9, 0.9, 0.9, 0.9)
    told = warnings_of(
        answers,
        HALF,
        unusual=np.array([99.9, 0, 100, 0, 0, 0]),
        votes=votes,
        known=np.array([0, 0, 0, 1, 0, 0], bool),
    )
    assert told == ["", NEAR, BEYOND, KNOWN, NO_LUNGS, DIFFER]
    assert warnings_of(answers, HALF) == ["", NEAR, "", "", NO_LUNGS, ""]


def test_several_doubts_are_words_in_a_row():
    told = warnings_of(table(0.51, warnings=[NO_LUNGS]), HALF, known=np.array([True]))
    assert told == [f"{NO_LUNGS}; {NEAR}; {KNOWN}"]
    assert words_of(told[0]) == "no lungs, close call, known" and words_of("") == ""


def test_a_copy_is_known_by_its_look_and_another_radiograph_is_not():
    import cv2

    images = [draw_phantom("normal", seed=s).image for s in range(6)]
    known = looks_of(images)
    assert known.shape == (6, 143) and known.dtype == np.int8
    worse = cv2.imdecode(cv2.imencode(".jpg", images[3], (cv2.IMWRITE_JPEG_QUALITY, 40))[1], 0)
    smaller = cv2.resize(images[4], None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    stranger = 255 - images[0]
    assert look_alikes(looks_of([worse, smaller, stranger]), known).tolist() == [3, 4, -1]
    assert look_alikes(known, known[:0]).tolist() == [-1] * 6
    assert looks_of([np.zeros((64, 64), np.uint8)]).any() == pytest.approx(0)
