"""Keep the state of a training on disk: a note, and lists of arrays by name, in one file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf.artifact import CHECKPOINT
from xray_tf.data.tables.arrays import read_arrays, write_arrays
from xray_tf.writing import draft_of


def write_checkpoint(folder: Path, note: Any, **lists: Sequence[np.ndarray]) -> None:
    """Write a note (JSON) and lists of arrays into a folder, in place of an older checkpoint."""
    arrays = {f"{name}{i}": a for name, values in lists.items() for i, a in enumerate(values)}
    text = np.frombuffer(json.dumps(note).encode(), np.uint8)
    with draft_of(folder / CHECKPOINT) as draft:
        write_arrays(draft, {"note": text, **arrays})


def read_checkpoint(folder: Path, *names: str) -> tuple[Any, ...] | None:
    """Return the note and the lists of these names; None if there is no checkpoint."""
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    stored = read_arrays(path)
    counts = {name: sum(key.startswith(name) for key in stored) for name in names}
    lists = [[stored[f"{name}{i}"] for i in range(n)] for name, n in counts.items()]
    return json.loads(stored["note"].tobytes()), *lists


@contextmanager
def refuse_damaged(folder: Path) -> Iterator[None]:
    """Turn what a checkpoint that cannot be used raises into a ValueError that says what to do."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"The checkpoint {folder / CHECKPOINT} is damaged or of another run "
            f"({type(error).__name__}). Remove {folder} to start again."
        ) from error
