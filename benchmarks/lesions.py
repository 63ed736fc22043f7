"""Synthetic lesions pasted into real normal radiographs: known departures, for choosing among
detectors of anomalies.

A lesion gives the lung's air back as soft tissue: grey moves towards the tissue beside the lungs,
never past it, and what is finer than the lesion (ribs, grain) stays, weakened. Nothing is
learnt from any sick radiograph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from xray_tf.data.pixels.grid import PixelGrid, keyed_rng
from xray_tf.data.synthetic.anatomy import octaves, step

SEVERITIES = (0.35, 0.6, 0.9)
LESION_LEVELS = 2.0  # a pixel is lesion where it differs by more grey levels
# Where each lung usually is, in units of the frame: centre x, centre y, half width, half height
_LUNGS = ((0.30, 0.47, 0.16, 0.32), (0.70, 0.47, 0.16, 0.32))


@dataclass(frozen=True)
class Lesion:
    """One radiograph with a lesion pasted in.

    Attributes:
        image: (S, S) uint8 in [0, 255].
        mask: (S, S) bool, pixels changed by more than `LESION_LEVELS` grey levels.
    """

    image: np.ndarray
    mask: np.ndarray


def paste_lesion(
    image: np.ndarray,
    kind: str,
    severity: float,
    seed: int = 0,
    key: str = "",
    *,
    lungs: np.ndarray,
) -> Lesion:
    """Paste one lesion into one radiograph; the same arguments give the same pixels in every
    process.

    Place, shape and texture follow from (seed, kind, key) alone: a higher severity is the same
    lesion, denser.

    Args:
        image: (S, S) uint8 in [0, 255], bone white, S at least 32; left as it is.
        kind: a key of `LESIONS`.
        severity: share of the air given back where the lesion is densest, in [0, 1].
        seed: an integer >= 0.
        key: names the radiograph, such as its sha256.
        lungs: (S, S) bool, where they lie.

    Raises:
        ValueError: an argument outside these.
    """
    image = np.asarray(image)
    square = image.ndim == 2 and image.shape[0] == image.shape[1] >= 32
    if not square or image.dtype != np.uint8:
        raise ValueError(
            "image must be (S, S) uint8, at least 32 pixels a side. Received: shape "
            f"{image.shape}, {image.dtype}"
        )
    if kind not in LESIONS:
        raise ValueError(f"kind must be one of {tuple(LESIONS)}. Received: kind={kind!r}")
    if not 0 <= severity <= 1:
        raise ValueError(f"severity must lie in [0, 1]. Received: severity={severity!r}")
    rng = keyed_rng(seed, kind, key)
    grey, lungs = image.astype(np.float32), _blur(lungs.astype(np.float32), 0.012)
    tissue, coarse = _tissue(grey, lungs), _blur(grey, 0.03)
    filled = np.clip(LESIONS[kind](_Frame(*image.shape), rng), 0.0, 1.0)
    share = filled * lungs * np.float32(severity)
    changed = grey + share * np.maximum(tissue - coarse, 0.0) - 0.35 * share * (grey - coarse)
    out = np.clip(np.floor(changed + 0.5), 0, 255).astype(np.uint8)
    return Lesion(out, np.abs(out.astype(np.float32) - grey) > LESION_LEVELS)


class LesionGrid(PixelGrid):
    """Rows with lesions: a cell is a kind, a key of `LESIONS`. The severities take turns, so that
    each kind and each row meets all of them.

    Args:
        pixels, rows, keys, seed: as in `PixelGrid`.
        lungs: (N, S, S) bool, where the lungs of these rows lie.
        kinds: keys of `LESIONS`; all of them when None.
        severities: of the lesions in turn.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        rows: Sequence[int],
        keys: Sequence[str],
        lungs: np.ndarray,
        kinds: Sequence[str] | None = None,
        severities: Sequence[float] = SEVERITIES,
        seed: int = 0,
    ):
        super().__init__(pixels, rows, keys, LESIONS if kinds is None else kinds, seed)
        self.severities, self.lungs = tuple(severities), lungs

    def about(self, index: int) -> tuple[int, str, float]:
        """Return (which of the N rows, kind, severity) of one position."""
        kind, row = self.at(index)
        return row, self.cells[kind], self.severities[(kind + row) % len(self.severities)]

    def lesion(self, index: int) -> Lesion:
        """Return the image of one position with its mask."""
        row, kind, severity = self.about(index)
        image = np.asarray(self.pixels[self.rows[row]])
        key, lungs = self.keys[row], self.lungs[row]
        return paste_lesion(image, kind, severity, self.seed, key, lungs=lungs)

    def image(self, cell: int, row: int) -> np.ndarray:
        """Return one row (S, S) uint8 with one lesion."""
        return self.lesion(cell * len(self.rows) + row).image


class _Frame:
    """Where each pixel lies, in units of the frame's sides."""

    def __init__(self, height: int, width: int):
        self.shape = (height, width)
        self.x = ((np.arange(width, dtype=np.float32) + 0.5) / width)[None, :]
        self.y = ((np.arange(height, dtype=np.float32) + 0.5) / height)[:, None]

    def noise(self, rng: np.random.Generator, cells: tuple[int, ...]) -> np.ndarray:
        """Return smooth noise (H, W) float32, mean near 0 and deviation near 0.5."""
        return cv2.resize(octaves(rng, cells), self.shape[::-1], interpolation=cv2.INTER_LINEAR)

    def blob(self, x, y, wide: float, tall: float, soft: float, ragged: np.ndarray) -> np.ndarray:
        """Return an ellipse (H, W) float32 in [0, 1] whose edge takes `soft` of its radius."""
        radius = np.hypot((self.x - np.float32(x)) / wide, (self.y - np.float32(y)) / tall)
        return step((1.0 - radius + ragged) / soft + 0.5)


def _tissue(grey: np.ndarray, lungs: np.ndarray) -> np.ndarray:
    """Return the grey (H, W) float32 that airless lung would have: that of what is beside the
    lungs, row by row, smoothed.
    """
    outside = np.clip(1.0 - 1.4 * lungs, 0.0, 1.0) * (grey > 20)
    inner, width = np.zeros_like(outside), grey.shape[1]
    middle = slice(int(0.12 * width), int(0.88 * width))
    inner[:, middle] = outside[:, middle]
    level = _blur(grey * inner, 0.15) / np.maximum(_blur(inner, 0.15), 1e-3)
    return np.maximum(level, np.float32(np.percentile(grey, 40)))


def _blur(field: np.ndarray, share: float) -> np.ndarray:
    """Blur by a Gaussian whose standard deviation is `share` of the side; wide ones on a smaller
    copy, where nothing is lost.
    """
    sigma = share * len(field)
    if sigma < 6.0:
        return cv2.GaussianBlur(field, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    small = cv2.resize(field, None, fx=3.0 / sigma, fy=3.0 / sigma, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 3.0, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(small, field.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _place(rng: np.random.Generator) -> tuple[float, float, float]:
    """Draw a side (-1 or 1) and a point inside that lung, frame units."""
    side = int(rng.integers(2))
    x, y, wide, tall = _LUNGS[side]
    return (-1, 1)[side], x + rng.uniform(-0.55, 0.55) * wide, y + rng.uniform(-0.6, 0.65) * tall


def _opacity(frame: _Frame, rng: np.random.Generator) -> np.ndarray:
    """One to three soft rounded opacities."""
    filled = np.zeros(frame.shape, np.float32)
    for _ in range(rng.integers(1, 4)):
        _, x, y = _place(rng)
        size = rng.uniform(0.06, 0.14)
        ragged = 0.25 * frame.noise(rng, (8, 16, 32))
        dense = np.float32(rng.uniform(0.7, 1.0))
        blob = frame.blob(x, y, size, size * rng.uniform(0.8, 1.4), 1.2, ragged)
        filled = np.maximum(filled, dense * blob)
    return filled


def _consolidation(frame: _Frame, rng: np.random.Generator) -> np.ndarray:
    """One dense area with a ragged edge, crossed by bronchi that are still full of air."""
    side, x, y = _place(rng)
    wide, tall = rng.uniform(0.10, 0.18), rng.uniform(0.11, 0.22)
    filled = frame.blob(x, y, wide, tall, 0.5, 0.35 * frame.noise(rng, (10, 20, 40)))
    canvas = np.zeros(frame.shape, np.uint8)
    height, width = frame.shape
    hilum = np.array([0.5 + side * 0.09, 0.45])
    for _ in range(rng.integers(4, 8)):  # bronchi fan out from the hilum
        end = np.array([x, y]) + rng.normal(0.0, 0.09, 2)
        middle = (hilum + end) / 2 + rng.normal(0.0, 0.02, 2)
        path = np.round(np.array([hilum, middle, end]) * (width, height) * 16).astype(np.int32)
        thickness = max(1, round(0.010 * max(frame.shape)))
        cv2.polylines(canvas, [path], False, 255, thickness, cv2.LINE_AA, 4)
    bronchi = np.clip(_blur(canvas.astype(np.float32) / 255, 0.005), 0.0, 1.0)
    return filled * (1.0 - 0.6 * bronchi) * (1.0 + 0.12 * frame.noise(rng, (20, 40)))


def _lobar(frame: _Frame, rng: np.random.Generator) -> np.ndarray:
    """One lung's upper or lower half, ended by a fissure."""
    side, upper = rng.choice((-1, 1)), rng.random() < 0.4
    level, slant = rng.uniform(0.38, 0.55), 0.15 * np.abs(frame.x - np.float32(0.5))
    below = frame.y - (level + slant * rng.uniform(-1, 1))
    half = step((-below if upper else below) / np.float32(rng.uniform(0.02, 0.08)) + 0.5)
    return half * (side * (frame.x - 0.5) > 0) * (0.95 + 0.15 * frame.noise(rng, (6, 12, 24)))


def _interstitial(frame: _Frame, rng: np.random.Generator) -> np.ndarray:
    """Both lungs: a net of thickened septa, patchy, densest about the hila."""
    net = sum(np.exp(-5.0 * np.abs(frame.noise(rng, cells))) for cells in ((22, 44), (32,), (48,)))
    septa = np.clip(net * 0.65 - 0.35, 0.0, 1.0)
    patches = np.clip(0.75 + 0.7 * frame.noise(rng, (4, 8)), 0.15, 1.3)
    filled = (0.9 * septa + np.float32(rng.uniform(0.1, 0.3))) * patches
    return filled * (0.5 + 0.7 * _about_hila(frame, rng))


def _perihilar(frame: _Frame, rng: np.random.Generator) -> np.ndarray:
    """Haze that spreads from the hila, with cuffed bronchi in it."""
    haze = _about_hila(frame, rng) * (0.75 + 0.35 * frame.noise(rng, (10, 20, 40)))
    return haze * np.where(frame.x < 0.5, *np.float32(rng.uniform(0.6, 1.1, 2)))


def _diffuse(frame: _Frame, rng: np.random.Generator) -> np.ndarray:
    """A veil over both lungs, uneven and heavier below."""
    slope = 0.65 + np.float32(rng.uniform(0.0, 0.7)) * (frame.y - 0.3)
    slope = slope * np.where(frame.x < 0.5, *np.float32(rng.uniform(0.6, 1.0, 2)))
    return slope * (0.9 + 0.3 * frame.noise(rng, (4, 8)))


def _about_hila(frame: _Frame, rng: np.random.Generator) -> np.ndarray:
    y, wide, tall = rng.uniform(0.42, 0.52), rng.uniform(0.12, 0.20), rng.uniform(0.18, 0.30)
    distance = np.minimum(np.abs(frame.x - 0.38), np.abs(frame.x - 0.62)) / wide
    return np.exp(-(distance**2) - ((frame.y - np.float32(y)) / tall) ** 2).astype(np.float32)


LESIONS: dict[str, Callable[[_Frame, np.random.Generator], np.ndarray]] = {
    "opacity": _opacity,
    "consolidation": _consolidation,
    "lobar": _lobar,
    "interstitial": _interstitial,
    "perihilar": _perihilar,
    "diffuse": _diffuse,
}
