"""The exported graph refuses the damaged JPEGs that Python refuses, and no whole ones."""

import numpy as np
import pytest
import tensorflow as tf
from jpeg_files import HOLED, WHOLE, cut, encoded, grey_below, holed, picture

from xray_tf.data.pixels.decoding import decode
from xray_tf.nets import serving_files

SIZE = 224


@pytest.fixture(scope="module")
def decode_one():
    return serving_files.decoder(SIZE, "crop")[0]


def assert_read(decode_one, data):
    square = decode_one(data).numpy()
    assert np.abs(square - decode(data, SIZE, "crop")).max() <= 1


def assert_refused(decode_one, data):
    with pytest.raises(ValueError):
        decode(data, SIZE, "crop")
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_one(data)


@pytest.mark.parametrize("kind", WHOLE)
def test_a_whole_file_is_read(kind, decode_one):
    assert_read(decode_one, WHOLE[kind]())


@pytest.mark.parametrize("kind", [kind for kind in WHOLE if kind != "progressive"])
@pytest.mark.parametrize("share", [0.35, 0.85])
def test_a_scan_cut_short_before_its_end_marker_is_refused(kind, share, decode_one):
    assert_refused(decode_one, cut(WHOLE[kind](), share))


@pytest.mark.parametrize("kind", HOLED)
def test_a_scan_whose_second_half_is_zeros_is_refused(kind, decode_one):
    assert_refused(decode_one, holed(WHOLE[kind]()))


@pytest.mark.parametrize("grey", [127, 128, 129])
@pytest.mark.parametrize("options", [{}, {"progressive": 1}, {"optimize": 1}], ids=str)
def test_a_picture_that_ends_in_neutral_grey_is_whole(grey, options, decode_one):
    assert_read(decode_one, grey_below(grey, **options))


def test_bytes_after_the_end_marker_are_not_of_the_scan(decode_one):
    assert_read(decode_one, encoded(picture()) + b"trailer" * 100)
