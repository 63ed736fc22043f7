"""Options of training the lung segmenter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xray_tf.options.declare import Checked, count, option, rate, share


@dataclass(frozen=True)
class TrainLungsOptions(Checked):
    """Training of the lung segmenter."""

    headings: ClassVar = {
        "held_out": "Data: what the lung segmenter learns from, and what it never sees",
        "epochs": "Training: epochs and optimiser",
        "refused": "Measuring",
    }

    held_out: str = option(
        "pneumonia-three-class",
        "a split.csv, or a model with one; patients of its validation rows are never trained on",
        metavar="WHICH",
    )
    selection: str = option(
        "train",
        "what becomes of every eighth of the other patients: train on them, or measure on them (to "
        "choose a recipe without looking at held-out patients)",
        ("train", "measure"),
    )
    phantoms: int = count(180, "phantoms drawn for training; a third as many measure")
    cache: str | None = option(
        None, "where decoded pixels are kept (default: the user's cache folder)", metavar="DIR"
    )
    epochs: int = count(110, "epochs", least=1)
    batch_size: int = count(32, "pictures per step", least=4)
    learning_rate: float = rate(4e-3, "peak learning rate")
    weight_decay: float = rate(1e-3, "AdamW's weight decay")
    ema: float = share(0.99, "momentum of the averaged weights, per four steps")
    seed: int = count(0, "of the weights, the order and the augmentation")
    refused: float = share(
        0.01,
        "at most this share of chests never trained on is taken for something else",
        least=0.0001,
        below=0.5,
    )
    bootstrap: int = count(1000, "replicates behind each 95 % interval")
