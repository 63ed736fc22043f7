"""Options of training the lung segmenter."""

from __future__ import annotations

from dataclasses import dataclass

from xray_tf.options.declare import Checked, option


@dataclass(frozen=True)
class TrainLungsOptions(Checked):
    """Training of the lung segmenter."""

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
    epochs: int = option(110, "epochs", metavar="N", least=1)
    batch_size: int = option(32, "pictures per step", metavar="N", least=4)
    learning_rate: float = option(4e-3, "peak learning rate", metavar="RATE", least=0)
    weight_decay: float = option(1e-3, "AdamW's weight decay", metavar="RATE", least=0)
    ema: float = option(
        0.99,
        "momentum of the averaged weights, per four steps",
        metavar="SHARE",
        least=0,
        below=1,
    )
    phantoms: int = option(
        180, "phantoms drawn for training; a third as many measure", metavar="N", least=0
    )
    refused: float = option(
        0.01,
        "at most this share of chests never trained on is taken for something else",
        metavar="SHARE",
        least=0.0001,
        below=0.5,
    )
    bootstrap: int = option(1000, "replicates behind each 95 %% interval", metavar="N", least=0)
    cache: str | None = option(
        None, "where decoded pixels are kept (default: the user's cache folder)", metavar="DIR"
    )
    seed: int = option(0, "of the weights, the order and the augmentation", metavar="N", least=0)
