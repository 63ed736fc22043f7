"""Say which rows a model has met before: figures on those are optimistic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from xray_tf.data.records import Record, Records
from xray_tf.data.split import SPLIT, known_to
from xray_tf.options import weights_file

FITTED = {
    "train": "training rows",
    "val": "the validation rows that thresholds were fitted to",
}


def known_notes(records: Iterable[Record], model: Any) -> list[str]:
    """Say how many of the rows scored an opened model was trained on, and to how many its
    thresholds were fitted; nothing where there are none.
    """
    records, name, notes = list(records), model.card.name, []
    for part, what in FITTED.items():
        files, keys = known_to(records, model.folder / SPLIT, part)
        if files.any():
            notes.append(
                f"{files.sum():,} of these {len(records):,} radiographs are {what} of {name}: the "
                "figures flatter it."
            )
        if keys.any():
            notes.append(
                f"{keys.sum():,} of these {len(records):,} radiographs have patient keys of {what} "
                f"of {name}: if they are the same patients, the figures flatter it."
            )
    return notes


def fitted_on_notes(records: Sequence[Record], model: Any) -> list[str]:
    """Say how many rows, reported as new, are of patients that an opened model was fitted on."""
    fitted_on = {"train", "val"} - {r.split for r in records}
    files, keys = known_to(records, model.folder / SPLIT, *fitted_on)
    familiar = int((files | keys).sum())
    if not familiar:
        return []
    return [
        f"{familiar:,} of these {len(records):,} rows have patient keys that the model was fitted "
        "on. Neighbours of the same key never vote, but the net has seen them: the figures say "
        "nothing about new patients."
    ]


def refuse_seen(records: Records, weights: str | None) -> list[str]:
    """Refuse to start from weights that were trained on held-out rows; return what may be the
    case, for the card.

    Raises:
        ValueError: validation or test rows are training rows of the weights to start from.
    """
    path = weights_file(weights)
    if path is None or path.name != "model.keras" or not (path.parent / SPLIT).is_file():
        return []
    split, held_out = path.parent / SPLIT, np.array([r.split in ("val", "test") for r in records])
    files, keys = known_to(records, split, "train")
    seen = int(((files | keys) & held_out).sum())
    if not seen:
        return []
    which = f"{seen} of the {held_out.sum()} validation and test radiographs"
    if files.any():
        raise ValueError(
            f"{which}, or others of the same patients, are training rows of {path}: "
            f"thresholds and figures would flatter. Have its rows again with --split {split}, "
            "or start from other weights."
        )
    return [  # equal keys may be other patients
        f"{which} have patient keys of training rows of {path}: if they are the same "
        "patients, thresholds and figures flatter."
    ]
