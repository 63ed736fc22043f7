"""Compare the brightness of lungs with that of normal lungs, place by place.

Lungs of all sizes are brought into one frame: the box of the mean shape that `data.chest.lungs`
lays over them. Every cell of the frame has a mean and a standard deviation over normal radiographs.
Only brighter lungs count, because an opacity is air that has been replaced by tissue. Nothing is
computed outside the estimated lungs.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from xray_tf.data.chest.lungs import lung_fields, lung_shape

SIDE = 64  # cells of the atlas along each side
MARGIN = 0.08  # added on every side of the box, as a share of it
# standard deviation of the Gaussian that smooths vessels and ribs away, as a share of the side
SMOOTHING = 1 / 40
LEAST_DEVIATION = 0.05  # of standardised grey
FEWEST = 2  # normals
_CHUNK = 64


class LungAtlas:
    """Mean and spread of the brightness of normal lungs.

    Attributes:
        mean_, deviation_: (64, 64) float32, standardised grey in the frame of the lungs.
    """

    def fit(self, pixels: np.ndarray, rows: Sequence[int] | None = None) -> LungAtlas:
        """Learn normal lungs, a batch at a time.

        Args:
            pixels: (N, S, S) uint8 in [0, 255], bone white, S at least 16.
            rows: the rows to learn from; all if None.

        Raises:
            ValueError: fewer than two radiographs, or not square grey bytes.
        """
        rows = np.arange(len(pixels)) if rows is None else np.asarray(rows)
        if len(rows) < FEWEST:
            raise ValueError(
                f"an atlas of the lungs needs at least {FEWEST} normals. Received: {len(rows)}"
            )
        total, squares = np.zeros((2, SIDE, SIDE))
        for start in range(0, len(rows), _CHUNK):
            framed = np.stack(
                [
                    frame
                    for frame, _ in self._framed(np.asarray(pixels[rows[start : start + _CHUNK]]))
                ]
            ).astype(np.float64)
            total, squares = total + framed.sum(axis=0), squares + (framed**2).sum(axis=0)
        mean = total / len(rows)
        self.mean_ = mean.astype(np.float32)
        self.deviation_ = (
            np.sqrt(np.maximum(squares / len(rows) - mean**2, 0)) + LEAST_DEVIATION
        ).astype(np.float32)
        return self

    def unusual(self, pixels: np.ndarray, rows: Sequence[int] | None = None) -> np.ndarray:
        """Return heat maps (M, S, S) float32 >= 0: how many standard deviations a place of the
        lungs is brighter than normal; 0 where it is darker, and outside the lungs.
        """
        rows = np.arange(len(pixels)) if rows is None else np.asarray(rows)
        side, lungs = pixels.shape[1], _lungs()
        out = [np.empty((0, side, side), np.float32)]
        for start in range(0, len(rows), _CHUNK):
            for frame, matrix in self._framed(np.asarray(pixels[rows[start : start + _CHUNK]])):
                brighter = np.maximum((frame - self.mean_) / self.deviation_, 0) * lungs
                out.append(
                    cv2.warpAffine(brighter, matrix, (side, side), flags=cv2.INTER_LINEAR)[None]
                )
        return np.concatenate(out)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return what `from_arrays` needs."""
        return {"mean": self.mean_, "deviation": self.deviation_}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> LungAtlas:
        """Return the atlas that `to_arrays` described."""
        atlas = cls()
        atlas.mean_, atlas.deviation_ = arrays["mean"], arrays["deviation"]
        return atlas

    def _framed(self, images: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return, for each image, the standardised and smoothed grey of its lungs (64, 64), and
        the matrix (2, 3) from the atlas to the image.
        """
        side, out = images.shape[1], []
        for image, place in zip(images, lung_fields(images).places, strict=True):
            grey = cv2.GaussianBlur(
                image.astype(np.float32), (0, 0), SMOOTHING * side, borderType=cv2.BORDER_REPLICATE
            )
            grey = (grey - float(image.mean())) / max(float(image.std()), 1.0)
            x, y, wide, high = place * side
            scale = np.array([wide, high]) * (1 + 2 * MARGIN) / SIDE
            corner = np.array([x, y]) - scale * SIDE / 2 + scale / 2 - 0.5
            matrix = np.array([[scale[0], 0, corner[0]], [0, scale[1], corner[1]]])
            frame = cv2.warpAffine(
                grey,
                matrix,
                (SIDE, SIDE),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
            out.append((frame, matrix))
        return out


def _lungs() -> np.ndarray:
    """Return the mean shape in the atlas, (64, 64) float32 in [0, 1], with a soft edge."""
    inner = round(SIDE / (1 + 2 * MARGIN))
    shape = np.zeros((SIDE, SIDE), np.float32)
    start = (SIDE - inner) // 2
    shape[start : start + inner, start : start + inner] = cv2.resize(
        lung_shape(), (inner, inner), interpolation=cv2.INTER_AREA
    )
    return cv2.GaussianBlur((shape >= 0.3).astype(np.float32), (0, 0), 1.0)
