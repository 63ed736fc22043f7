"""Compare the brightness of lungs with that of normal lungs, place by place.

In the frame of registered lungs every pixel has a mean and a standard deviation over normal
radiographs. Only brighter lungs count, because an opacity is air that has been replaced by tissue.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from xray_tf.data.chest.registered_lungs import GREY, PER_DEVIATION, RegisteredLungs

SIDE = 112  # pixels of the atlas along each side
# standard deviation of the Gaussian that smooths vessels and ribs away, as a share of the side
SMOOTHING = 1 / 40
LEAST_DEVIATION = 0.05  # of standardised grey
FEWEST = 2  # normals


class LungAtlas:
    """Mean and spread of the brightness of normal lungs.

    Attributes:
        mean_, deviation_: (112, 112) float32, smoothed standardised grey in the frame of registered
            lungs.
    """

    def fit(self, parts: Iterable[RegisteredLungs]) -> LungAtlas:
        """Learn normal lungs, a batch at a time.

        Raises:
            ValueError: fewer than two radiographs.
        """
        weight, total, squares, count = *np.zeros((3, SIDE, SIDE)), 0
        for part in parts:
            for grey, lungs in _framed(part):
                weight += lungs
                total += lungs * grey
                squares += lungs * grey.astype(np.float64) ** 2
                count += 1
        if count < FEWEST:
            raise ValueError(
                f"an atlas of the lungs needs at least {FEWEST} normals. Received: {count}"
            )
        mean = total / np.maximum(weight, 1)
        variance = np.maximum(squares / np.maximum(weight, 1) - mean**2, 0)
        # where few normals have lung their spread says little: that of all the others stands in
        usual = np.sqrt((variance * weight).sum() / max(float(weight.sum()), 1.0))
        known = np.minimum(weight / (0.2 * count), 1)
        self.mean_ = (known * mean).astype(np.float32)
        spread = known * np.sqrt(variance) + (1 - known) * usual + LEAST_DEVIATION
        self.deviation_ = spread.astype(np.float32)
        return self

    def unusual(self, lungs: RegisteredLungs) -> np.ndarray:
        """Return heat maps (N, S, S) float32 >= 0 on the radiographs: how many standard deviations
        a place of the lungs is brighter than normal; 0 where it is darker, and outside the lungs.
        """
        side = lungs.images.shape[1]
        maps = [
            cv2.resize(np.maximum((grey - self.mean_) / self.deviation_, 0) * inside, (side, side))
            for grey, inside in _framed(lungs)
        ]
        return lungs.back(np.array(maps, np.float32).reshape(lungs.images.shape))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return what `from_arrays` needs."""
        return {"mean": self.mean_, "deviation": self.deviation_}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> LungAtlas:
        """Return the atlas that `to_arrays` described."""
        atlas = cls()
        atlas.mean_, atlas.deviation_ = arrays["mean"], arrays["deviation"]
        return atlas


def _framed(found: RegisteredLungs) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Yield the smoothed standardised grey and the lungs of each radiograph, both (112, 112)
    float32.
    """
    for image, lungs in zip(found.images, found.lungs, strict=True):
        weight = lungs.astype(np.float32)
        grey = (image.astype(np.float32) - GREY) / PER_DEVIATION * weight
        grey, weight = (
            cv2.resize(a, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for a in (grey, weight)
        )
        total, share = (cv2.GaussianBlur(a, (0, 0), SMOOTHING * SIDE) for a in (grey, weight))
        yield total / np.maximum(share, 1e-3), (weight > 0.5).astype(np.float32)
