"""Noisy linear imputation: removed pixels become the weighted mean of their neighbours (Rong et al.
2022, section 4.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

ROAD_NOISE = 0.01 * 255  # grey levels; Rong et al. use 0.01 of the range
# grey levels of change in a step, far below the noise; conjugate gradients
_TOLERANCE, _MOST_STEPS = 0.05, 400
_THREADS = 2


def impute_linear(
    images: np.ndarray, removed: np.ndarray, noise: float = ROAD_NOISE, seeds: Sequence = ()
) -> np.ndarray:
    """Fill removed pixels so that each is the weighted mean of its neighbours (1/6 beside, 1/12
    across), plus noise (Rong et al. 2022, section 4.2).

    The linear system is symmetric; all images are solved at once by conjugate gradients from a
    coarse-to-fine first guess.

    Args:
        images: (B, H, W, C) floats in [0, 255].
        removed: (B, H, W) bool; where nothing is left, the image's mean is taken.
        noise: standard deviation, grey levels; the result is kept in [0, 255].
        seeds: B seeds for the noise; 0, 1, ... when empty.

    Returns:
        (B, H, W, C) float32 in [0, 255].
    """
    images, removed = np.asarray(images, np.float32), np.asarray(removed, bool)
    filled = images.copy()

    def work(i: int) -> None:
        for c in range(images.shape[-1]):
            filled[i, ..., c] = _solve(images[i, ..., c], removed[i])
        if noise and removed[i].any():
            drawn = np.random.default_rng(seeds[i] if len(seeds) else i).normal(
                0.0, noise, (int(removed[i].sum()), images.shape[-1])
            )
            filled[i, removed[i]] += drawn.astype(np.float32)

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(work, range(len(images))))
    return np.clip(filled, 0.0, 255.0)


def _solve(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Solve (D - W) x = 0 in the hole of (H, W) float32, x known outside, by conjugate gradients; D
    sums a pixel's weights, fewer at the border.

    One image at a time: its vectors stay in the processor's cache, which is five times as fast as a
    batch.
    """
    if not hole.any():
        return image
    if hole.all():
        return np.full_like(image, image.mean())
    degree = _neighbours(np.ones_like(image))
    inside = hole.astype(np.float32)
    x = np.where(hole, _first_guess(image, ~hole), image)
    residual = (_neighbours(x) - degree * x) * inside
    direction, size = residual.copy(), np.vdot(residual, residual)
    for _ in range(_MOST_STEPS):
        if not size:
            break
        applied = (degree * direction - _neighbours(direction)) * inside
        step = size / np.vdot(direction, applied)
        x += step * direction
        residual -= step * applied
        before, size = size, np.vdot(residual, residual)
        if step * max(direction.max(), -direction.min()) < _TOLERANCE:
            break
        direction *= size / before
        direction += residual
    return x


def _neighbours(x: np.ndarray) -> np.ndarray:
    """Sum the neighbours of (H, W), 1/6 each beside and 1/12 across: the product of two [1, 2, 1]
    filters without its middle.
    """
    lines = x + x
    lines[1:] += x[:-1]
    lines[:-1] += x[1:]
    both = lines + lines
    both[:, 1:] += lines[:, :-1]
    both[:, :-1] += lines[:, 1:]
    both -= 4 * x
    both *= np.float32(1 / 12)
    return both


def _first_guess(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Fill what is not known from means over ever larger blocks of what is."""
    weight = known.astype(np.float32)
    levels = [(image * weight, weight)]
    while max(levels[-1][0].shape) > 1:
        levels.append(tuple(_halved(part) for part in levels[-1]))
    total, weight = levels[-1]
    guess = total / np.maximum(weight, 1e-9)
    for total, weight in reversed(levels[:-1]):
        height, width = total.shape
        coarse = guess.repeat(2, 0).repeat(2, 1)[:height, :width]
        share = np.minimum(weight, 1.0)
        guess = share * total / np.maximum(weight, 1e-9) + (1 - share) * coarse
        guess = np.where(
            weight > 0, guess, (_neighbours(guess) + guess) / (1 + _neighbours(np.ones_like(guess)))
        )
    return guess


def _halved(part: np.ndarray) -> np.ndarray:
    part = np.pad(part, ((0, part.shape[0] % 2), (0, part.shape[1] % 2)))
    return part[::2, ::2] + part[1::2, ::2] + part[::2, 1::2] + part[1::2, 1::2]
