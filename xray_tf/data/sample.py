"""Choose some of many labelled rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from xray_tf.data.records import Record


def draw_records(
    records: Sequence[Record], labels: np.ndarray, limit: int, seed: int
) -> np.ndarray:
    """Choose records by their patients, as in `draw_rows`; one without a key is a patient of its
    own.
    """
    return draw_rows(labels, [r.patient or r.path for r in records], limit, seed)


def draw_rows(labels: np.ndarray, patients: Sequence[str], limit: int, seed: int) -> np.ndarray:
    """Choose rows whose class is known, as many of each class as can be, at most `limit` in all (0:
    every one).

    Within a class the patients' order depends on the seed and the key alone, so a smaller draw is
    part of a larger one.

    Returns:
        (n,) int64 positions, rising.
    """
    order = [
        hashlib.sha256(f"{seed}:{p}".encode("utf-8", "surrogateescape")).digest() for p in patients
    ]
    queues = [
        sorted(np.flatnonzero(labels == k), key=lambda i: (order[i], i))
        for k in np.unique(labels[labels >= 0])
    ]
    left, taken = limit if limit else len(labels), []
    for place, queue in enumerate(sorted(queues, key=len)):
        count = min(len(queue), -(-left // (len(queues) - place)) if left else 0)
        taken += queue[:count]
        left -= count
    return np.sort(np.array(taken, np.int64))
