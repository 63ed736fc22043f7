"""Find JPEG files whose scan is cut or overwritten. libjpeg decodes them with a warning, which
OpenCV does not pass on.

Where a scan ends early libjpeg leaves neutral grey, and where a hole of zeros was read as data,
some are left over. A file that shows either is decoded again as a taller picture, which tells
whether its data end with it. That costs a second decoding, and a line of libjpeg's on stderr, so
other files are spared it: bytes that were overwritten with others than zeros are not found.
`nets.serving_files` does the same in the exported graph.
"""

from __future__ import annotations

import cv2
import numpy as np

from xray_tf.data.pixels.header import DecodeError, Header

HOLE = bytes(64)  # hardly a scan has so many zeros in a row
NEUTRAL = 128  # what libjpeg leaves where there are no data
MCU = 32  # rows that one row of coded units has at most
FULL_EIGHTH = 8  # the smallest scale of libjpeg
MORE_ROWS, MOST_ROWS = 4 * MCU, 65_535  # of the taller picture
END = b"\xff\xd9"
MORE = bytes(range(1, 200)) * 40  # scan data for the rows that are missing


def check_scan(
    data: bytes, header: Header, image: np.ndarray, frame: int, scale: int, flags: int
) -> None:
    """Raise DecodeError (`truncated`) unless the scan fills the picture, and little more.

    Args:
        data: a JPEG file that has its end marker.
        header: its header.
        image: (H, W) uint8, decoded as stored with `flags`, at 1 / `scale`.
        frame: where the payload of its frame header begins.
        scale: 1 or 2.
        flags: of OpenCV.
    """
    height = header.stored_sides[0]
    if height + MORE_ROWS > MOST_ROWS:
        return
    if HOLE in data[frame:]:
        _refuse_left_over(data, frame, height)
    if (image[-max(1, 8 // scale) :] != NEUTRAL).any():
        return
    # a picture may be that grey there; then more data change nothing in it
    more = data[: data.rindex(END)] + MORE + END
    again = _decode(_taller(more, frame, height), flags)
    if again is None or not np.array_equal(again[: len(image)], image):
        drawn = np.flatnonzero((image != NEUTRAL).any(axis=1)).max(initial=-1) + 1
        rows = len(image) - int(drawn)
        raise DecodeError(
            "truncated",
            f"The JPEG's scan data end early: the last {rows * scale:,} of {height:,} rows are "
            "missing.",
        )


def _refuse_left_over(data: bytes, frame: int, height: int) -> None:
    below = _decode(_taller(data, frame, height), cv2.IMREAD_REDUCED_GRAYSCALE_8)
    first = (-(-height // MCU) + 1) * MCU // FULL_EIGHTH  # the first row may end the last unit
    if below is not None and (below[first:] != NEUTRAL).any():
        raise DecodeError("truncated", "The JPEG's scan data are damaged: they do not end with it.")


def _taller(data: bytes, frame: int, height: int) -> bytes:
    taller = (height + MORE_ROWS).to_bytes(2, "big")
    return data[: frame + 1] + taller + data[frame + 3 :]


def _decode(data: bytes, flags: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
