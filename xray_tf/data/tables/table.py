"""Tables: rows of one frozen dataclass, kept as rows or as columns, and their CSV form, written
whole or batch by batch.

Both kinds of table are written, read, compared and shown by the same code, and every number comes
back bit for bit.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import MISSING
from itertools import chain
from pathlib import Path
from typing import IO, Any, Generic, Self, TypeVar

import numpy as np

from xray_tf.data.tables.columns import MANY, Column, class_indices, columns_of, text_column
from xray_tf.data.tables.csv_files import (
    FORM,
    PARTIAL,
    csv_line,
    cut_torn_row,
    read_columns,
    write_lines,
)

Row = TypeVar("Row")


class AnyTable(Generic[Row]):
    """What tables in rows and tables in columns have in common.

    Attributes:
        row_type: the rows' dataclass.
        names: those of the columns of which there are several, such as classes.
        fewest_names: that a file must have.
    """

    row_type: type
    names: tuple[str, ...] = ()
    fewest_names: int = 0

    @classmethod
    def header(cls, names: Sequence[str] = ()) -> list[str]:
        """Return the column names of the CSV form."""
        return [name for c in columns_of(cls.row_type) for name in c.header(names)]

    def lines(self) -> Iterator[str]:
        """Yield the rows as lines of CSV."""
        cells = [texts for c in columns_of(self.row_type) for texts in self._texts(c)]
        return map(csv_line, zip(*cells, strict=True))

    def write_csv(self, path: str | os.PathLike) -> Path:
        """Write UTF-8 CSV with a header and return the path."""
        return write_lines(Path(path), self.header(self.names), self.lines())

    @classmethod
    def read_csv(cls, path: str | os.PathLike) -> Self:
        """Read what `write_csv` wrote; columns it does not know are refused, missing ones take
        their default.

        Raises:
            ValueError: the header or a row is not of that form.
        """
        found, columns = read_columns(Path(path)), columns_of(cls.row_type)
        several = [c for c in columns if MANY in c.csv]
        telling = max(several, key=lambda c: len(c.csv), default=None)
        names = telling.names_in(found) if telling else ()
        required = {n for c in columns if c.absent is MISSING for n in c.header(names)}
        if len(names) < cls.fewest_names or not required <= set(found) <= set(cls.header(names)):
            raise ValueError(
                f"{path} must have the columns {', '.join(cls.header(['<name>']))}. "
                f"Received: {list(found)}"
            )
        values = {}
        for c in columns:
            if set(c.header(names)) <= set(found):
                try:
                    values[c.name] = c.parsed([found[n] for n in c.header(names)])
                except ValueError as error:
                    raise ValueError(f"{path}: {c.csv} must be a number ({error}).") from error
        return cls.of_columns(values, names)

    @classmethod
    def of_columns(cls, values: dict[str, Sequence], names: Sequence[str] = ()) -> Self:
        """Make a table of columns by the names of the rows' fields."""
        raise NotImplementedError

    def to_frame(self):
        """Return the table as a pandas DataFrame with the columns of the CSV form."""
        import pandas as pd

        return pd.DataFrame(self.to_columns())

    def to_columns(self) -> dict[str, Sequence]:
        """Return the columns of the CSV form by name, with their values instead of texts."""
        values = chain.from_iterable(self._values(c) for c in columns_of(self.row_type))
        return dict(zip(self.header(self.names), values, strict=True))

    def _values(self, column: Column) -> Sequence[Sequence]:
        """Return the column's values, once for each of the names in its header."""
        raise NotImplementedError

    def _texts(self, column: Column) -> Iterator[Iterable]:
        for values in self._values(column):
            yield (
                [repr(float(v)) if v == v else "" for v in values]
                if column.kind is float
                else (values)
            )

    def _repr_html_(self) -> str:
        return self.to_frame()._repr_html_()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join((f'{len(self)} rows', *self.names))})"


class Table(AnyTable[Row]):
    """An immutable sequence of rows."""

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

    def _values(self, column: Column) -> Sequence[Sequence]:
        return [self.column(column.name)]

    @classmethod
    def of_columns(cls, values: dict[str, Sequence], names: Sequence[str] = ()) -> Self:
        """Make a table of columns by the names of the rows' fields."""
        rows = zip(*values.values(), strict=True)
        return cls(cls.row_type(**dict(zip(values, row, strict=True))) for row in rows)


class ColumnTable(AnyTable[Row]):
    """An immutable table kept as read-only arrays: texts as objects, classes as int64, numbers as
    float64.

    Args:
        names: those of the columns of which there are several.
        columns: by the names of the arrays; None, or none at all, where there is a default.

    Raises:
        ValueError: lengths, classes or shapes do not fit.
    """

    fewest_names = 1

    def __init__(self, names: Sequence[str], **columns: Any):
        self.names, declared = tuple(names), columns_of(self.row_type)
        if unknown := set(columns) - {c.array for c in declared}:
            raise TypeError(f"{type(self).__name__} has no column {min(unknown)!r}.")
        paths = text_column(columns[declared[0].array])
        for c in declared:
            values = columns.get(c.array)
            if values is None and c.absent is MISSING:
                raise TypeError(f"{type(self).__name__} needs the column {c.array!r}.")
            values = self._array(c, [c.absent] * len(paths) if values is None else values)
            shape = (len(paths), len(self.names)) if MANY in c.csv else (len(paths),)
            if not len(paths) and not values.size:
                values = values.reshape(shape)
            if values.shape != shape:
                raise ValueError(
                    f"{c.array} must have one entry a path, {len(paths)}. Received: {len(values)}"
                    if values.ndim == len(shape) == 1
                    else f"{c.array} must be {shape}: one row a path"
                    f"{', one column a name' * (len(shape) > 1)}. Received: shape {values.shape}"
                )
            values.flags.writeable = False
            setattr(self, c.array, values)

    def _array(self, column: Column, values: Iterable) -> np.ndarray:
        if column.of_classes:
            return class_indices(values, self.names, column.array)
        return text_column(values) if column.kind is str else np.array(values, np.float64)

    def _arrays(self) -> dict[str, np.ndarray]:
        return {c.array: getattr(self, c.array) for c in columns_of(self.row_type)}

    def __len__(self) -> int:
        return len(getattr(self, columns_of(self.row_type)[0].array))

    def __getitem__(self, index: int | str) -> Row | np.ndarray:
        """Return a row by its number, or a column by its name in the CSV form, classes as names."""
        if isinstance(index, str):
            return self._named(index)
        cells = {}
        for c in columns_of(self.row_type):
            value = getattr(self, c.array)[index]
            if c.of_classes:
                value = self.class_name(value)
            elif c.kind is float:
                value = tuple(value.tolist()) if value.ndim else float(value)
            cells[c.name] = value
        return self.row_type(**cells)

    def _named(self, name: str) -> np.ndarray:
        for c in columns_of(self.row_type):
            header = c.header(self.names)
            if name in header:
                values = self._values(c)[header.index(name)]
                return np.array(values, object) if c.of_classes else values
            if name == c.name:
                return getattr(self, c.array)
        raise KeyError(f"no column {name!r} among {self.header(self.names)}")

    def __iter__(self) -> Iterator[Row]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return (type(self), self.names) == (type(other), other.names) and all(
            np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
            for a, b in zip(self._arrays().values(), other._arrays().values(), strict=True)
        )

    __hash__ = None

    def class_name(self, index: int) -> str:
        """Return a class's name; nothing for -1."""
        return self.names[index] if index >= 0 else ""

    def where(self, keep: np.ndarray) -> Self:
        """Return the rows chosen by `keep`: (N,) bool, or integer positions in the wanted order."""
        keep = np.asarray(keep)
        return type(self)(self.names, **{n: a[keep] for n, a in self._arrays().items()})

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the rows of several tables of the same names, one after the other."""
        arrays = [part._arrays() for part in parts]
        return cls(parts[0].names, **{n: np.concatenate([a[n] for a in arrays]) for n in arrays[0]})

    def _values(self, column: Column) -> Sequence[Sequence]:
        values = getattr(self, column.array)
        if column.of_classes:
            return [[self.class_name(i) for i in values]]
        return [values] if values.ndim == 1 else values.T

    @classmethod
    def of_columns(cls, values: dict[str, Sequence], names: Sequence[str] = ()) -> Self:
        """Make a table of columns by the names of the rows' fields."""
        arrays = {c.name: c.array for c in columns_of(cls.row_type)}
        return cls(names, **{arrays[name]: column for name, column in values.items()})


class TableWriter:
    """Write a table batch by batch in constant memory; the file gets its name when the block ends
    without an error.

    Until then its rows lie in the visible file `NAME.partial`, on the disk after each batch. They
    stay there whatever ends the block, and the next writer of the same file goes on after them.

    Use as a context manager: `with TableWriter("p.csv", Predictions, class_names) as writer:
    writer.append(batch)`.

    Args:
        path: where to write; None writes nothing and only counts.
        table_type: of every batch.
        names: of every batch.
        reopen: go on after the rows of a file that has its name already, where nothing but an
            interrupted run can have given it that.

    Attributes:
        rows: written so far, those of an earlier writer included.
        before: the table of the rows that an earlier writer left.

    Raises:
        FileExistsError: on entering, when the file is there already.
        ValueError: on entering, when an earlier writer left another table.
    """

    def __init__(
        self,
        path: str | os.PathLike | None,
        table_type: type[AnyTable],
        names: Sequence[str] = (),
        reopen: bool = False,
    ):
        self.reopen = reopen
        self.path = None if path is None else Path(path)
        self.table_type, self.names, self.rows = table_type, tuple(names), 0
        self.before: AnyTable | None = None
        self._stream: IO[str] | None = None

    def __enter__(self) -> Self:
        if self.path is not None:
            if self.reopen and self.path.exists():
                os.replace(self.path, self._partial)
            if self.path.exists():
                raise FileExistsError(
                    f"{self.path} exists, and a finished result is never "
                    "overwritten. Name another file, or remove it first."
                )
            self._go_on()
        return self

    @property
    def _partial(self) -> Path:
        return self.path.with_name(f"{self.path.name}{PARTIAL}")

    def _go_on(self) -> None:
        """Open the partial file after the whole rows that it has."""
        header = csv_line(self.table_type.header(self.names))
        if self._partial.is_file():
            cut_torn_row(self._partial)
        if not self._partial.is_file() or not self._partial.stat().st_size:
            write_lines(self._partial, self.table_type.header(self.names), ())
        with self._partial.open(**FORM) as stream:
            if stream.readline() != header:
                raise ValueError(
                    f"{self._partial} has other columns. Remove it to start again, or name another."
                )
        self.before = self.table_type.read_csv(self._partial)
        self.rows = len(self.before)
        self._stream = self._partial.open("a", **FORM)

    def append(self, batch: AnyTable) -> None:
        """Write the rows of `batch` after those already written, in order."""
        if type(batch) is not self.table_type or batch.names != self.names:
            raise ValueError(
                f"the batch must be {self.table_type.__name__} of {self.names}. Received: {batch!r}"
            )
        self.rows += len(batch)  # first: an interrupt while they are written leaves some of them
        if self._stream is not None:
            self._stream.writelines(batch.lines())
            self._stream.flush()
            os.fsync(self._stream.fileno())

    def __exit__(self, kind, value, traceback) -> None:
        if self._stream is None:
            return
        with suppress(OSError) if kind else nullcontext():  # a full disk is full here too
            self._stream.close()
        if kind is None:
            os.replace(self._partial, self.path)
        elif not self.rows:
            self._partial.unlink(missing_ok=True)
