"""Find the rows that a model has seen before: numbers measured on them are optimistic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from xray_tf.card import MODEL
from xray_tf.data.records import Record, Records
from xray_tf.data.tables.split_file import SPLIT, known_to
from xray_tf.options import weights_file

FITTED = {
    "train": "training rows",
    "val": "the validation rows that thresholds were fitted on",
}


def known_notes(records: Iterable[Record], model: Any) -> list[str]:
    """Return notes on how many of the scored rows an opened model was trained on, and on how many
    its thresholds were fitted; an empty list if there are none.
    """
    records, name, notes = list(records), model.card.name, []
    for part, what in FITTED.items():
        files, keys = known_to(records, model.folder / SPLIT, part)
        if files.any():
            notes.append(
                f"{files.sum():,} of these {len(records):,} radiographs are {what} of {name}: the "
                "numbers are optimistic."
            )
        if keys.any():
            notes.append(
                f"{keys.sum():,} of these {len(records):,} radiographs have patient keys of {what} "
                f"of {name}: if they are the same patients, the numbers are optimistic."
            )
    return notes


def fitted_on_notes(records: Sequence[Record], model: Any) -> list[str]:
    """Return notes on how many rows, reported as new, are of patients the model was fitted on."""
    fitted_on = {"train", "val"} - {r.split for r in records}
    files, keys = known_to(records, model.folder / SPLIT, *fitted_on)
    familiar = int((files | keys).sum())
    if not familiar:
        return []
    return [
        f"{familiar:,} of these {len(records):,} rows have patient keys that the model was fitted "
        "on. Neighbours with the same key never vote, but the network has seen them: the numbers "
        "say nothing about new patients."
    ]


def refuse_seen(records: Records, weights: str | None) -> list[str]:
    """Refuse to start from weights that were trained on held-out rows; return notes for the card
    on cases that cannot be decided.

    Raises:
        ValueError: validation or test rows are training rows of the initial weights.
    """
    path = weights_file(weights)
    if path is None or path.name != MODEL or not (path.parent / SPLIT).is_file():
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
            "thresholds and numbers would be optimistic. Use the same rows with "
            f"--split {split}, or start from other weights."
        )
    return [  # equal keys may belong to other patients
        f"{which} have patient keys of training rows of {path}: if they are the same "
        "patients, thresholds and numbers are optimistic."
    ]
