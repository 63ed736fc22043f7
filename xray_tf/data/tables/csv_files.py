"""CSV files as this package writes and reads them."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf|nan")
_QUOTED = re.compile(r'[",\r\n]')
# names that are not UTF-8 come back as they were
PARTIAL = ".partial"  # ends the name of a file that is being written row by row
FORM = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}


def csv_line(cells: Iterable[Any]) -> str:
    """Return one line of CSV, in which no text is a formula. csv.writer of Python 3.11 leaves a
    lone carriage return unquoted, and its own reader then splits the row.
    """
    texts = map(harmless, map(str, cells))
    return (
        ",".join('"' + t.replace('"', '""') + '"' if _QUOTED.search(t) else t for t in texts) + "\n"
    )


def harmless(text: str) -> str:
    """Return a cell's text so that no spreadsheet runs it as a formula: one that would begin as one
    is led by an apostrophe, which `told` takes away again. Numbers stay as they are.
    """
    return f"'{text}" if _is_formula(text) else text


def told(cell: str) -> str:
    """Return the text of which `harmless` made a cell."""
    return cell[1:] if cell.startswith("'") and _is_formula(cell[1:]) else cell


def _is_formula(text: str) -> bool:
    return bool(_FORMULA.match(text)) and not _NUMBER.fullmatch(text)


@contextmanager
def refuse_torn(path: Path) -> Iterator[None]:
    """Turn what the csv module cannot read, such as a stray quotation mark, into a ValueError."""
    try:
        yield
    except csv.Error as error:
        raise ValueError(
            f"{path} is no CSV file that can be read ({error}). Look for a stray quotation mark."
        ) from error


def write_lines(path: Path, header: Sequence[str], lines: Iterable[str]) -> Path:
    """Write a header and lines that `csv_line` made, and return the path."""
    with path.open("w", **FORM) as stream:
        stream.write(csv_line(header))
        stream.writelines(lines)
    return path


def cut_torn_row(path: Path) -> None:
    """Cut off what follows the last whole row of a CSV file that a kill or a full disk left."""
    end = whole = 0
    quoted = False
    for line in path.read_bytes().splitlines(keepends=True):
        end += len(line)
        quoted ^= line.count(b'"') % 2 == 1  # a quoted cell may hold line breaks
        if line.endswith(b"\n") and not quoted:
            whole = end
    os.truncate(path, whole)


def read_columns(path: Path) -> dict[str, tuple[str, ...]]:
    """Read a CSV file as columns, name -> its cells as texts, in the order of its header.

    Raises:
        ValueError: a name comes twice, or a row has not one cell a column.
    """
    with refuse_torn(path), path.open(**FORM) as stream:
        header, *rows = [[told(cell) for cell in row] for row in csv.reader(stream)] or [[]]
    if len(set(header)) < len(header):
        raise ValueError(f"{path} names a column twice. Received: {header}")
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise ValueError(f"{path}, row {number}: expected {len(header)} cells. Received: {row}")
    cells = list(zip(*rows, strict=True)) or [()] * len(header)
    return dict(zip(header, cells, strict=True))
