"""Describe registered lungs by a few dozen numbers: brightness and texture, zone by zone.

The numbers are defined, not learned. They follow what a radiologist looks at: opacity, left against
right, upper against lower zones, markings.
"""

from __future__ import annotations

import cv2
import numpy as np

from xray_tf.data.chest.registered_lungs import GREY, PER_DEVIATION

ROWS, COLUMNS = 3, 4  # zones: thirds of the height, each lung's outer and inner half
# standard deviations of the Gaussians whose differences are the bands of detail, in pixels of a
# frame of side 224
SCALES = (1.0, 2.0, 4.0, 8.0, 16.0)
QUANTILES = (0.02, 0.10, 0.25, 0.50, 0.75, 0.90, 0.98)
_REFERENCE_SIDE = 224
_RIM = 2  # pixels of such a frame along the lungs' edge that are not described
_FLOOR = 1e-2  # added to a band's deviation before taking its logarithm, in standardised grey
_FEWEST = 20  # pixels of such a frame; a zone with less lung is described whole
_SKEWED = 2  # the band whose skewness is taken: markings are narrow and bright
_OF_A_ZONE = ("grey", *(f"detail_{i}" for i in range(len(SCALES))), "skewness")
NAMES = (
    *(f"zone_{r}{c}_{what}" for r in range(ROWS) for c in range(COLUMNS) for what in _OF_A_ZONE),
    *(f"grey_{q:.0%}" for q in QUANTILES),
    "third_moment",
)


def lung_numbers(images: np.ndarray, lungs: np.ndarray) -> np.ndarray:
    """Describe lungs in their common frame (`registered_lungs`).

    In each zone, `grey` is the mean of the standardised grey, `detail_i` the logarithm of the
    deviation in the i-th band (fine to coarse), and `skewness` that of band 2. `grey_q` are
    quantiles of both lungs, and `third_moment` is that of their grey.

    Args:
        images: (N, S, S) uint8.
        lungs: (N, S, S) bool.

    Returns:
        (N, len(NAMES)) float32, finite.
    """
    rows = [_numbers(i, m) for i, m in zip(images, lungs, strict=True)]
    return np.array(rows, np.float32).reshape(len(images), len(NAMES))


def _numbers(image: np.ndarray, lungs: np.ndarray) -> list[float]:
    side, unit = len(image), len(image) / _REFERENCE_SIDE
    grey = (image.astype(np.float32) - GREY) / PER_DEVIATION
    weight = lungs.astype(np.float32)
    layers = [grey]
    for scale in SCALES:  # inside only: what is not lung weighs nothing
        total, share = (cv2.GaussianBlur(a, (0, 0), scale * unit) for a in (grey * weight, weight))
        layers.append(total / (share + np.float32(1e-3)))
    bands = np.stack([grey, *(a - b for a, b in zip(layers, layers[1:], strict=False))])
    brush = np.ones((2 * max(1, round(_RIM * unit)) + 1,) * 2, np.uint8)
    inner = cv2.erode(weight, brush) > 0
    out: list[float] = []
    tops, lefts = (np.linspace(0, side, n + 1).astype(int) for n in (ROWS, COLUMNS))
    for top, bottom in zip(tops, tops[1:], strict=False):
        for left, right in zip(lefts, lefts[1:], strict=False):
            here = inner[top:bottom, left:right]
            if here.sum() < _FEWEST * unit**2:
                here = np.ones_like(here)
            out += _zone(bands[:, top:bottom, left:right][:, here])
    values = grey[inner] if inner.any() else grey.ravel()
    third = float(((values - values.mean()) ** 3).mean())
    return [*out, *np.quantile(values, QUANTILES).tolist(), third]


def _zone(bands: np.ndarray) -> list[float]:
    """Describe one zone from its grey and bands (1 + len(SCALES), pixels)."""
    spread, markings = bands[1:].std(axis=1), bands[1 + _SKEWED]
    skewness = ((markings - markings.mean()) ** 3).mean() / (spread[_SKEWED] ** 3 + 1e-3)
    return [float(bands[0].mean()), *np.log(spread + _FLOOR).tolist(), float(skewness)]
