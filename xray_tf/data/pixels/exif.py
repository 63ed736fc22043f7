"""Which way up a picture is: the orientation in its EXIF block, and the turn that undoes it.

`nets.serving_files` repeats both in TensorFlow.
"""

from __future__ import annotations

import numpy as np

UPRIGHT = 1
ORIENTATION_TAG = 0x0112
ENTRY_BYTES = 12
# EXIF 2.32, 4.6.4.A: what brings the stored picture upright is a transposition from 5 on, then a
# mirror of rows (top to bottom), then one of columns
TRANSPOSED, ROWS_MIRRORED, COLUMNS_MIRRORED = (5, 6, 7, 8), (3, 4, 7, 8), (2, 3, 6, 7)
# bytes of a value by its TIFF type: BYTE, SHORT, LONG
WIDTHS = {1: 1, 3: 2, 4: 4}


def orientation_of(block: bytes) -> int:
    """Return the orientation, 1 (upright) to 8, of the first directory of an EXIF block.

    Args:
        block: from the byte order on (`II` or `MM`); anything else, a damaged block, or another
            number counts as upright, as viewers have it.
    """
    order = {b"II": "little", b"MM": "big"}.get(block[:2])

    def whole(at: int, width: int) -> int:
        return int.from_bytes(block[at : at + width].ljust(width, b"\0"), order)

    if order is None or whole(2, 2) != 42:
        return UPRIGHT
    directory = whole(4, 4)
    for index in range(whole(directory, 2)):
        at = directory + 2 + index * ENTRY_BYTES
        if at + ENTRY_BYTES > len(block):
            break
        if whole(at, 2) == ORIENTATION_TAG:
            width = WIDTHS.get(whole(at + 2, 2), 0)
            found = whole(at + 8, width)
            return found if 1 <= found <= 8 else UPRIGHT
    return UPRIGHT


def turn_upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an orientation.

    Args:
        image: (H, W) as stored.
        orientation: 1 to 8.

    Returns:
        (H, W), or (W, H) from 5 on, the same values.
    """
    if orientation in TRANSPOSED:
        image = image.T
    if orientation in ROWS_MIRRORED:
        image = image[::-1]
    if orientation in COLUMNS_MIRRORED:
        image = image[:, ::-1]
    return np.ascontiguousarray(image)
