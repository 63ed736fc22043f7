"""How alike two heat maps of the same radiograph are."""

from __future__ import annotations

import numpy as np
from scipy import ndimage, stats

_SIGMA = 1.5  # pixels, of the window of Wang et al.
_C1, _C2 = 0.01**2, 0.03**2  # for values in [0, 1]


def rank_correlation(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation of the pixels of each pair, ties at their mean rank.

    Args:
        maps, others: (N, H, W).

    Returns:
        (N,) float64 in [-1, 1]; 0 where a map is constant, which ranks nothing.
    """
    maps, others = _pair(maps, others)
    pairs = zip(maps, others, strict=True)
    return np.array([_correlation(stats.rankdata(a), stats.rankdata(b)) for a, b in pairs])


def structural_similarity(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the mean structural similarity of each pair (Wang et al. 2004, equation 13), Gaussian
    windows of sigma 1.5 pixels.

    Args:
        maps, others: (N, H, W) in [0, 1].

    Returns:
        (N,) float64 in [-1, 1]; 1 for a map and itself.
    """
    maps, others = _pair(maps, others)
    found = np.empty(len(maps))
    for i, (a, b) in enumerate(zip(maps, others, strict=True)):
        mean_a, mean_b, aa, bb, ab = (
            ndimage.gaussian_filter(x, _SIGMA) for x in (a, b, a * a, b * b, a * b)
        )
        above = (2 * mean_a * mean_b + _C1) * (2 * (ab - mean_a * mean_b) + _C2)
        below = (mean_a**2 + mean_b**2 + _C1) * (aa - mean_a**2 + bb - mean_b**2 + _C2)
        found[i] = (above / below).mean()
    return found


def _pair(maps: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    maps, others = np.asarray(maps, np.float64), np.asarray(others, np.float64)
    fits = maps.ndim == 3 and maps.shape == others.shape and len(maps)
    if not fits or not np.isfinite(maps + others).all():
        raise ValueError(
            "maps must be two arrays (N, H, W) of finite numbers. Received: shapes "
            f"{maps.shape} and {others.shape}"
        )
    return maps, others


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.ravel() - a.mean(), b.ravel() - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size else 0.0
