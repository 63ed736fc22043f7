"""More pictures that do not show two upright lungs, of kinds that the segmenter never trains on.

They tell how its score answers what nobody thought of; see `not_chests` for what it trains on.
"""

from __future__ import annotations

import cv2
import numpy as np

from xray_tf.data.synthetic.not_chests import Change, Draw


def _stretched(part: np.ndarray, image: np.ndarray) -> np.ndarray:
    return cv2.resize(np.ascontiguousarray(part), image.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _half(image, rng):
    middle = image.shape[1] // 2
    return _stretched(image[:, :middle] if rng.random() < 0.5 else image[:, middle:], image)


def _belly(image, rng):
    return _stretched(image[round(rng.uniform(0.76, 0.82) * len(image)) :], image)


def _neck(image, rng):
    return _stretched(image[: round(rng.uniform(0.14, 0.2) * len(image))], image)


def _two(image, rng):
    return _stretched(np.hstack([image, image[:, ::-1] if rng.random() < 0.5 else image]), image)


def _slanted(image, rng):
    """Turned by 60 to 120 degrees, to either side."""
    height, width = image.shape
    angle = rng.uniform(60, 120) * rng.choice((-1, 1))
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    return cv2.warpAffine(image, turn, (width, height))


UNSEEN_TURNED: dict[str, Change] = {
    "half a chest": _half,
    "below the chest": _belly,
    "above the chest": _neck,
    "two chests side by side": _two,
    "turned by 60 to 120 degrees": _slanted,
}


def _grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    return x, y


def _waves(values: np.ndarray, rng) -> np.ndarray:
    low, high = np.sort(rng.uniform(0, 255, 2))
    wave = np.sin(values * rng.uniform(8, 60) + rng.uniform(0, 6))
    if rng.random() < 0.4:
        wave = np.sign(wave)
    return (low + (high - low) * (wave + 1) / 2).astype(np.uint8)


def _stripes(side, rng):
    x, y = _grid(side)
    angle = rng.uniform(0, np.pi)
    return _waves(x * np.cos(angle) + y * np.sin(angle), rng)


def _rings(side, rng):
    x, y = _grid(side)
    return _waves(np.hypot(x - rng.uniform(-0.3, 0.3), y - rng.uniform(-0.3, 0.3)), rng)


def _character(side, rng):
    image = np.full((side, side), int(rng.integers(0, 256)), np.uint8)
    grey = int((int(image[0, 0]) + rng.integers(80, 176)) % 256)
    at = (round(rng.uniform(0.05, 0.3) * side), round(rng.uniform(0.7, 0.95) * side))
    letter, scale = str(rng.choice(list("0123456789ABCHMW"))), side / rng.uniform(25, 45)
    cv2.putText(
        image, letter, at, cv2.FONT_HERSHEY_SIMPLEX, scale, grey, max(1, side // 16), cv2.LINE_AA
    )
    return image


UNSEEN_DRAWN: dict[str, Draw] = {
    "stripes": _stripes,
    "rings": _rings,
    "one large character": _character,
}
