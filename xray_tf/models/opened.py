"""What every opened artifact with a Keras model has."""

from __future__ import annotations

import sys
import zipfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from xray_tf.card import MODEL, Card

if TYPE_CHECKING:
    from xray_tf.plain.network import Network

FEW = 16  # radiographs, in all, that are computed without TensorFlow


class Opened:
    """An artifact's folder, its card, and its Keras model, which is read on first use."""

    def __init__(self, folder: Path, card: Card):
        self.folder, self.card = folder, card
        self._asked = 0

    @cached_property
    def model(self):
        from xray_tf.nets.keras_file import load_model

        return load_model(self.folder / MODEL)

    @cached_property
    def plain(self) -> Network | None:
        """The network in NumPy; None where it has layers that only Keras knows, or is damaged."""
        from xray_tf.plain.network import open_network

        try:
            return open_network(self.folder / MODEL)
        except (ValueError, KeyError, TypeError, IndexError, OSError, zipfile.BadZipFile):
            return None  # Keras says what is wrong with a damaged file

    def is_few(self, count: int) -> bool:
        """Tell whether `count` more radiographs are computed faster in NumPy than by loading
        TensorFlow for them.
        """
        self._asked += count
        return self._asked <= FEW and "tensorflow" not in sys.modules
