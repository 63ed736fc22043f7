"""What is known of the lungs of several radiographs, and where lungs usually lie.

Whoever needs lungs takes a function of this kind (`FindLungs`): the shipped segmenter's is
`models.lungs.find_fields`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from xray_tf.data.chest.lung_table import lung_box

# Outline of the lung on the image's right, x and y as shares of the side: where at least half of
# 791 masks that people drew on radiographs of children say lung, made symmetric. The other lung
# mirrors it.
_OUTLINE = (
    ((0.618, 0.145), (0.600, 0.154), (0.578, 0.185), (0.560, 0.283))
    + ((0.569, 0.699), (0.583, 0.743), (0.623, 0.770), (0.712, 0.770))
    + ((0.846, 0.815), (0.868, 0.788), (0.868, 0.694), (0.842, 0.507))
    + ((0.801, 0.364), (0.761, 0.275), (0.717, 0.208), (0.663, 0.158))
)
_SUBPIXEL = 4  # bits of a coordinate below one pixel


@dataclass(frozen=True)
class LungFields:
    """Lungs of N radiographs.

    Attributes:
        masks: (N, S, S) bool.
        fits: (N,) float32, how well they were found; what is higher was found better.
        places: (N, 4) float64, the box around them: centre x, centre y, width and height, shares of
            the side.
        sure: (N,) bool, false where there seem not to be two upright lungs.
    """

    masks: np.ndarray
    fits: np.ndarray
    places: np.ndarray
    sure: np.ndarray


FindLungs = Callable[[np.ndarray], LungFields]


def usual_lungs(side: int) -> np.ndarray:
    """Return where lungs usually lie, (side, side) bool."""
    right = np.array(_OUTLINE)
    picture = np.zeros((side, side), np.uint8)
    for outline in (right, (1, 0) + right * (-1, 1)):
        corners = np.round((outline * side - 0.5) * (1 << _SUBPIXEL)).astype(np.int32)
        cv2.fillPoly(picture, [corners], 1, shift=_SUBPIXEL)
    return picture > 0


def places_of(masks: np.ndarray) -> np.ndarray:
    """Return the box around the lungs of each mask (N, S, S) bool, as in `LungFields`; that of
    `usual_lungs` where there are none.
    """
    side, places = masks.shape[1], []
    for mask in masks:
        box = lung_box(mask) or lung_box(usual_lungs(side))
        left, top, right, bottom = (n / side for n in box)
        places.append(((left + right) / 2, (top + bottom) / 2, right - left, bottom - top))
    return np.array(places, np.float64).reshape(len(masks), 4)
