"""Bring lungs into one frame: each lung's box fills its half of a square, grey is standardised
inside the lungs, and everything else is one grey.

What is compared in this frame is like with like, and nothing from outside the lungs is in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from xray_tf.data.chest.lung_fields import usual_lungs

GREY, PER_DEVIATION = 128, 45  # the lungs' mean, and what a standard deviation from it becomes
MARGIN = 0.04  # added on every side of a lung's box, as a share of it
LEAST_PART = 0.05  # smaller pieces of a mask, as a share of all of it, are no lung
LEAST_DEVIATION = 4.0  # grey levels: flat lungs are not blown up into noise


@dataclass(frozen=True)
class RegisteredLungs:
    """Lungs of N radiographs in their common frame, side by side as in the image.

    Attributes:
        images: (N, S, S) uint8; the lungs' mean grey is 128, a standard deviation 45 levels, and
            what is not lung 128.
        lungs: (N, S, S) bool.
        matrices: (N, 2, 2, 3) float64, for each lung from pixels of its half (S, S / 2) to those of
            the radiograph.
        masks: (N, S, S) bool, the lungs in the radiographs.
    """

    images: np.ndarray
    lungs: np.ndarray
    matrices: np.ndarray
    masks: np.ndarray

    def shares(self, grid: int) -> np.ndarray:
        """Return the share of each cell of a grid that is lung, (N, grid, grid) float32."""
        small = [
            cv2.resize(m.astype(np.float32), (grid, grid), interpolation=cv2.INTER_AREA)
            for m in self.lungs
        ]
        return np.array(small, np.float32).reshape(len(self.lungs), grid, grid)

    def back(self, maps: np.ndarray) -> np.ndarray:
        """Lay maps (N, S, S) of the frame on the radiographs, (N, S, S) float32; 0 outside the
        lungs.
        """
        half, out = maps.shape[2] // 2, np.zeros(self.masks.shape, np.float32)
        for i, mask in enumerate(self.masks):
            for matrix, part, own in zip(
                self.matrices[i],
                (maps[i, :, :half], maps[i, :, half:]),
                _halves(mask),
                strict=True,
            ):
                places = np.arange(len(mask))[:, None] - matrix[:, 2]
                x, y = np.clip(places / (matrix[0, 0], matrix[1, 1]), 0, (half - 1, 2 * half - 1)).T
                out[i] += _between(np.asarray(part, np.float32), y, x) * own
        return out


def register_lungs(images: np.ndarray, masks: np.ndarray) -> RegisteredLungs:
    """Register the lungs of radiographs.

    Args:
        images: (N, S, S) uint8 in [0, 255], bone white, S even.
        masks: (N, S, S) bool, their lungs; where there are none, lungs usually lie.

    Raises:
        ValueError: not squares of grey bytes with as many masks.
    """
    images, masks = np.asarray(images), np.asarray(masks, bool)
    square = images.ndim == 3 and images.shape[1] == images.shape[2] and not images.shape[1] % 2
    if not square or images.dtype != np.uint8 or masks.shape != images.shape:
        raise ValueError(
            "images must be (N, S, S) uint8, S even, with masks of the same shape. Received: "
            f"{images.shape} {images.dtype}, masks {masks.shape}"
        )
    masks = np.stack([_lungs_of(m) for m in masks]) if len(masks) else masks
    new, lungs = np.full(images.shape, GREY, np.uint8), np.zeros(images.shape, bool)
    matrices = np.empty((len(images), 2, 2, 3))
    for i, (image, mask) in enumerate(zip(images, masks, strict=True)):
        new[i], lungs[i], matrices[i] = _registered(image, mask)
    return RegisteredLungs(new, lungs, matrices, masks)


def _registered(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    side, grey = len(image), image.astype(np.float32)
    inside = grey[mask]
    grey = (grey - inside.mean()) / max(float(inside.std()), LEAST_DEVIATION)
    greys, shares, matrices = [], [], []
    for own, box in zip(_halves(mask), _boxes(mask), strict=True):
        matrix = _matrix(box, side)
        y = matrix[1, 1] * np.arange(side) + matrix[1, 2]
        x = matrix[0, 0] * np.arange(side // 2) + matrix[0, 2]
        # outside pixels weigh nothing, so interpolation takes nothing from them
        for values, to in ((grey * own, greys), (own.astype(np.float32), shares)):
            to.append(_between(values, y, x))
        matrices.append(matrix)
    grey, share = np.concatenate(greys, axis=1), np.concatenate(shares, axis=1)
    lungs = share > 0.5
    levels = GREY + PER_DEVIATION * np.divide(grey, share, out=np.zeros_like(grey), where=lungs)
    return np.clip(np.round(levels), 0, 255).astype(np.uint8), lungs, np.array(matrices)


def _lungs_of(mask: np.ndarray) -> np.ndarray:
    """Return a mask without its small pieces; the usual lungs where nothing is left."""
    count, labels, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    least = LEAST_PART * mask.sum()
    large = [i for i in range(1, count) if facts[i, cv2.CC_STAT_AREA] >= least]
    return np.isin(labels, large) if large else usual_lungs(len(mask))


def _middle(mask: np.ndarray) -> int:
    """Return the column that divides two lungs: in the middle third of their width, the one with
    the least lung.
    """
    columns = np.flatnonzero(mask.any(axis=0))
    first, last = int(columns[0]), int(columns[-1])
    third = np.arange(first + (last - first) // 3, last - (last - first) // 3 + 1)
    lung = mask[:, third].sum(axis=0)
    best = third[lung == lung.min()]
    return int(best[np.abs(best - (first + last) / 2).argmin()])


def _halves(mask: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the mask of the lung on the left of the image, then of that on the right."""
    left = np.arange(mask.shape[1]) < _middle(mask)
    yield mask & left
    yield mask & ~left


def _boxes(mask: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Return left, top, right and bottom of both lungs; one that is not there has the box that
    mirrors the other.
    """
    boxes: list[tuple[int, int, int, int] | None] = []
    for own in _halves(mask):
        rows, columns = np.nonzero(own)
        there = len(rows) > LEAST_PART * mask.sum()
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if there else None
        boxes.append(box)
    side = mask.shape[1]
    mirrored = [b and (side - b[2], b[1], side - b[0], b[3]) for b in reversed(boxes)]
    return [own or other for own, other in zip(boxes, mirrored, strict=True)]


def _matrix(box: tuple[int, int, int, int], side: int) -> np.ndarray:
    """Return what takes pixels of the half frame (side, side / 2) to those of the image."""
    left, top, right, bottom = box
    size = np.array([right - left, bottom - top], float)
    scale = size * (1 + 2 * MARGIN) / (side / 2, side)
    corner = np.array([left, top]) - MARGIN * size + scale / 2 - 0.5
    return np.array([[scale[0], 0, corner[0]], [0, scale[1], corner[1]]])


def _between(values: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return values (H, W) float32 on the grid of rows `y` and columns `x`, (len(y), len(x)), by
    bilinear interpolation; outside they are 0.

    OpenCV 4 rounds such places to a 32nd of a pixel, and OpenCV 5 does not.
    """
    for at in (y, x):
        at = np.clip(at, -1, len(values))
        low = np.minimum(np.floor(at).astype(int), len(values) - 1)
        share = (at - low).astype(np.float32)[:, None]
        rows = np.pad(values, ((1, 1), (0, 0)))
        values = ((1 - share) * rows[low + 1] + share * rows[low + 2]).T
    return values
