"""The estimate of lungs that detectors were fitted with before there was a segmenter.

Only `models.detector` uses it, and only for such detectors: their scores and their atlas are right
for these lungs and wrong for better ones. It goes when the last of them is fitted again.

A mean shape is placed where the image is darkest inside it; its outline then follows the dark
region. If no placement explains the image, the mean shape is returned at its usual place.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from xray_tf.data.chest.lung_atlas import MARGIN, SIDE, soft_edged
from xray_tf.data.chest.lung_fields import LungFields
from xray_tf.data.synthetic.phantom import draw_phantom

PLAUSIBLE_AREA = (0.6, 1.5)  # relative to the area of the placed shape
# a placement whose correlation with the image is lower is not believed
LEAST_FIT = 0.30
_CHUNK = 64  # radiographs per batch of placements
_GRID = 48  # side of the reduced images on which the shape is placed
_SHAPE_SIDE, _SHAPE_PHANTOMS = 96, 24
_PRIOR = 0.6  # how much better a placement must fit that is half a side away from the usual one
# centre x, centre y, width and height of both lungs together, as shares of the side
_USUAL = (0.50, 0.49, 0.80, 0.66)
# the best contrast lies a little inside the outline: measured on phantoms
_OUTWARD = np.array([1, 1, 1.04, 1.04])
_RING = 0.06  # width of the brighter rim around the shape, as a share of the side
_LEVEL = 0.7  # the greys between lung (0) and surroundings (1) that still count as lung
_REACH = 0.025  # how far the outline may follow the dark region, as a share of the side


def estimated_fields(images: Sequence[np.ndarray] | np.ndarray) -> LungFields:
    """Estimate the lungs of radiographs.

    Args:
        images: (N, S, S) uint8 in [0, 255], bone white.

    Returns:
        Their lungs; `fits` is the correlation of each image with the placed shape, in [-1, 1], and
        `places` where that was placed.

    Raises:
        ValueError: not squares of grey bytes.
    """
    images = np.asarray(images)
    squares = images.ndim == 3 and images.shape[1] == images.shape[2] >= 16
    if not squares or images.dtype != np.uint8:
        raise ValueError(
            "images must be (N, S, S) uint8 in [0, 255], S at least 16. Received: "
            f"shape {images.shape}, {images.dtype}"
        )
    side = images.shape[1]
    masks, fits = np.empty(images.shape, bool), np.empty(len(images), np.float32)
    parts = [slice(i, i + _CHUNK) for i in range(0, len(images), _CHUNK)]
    found = [_placements(images[part], fits[part]) for part in parts]
    places = np.concatenate([np.empty((0, 4)), *found])
    for i, (image, place) in enumerate(zip(images, places, strict=True)):
        believed = fits[i] >= LEAST_FIT
        places[i] = place * _OUTWARD if believed else _USUAL
        laid = _laid(places[i], side)
        followed = _followed(image, laid) if believed else None
        masks[i] = laid if followed is None else followed
    return LungFields(masks, fits, places, fits >= LEAST_FIT)


@lru_cache(maxsize=1)
def lung_shape() -> np.ndarray:
    """Return the mean shape (96, 96) float32 in [0, 1]: the share of phantoms whose lungs cover
    each cell, after each pair of lungs was stretched to its bounding box.
    """
    total = np.zeros((_SHAPE_SIDE, _SHAPE_SIDE), np.float32)
    for patient in range(_SHAPE_PHANTOMS):
        lungs = draw_phantom("normal", 0, patient, height=128, width=128).lungs
        rows, columns = np.nonzero(lungs)
        part = lungs[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        part = part.astype(np.float32)
        total += cv2.resize(part, total.shape, interpolation=cv2.INTER_LINEAR)
    return total / _SHAPE_PHANTOMS


def _laid(place: Sequence[float], side: int) -> np.ndarray:
    """Return the mean shape (side, side) bool at (centre x, centre y, width, height), as shares of
    the side.
    """
    x, y, wide, high = (float(v) * side for v in place)
    matrix = np.array(
        [[wide / _SHAPE_SIDE, 0, x - wide / 2], [0, high / _SHAPE_SIDE, y - high / 2]]
    )
    return cv2.warpAffine(lung_shape(), matrix, (side, side), flags=cv2.INTER_LINEAR) >= 0.5


@lru_cache(maxsize=1)
def _bank() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return placements (T, 4), their patterns (T, G * G) float32 (positive on the rim, negative
    inside, sum 0), their supports, and the penalty of each.
    """
    steps = (
        np.linspace(-0.12, 0.12, 7),
        np.linspace(-0.15, 0.15, 9),
        np.linspace(-0.24, 0.16, 6),
        np.linspace(-0.22, 0.18, 6),
    )
    offsets = np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 4)
    places = np.array(_USUAL) + offsets
    rim = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(_RING * _GRID) + 1,) * 2)
    patterns, supports = np.zeros((2, len(places), _GRID * _GRID), np.float32)
    for i, place in enumerate(places):
        inside = _laid(place, _GRID)
        around = cv2.dilate(inside.astype(np.uint8), rim).astype(bool) & ~inside
        patterns[i, inside.ravel()] = -1 / inside.sum()
        patterns[i, around.ravel()] = 1 / around.sum()
        supports[i] = (inside | around).ravel() / (inside | around).sum()
    return places, patterns, supports, (_PRIOR * (offsets**2).sum(1) / 0.25).astype(np.float32)


def _placements(images: np.ndarray, fits: np.ndarray) -> np.ndarray:
    """Return where the mean shape fits each image best (B, 4), and write its correlation with the
    image into `fits` (B,).
    """
    places, patterns, supports, price = _bank()
    small = [cv2.resize(one, (_GRID, _GRID), interpolation=cv2.INTER_AREA) for one in images]
    small = np.stack([cv2.equalizeHist(one).ravel() for one in small]).astype(np.float32) / 255
    gap = small @ patterns.T  # (B, T) mean of the rim minus mean of the inside
    spread = np.sqrt(np.maximum((small * small) @ supports.T - (small @ supports.T) ** 2, 1e-6))
    inside = (supports * (patterns < 0)).sum(1)
    fit = gap / spread * np.sqrt(inside * (1 - inside))  # the point-biserial correlation
    best = (fit - price).argmax(1)
    fits[:] = fit[np.arange(len(images)), best]
    return places[best]


def _followed(image: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
    """Let the outline follow the dark region within `_REACH` of it; return None if the result is
    not a pair of lungs.
    """
    side = len(image)
    reach = max(1, round(_REACH * side))
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
    core, outer = (
        change(mask.astype(np.uint8), brush).astype(bool) for change in (cv2.erode, cv2.dilate)
    )
    soft = cv2.GaussianBlur(image, (0, 0), 0.025 * side)
    if not core.any() or not (outer & ~mask).any():
        return None
    inside, around = np.median(soft[core]), np.median(soft[outer & ~mask])
    level = inside + _LEVEL * (around - inside)
    dark = outer & (soft < level) | core
    smooth = cv2.GaussianBlur(dark.astype(np.float32), (0, 0), 0.015 * side) >= 0.5
    count, labels, facts, _ = cv2.connectedComponentsWithStats(
        smooth.astype(np.uint8), connectivity=4
    )
    large = [i for i in range(1, count) if facts[i, cv2.CC_STAT_AREA] >= 0.02 * side * side]
    kept = np.isin(labels, large)
    return kept if PLAUSIBLE_AREA[0] <= kept.sum() / mask.sum() <= PLAUSIBLE_AREA[1] else None


def atlas_lungs() -> np.ndarray:
    """Return the mean shape in the frame of a `LungAtlas`, (64, 64) float32 in [0, 1]."""
    inner = round(SIDE / (1 + 2 * MARGIN))
    shape = np.zeros((SIDE, SIDE), np.float32)
    start = (SIDE - inner) // 2
    small = cv2.resize(lung_shape(), (inner, inner), interpolation=cv2.INTER_AREA)
    shape[start : start + inner, start : start + inner] = small
    return soft_edged(shape)
