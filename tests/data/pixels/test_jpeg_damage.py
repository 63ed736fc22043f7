"""JPEG files that libjpeg only warns of are refused; whole ones, also odd ones, are read."""

import numpy as np
import pytest
from jpeg_files import HOLED, WHOLE, cut, encoded, grey_below, holed, picture

from xray_tf.data.pixels.decoding import decode, read_header
from xray_tf.data.pixels.header import DecodeError


@pytest.mark.parametrize("kind", WHOLE)
def test_a_whole_file_is_read(kind):
    assert decode(WHOLE[kind](), 224, "crop").shape == (224, 224)


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("share", [0.35, 0.6, 0.85])
def test_a_scan_cut_short_before_its_end_marker_is_refused(kind, share):
    if kind == "progressive":
        pytest.skip("its later scans only sharpen what the earlier ones drew")
    with pytest.raises(DecodeError) as refusal:
        decode(cut(WHOLE[kind](), share), 224, "crop")
    assert refusal.value.kind == "truncated"


@pytest.mark.parametrize("kind", HOLED)
def test_a_scan_whose_second_half_is_zeros_is_refused(kind):
    with pytest.raises(DecodeError) as refusal:
        decode(holed(WHOLE[kind]()), 224, "crop")
    assert refusal.value.kind == "truncated"


@pytest.mark.parametrize("grey", [127, 128, 129])
@pytest.mark.parametrize("options", [{}, {"progressive": 1}, {"optimize": 1}], ids=str)
def test_a_picture_that_ends_in_neutral_grey_is_whole(grey, options):
    assert decode(grey_below(grey, **options), 224, "crop").shape == (224, 224)


@pytest.mark.parametrize("height", range(290, 324, 3))
def test_the_height_need_be_no_multiple_of_anything(height):
    for colour in (False, True):
        assert decode(encoded(picture(height, 300, colour)), 224, "squash").any()


def test_bytes_after_the_end_marker_are_not_of_the_scan():
    whole = encoded(picture())
    trailed = decode(whole + b"trailer" * 100, 224, "crop")
    assert np.array_equal(trailed, decode(whole, 224, "crop"))


def test_a_file_of_a_million_empty_segments_is_refused_at_once():
    data = encoded(picture())
    data = data[:2] + b"\xff\xfe\x00\x02" * 1_000_000 + data[2:]
    for read in (read_header, lambda d: decode(d, 224, "crop")):
        with pytest.raises(DecodeError, match="more than 10,000 segments"):
            read(data)
