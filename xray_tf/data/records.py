"""The table everything starts as: one row per radiograph, its columns declared once and checked at the door."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any, Generic, TypeVar, get_type_hints

import numpy as np

from xray_tf.registry import LABELS, SUBTYPES, TASKS

Row = TypeVar("Row")
SPLITS = ("train", "val", "test")
ALL_ROWS = "all rows"
_QUOTED = re.compile(r'[",\r\n]')


@dataclass(frozen=True)
class Record:
    """One radiograph.

    Attributes:
        path: the file, relative to the table's root where it lies below it; POSIX slashes.
        label: `normal`, `pneumonia` or empty (not known).
        subtype: `bacterial`, `viral` or empty.
        patient: the patient key as the source gives it, empty where it gives none. Never a verified identity.
        sha256: of the file's bytes, lower-case hex; empty until read.
        width, height: pixels as stored, EXIF orientation ignored; 0 until read.
        mode: `L`, `RGB`, `RGBA`, `LA`, `P`, `CMYK`, or with a bit depth, `L16`; empty until read.
        split: `train`, `val`, `test` or empty.
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

    def __post_init__(self):
        for name, allowed in (("label", LABELS), ("subtype", SUBTYPES), ("split", SPLITS)):
            if getattr(self, name) not in ("", *allowed):
                raise ValueError(f"Record.{name} must be empty or one of {allowed}. Received: {name}={getattr(self, name)!r} for {self.path!r}")


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


def csv_line(cells: Iterable[Any]) -> str:
    """Return one line of CSV. csv.writer of Python 3.11 leaves a lone carriage return unquoted, and its own reader then splits the row."""
    texts = map(str, cells)
    return ",".join('"' + t.replace('"', '""') + '"' if _QUOTED.search(t) else t for t in texts) + "\n"


def read_cells(path: Path, columns_of: Callable[[list[str]], list[str]], expected: str) -> tuple[list[str], list[tuple[str, ...]]]:
    """Read a CSV file as columns: its header and, for each of its columns, the cells as texts.

    Args:
        path: of the file.
        columns_of: what the header must be, told from the one found; nothing where it cannot be right.
        expected: those columns in words, for the message.

    Raises:
        ValueError: the header or a row is not of that form.
    """
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        reader = csv.reader(stream)
        header = next(reader, [])
        if not header or header != columns_of(header):
            raise ValueError(f"{path} must have the columns {expected}. Received: {header}")
        rows = list(reader)
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise ValueError(f"{path}, row {number}: expected {len(header)} cells. Received: {row}")
    return header, list(zip(*rows, strict=True)) or [()] * len(header)


def text_column(values: Iterable[str]) -> np.ndarray:
    """Return (N,) object array of str: not <U, since paths may hold undecodable bytes and trailing NULs."""
    values = list(values)
    column = np.empty(len(values), dtype=object)
    column[:] = [str(v) for v in values]
    return column


class Table(Generic[Row]):
    """An immutable sequence of rows of one frozen dataclass, with its CSV form and a DataFrame at the door."""

    row_type: type

    def __init__(self, rows: Iterable[Row]):
        self.rows: tuple[Row, ...] = tuple(rows)
        for row in self.rows:
            if not isinstance(row, self.row_type):
                raise TypeError(f"{type(self).__name__} holds {self.row_type.__name__} rows. Received: {row!r}")

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.rows == other.rows

    __hash__ = None

    def column(self, name: str) -> list[Any]:
        """Return one column as a list."""
        return [getattr(row, name) for row in self.rows]

    def to_frame(self):
        """Return the table as a pandas DataFrame."""
        import pandas as pd

        names = [f.name for f in fields(self.row_type)]
        return pd.DataFrame([astuple(row) for row in self.rows], columns=names)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} rows)"

    def _repr_html_(self) -> str:
        return self.to_frame()._repr_html_()

    def write_csv(self, path: str | os.PathLike) -> Path:
        """Write the table as UTF-8 CSV with a header and return the path."""
        path = Path(path)
        with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(csv_line(f.name for f in fields(self.row_type)))
            stream.writelines(csv_line(astuple(row)) for row in self.rows)
        return path

    @classmethod
    def read_csv(cls, path: str | os.PathLike):
        """Read a table written by `write_csv`; columns it does not know are refused, missing ones take their default."""
        path = Path(path)
        hints = get_type_hints(cls.row_type)
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
            reader = csv.DictReader(stream)
            unknown = set(reader.fieldnames or ()) - set(hints)
            if unknown or not reader.fieldnames:
                raise ValueError(f"{path} must have the columns {list(hints)}. Received: {reader.fieldnames}")
            rows = [cls.row_type(**{k: hints[k](v) for k, v in row.items()}) for row in reader]
        return cls(rows)


class Findings(Table[Finding]):
    """Findings, most often written as `audit.csv`."""

    row_type = Finding

    def __add__(self, other: Findings) -> Findings:
        return Findings([*self.rows, *other.rows])


class Records(Table[Record]):
    """Radiographs and the folder their paths are relative to."""

    row_type = Record

    def __init__(self, rows: Iterable[Record], root: str | os.PathLike = ".", split_by: str = "patient"):
        super().__init__(rows)
        self.root = Path(root)
        self.split_by = split_by

    def file(self, row: Record) -> Path:
        """Return where the row's file lies."""
        return self.root / row.path

    def where(self, keep) -> Records:
        """Return the rows for which `keep(row)` is true."""
        return self.with_rows(row for row in self.rows if keep(row))

    def with_rows(self, rows: Iterable[Record]) -> Records:
        """Return a table with the same root and other rows."""
        return Records(rows, self.root, self.split_by)

    def with_split(self, splits: Iterable[str]) -> Records:
        """Return the same rows with their `split` column set, in order."""
        return self.with_rows(replace(row, split=s) for row, s in zip(self.rows, splits, strict=True))

    def class_indices(self, task: str) -> list[int]:
        """Return each row's class index under `task`, -1 where it is not known (unlabelled, or no sub-type)."""
        return [class_index(row, task) for row in self.rows]


def common_part(splits: Iterable[str]) -> str:
    """Name what rows of these parts are together: the one part that all are of, else `all rows`."""
    named = set(splits)
    return (named.pop() or ALL_ROWS) if len(named) == 1 else ALL_ROWS


def class_index(row: Record, task: str) -> int:
    """Return the index of the row's class in `TASKS[task]`, or -1 where the record does not say."""
    if task not in TASKS:
        raise ValueError(f"task must be one of {tuple(TASKS)}. Received: task={task!r}")
    name = row.label if task == "binary" or row.label == "normal" else row.subtype
    return TASKS[task].index(name) if name in TASKS[task] else -1
