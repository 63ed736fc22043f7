"""Find in a radiograph what was found in the square that a model sees."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

LEAST_POINTS, MOST_POINTS = 3, 4000  # of an outline
SIMPLER = 0.4  # pixels of the square by which an outline may depart from the mask


@dataclass(frozen=True)
class Place:
    """Where the square that a model sees lies in a radiograph of H x W pixels.

    Attributes:
        top, left: of the square in the radiograph, pixels; negative where it was padded.
        high, wide: sides of the square in the radiograph, pixels.
        size: side of the square as the model sees it.
    """

    top: float
    left: float
    high: float
    wide: float
    size: int

    @classmethod
    def of(cls, height: int, width: int, size: int, resize: str) -> Place:
        """Return the place of a square made by `data.pixels.square.resize_pixels`."""
        if resize == "squash":
            return cls(0, 0, height, width, size)
        if resize == "crop":
            side = min(height, width)
            return cls((height - side) // 2, (width - side) // 2, side, side, size)
        side = max(height, width)
        return cls((height - side) / 2, (width - side) / 2, side, side, size)

    def points(self, outline: np.ndarray) -> np.ndarray:
        """Return the points (P, 2) float64 of an outline in the square, x and y of pixels, in the
        radiograph; the corner of its first pixel is (0, 0), as PS3.3 C.10.5.1.2 has it.
        """
        x, y = (outline.astype(np.float64) + 0.5).T / self.size
        return np.stack([self.left + x * self.wide, self.top + y * self.high], axis=1)


def outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Return the outer outlines of a mask (S, S) bool, the largest first, each (P, 2) int64 x and
    y.
    """
    found, _ = cv2.findContours(
        np.asarray(mask, np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    simple = [cv2.approxPolyDP(one, SIMPLER, True)[:, 0] for one in found]
    kept = [one.astype(np.int64) for one in simple if LEAST_POINTS <= len(one) <= MOST_POINTS]
    return sorted(kept, key=lambda one: -cv2.contourArea(one.astype(np.int32)))


def spread(
    square: np.ndarray, place: Place, height: int, width: int, linear: bool = True
) -> np.ndarray:
    """Return what was found in the square, (S, S) numbers, at its place in a radiograph of height x
    width pixels; 0 outside it.
    """
    how = cv2.INTER_LINEAR if linear else cv2.INTER_NEAREST
    sides = round(place.wide), round(place.high)
    large = cv2.resize(np.asarray(square, np.float32), sides, interpolation=how)
    top, left = round(place.top), round(place.left)
    whole = np.zeros((height, width), np.float32)
    rows = slice(max(0, top), min(height, top + sides[1]))
    columns = slice(max(0, left), min(width, left + sides[0]))
    whole[rows, columns] = large[
        rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]
    return whole
