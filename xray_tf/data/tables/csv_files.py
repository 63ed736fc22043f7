"""CSV files as this package writes and reads them."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

_QUOTED = re.compile(r'[",\r\n]')
# names that are not UTF-8 come back as they were
PARTIAL = ".partial"  # ends the name of a file that is being written row by row
FORM = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}


def csv_line(cells: Iterable[Any]) -> str:
    """Return one line of CSV. csv.writer of Python 3.11 leaves a lone carriage return unquoted, and
    its own reader then splits the row.
    """
    texts = map(str, cells)
    return (
        ",".join('"' + t.replace('"', '""') + '"' if _QUOTED.search(t) else t for t in texts) + "\n"
    )


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
    with path.open(**FORM) as stream:
        header, *rows = list(csv.reader(stream)) or [[]]
    if len(set(header)) < len(header):
        raise ValueError(f"{path} names a column twice. Received: {header}")
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise ValueError(f"{path}, row {number}: expected {len(header)} cells. Received: {row}")
    cells = list(zip(*rows, strict=True)) or [()] * len(header)
    return dict(zip(header, cells, strict=True))
