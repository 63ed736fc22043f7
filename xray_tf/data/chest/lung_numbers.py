"""Describe the lungs of a radiograph by a few dozen numbers: brightness, texture at several scales,
zone by zone, and how well the lungs could be found.

The numbers are defined, not learned. They follow what a radiologist looks at: opacity, left against
right, upper against lower zones, markings. A lung that has turned white is also found less well, or
in another place, and some of the numbers measure that.
"""

from __future__ import annotations

import cv2
import numpy as np

from xray_tf.data.chest.lung_fields import LungFields

ZONES = ("upper", "middle", "lower")  # thirds of each lung's height range
# standard deviations of the Gaussians whose differences are the bands of detail, in pixels of an
# image of side 224
SCALES = (1.0, 2.0, 4.0, 8.0, 16.0)
_REFERENCE_SIDE = 224
_FLOOR = (
    1e-3  # added to a band's deviation before taking its logarithm, in standardised grey levels
)
_FEWEST = 10  # pixels; a smaller zone gets the numbers of the whole lungs

_OF_A_ZONE = ("grey", *(f"detail_{i}" for i in range(len(SCALES))), "coarse")
NAMES = (
    "fit",
    "area",
    *(
        f"{side}_{zone}_{what}"
        for side in ("left", "right")
        for zone in ZONES
        for what in _OF_A_ZONE
    ),
    "middle_grey",
    "grey",
    "grey_10",
    "grey_90",
)


def lung_numbers(images: np.ndarray, found: LungFields) -> np.ndarray:
    """Describe the lungs of radiographs.

    Grey levels are standardised over each image. `fit` and `area` (a share of the image) measure
    how well the lungs were found. For each zone, `grey` is the mean, `detail_i` the logarithm of
    the deviation in the i-th band (fine to coarse), and `coarse` the deviation of what remains.
    `middle_grey` is the mean between the lungs; `grey`, `grey_10` and `grey_90` are mean and
    percentiles of both lungs. Left and right are those of the image.

    Args:
        images: (N, S, S) uint8 in [0, 255], bone white, S at least 16.
        found: their lungs.

    Returns:
        (N, len(NAMES)) float32, finite.

    Raises:
        ValueError: not square grey bytes.
    """
    images = np.asarray(images)
    rows = [
        _numbers(image, mask, float(fit))
        for image, mask, fit in zip(images, found.masks, found.fits, strict=True)
    ]
    return np.array(rows, np.float32).reshape(len(images), len(NAMES))


def _numbers(image: np.ndarray, mask: np.ndarray, fit: float) -> list[float]:
    side, grey = len(image), image.astype(np.float32)
    grey = (grey - grey.mean()) / max(float(grey.std()), 1.0)
    layers = [grey, *(cv2.GaussianBlur(grey, (0, 0), s * side / _REFERENCE_SIDE) for s in SCALES)]
    if not mask.any():
        mask = np.ones_like(mask)
    rows, columns = np.nonzero(mask)
    # (bands + 2, pixels)
    values = np.stack(
        [layers[0], *(a - b for a, b in zip(layers, layers[1:], strict=False)), layers[-1]]
    )[:, rows, columns]
    middle, edges = np.median(columns), np.quantile(rows, np.linspace(0, 1, len(ZONES) + 1))
    out = [fit, float(mask.mean())]
    for right in (False, True):
        for top, bottom in zip(edges, edges[1:], strict=False):
            zone = ((columns > middle) == right) & (rows >= top) & (rows <= bottom)
            out += _zone(values[:, zone] if zone.sum() >= _FEWEST else values)
    half = max(1, round(0.06 * side))
    between = grey[
        int(edges[0]) : int(edges[-1]) + 1, max(0, int(middle) - half) : int(middle) + half
    ]
    return [
        *out,
        float(between.mean()),
        float(values[0].mean()),
        *np.percentile(values[0], (10, 90)).tolist(),
    ]


def _zone(values: np.ndarray) -> list[float]:
    spread = values[1:].std(axis=1)
    return [float(values[0].mean()), *np.log(spread[:-1] + _FLOOR).tolist(), float(spread[-1])]
