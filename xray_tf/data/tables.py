"""Tables on disk: CSV files of typed rows and of columns."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any, Generic, TypeVar, get_type_hints

import numpy as np

Row = TypeVar("Row")


_QUOTED = re.compile(r'[",\r\n]')


def csv_line(cells: Iterable[Any]) -> str:
    """Return one line of CSV. csv.writer of Python 3.11 leaves a lone carriage return unquoted, and
    its own reader then splits the row.
    """
    texts = map(str, cells)
    return (
        ",".join('"' + t.replace('"', '""') + '"' if _QUOTED.search(t) else t for t in texts) + "\n"
    )


def read_cells(
    path: Path, columns_of: Callable[[list[str]], list[str]], expected: str
) -> tuple[list[str], list[tuple[str, ...]]]:
    """Read a CSV file as columns: its header and, for each of its columns, the cells as texts.

    Args:
        path: of the file.
        columns_of: what the header must be, told from the one found; nothing where it cannot be
            right.
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
    """Return (N,) object array of str: not <U, since paths may hold undecodable bytes and trailing
    NULs.
    """
    values = list(values)
    column = np.empty(len(values), dtype=object)
    column[:] = [str(v) for v in values]
    return column


class Table(Generic[Row]):
    """An immutable sequence of rows of one frozen dataclass, with its CSV form and a DataFrame at
    the door.
    """

    row_type: type

    def __init__(self, rows: Iterable[Row]):
        self.rows: tuple[Row, ...] = tuple(rows)
        for row in self.rows:
            if not isinstance(row, self.row_type):
                raise TypeError(
                    f"{type(self).__name__} holds {self.row_type.__name__} rows. Received: {row!r}"
                )

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
        """Read a table written by `write_csv`; columns it does not know are refused, missing ones
        take their default.
        """
        path = Path(path)
        hints = get_type_hints(cls.row_type)
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
            reader = csv.DictReader(stream)
            unknown = set(reader.fieldnames or ()) - set(hints)
            if unknown or not reader.fieldnames:
                raise ValueError(
                    f"{path} must have the columns {list(hints)}. Received: {reader.fieldnames}"
                )
            rows = [cls.row_type(**{k: hints[k](v) for k, v in row.items()}) for row in reader]
        return cls(rows)
