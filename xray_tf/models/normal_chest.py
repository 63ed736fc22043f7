"""What was learned from normal chests: turns pixels into raw scores and heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xray_tf.data.chest.lung_atlas import LungAtlas
from xray_tf.models.features import ZONES, LungReader
from xray_tf.stats.detector.committee import Committee
from xray_tf.stats.detector.density import Density

NAMES = ("reconstruction_error", "log_density")
COMMITTEE = "features"  # the name of its score, and of its arrays in reference.npz
MAP_QUANTILE = 0.999
MAP_ROWS = 256  # calibration normals that set the range of heat maps


@dataclass(frozen=True)
class NormalChest:
    """Everything that was learned from the fit normals: turns pixels into raw scores and heat maps.
    All of it looks at registered lungs alone.

    Attributes:
        reader: turns pixels into features of lungs.
        model: the autoencoder of their zones, see `nets.autoencoder`.
        density: the density of its codes.
        committee: detectors beside these two; None if there are none.
        atlas: the brightness of normal lungs, for the heat map.
    """

    reader: LungReader
    model: Any
    density: Density
    committee: Committee | None
    atlas: LungAtlas

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the raw scores, in the order of the columns."""
        return NAMES if self.committee is None else (*NAMES, COMMITTEE)

    def scores(self, pixels: np.ndarray, batch_size: int = 64) -> np.ndarray:
        """Return raw scores (N, K) float64 of pixels (N, S, S) uint8: mean squared error of the
        standardised features, log density of their code and, if there is one, the committee's.
        """
        return self.scores_of(self.reader.read(pixels, batch_size=batch_size))

    def scores_of(self, features: dict[str, np.ndarray]) -> np.ndarray:
        """Return raw scores (M, K) float64 of what `reader` read."""
        from xray_tf.nets.autoencoder import codes_and_errors

        codes, errors = codes_and_errors(self.model, features[ZONES])
        columns = [errors, self.density.score_samples(codes)]
        if self.committee is not None:
            columns.append(self.committee.score_samples(features))
        return np.stack(columns, axis=1)

    def unusual(self, pixels: np.ndarray, indices: Sequence[int] | None = None) -> np.ndarray:
        """Return unscaled heat maps (M, S, S) float32: how much brighter the lungs are than normal
        lungs in the same place.
        """
        found = self.reader.registered(pixels, indices)
        return np.concatenate([self.atlas.unusual(part) for part in found])

    def map_range(self, pixels: np.ndarray, indices: Sequence[int] | None = None) -> np.ndarray:
        """Return the values (2,) float64 that become 0 and 1 in a heat map: the median over the
        pixels of these normals, and the value that one pixel in a thousand exceeds.
        """
        return np.quantile(self.unusual(pixels, indices), (0.5, MAP_QUANTILE))

    def heat(
        self, bounds: np.ndarray, pixels: np.ndarray, indices: Sequence[int] | None = None
    ) -> np.ndarray:
        """Return heat maps (M, S, S) float32 in [0, 1]."""
        above = self.unusual(pixels, indices) - bounds[0]
        return np.clip(above / max(bounds[1] - bounds[0], 1e-12), 0, 1).astype(np.float32)
