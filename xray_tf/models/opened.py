"""What every opened artifact with a Keras model has."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from xray_tf.artifact import Card


class Opened:
    """An artifact's folder, its card, and its Keras model, which is read on first use."""

    def __init__(self, folder: Path, card: Card):
        self.folder, self.card = folder, card

    @cached_property
    def model(self):
        from xray_tf.nets.keras_file import load_model

        return load_model(self.folder / "model.keras")
