"""What is known of lungs once their mask is there: box, areas of the two, and a table of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from xray_tf.data.tables.table import Table

INSIDE = 0.5  # lungs from here on
SMALLEST = 0.005  # of the image: smaller islands are not lung
NO_LUNGS = "no two upright lungs found"


class LungBox(NamedTuple):
    """Where lungs lie, in pixels: columns left <= x < right, rows top <= y < bottom."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class LungRow:
    """What was found in one radiograph.

    Attributes:
        path: the file as it was asked for.
        width, height: of the radiograph, pixels.
        area: share of the radiograph that is lung, in [0, 1].
        image_left, image_right: of it, the shares on the image's left (the patient's right lung, as
            radiographs are hung) and on its right.
        left, top, right, bottom: the box around the lungs, pixels; -1 where there are none.
        chest: how sure the net is that two upright lungs are there, in [0, 1].
        warning: empty where it is sure.
        iou: overlap with a drawn mask; NaN where there is none.
        error: why the file could not be read; empty where it could.
    """

    path: str
    width: int = 0
    height: int = 0
    area: float = float("nan")
    image_left: float = float("nan")
    image_right: float = float("nan")
    left: int = -1
    top: int = -1
    right: int = -1
    bottom: int = -1
    chest: float = float("nan")
    warning: str = ""
    iou: float = float("nan")
    error: str = ""


class LungRows(Table[LungRow]):
    """What was found in radiographs, most often written as `lungs.csv`."""

    row_type = LungRow


def lung_row(
    path: str, lungs: np.ndarray, chest: float, threshold: float, iou: float = float("nan")
) -> LungRow:
    """Describe lungs (H, W) float32 in [0, 1] and the score that goes with them."""
    height, width = lungs.shape
    box = lung_box(lungs)
    left, right = side_areas(lungs)
    return LungRow(
        path,
        width,
        height,
        left + right,
        left,
        right,
        *(box or (-1,) * 4),
        float(chest),
        "" if chest >= threshold else NO_LUNGS,
        float(iou),
    )


def lung_box(lungs: np.ndarray, threshold: float = INSIDE) -> LungBox | None:
    """Return the box around the lungs of one image, without small islands.

    Args:
        lungs: (H, W) float in [0, 1] or bool, as `segment_lungs` gives them for one image.
        threshold: lungs from here on.

    Returns:
        A named tuple (left, top, right, bottom) in pixels, right and bottom just outside; None
        where there are no lungs.

    Raises:
        ValueError: not one image.
    """
    lungs = np.asarray(lungs)
    if lungs.ndim != 2:
        raise ValueError(f"lungs must be (H, W), of one image. Received: shape {lungs.shape}")
    count, _, facts, _ = cv2.connectedComponentsWithStats((lungs >= threshold).astype(np.uint8))
    kept = [i for i in range(1, count) if facts[i, cv2.CC_STAT_AREA] >= SMALLEST * lungs.size]
    if not kept:
        return None
    x, y, width, height, _ = facts[kept].T
    return LungBox(int(x.min()), int(y.min()), int((x + width).max()), int((y + height).max()))


def side_areas(lungs: np.ndarray, threshold: float = INSIDE) -> tuple[float, float]:
    """Return which share of the image (H, W) is lung on the image's left and on its right.

    The line between them is the middle of the lungs' box, at which the two are apart.
    """
    inside = np.asarray(lungs) >= threshold
    box = lung_box(lungs, threshold)
    if box is None:
        return 0.0, 0.0
    middle = _gap(inside, box)
    return float(inside[:, :middle].sum() / inside.size), float(
        inside[:, middle:].sum() / inside.size
    )


def _gap(inside: np.ndarray, box: LungBox) -> int:
    """Return the column with the least lung in the middle third of the box."""
    width = box.right - box.left
    low, high = box.left + width // 3, box.right - width // 3
    columns = inside[:, low : max(high, low + 1)].sum(0)
    least = np.flatnonzero(columns == columns.min())
    return int(low + least[len(least) // 2])
