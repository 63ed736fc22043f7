"""Write and read embeddings.npz: vectors with the records they belong to."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from xray_tf.data.records import Records
from xray_tf.data.tables.arrays import read_arrays, write_arrays

EMBEDDINGS = "embeddings.npz"
COLUMNS = ("path", "sha256", "patient", "label", "subtype", "split")


def write_embeddings(path: str | os.PathLike, embeddings: np.ndarray, records: Records) -> Path:
    """Write `embedding` (N, D) float32 and, aligned, the columns path, sha256, patient, label,
    subtype and split as texts; nothing is pickled.
    """
    path = Path(path)
    columns = {c: np.array(records.column(c), np.str_) for c in COLUMNS}
    write_arrays(path, {"embedding": np.asarray(embeddings, np.float32), **columns})
    return path


def read_embeddings(path: str | os.PathLike) -> tuple[np.ndarray, Records]:
    """Read what `write_embeddings` wrote: ((N, D) float32, N records).

    Raises:
        ValueError: the file is not of that form.
    """
    stored = read_arrays(path)
    if not {"embedding", *COLUMNS} <= set(stored):
        raise ValueError(
            f"{path} must hold embedding, {', '.join(COLUMNS)}. Received: {list(stored)}"
        )
    columns = {c: stored[c].tolist() for c in COLUMNS}
    embeddings = stored["embedding"]
    records = Records.of_columns(columns)
    if embeddings.ndim != 2 or len(embeddings) != len(records):
        raise ValueError(
            f"{path} must hold one embedding a record, {len(records)}. Received: "
            f"shape {embeddings.shape}"
        )
    return embeddings, records
