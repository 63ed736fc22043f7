"""Columns of tables, each declared once as a field of its row's dataclass.

The field gives its name, its type and its default; `column` adds the name it has in a CSV file and
as an array, where they differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Any, get_type_hints

import numpy as np

MANY = "{}"  # in a column's CSV name: there is one for each of the table's names


def column(
    default: Any = MISSING,
    *,
    absent: Any = MISSING,
    array: str = "",
    csv: str = "",
    of_classes: bool = False,
) -> Any:
    """Declare a field of a row whose column has more than a name, a type and a default.

    Args:
        default: of a row, and of every row where the column is left out.
        absent: of every row where the column is left out, though a row needs it.
        array: the attribute of a table in columns; the field's name when empty.
        csv: the name in a CSV file; the field's name when empty. With {} in it there is one column
            for each of the table's names.
        of_classes: a table in columns keeps the index, -1 for none, of the class that a row and a
            CSV file name.
    """
    absent = default if absent is MISSING else absent
    more = {"absent": absent, "array": array, "csv": csv, "of_classes": of_classes}
    return field(default=default, metadata=more)


@dataclass(frozen=True)
class Column:
    """One column, as the field `name` of a row declares it; `kind` is str, int or float, `absent`
    its value where it may be left out.
    """

    name: str
    array: str
    csv: str
    kind: type
    of_classes: bool
    absent: Any

    def header(self, names: Sequence[str]) -> list[str]:
        """Return what a CSV file calls it: one name, or one for each of `names`."""
        return [self.csv.replace(MANY, n) for n in names] if MANY in self.csv else [self.csv]

    def names_in(self, header: Iterable[str]) -> tuple[str, ...]:
        """Return the table's names for which a CSV file has this column."""
        before, _, after = self.csv.partition(MANY)
        return tuple(
            h[len(before) : len(h) - len(after)]
            for h in header
            if h.startswith(before) and h.endswith(after) and len(h) > len(before + after)
        )

    def parsed(self, cells: Sequence[Sequence[str]]) -> list:
        """Return the values of its cells in a CSV file; of several columns a tuple a row."""
        if self.kind is not float:
            return [self.kind(text) for text in cells[0]]
        numbers = [[float(text or "nan") for text in one] for one in cells]
        return list(zip(*numbers, strict=True)) if MANY in self.csv else numbers[0]


@cache
def columns_of(row_type: type) -> tuple[Column, ...]:
    """Return the columns that the fields of a row's dataclass declare."""
    hints = get_type_hints(row_type)
    return tuple(
        Column(
            f.name,
            f.metadata.get("array") or f.name,
            f.metadata.get("csv") or f.name,
            hints[f.name] if hints[f.name] in (str, int) else float,
            f.metadata.get("of_classes", False),
            f.metadata.get("absent", f.default),
        )
        for f in fields(row_type)
    )


def text_column(values: Iterable[str]) -> np.ndarray:
    """Return (N,) object array of str: not <U, since paths may hold undecodable bytes and trailing
    NULs.
    """
    values = list(values)
    texts = np.empty(len(values), dtype=object)
    texts[:] = [str(v) for v in values]
    return texts


def class_indices(values: Iterable, names: tuple[str, ...], what: str) -> np.ndarray:
    """Return (N,) int64 indices of classes that are named, or given as indices; -1 for none."""
    values = list(values)
    lookup = {"": -1, -1: -1} | {key: k for k, n in enumerate(names) for key in (n, k)}
    for v in values:
        if not isinstance(v, str | int | np.integer) or v not in lookup:
            raise ValueError(
                f"{what} must be class names or indices of {names}, empty or -1 "
                f"where not known. Received: {v!r}"
            )
    return np.array([lookup[v] for v in values], dtype=np.int64)
