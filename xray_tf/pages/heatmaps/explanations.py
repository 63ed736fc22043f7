"""Heat maps of radiographs with what was decided, as a notebook shows them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from xray_tf.data.predictions import Predictions
from xray_tf.pages.kit.overlays import overlay


@dataclass(frozen=True)
class Explanations:
    """Radiographs with what was decided and where its evidence lies.

    Attributes:
        predictions: N rows.
        pixels: (N, S, S) uint8, as the model sees them.
        heatmaps: (N, S, S) float32 in [0, 1], Grad-CAM of the class that was decided.
    """

    predictions: Predictions
    pixels: np.ndarray
    heatmaps: np.ndarray

    @property
    def overlays(self) -> Iterator[np.ndarray]:
        """The heat maps over the radiographs, each (S, S, 3) uint8 RGB."""
        return map(overlay, self.pixels, self.heatmaps)

    def __len__(self) -> int:
        return len(self.pixels)

    def plot(self, columns: int = 6):
        """Return a figure of all heat maps over their radiographs, titled by what was decided."""
        from xray_tf.pages.kit.figures import contact_sheet

        titles = [f"{row.predicted} {max(row.probabilities):.2f}" for row in self.predictions]
        return contact_sheet(list(self.overlays), titles, columns)

    def _repr_jpeg_(self) -> bytes:
        return self.plot()._repr_jpeg_()
