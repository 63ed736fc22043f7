"""Make the batches that the lung segmenter learns from: radiographs with masks that people drew,
phantoms, and pictures without two upright lungs.

Sample k of batch `step` of an epoch depends on (seed, epoch, step, k) alone, so a resumed run sees
what it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from xray_tf.data.chest.lung_augment import augment
from xray_tf.data.chest.lung_masks import IGNORE, LUNG
from xray_tf.data.synthetic.not_chests import DRAWN, TURNED

NOT_CHESTS, PHANTOMS = 0.14, 0.06  # shares of a batch
_TURNED_SHARE, _OF_PHANTOMS = 0.5, 0.15  # of the pictures that are no chest; of those turned
# How often each of `TURNED` is drawn, and which of them leave open where the lungs are
_TURNS = (0.27, 0.33, 0.2, 0.1, 0.1)
_OPEN = ("turned by 90 degrees", "upside down", "negative")
_AHEAD, _WORKERS = 4, 2  # batches being made, threads


@dataclass(frozen=True)
class Lesson:
    """One batch.

    Attributes:
        images: (B, s, s, 1) float32 in [0, 255].
        lungs: (B, t, t, 2) float32: the share of each cell that is lung, and 1 where that is known,
            else 0.
        chests: (B, 1) float32: 1 where two upright lungs are in the picture, else 0.
    """

    images: np.ndarray
    lungs: np.ndarray
    chests: np.ndarray


class Lessons:
    """All epochs of batches.

    Args:
        pixels: (N, S, S) uint8 radiographs.
        masks: (N, S, S) uint8, as `read_mask` gives them.
        phantoms: the same of phantoms, (P, S, S) and (P, S, S).
        batch_size: pictures a batch.
        side, target_side: of the images and of the lungs given to the net, pixels.
        seed: of every choice.

    Attributes:
        steps: batches an epoch; each radiograph is in about one of them.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        masks: np.ndarray,
        phantoms: tuple[np.ndarray, np.ndarray],
        batch_size: int,
        side: int,
        target_side: int,
        seed: int,
    ):
        self.pixels, self.masks, self.phantoms = pixels, masks, phantoms
        self.batch_size, self.side, self.target_side, self.seed = (
            batch_size,
            side,
            target_side,
            seed,
        )
        self._not_chests = max(1, round(NOT_CHESTS * batch_size))
        self._drawn = max(1, round(PHANTOMS * batch_size)) if len(phantoms[0]) else 0
        self._real = max(1, batch_size - self._not_chests - self._drawn)
        self.steps = -(-len(pixels) // self._real)

    def epoch(self, epoch: int) -> Iterator[Lesson]:
        """Yield the batches of an epoch, a few of them made ahead by threads."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.pixels))
        with ThreadPoolExecutor(_WORKERS) as pool:
            waiting = [
                pool.submit(self._lesson, order, epoch, s) for s in range(min(_AHEAD, self.steps))
            ]
            for step in range(self.steps):
                yield waiting.pop(0).result()
                if (following := step + _AHEAD) < self.steps:
                    waiting.append(pool.submit(self._lesson, order, epoch, following))

    def _lesson(self, order: np.ndarray, epoch: int, step: int) -> Lesson:
        count = self._real + self._drawn + self._not_chests
        samples = [self._sample(order, epoch, step, k) for k in range(count)]
        images = np.stack([self._shrunk(image) for image, _, _ in samples])
        lungs = np.stack([target(mask, self.target_side) for _, mask, _ in samples])
        chests = np.array([[chest] for _, _, chest in samples], np.float32)
        return Lesson(images[..., None].astype(np.float32), lungs, chests)

    def _sample(self, order, epoch: int, step: int, k: int) -> tuple:
        """Return (image, mask or None where nothing is known of the lungs, chest)."""
        rng = np.random.default_rng([self.seed, epoch, step, k])
        if k < self._real:
            row = order[(step * self._real + k) % len(order)]
            return *augment(self.pixels[row], self.masks[row], rng), 1.0
        if k < self._real + self._drawn:
            return *augment(*self._phantom(rng), rng), 1.0
        return *self._no_chest(rng), 0.0

    def _phantom(self, rng) -> tuple[np.ndarray, np.ndarray]:
        at = rng.integers(len(self.phantoms[0]))
        return self.phantoms[0][at], self.phantoms[1][at]

    def _no_chest(self, rng) -> tuple[np.ndarray, np.ndarray | None]:
        side = self.pixels.shape[1]
        if rng.random() >= _TURNED_SHARE:
            image = DRAWN[str(rng.choice(list(DRAWN)))](side, rng)
            return self._perhaps_augmented(image, rng), np.zeros_like(image)
        if self._drawn and rng.random() < _OF_PHANTOMS:
            image, mask = self._phantom(rng)
        else:
            row = rng.integers(len(self.pixels))
            image, mask = self.pixels[row], self.masks[row]
        kind = str(rng.choice(list(TURNED), p=_TURNS))
        if kind in _OPEN:
            return TURNED[kind](augment(image, mask, rng)[0], rng), None
        image = self._perhaps_augmented(TURNED[kind](image, rng), rng)
        return image, np.zeros_like(image) if kind == "cut into pieces" else None

    def _perhaps_augmented(self, image: np.ndarray, rng) -> np.ndarray:
        return augment(image, np.zeros_like(image), rng)[0] if rng.random() < 0.5 else image

    def _shrunk(self, image: np.ndarray) -> np.ndarray:
        return cv2.resize(image, (self.side, self.side), interpolation=cv2.INTER_AREA)


def target(mask: np.ndarray | None, side: int) -> np.ndarray:
    """Return what the net should say of a mask (S, S) uint8: (side, side, 2) float32, the share of
    lung in each cell, and 1 where it is known; nothing is known without a mask.
    """
    if mask is None:
        return np.zeros((side, side, 2), np.float32)
    share, known = (
        cv2.resize(chosen.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
        for chosen in (mask == LUNG, mask != IGNORE)
    )
    return np.stack([share, (known > 0.99).astype(np.float32)], -1)


def draw_phantoms(count: int, seed: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw phantoms of all kinds with the masks of their lungs.

    People draw the lung behind the heart and the mediastinum; a phantom's mask leaves it out. What
    lies between a phantom's lungs is therefore ignored.

    Returns:
        (images (count, side, side) uint8, masks (count, side, side) uint8).
    """
    from xray_tf.data.synthetic.phantom import KINDS, draw_phantom

    images, masks = np.empty((2, count, side, side), np.uint8)
    for i in range(count):
        width = int(np.random.default_rng([seed, i]).integers(side, side * 3 // 2))
        drawn = draw_phantom(KINDS[i % len(KINDS)], seed, i, height=side, width=width)
        images[i] = cv2.resize(drawn.image, (side, side), interpolation=cv2.INTER_AREA)
        lungs = cv2.resize(
            drawn.lungs.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST
        )
        masks[i] = np.where(lungs > 0, LUNG, np.where(between(lungs), IGNORE, 0))
    return images, masks


def between(lungs: np.ndarray) -> np.ndarray:
    """Return where lungs (H, W) uint8 and what they enclose lie, (H, W) bool: their convex hull."""
    points = np.argwhere(lungs)[:, ::-1]
    hull = np.zeros_like(lungs, np.uint8)
    if len(points):
        cv2.fillConvexPoly(hull, cv2.convexHull(points.astype(np.int32)), 1)
    return hull > 0
