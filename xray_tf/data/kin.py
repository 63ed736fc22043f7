"""Group rows that belong together: of one patient, of one file, copies of one picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

# what spreadsheets and data frames write where a patient is not known
_NO_PATIENT = {
    *("", "nan", "-nan", "none", "null", "nil", "na", "n/a", "n.a.", "<na>", "nat", "#n/a", "#na"),
    *("#value!", "unknown", "unk", "undefined", "missing", "not known", "not available", "tbd"),
    *("-", "--", ".", "?", "??", "1.#qnan", "-1.#ind"),
}


def known_patient(key: object) -> str:
    """Return a patient key as text; empty where it is a word for "not known" (`nan`, `None`,
    `n/a`, ...), so that strangers do not become one patient.
    """
    text = str(key).strip()
    return "" if text.lower() in _NO_PATIENT else text


def kin_groups(patients: Sequence[str], sha256: Sequence[str]) -> np.ndarray:
    """Number the groups of rows that share a patient key or a file's bytes, directly or through
    others.

    Args:
        patients: N keys, empty where not known.
        sha256: N, empty where not known.

    Returns:
        (N,) int64, 0 .. G-1; a row that shares nothing is a group of its own.
    """
    first, pairs = {}, []
    for column in (patients, sha256):
        for i, key in enumerate(column):
            if key and (column is sha256 or known_patient(key)):
                pairs.append((first.setdefault((column is sha256, key), i), i))
    return join(len(patients), pairs)


def join(count: int, pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """Number the groups that pairs (i, j) of `count` things form, by union-find.

    Returns:
        (count,) int64, 0 .. G-1, in the order of the groups' first members.
    """
    parent = list(range(count))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for i, j in pairs:
        low, high = sorted((find(i), find(j)))
        parent[high] = low
    return np.unique([find(i) for i in range(count)], return_inverse=True)[1].astype(np.int64)


def members(groups: np.ndarray) -> list[np.ndarray]:
    """Return the rows (n,) int64 of each group that `join` or `kin_groups` numbered, ascending."""
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1) if len(groups) else []


def patient_groups(patients: Sequence[str] | None, rows: int) -> np.ndarray:
    """Number the patients of rows: (rows,) int64, 0 .. G-1 in the order of first rows; a row
    without a key is a patient of its own.

    Raises:
        ValueError: not one key a row.
    """
    keys = [""] * rows if patients is None else [str(p) for p in patients]
    if len(keys) != rows:
        raise ValueError(f"patients must have one key a row, {rows}. Received: {len(keys)}")
    return kin_groups(keys, [""] * rows)
