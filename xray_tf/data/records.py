"""The table everything starts as: one row per radiograph, its columns declared once and checked at
the door.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from xray_tf.data.kin import known_patient
from xray_tf.data.tables.table import Table
from xray_tf.registry import SUBTYPES, Task

SPLITS = ("train", "val", "test")
ALL_ROWS = "all rows"
_RANKS = {"error": 0, "warning": 1, "note": 2}  # of severities


@dataclass(frozen=True)
class Record:
    """One radiograph.

    Attributes:
        path: the file, relative to the table's root where it lies below it; POSIX slashes.
        label: `normal`, `pneumonia`, a class of a person's own task, or empty (not known).
        subtype: `bacterial`, `viral` or empty.
        patient: the patient key as the source gives it, empty where it gives none or a word for
            "not known" (`nan`). Never a verified identity.
        sha256: of the file's bytes, lower-case hex; empty until read.
        width, height: pixels of the upright picture; 0 until read.
        mode: `L`, `RGB`, `RGBA`, `LA`, `P`, `CMYK`, or with a bit depth, `L16`; empty until read.
        split: `train`, `val`, `test` or empty.
        acquisition: the group of radiographs that it looks like outside the lungs, as numbered by
            `jobs.audit.acquisitions`, or what a manifest calls it; empty where not known.
    """

    path: str
    label: str = ""
    subtype: str = ""
    patient: str = ""
    sha256: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""
    split: str = ""
    acquisition: str = ""

    def __post_init__(self):
        object.__setattr__(self, "patient", known_patient(self.patient))
        for name, allowed in (("subtype", SUBTYPES), ("split", SPLITS)):
            if getattr(self, name) not in ("", *allowed):
                raise ValueError(
                    f"Record.{name} must be empty or one of {allowed}. Received: "
                    f"{name}={getattr(self, name)!r} for {self.path!r}"
                )
        if self.label in SUBTYPES:
            raise ValueError(
                f"Record.label must be a class, such as pneumonia, whose sub-type is "
                f"{self.label!r}. Received: label={self.label!r} for {self.path!r}"
            )


@dataclass(frozen=True)
class Finding:
    """One thing an audit or a reader has to say about one file or about the whole.

    Attributes:
        kind: a short fixed word, such as `unreadable`, `near-duplicate`, `irregular-name`.
        severity: `error` (the file is set aside), `warning` or `note`.
        path: the file it is about; empty when it is about the whole.
        detail: what was found, and what is done about it, in one sentence.
        related: other files involved, separated by `|`.
    """

    kind: str
    severity: str
    path: str
    detail: str
    related: str = ""


class Findings(Table[Finding]):
    """Findings, most often written as `audit.csv`."""

    row_type = Finding

    def __add__(self, other: Findings) -> Findings:
        return Findings([*self.rows, *other.rows])

    def worst_first(self) -> Findings:
        """Return errors, then warnings, then notes, then the rest, each in their order."""
        return Findings(sorted(self.rows, key=lambda f: _RANKS.get(f.severity, len(_RANKS))))


class Records(Table[Record]):
    """Radiographs and the folder their paths are relative to.

    Attributes:
        traits: path -> {column: value} of what a manifest says beside the columns of `Record`, such
            as site or view; kept in memory, never written.
    """

    row_type = Record

    def __init__(
        self,
        rows: Iterable[Record],
        root: str | os.PathLike = ".",
        split_by: str = "patient",
        traits: Mapping[str, dict[str, str]] | None = None,
    ):
        super().__init__(rows)
        self.root = Path(root)
        self.split_by = split_by
        self.traits = traits or {}

    def file(self, row: Record) -> Path:
        """Return where the row's file lies."""
        return self.root / row.path

    def where(self, keep) -> Records:
        """Return the rows for which `keep(row)` is true."""
        return self.with_rows(row for row in self.rows if keep(row))

    def with_rows(self, rows: Iterable[Record]) -> Records:
        """Return a table with the same root and other rows."""
        return Records(rows, self.root, self.split_by, self.traits)

    def with_split(self, splits: Iterable[str]) -> Records:
        """Return the same rows with their `split` column set, in order."""
        return self.with_rows(
            replace(row, split=s) for row, s in zip(self.rows, splits, strict=True)
        )

    def with_acquisitions(self, known: Iterable[Record]) -> Records:
        """Return the same rows with the acquisition groups of other rows, matched by their bytes,
        by their path where one of the two was not read; a row that none knows keeps its own.
        """
        known = list(known)
        by_bytes = {r.sha256: r.acquisition for r in known if r.sha256}
        by_path = {r.path: r for r in known}

        def group(row: Record) -> str:
            if row.sha256 in by_bytes:
                return by_bytes[row.sha256] or row.acquisition
            other = by_path.get(row.path)
            same = other is not None and not (other.sha256 and row.sha256)
            return (other.acquisition if same else "") or row.acquisition

        return self.with_rows(replace(row, acquisition=group(row)) for row in self.rows)

    def class_indices(self, task: Task) -> list[int]:
        """Return each row's class index under `task`, -1 where it is not known (unlabelled, or no
        sub-type).
        """
        return [class_index(row, task) for row in self.rows]


def common_part(splits: Iterable[str]) -> str:
    """Name what rows of these parts are together: the one part that all are of, else `all rows`."""
    named = set(splits)
    return (named.pop() or ALL_ROWS) if len(named) == 1 else ALL_ROWS


def class_index(row: Record, task: Task) -> int:
    """Return the index of the row's class in `task`, or -1 where the record does not say."""
    return task.index(row.label, row.subtype)
