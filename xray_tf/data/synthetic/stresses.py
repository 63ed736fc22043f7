"""Change radiographs in graded, named ways; each change is one row of a table.

A stress changes one property (exposure, sharpness, position, something burned in) by a stated
amount. Its randomness depends only on the seed, the stress and the radiograph's key. It does not
depend on the severity (a stronger change goes further in the same direction), the batch or the
order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from xray_tf.data.pixels.grid import PixelGrid, keyed_rng
from xray_tf.spelling import pick, pick_several

REFERENCE_SIDE = 224  # lengths in pixels refer to an image of this side
MARKERS = ("R", "L", "AP", "PA", "SUPINE", "ERECT", "MOBILE", "R")


@dataclass(frozen=True)
class Stress:
    """One row of `STRESSES`.

    Attributes:
        group: `intensity`, `detail`, `geometry` or `additions`.
        unit: unit of the severities.
        severities: from mild to strong.
        change: (image (H, W) uint8, severity, generator) -> (H, W) uint8.
        what: a few words on what is changed.
    """

    group: str
    unit: str
    severities: tuple[float, ...]
    change: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
    what: str

    def about(self) -> dict[str, Any]:
        """Return what results say of it, JSON-able."""
        said = {name: getattr(self, name) for name in ("group", "unit", "what")}
        return {**said, "severities": list(self.severities)}


def apply_stress(
    images: np.ndarray, name: str, severity: float, seed: int = 0, keys: Sequence[str] | None = None
) -> np.ndarray:
    """Change radiographs by one stress.

    Args:
        images: (N, H, W) uint8 in [0, 255]; not modified.
        name: a key of `STRESSES`, in any spelling.
        severity: in the stress's unit; any value in its range, not only those of the table.
        seed: seed of the stress's randomness.
        keys: N strings that identify the radiographs, such as their sha256; positions if None.

    Returns:
        (N, H, W) uint8.

    Raises:
        ValueError: an unknown stress, or images that are not grey uint8.
    """
    name = pick("name", name, STRESSES)
    images = np.asarray(images)
    if images.ndim != 3 or images.dtype != np.uint8:
        raise ValueError(
            f"images must be (N, H, W) uint8 in [0, 255]. Received: shape {images.shape}, "
            f"{images.dtype}"
        )
    keys = [str(i) for i in range(len(images))] if keys is None else keys
    if len(keys) != len(images):
        raise ValueError(
            f"keys must have one entry per image, {len(images)}. Received: {len(keys)}"
        )
    out = np.empty_like(images)
    for i, (image, key) in enumerate(zip(images, keys, strict=True)):
        out[i] = STRESSES[name].change(image, severity, keyed_rng(seed, name, key))
    return out


def choose_stresses(wanted: str = "all") -> list[str]:
    """Return the stresses that a list of names and groups, or `all`, stands for, in the table's
    order.

    Raises:
        ValueError: a word is neither; the message lists the names and suggests the nearest.
    """
    groups = dict.fromkeys(stress.group for stress in STRESSES.values())
    words = set(pick_several("stresses", wanted, ("all", *groups, *STRESSES)))
    return [name for name, stress in STRESSES.items() if words & {"all", name, stress.group}]


class StressGrid(PixelGrid):
    """Rows under stresses: a cell is a pair (stress, severity), or None for the unchanged row."""

    def changed(self, image: np.ndarray, cell: tuple[str, float], row: int) -> np.ndarray:
        """Return the image (H, W) uint8 under one stress."""
        return apply_stress(image[None], *cell, self.seed, [self.keys[row]])[0]


def _look_up(image: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Map each grey level through `curve` (256,) in [0, 255], rounded and clipped."""
    return cv2.LUT(image, _to_uint8(curve))


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)


_LEVELS = np.arange(256, dtype=np.float64)


def _contrast(image, factor, rng):
    mean = image.mean()
    return _look_up(image, (_LEVELS - mean) * factor + mean)


def _brightness(image, levels, rng):
    return _look_up(image, _LEVELS + levels)


def _gamma(image, exponent, rng):
    return _look_up(image, 255 * (_LEVELS / 255) ** exponent)


def _steep_curve(image, slope, rng):
    """Apply a film's characteristic curve: a logistic with this slope at mid-grey, scaled to keep
    black and white.
    """
    low, high = _ends(slope)
    logistic = 1 / (1 + np.exp(-4 * slope * (_LEVELS / 255 - 0.5)))
    return _look_up(image, 255 * ((logistic - low) / (high - low)))


def _flat_curve(image, slope, rng):
    """Apply the inverse of `_steep_curve`: shadows and highlights are stretched, the mid-tones are
    compressed.
    """
    low, high = _ends(slope)
    p = low + _LEVELS / 255 * (high - low)
    return _look_up(image, 255 * (0.5 + np.log(p / (1 - p)) / (4 * slope)))


def _ends(slope: float) -> tuple[float, float]:
    return 1 / (1 + np.exp(2 * slope)), 1 / (1 + np.exp(-2 * slope))


def _equalize(image, percent, rng):
    return _to_uint8(image + percent / 100 * (cv2.equalizeHist(image).astype(np.float64) - image))


def _clahe(image, limit, rng):
    return cv2.createCLAHE(clipLimit=limit, tileGridSize=(8, 8)).apply(image)


def _uneven(image, levels, rng):
    """Add a plane: + levels at one edge of the disc, - levels at the opposite one, in a random
    direction (anode heel, tilted grid).
    """
    angle = rng.uniform(0, 2 * np.pi)
    y, x = (np.linspace(-1, 1, n) for n in image.shape)
    return _to_uint8(image + levels * (np.cos(angle) * x[None, :] + np.sin(angle) * y[:, None]))


def _blur(image, sigma, rng):
    return cv2.GaussianBlur(image, (0, 0), sigma * image.shape[1] / REFERENCE_SIDE)


def _sharpen(image, amount, rng):
    soft = cv2.GaussianBlur(image, (0, 0), 1.5 * image.shape[1] / REFERENCE_SIDE).astype(np.float64)
    return _to_uint8(image + amount * (image - soft))


def _noise(image, levels, rng):
    return _to_uint8(image + levels * rng.standard_normal(image.shape, np.float32))


def _resolution(image, factor, rng):
    return _coarsened(image, factor, cv2.INTER_AREA)


def _aliasing(image, factor, rng):
    return _coarsened(image, factor, cv2.INTER_NEAREST_EXACT)


def _coarsened(image: np.ndarray, factor: float, how: int) -> np.ndarray:
    size = tuple(max(1, round(side / factor)) for side in image.shape[::-1])
    small = cv2.resize(image, size, interpolation=how)
    return cv2.resize(small, image.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _jpeg(image, quality, rng):
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)


def _warp(
    image: np.ndarray, scale_x: float, scale_y: float, angle: float = 0.0, shift=(0.0, 0.0)
) -> np.ndarray:
    """Resample about the centre: rotation and scale take an output pixel to an input pixel, then a
    shift in pixels; black beyond the image.
    """
    height, width = image.shape
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.array([[cos * scale_x, -sin * scale_y], [sin * scale_x, cos * scale_y]])
    matrix = np.column_stack([linear, centre + shift - linear @ centre])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP  # black beyond the image
    return cv2.warpAffine(image, matrix, (width, height), flags=how)


def _crop(image, percent, rng):
    share = percent / 100
    x, y = rng.uniform(-1, 1, 2) * (1 - share) / 2
    return _warp(image, share, share, 0.0, (x * image.shape[1], y * image.shape[0]))


def _shrink(image, percent, rng):
    height, width = (max(1, round(n * percent / 100)) for n in image.shape)
    gaps = image.shape[0] - height, image.shape[1] - width
    top, left = (int(rng.uniform(0.25, 0.75) * gap) for gap in gaps)
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    out = np.zeros_like(image)
    out[top : top + height, left : left + width] = small
    return out


def _translate(image, percent, rng):
    angle = rng.uniform(0, 2 * np.pi)
    across, down = percent / 100 * np.cos(angle), percent / 100 * np.sin(angle)
    return _warp(image, 1.0, 1.0, 0.0, (across * image.shape[1], down * image.shape[0]))


def _taller(image, factor, rng):
    return _warp(image, 1.0, 1 / factor)


def _wider(image, factor, rng):
    return _warp(image, 1 / factor, 1.0)


def _rotate(image, degrees, rng):
    return _warp(image, 1.0, 1.0, np.deg2rad(degrees) * rng.choice((-1, 1)))


def _marker_text(image, count, rng):
    """Burn letters in near the corners; a higher count adds more to the same ones."""
    height, width = image.shape
    out = image.copy()
    for corner in rng.permutation(4)[: int(count)]:
        local = np.random.default_rng(rng.integers(1 << 32) + int(corner))
        text, size = str(local.choice(MARKERS)), height * local.uniform(0.06, 0.1)
        grey, font = int(local.integers(215, 256)), cv2.FONT_HERSHEY_SIMPLEX
        # a capital of this font is 21 pixels high at scale 1
        scale, thickness = size / 21, max(1, round(size / 9))
        (wide, high), _ = cv2.getTextSize(text, font, scale, thickness)
        margin_x, margin_y = (local.uniform(0.02, 0.1) * n for n in (width, height))
        x = margin_x if corner % 2 == 0 else width - wide - margin_x
        y = high + margin_y if corner < 2 else height - margin_y
        where = round(x), round(y)
        cv2.putText(out, text, where, font, scale, grey, thickness, cv2.LINE_AA)
    return out


def _leads(image, count, rng):
    """Draw monitoring leads, smooth bright lines from the upper edge to an electrode on the chest;
    a higher count adds more to the same ones.
    """
    height, width = image.shape
    drawn = np.zeros_like(image)
    side = max(image.shape)
    for _ in range(int(count)):
        start = np.array([rng.uniform(0.1, 0.9), -0.02])
        bend, end = rng.uniform((0.05, 0.2), (0.95, 0.6)), rng.uniform((0.15, 0.3), (0.85, 0.8))
        t = np.linspace(0, 1, 40)[:, None]
        points = ((1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end) * (width, height)
        points = np.round(points).astype(np.int32)
        cv2.polylines(drawn, [points], False, 55, max(1, round(side / 150)), cv2.LINE_AA)
        spot = points[-1].tolist()
        cv2.circle(drawn, spot, max(1, round(side / 60)), 75, -1, cv2.LINE_AA)
    return cv2.add(image, drawn)


def _blank_corners(image, percent, rng):
    out = image.copy()
    height, width = (max(1, round(n * percent / 100)) for n in image.shape)
    for rows in (slice(None, height), slice(-height, None)):
        for columns in (slice(None, width), slice(-width, None)):
            out[rows, columns] = 0
    return out


def _blank_border(image, percent, rng):
    out = np.zeros_like(image)
    top, left = (max(1, round(n * percent / 100)) for n in image.shape)
    out[top:-top, left:-left] = image[top:-top, left:-left]
    return out


# fmt: off
STRESSES: dict[str, Stress] = {name: Stress(group, *row) for group, rows in {
    "intensity": {
        "contrast-low": ("x contrast", (0.75, 0.5, 0.3), _contrast,
            "grey levels pulled towards the image's mean"),
        "contrast-high": ("x contrast", (1.3, 1.7, 2.2), _contrast,
            "grey levels pushed away from the image's mean, then clipped"),
        "darker": ("grey levels", (-20, -40, -60), _brightness,
            "every grey level lowered, then clipped"),
        "brighter": ("grey levels", (20, 40, 60), _brightness,
            "every grey level raised, then clipped"),
        "gamma-dark": ("exponent", (1.3, 1.7, 2.2), _gamma,
            "power law: middle greys darker, black and white kept"),
        "gamma-light": ("exponent", (0.75, 0.55, 0.4), _gamma,
            "power law: middle greys lighter, black and white kept"),
        "steep-curve": ("slope", (1.0, 1.5, 2.2), _steep_curve,
            "a film's S-shaped curve: shadows and highlights compressed"),
        "flat-curve": ("slope", (1.0, 1.5, 2.2), _flat_curve,
            "the inverse of that curve: middle greys compressed"),
        "equalized": ("% of the way", (33, 67, 100), _equalize,
            "mixed with its histogram equalisation"),
        "clahe": ("clip limit", (1.0, 2.0, 4.0), _clahe,
            "local contrast by CLAHE on 8 x 8 tiles (Zuiderveld 1994)"),
        "uneven": ("grey levels at the edge", (15, 30, 50), _uneven,
            "exposure that falls off in a random direction"),
    },
    "detail": {
        "blur": ("pixels of 224, sigma", (0.8, 1.5, 2.5), _blur, "Gaussian blur"),
        "sharpened": ("x detail added", (0.7, 1.5, 3.0), _sharpen,
            "unsharp mask, sigma 1.5 pixels of 224"),
        "noise": ("grey levels, sigma", (6, 12, 24), _noise, "independent Gaussian noise"),
        "resolution": ("x coarser", (2, 3, 4), _resolution,
            "reduced by averaging, interpolated up"),
        "aliasing": ("x coarser", (2, 3, 4), _aliasing,
            "reduced by dropping pixels, interpolated up"),
        "jpeg": ("quality", (40, 20, 10), _jpeg, "JPEG compression"),
    },
    "geometry": {
        "crop": ("% of the side kept", (92, 84, 75), _crop,
            "a random square of the image, enlarged"),
        "shrunk": ("% of the side", (90, 80, 70), _shrink, "the image reduced, on black"),
        "shifted": ("% of the side", (4, 8, 14), _translate,
            "moved in a random direction, black behind"),
        "taller": ("x height",
        (1.1, 1.2, 1.35),
        _taller,
        "stretched in height, cropped to the square",),
        "wider": ("x width", (1.1, 1.2, 1.35), _wider, "stretched in width, cropped to the square"),
        "rotated": ("degrees", (5, 10, 18), _rotate, "rotated to a random side, black behind"),
    },
    "additions": {
        "markers": ("markers", (1, 2, 4), _marker_text, "letters burned in near the corners"),
        "leads": ("leads", (1, 2, 4), _leads, "monitoring leads with electrodes across the chest"),
        "no-corners": ("% of the side", (10, 17, 25), _blank_corners,
            "the corners, where markers are, blacked out"),
        "no-border": ("% of the side", (4, 8, 13), _blank_border, "a black frame"),
    },
}.items() for name, row in rows.items()}
# fmt: on
