"""Compare the brightness of lungs with that of normal lungs, place by place.

Lungs of all sizes are brought into one frame, the box around them. Every cell of the frame has a
mean and a standard deviation over normal radiographs. Only brighter lungs count, because an opacity
is air that has been replaced by tissue. Nothing is computed where normals have no lung.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from xray_tf.data.chest.lung_fields import FindLungs

SIDE = 64  # cells of the atlas along each side
MARGIN = 0.08  # added on every side of the box, as a share of it
# standard deviation of the Gaussian that smooths vessels and ribs away, as a share of the side
SMOOTHING = 1 / 40
LEAST_DEVIATION = 0.05  # of standardised grey
LUNG_SHARE = 0.3  # a cell is lung where it is in so many normals
FEWEST = 2  # normals
_CHUNK = 64


class LungAtlas:
    """Mean and spread of the brightness of normal lungs.

    Args:
        find: finds the lungs of images (N, S, S) uint8.

    Attributes:
        mean_, deviation_: (64, 64) float32, standardised grey in the frame of the lungs.
        lungs_: (64, 64) float32 in [0, 1], where the normals have lung; its edge is soft.
    """

    def __init__(self, find: FindLungs):
        self.find = find

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
        total, squares, lungs = np.zeros((3, SIDE, SIDE))
        for start in range(0, len(rows), _CHUNK):
            for frame, mask, _ in self._framed(np.asarray(pixels[rows[start : start + _CHUNK]])):
                total += frame
                squares += frame.astype(np.float64) ** 2
                lungs += mask
        mean = total / len(rows)
        self.mean_ = mean.astype(np.float32)
        self.deviation_ = (
            np.sqrt(np.maximum(squares / len(rows) - mean**2, 0)) + LEAST_DEVIATION
        ).astype(np.float32)
        self.lungs_ = soft_edged(lungs / len(rows))
        return self

    def unusual(self, pixels: np.ndarray, rows: Sequence[int] | None = None) -> np.ndarray:
        """Return heat maps (M, S, S) float32 >= 0: how many standard deviations a place of the
        lungs is brighter than normal; 0 where it is darker, and outside the lungs.
        """
        rows = np.arange(len(pixels)) if rows is None else np.asarray(rows)
        side = pixels.shape[1]
        out = [np.empty((0, side, side), np.float32)]
        for start in range(0, len(rows), _CHUNK):
            for frame, _, matrix in self._framed(np.asarray(pixels[rows[start : start + _CHUNK]])):
                brighter = np.maximum((frame - self.mean_) / self.deviation_, 0) * self.lungs_
                out.append(
                    cv2.warpAffine(brighter, matrix, (side, side), flags=cv2.INTER_LINEAR)[None]
                )
        return np.concatenate(out)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return what `from_arrays` needs."""
        return {"mean": self.mean_, "deviation": self.deviation_, "lungs": self.lungs_}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], find: FindLungs) -> LungAtlas:
        """Return the atlas that `to_arrays` described."""
        atlas = cls(find)
        atlas.mean_, atlas.deviation_, atlas.lungs_ = (
            arrays[name] for name in ("mean", "deviation", "lungs")
        )
        return atlas

    def _framed(self, images: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield, for each image, the standardised and smoothed grey of its lungs (64, 64), the
        share of each cell that is lung (64, 64), and the matrix (2, 3) from the atlas to the image.
        """
        side, found = images.shape[1], self.find(images)
        for image, mask, place in zip(images, found.masks, found.places, strict=True):
            grey = cv2.GaussianBlur(
                image.astype(np.float32), (0, 0), SMOOTHING * side, borderType=cv2.BORDER_REPLICATE
            )
            grey = (grey - float(image.mean())) / max(float(image.std()), 1.0)
            x, y, wide, high = place * side
            scale = np.array([wide, high]) * (1 + 2 * MARGIN) / SIDE
            corner = np.array([x, y]) - scale * SIDE / 2 + scale / 2 - 0.5
            matrix = np.array([[scale[0], 0, corner[0]], [0, scale[1], corner[1]]])
            frame, lungs = (
                cv2.warpAffine(
                    picture,
                    matrix,
                    (SIDE, SIDE),
                    flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                    borderMode=cv2.BORDER_REPLICATE,
                )
                for picture in (grey, mask.astype(np.float32))
            )
            yield frame, lungs, matrix


def soft_edged(share: np.ndarray) -> np.ndarray:
    """Return where at least `LUNG_SHARE` of the normals have lung, (64, 64) float32 in [0, 1], from
    the share that has.
    """
    return cv2.GaussianBlur((share >= LUNG_SHARE).astype(np.float32), (0, 0), 1.0)
