"""split.csv, which says what part each row of a run had: written, read, given to other records, and
asked which rows a run has met.
"""

from __future__ import annotations

import csv
import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from xray_tf.data.records import SPLITS, Finding, Findings, Record, Records
from xray_tf.data.tables.csv_files import csv_line, refuse_torn, told, write_lines

SPLIT_BY = ("patient", "image")
SPLIT = "split.csv"  # in an artifact
COLUMNS = ("path", "sha256", "patient", "label", "subtype", "split", "split_by")


class SplitError(ValueError):
    """The rows cannot be split as asked; the message says why and what to do."""


def write_split(records: Records, path: str | os.PathLike) -> Path:
    """Write split.csv (`COLUMNS`), which `apply_split` reproduces, and return its path."""
    rows = ([*(getattr(r, c) for c in COLUMNS[:-1]), records.split_by] for r in records)
    return write_lines(Path(path), COLUMNS, map(csv_line, rows))


def apply_split(records: Records, path: str | os.PathLike) -> tuple[Records, Findings]:
    """Give the rows of an earlier run's split.csv, in its order; match by path, then by sha256.

    Args:
        records: the data as scanned, sha256 filled in where folders or names have changed since.
        path: a file `write_split` made.

    Returns:
        (records, findings): a row that split.csv does not know is set aside with an `error`
            finding; one whose bytes, label,
        sub-type or patient key differ from those split.csv names is kept with a `warning`.

    Raises:
        FileNotFoundError: no such file.
        SplitError: not a split.csv, or radiographs it names are not in the data.
    """
    path = Path(path)
    named = read_split(path)
    split_by = named[0]["split_by"]
    by_path, by_content, missing, pairs = {r.path: r for r in records}, defaultdict(list), [], []
    wanted = {n["path"] for n in named}
    for row in records:
        if row.sha256 and row.path not in wanted:
            by_content[row.sha256].append(row)
    for line in named:
        row = by_path.get(line["path"]) or next(iter(by_content.get(line["sha256"], ())), None)
        if row is None:
            missing.append(line["path"])
            continue
        if row.path != line["path"]:
            by_content[row.sha256].remove(row)
        pairs.append((row, line))
    if missing:
        read = " The files were not read, so they were looked for by path only."
        read = "" if all(r.sha256 for r in records) else read
        raise SplitError(
            f"{len(missing)} of the {len(named)} radiographs in {path} are not among the "
            f"{len(records)} of the data, such as {missing[0]!r}. Give the data that run had, or "
            f"leave --split out.{read}"
        )
    used, text = {r.path for r, _ in pairs}, f"{path.name} does not name it. It is set aside."
    others = (r for r in records if r.path not in used)
    findings = [Finding("not-in-split", "error", r.path, text) for r in others]
    for row, line in pairs:
        if differs := _differences(row, line):
            text = f"Its {', '.join(differs)} is not what {path.name} says; the data's is kept."
            findings.append(Finding("split-differs", "warning", row.path, text))
    rows = Records([r for r, _ in pairs], records.root, split_by, records.traits)
    return rows.with_split(line["split"] for _, line in pairs), Findings(findings)


def parts_of(records: Iterable[Record], path: str | os.PathLike) -> list[str]:
    """Return the part each row has in a split.csv, matched by its bytes, by its path where it was
    not read: train, val, test or empty.

    Raises:
        SplitError, FileNotFoundError: as in `read_split`.
    """
    return _parts_in(records, read_split(path))


def _parts_in(records: Iterable[Record], lines: list[dict[str, str]]) -> list[str]:
    by_bytes, by_path = (
        {line[c]: line["split"] for line in lines if line[c]} for c in ("sha256", "path")
    )
    return [by_bytes.get(r.sha256, "") if r.sha256 else by_path.get(r.path, "") for r in records]


def known_to(
    records: Iterable[Record], path: str | os.PathLike, *parts: str
) -> tuple[np.ndarray, np.ndarray]:
    """Tell which rows an artifact has met before, in some parts of its split.csv.

    Args:
        records: N rows.
        path: a file `write_split` made.
        parts: of `train`, `val` and `test`.

    Returns:
        (N,) bool twice: the very file is in those parts, by its bytes (by its path, where it was
            not read); and, where it is not, its patient key is. Equal
        keys of other data may be other patients.

    Raises:
        SplitError, FileNotFoundError: as in `read_split`.
    """
    records, lines = list(records), read_split(path)
    files = np.array([part in parts for part in _parts_in(records, lines)], bool)
    patients = {line["patient"] for line in lines if line["split"] in parts} - {""}
    return files, np.array([r.patient in patients for r in records], bool) & ~files


def _differences(row: Record, line: dict[str, str]) -> list[str]:
    return [
        c
        for c in ("sha256", "label", "subtype", "patient")
        if getattr(row, c) != line[c] and (c != "sha256" or row.sha256 and line[c])
    ]


def _whole_row(row: dict[str, str], where: str) -> dict[str, str]:
    if None in row or None in row.values():
        raise SplitError(f"{where}: expected {len(COLUMNS)} cells, as in the header.")
    return {name: told(cell) for name, cell in row.items()}


def read_split(path: str | os.PathLike) -> list[dict[str, str]]:
    """Read what `write_split` wrote: a dict of texts a row, its keys `COLUMNS`, `split_by` the same
    in all.

    Raises:
        FileNotFoundError: no such file.
        SplitError: not a split.csv; the message says what is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist. Expected the split.csv of an earlier run.")
    with (
        refuse_torn(path),
        path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as stream,
    ):
        reader = csv.DictReader(stream)
        if sorted(reader.fieldnames or ()) != sorted(COLUMNS):
            raise SplitError(
                f"{path} must have the columns {COLUMNS}. Received: {reader.fieldnames}"
            )
        rows = [_whole_row(row, f"{path}, line {reader.line_num}") for row in reader]
    kinds = {r["split_by"] for r in rows}
    if len(kinds) != 1 or not kinds <= set(SPLIT_BY):
        raise SplitError(
            f"{path}: split_by must be the same in every row, one of {SPLIT_BY}. "
            f"Received: {sorted(map(str, kinds))}"
        )
    for number, row in enumerate(rows, 2):
        if row["split"] not in SPLITS:
            raise SplitError(
                f"{path}, line {number}: split must be one of {SPLITS}. Received: {row['split']!r}"
            )
    repeated = [p for p, n in Counter(r["path"] for r in rows).items() if n > 1]
    if repeated:
        raise SplitError(
            f"{path} names {repeated[0]!r} more than once. Expected one row a radiograph."
        )
    return rows
