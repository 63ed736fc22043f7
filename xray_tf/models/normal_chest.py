"""What was learned from normal chests: turns pixels into raw scores and heat maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from xray_tf.data.chest.lung_atlas import LungAtlas
from xray_tf.models.features import FeatureScores
from xray_tf.spelling import pick
from xray_tf.stats.detector.density import Density

NAMES = ("reconstruction_error", "log_density")
# kinds of heat map; the second is also a score
RECONSTRUCTION, FEATURES, LUNGS = "reconstruction", "features", "lungs"
MAP_QUANTILE = 0.999
# standard deviation of the Gaussian that smooths a difference, as a share of the side
SMOOTHING = 1 / 32


@dataclass(frozen=True)
class NormalChest:
    """Everything that was learned from the fit normals: turns pixels into raw scores and heat maps.

    Attributes:
        model: the autoencoder, see `nets.autoencoder`.
        density: the density of its codes.
        mean_map, deviation_map: (S, S) float32, mean and standard deviation over the fit normals of
            the smoothed difference at each pixel.
        features: the score from frozen features; None if there is none.
        atlas: the brightness of normal lungs, for the heat map `lungs`; None in older detectors.
    """

    model: Any
    density: Density
    mean_map: np.ndarray
    deviation_map: np.ndarray
    features: FeatureScores | None = None
    atlas: LungAtlas | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the raw scores, in the order of the columns."""
        return NAMES if self.features is None else (*NAMES, FEATURES)

    @property
    def map_kinds(self) -> tuple[str, ...]:
        """The kinds of heat map: `reconstruction`, `features` (if a detector works on patches), and
        `lungs`.
        """
        there = {
            RECONSTRUCTION: True,
            FEATURES: self.features is not None and self.features.locator is not None,
            LUNGS: self.atlas is not None,
        }
        return tuple(kind for kind, is_there in there.items() if is_there)

    def scores(
        self,
        pixels: np.ndarray,
        indices: Sequence[int] | None = None,
        batch_size: int = 64,
        progress: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """Return raw scores (M, K) float64 of rows of (N, S, S) uint8: mean squared error (with
        intensities in [0, 1]), log density and, if there is one, the score from features.
        `progress` is called with the number of rows done.
        """
        from xray_tf.nets.autoencoder import codes_and_errors

        slowest = progress if self.features is None else None
        codes, errors = codes_and_errors(self.model, pixels, indices, batch_size, slowest)
        columns = [errors, self.density.score_samples(codes)]
        if self.features is not None:
            columns.append(self.features.scores(pixels, indices, batch_size, progress))
        return np.stack(columns, axis=1)

    def unusual(
        self,
        kind: str,
        pixels: np.ndarray,
        indices: Sequence[int] | None = None,
    ) -> np.ndarray:
        """Return unscaled heat maps (M, S, S) float32, higher = less normal.

        For `reconstruction` this is |d - mean| / standard deviation, where d is the smoothed
        difference of image and reconstruction, and mean and deviation are those of the fit normals
        at the same pixel. Differences are smoothed with their sign, so that noise and edges cancel;
        squares would add up.
        """
        kind = pick("kind", kind, self.map_kinds)
        if kind == LUNGS:
            return self.atlas.unusual(pixels, indices)
        if kind == FEATURES:
            return self.features.unusual(pixels, indices)
        found = smoothed_differences(self.model, pixels, indices)
        return np.abs(found - self.mean_map) / self.deviation_map

    def map_range(self, kind: str, pixels: np.ndarray, indices: Sequence[int]) -> np.ndarray:
        """Return the values (2,) float64 that become 0 and 1 in a heat map: the median over the
        pixels of these normals, and the value that one pixel in a thousand exceeds.
        """
        return np.quantile(self.unusual(kind, pixels, indices), (0.5, MAP_QUANTILE))

    def heat(
        self,
        kind: str,
        bounds: np.ndarray,
        pixels: np.ndarray,
        indices: Sequence[int] | None = None,
    ) -> np.ndarray:
        """Return heat maps (M, S, S) float32 in [0, 1]."""
        above = self.unusual(kind, pixels, indices) - bounds[0]
        return np.clip(above / max(bounds[1] - bounds[0], 1e-12), 0, 1).astype(np.float32)


def smoothed_differences(
    model, pixels: np.ndarray, indices: Sequence[int] | None = None, batch_size: int = 64
) -> np.ndarray:
    """Return an autoencoder's differences (M, S, S) float32, smoothed by a Gaussian with a standard
    deviation of 1/32 of the side.
    """
    from xray_tf.nets.autoencoder import differences

    maps = differences(model, pixels, indices, batch_size)
    width = maps.shape[1] * SMOOTHING
    for i, one in enumerate(maps):
        maps[i] = cv2.GaussianBlur(one, (0, 0), width, borderType=cv2.BORDER_REPLICATE)
    return maps
