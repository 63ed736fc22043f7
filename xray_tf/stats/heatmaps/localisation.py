"""Heat maps against places that are known: lesions, lungs, and controls that know no net."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from xray_tf.stats.checks import finite_rows

QUANTILE = 0.9
_RANDOM_CELLS = 7  # of the random control, about as coarse as a Grad-CAM map


def localisation(
    maps: np.ndarray, masks: np.ndarray, quantile: float = QUANTILE, tolerance: int = 0
) -> dict[str, np.ndarray]:
    """Measure how well maps point at lesions.

    Args:
        maps: (N, H, W) floats >= 0.
        masks: (N, H, W) bool, each with at least one pixel.
        quantile: of a map's own values, above which a pixel belongs to its region.
        tolerance: pixels around a lesion that still count as a hit.

    Returns:
        (N,) float64 each:
        `hit`: 1 where the maximum lies in the lesion (pointing game, Zhang et al. 2018); with
            several equal maxima, the share of them that does.
        `energy`: the share of the map's sum inside the lesion (Wang et al. 2020, "Score-CAM",
            section 4.3).
        `iou_quantile`: intersection over union of the lesion and the region above `quantile`.
        `iou_best`: the same at the threshold that suits each image best: what the map could give,
            not what a reader gets.
        `area`: the lesion's share of the image, which is what `hit` and `energy` are by chance.
        An empty map points nowhere: all but `area` are 0.

    Raises:
        ValueError: shapes that do not fit, negative or NaN maps, or a mask without a lesion.
    """
    maps, masks = checked_maps(maps), np.asarray(masks, bool)
    if masks.shape != maps.shape or not masks.any(axis=(1, 2)).all():
        raise ValueError(
            "masks must have the shape of maps and each hold a lesion. "
            f"Received: maps {maps.shape}, masks {masks.shape}, "
            f"{int((~masks.any(axis=(1, 2))).sum()) if masks.ndim == 3 else '?'} of them empty."
        )
    if not 0 < quantile < 1:
        raise ValueError(f"quantile must lie between 0 and 1. Received: quantile={quantile!r}")
    found = inside(maps, masks)
    if tolerance:
        near = [ndimage.distance_transform_edt(~mask) <= tolerance for mask in masks]
        found["hit"] = inside(maps, np.stack(near))["hit"]
    ious = np.array([_ious(one, mask, quantile) for one, mask in zip(maps, masks, strict=True)])
    return found | {"iou_quantile": ious[:, 0], "iou_best": ious[:, 1]}


def inside(maps: np.ndarray, masks: np.ndarray) -> dict[str, np.ndarray]:
    """Return `hit`, `energy` and `area` (N,) float64 as `localisation` defines them, for masks (N,
    H, W) bool that may be empty.
    """
    maps, masks = checked_maps(maps), np.asarray(masks, bool)
    most, total = maps.max(axis=(1, 2)), maps.sum(axis=(1, 2))
    highest = (maps == most[:, None, None]) & (most > 0)[:, None, None]
    return {
        "hit": (highest & masks).sum(axis=(1, 2)) / np.maximum(highest.sum(axis=(1, 2)), 1),
        "energy": divided((maps * masks).sum(axis=(1, 2)), total),
        "area": masks.mean(axis=(1, 2)),
    }


def _ious(one: np.ndarray, mask: np.ndarray, quantile: float) -> tuple[float, float]:
    if not one.any():
        return 0.0, 0.0
    region = (one >= np.quantile(one, quantile)) & (one > 0)
    return (region & mask).sum() / (region | mask).sum(), _best_iou(one, mask)


def _best_iou(one: np.ndarray, mask: np.ndarray) -> float:
    """Try every value above 0 as the threshold, in one sort."""
    order = np.argsort(-one, axis=None, kind="stable")
    values, inside = one.ravel()[order], np.cumsum(mask.ravel()[order])
    # a threshold takes all pixels of one value, or none
    ends = np.append(values[1:] < values[:-1], True) & (values > 0)
    taken = np.arange(1, len(values) + 1)
    return float((inside / (mask.sum() + taken - inside))[ends].max())


def control_maps(images: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Draw maps that know nothing of any net; a method that does not beat them has explained
    nothing.

    Args:
        images: (N, H, W) or (N, H, W, C).
        seed: of `random`.

    Returns:
        (N, H, W) float32 in [0, 1] each: `random` (about 7 x 7 uniform numbers an image,
            interpolated), `centre` (a Gaussian, a quarter of the side wide),
        `edge` (the image's own gradient; an edge detector passes for an explanation, Adebayo et al.
        2018).
    """
    grey = np.asarray(images, np.float32)
    grey = grey.mean(-1) if grey.ndim == 4 else grey
    count, height, width = grey.shape
    drawn = [_cloud(np.random.default_rng((seed, i)), height, width) for i in range(count)]
    y, x = ((np.arange(n) - (n - 1) / 2) / (n / 4) for n in (height, width))
    centre = np.exp(-(y[:, None] ** 2) / 2 - x**2 / 2)
    maps = {
        "random": np.stack(drawn),
        "centre": np.broadcast_to(centre, grey.shape),
        "edge": np.stack([ndimage.gaussian_gradient_magnitude(one, 1.0) for one in grey]),
    }
    out = {name: np.asarray(one, np.float32) for name, one in maps.items()}
    return {name: divided(one, one.max(axis=(1, 2), keepdims=True)) for name, one in out.items()}


def _cloud(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Interpolate uniform numbers on a grid that lies at random: with a fixed one, maxima would
    crowd at the image's border.
    """
    grid, shift = rng.random((_RANDOM_CELLS + 2, _RANDOM_CELLS + 2)), rng.random(2)
    lengths = zip(shift, (height, width), strict=True)
    places = [start + np.arange(length) * _RANDOM_CELLS / length for start, length in lengths]
    return ndimage.map_coordinates(grid, np.meshgrid(*places, indexing="ij"), order=1)


def checked_maps(maps: np.ndarray) -> np.ndarray:
    """Return maps (N, H, W) as float64; raise ValueError unless they are finite numbers >= 0."""
    maps = finite_rows(maps, "maps", ["H", "W"]).astype(np.float64)
    if maps.min() < 0:
        raise ValueError(f"maps must be >= 0. Received: {maps.min()}")
    return maps


def divided(values: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Return `values / by`, 0 where `by` is not above 0."""
    return np.divide(values, by, out=np.zeros_like(values), where=by > 0)
