"""Read lung masks that people drew, and divide them by patient.

The rule of division, written before any net was trained:
    held out    masks of patients who are validation rows of the shipped classifiers
                (`saved_models/pneumonia-three-class/split.csv`, split == val, namespaced keys).
                They are looked at for final figures only.
    selection   of the other patients those whose sha256 of the patient key is divisible by 8.
                They choose the recipe and the number of epochs.
    training    the rest. The shipped net is trained on training and selection together, by the
                recipe that was chosen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

import cv2
import numpy as np

LUNG, IGNORE = 255, 127  # greys of a mask; whatever else is 0
TRAINING, SELECTION, HELD_OUT = PARTS = ("train", "val", "test")
ONE_IN = 8  # patients of the selection part


def divide(patients: Sequence[str], held_out: Collection[str]) -> np.ndarray:
    """Return the part (N,) str of each row, by its patient and the rule above."""
    return np.array([_part(patient, held_out) for patient in patients], object)


def _part(patient: str, held_out: Collection[str]) -> str:
    if patient in held_out:
        return HELD_OUT
    number = int(hashlib.sha256(patient.encode("utf-8")).hexdigest(), 16)
    return SELECTION if number % ONE_IN == 0 else TRAINING


def read_mask(path: str | Path, side: int | None = None) -> np.ndarray:
    """Read a mask file: (H, W) or (side, side) uint8 of 255 lung, 127 ignore, 0 the rest.

    Raises:
        ValueError: it is no picture, or holds other greys.
    """
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise ValueError(f"{path} is not a picture that can be read. Expected a grey PNG mask.")
    greys = set(np.unique(mask).tolist())
    if not greys <= {0, IGNORE, LUNG}:
        raise ValueError(
            f"{path}: a mask holds the greys 0, {IGNORE} (ignore) and {LUNG} (lung) only. "
            f"Received: {sorted(greys)[:12]}"
        )
    return mask if side is None or mask.shape == (side, side) else resize_mask(mask, (side, side))


def resize_mask(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize a mask (H, W) uint8 to (h, w).

    A pixel is lung where half of it was, and to be ignored where a quarter of it was.
    """
    size = shape[::-1]
    shrinks = shape[0] < mask.shape[0] or shape[1] < mask.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    lungs = cv2.resize((mask == LUNG).astype(np.float32), size, interpolation=how)
    ignored = cv2.resize((mask == IGNORE).astype(np.float32), size, interpolation=how)
    return np.where(ignored > 0.25, IGNORE, np.where(lungs >= 0.5, LUNG, 0)).astype(np.uint8)


def intersection_over_union(lungs: np.ndarray, mask: np.ndarray, threshold: float = 0.5) -> float:
    """Return the IoU of lungs (H, W) float in [0, 1] with a mask (H, W) uint8, in [0, 1].

    Pixels to ignore are left out. Two empty masks agree: 1.
    """
    known = mask != IGNORE
    found, true = (lungs >= threshold) & known, (mask == LUNG) & known
    either = np.count_nonzero(found | true)
    return np.count_nonzero(found & true) / either if either else 1.0


def fit_to(image: np.ndarray, side: int) -> np.ndarray:
    """Squash a grey image (H, W) uint8 to (side, side) float32.

    It is averaged where it shrinks and interpolated where it grows.
    """
    height, width = (min(n, side) for n in image.shape)
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR).astype(np.float32)


def resize_lungs(lungs: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize lungs (h, w) float32 in [0, 1] to `shape`."""
    return cv2.resize(lungs, shape[::-1], interpolation=cv2.INTER_LINEAR)
