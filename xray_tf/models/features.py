"""Turn radiographs into what detectors of normal lungs compare: registered lungs, their numbers,
and frozen ImageNet features of their zones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xray_tf.data.chest.lung_fields import FindLungs
from xray_tf.data.chest.lung_numbers import lung_numbers
from xray_tf.data.chest.registered_lungs import RegisteredLungs, register_lungs

NUMBERS, ZONES = FEATURES = ("lungs", "zones")
_ROWS = 128  # rows at a time: registered lungs of many radiographs do not fit into memory


@dataclass(frozen=True)
class LungReader:
    """A frozen trunk and what finds lungs.

    Attributes:
        trunk: the feature model, see `nets.feature_maps`.
        find_lungs: finds the lungs, all that is looked at.
    """

    trunk: Any
    find_lungs: FindLungs

    def read(
        self,
        pixels: np.ndarray,
        indices: Sequence[int] | None = None,
        batch_size: int = 64,
        progress: Callable[[int], None] | None = None,
    ) -> dict[str, np.ndarray]:
        """Read rows of (N, S, S) uint8.

        Args:
            pixels: grey, bone white.
            indices: (M,) rows in the desired order; all if None.
            batch_size: radiographs per forward pass.
            progress: called with the number of rows done.

        Returns:
            `lungs` (M, L) float32, see `data.chest.lung_numbers`; `zones` (M, D) float32, see
            `nets.feature_maps.zone_features`.
        """
        from xray_tf.nets.feature_maps import STRIDE, zone_features

        grid = pixels.shape[1] // STRIDE
        parts: dict[str, list[np.ndarray]] = {name: [] for name in FEATURES}
        for found in self.registered(pixels, indices):
            parts[NUMBERS].append(lung_numbers(found.images, found.lungs))
            shares = found.shares(grid)
            parts[ZONES].append(zone_features(self.trunk, found.images, shares, batch_size))
            if progress:
                progress(len(found.images))
        return {name: np.concatenate(values) for name, values in parts.items()}

    def registered(
        self, pixels: np.ndarray, indices: Sequence[int] | None = None
    ) -> Iterator[RegisteredLungs]:
        """Yield the registered lungs of rows of (N, S, S) uint8, some at a time, at least once."""
        indices = np.arange(len(pixels)) if indices is None else np.asarray(indices, np.int64)
        for start in range(0, max(len(indices), 1), _ROWS):
            images = np.asarray(pixels[indices[start : start + _ROWS]])
            yield register_lungs(images, self.find_lungs(images).masks)
