"""List what is to be answered, once: radiographs of folders, globs, addresses and manifests, cut
into parts of equal length that do not change when a run goes on.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from xray_tf.data.pixels.cache import default_directory
from xray_tf.data.records import Record
from xray_tf.data.sources.files import find_files, labelled_file
from xray_tf.data.sources.manifest import keyed, manifest_record
from xray_tf.data.sources.names import IMAGE_SUFFIXES, SourceError
from xray_tf.data.tables.csv_files import told
from xray_tf.engines.places import Folder, file_system, is_address, pyarrow, walk
from xray_tf.registry import Task

FILES, LISTED = "_files", "listed.json"
MANIFESTS = (".csv", ".parquet")
_COLUMNS = ("label", "subtype", "patient", "split", "acquisition")
_SUFFIXES = (*IMAGE_SUFFIXES, ".dcm", ".dicom", ".jfif", ".jp2", "")  # at an address


class Row(NamedTuple):
    """One radiograph to answer: where it lies (absolute, or an address), and its record."""

    file: str
    record: Record


def write_listing(
    folder: Folder, sources: Iterable[str | os.PathLike], task: Task, length: int
) -> dict[str, int]:
    """Write the list of radiographs into `folder`, in parts of `length` rows, unless it is there.

    Args:
        folder: where the answers will be.
        sources: files, folders, globs, addresses, or manifests (.csv or .parquet).
        task: whose words for classes are found in the names of folders and in manifests.
        length: rows a part.

    Returns:
        {rows: how many, parts: how many}.

    Raises:
        SourceError: a source leads to no radiograph, or a manifest has no column `path`.
    """
    known = folder.read_json(f"{FILES}/{LISTED}")
    if known is None:
        rows, parts, count = iter(list_rows(sources, task)), 0, 0
        while part := list(islice(rows, length)):
            folder.write(f"{FILES}/{part_name(parts)}", _packed(part))
            parts, count = parts + 1, count + len(part)
        known = {"rows": count, "parts": parts}
        folder.write(f"{FILES}/{LISTED}", json.dumps(known).encode())
    return known


def read_part(folder: Folder, number: int) -> list[Row]:
    """Read the rows of one part."""
    parquet = pyarrow("pyarrow.parquet")
    table = parquet.read_table(io.BytesIO(folder.read(f"{FILES}/{part_name(number)}")))
    return [
        Row(
            os.fsdecode(row["file"]),
            Record(os.fsdecode(row["path"]), **{name: row[name] for name in _COLUMNS}),
        )
        for row in table.to_pylist()
    ]


def part_name(number: int) -> str:
    """Return the file name of a part."""
    return f"part-{number:06d}.parquet"


def list_rows(sources: Iterable[str | os.PathLike], task: Task) -> Iterator[Row]:
    """Yield the radiographs of several sources, in order."""
    plain = []
    for source in map(os.fspath, sources):
        if not is_address(source) and not source.lower().endswith(MANIFESTS):
            plain.append(source)
            continue
        yield from _found(plain, task)
        plain = []
        listed = _manifest if source.partition("?")[0].lower().endswith(MANIFESTS) else _below
        yield from listed(source, task)
    yield from _found(plain, task)


def _found(sources: list[str], task: Task) -> Iterator[Row]:
    if sources:
        records = find_files(sources, task).records
        for record in records:
            yield Row(os.path.abspath(records.file(record)), record)


def _below(address: str, task: Task) -> Iterator[Row]:
    """Yield the images below an address; unlike local files they are known by their suffix."""
    names = [
        name for name in walk(address) if PurePosixPath(_plain(name)).suffix.lower() in _SUFFIXES
    ]
    if not names:
        raise SourceError(f"{address} leads to no image. Expected one, or a folder with some.")
    for name in names:
        yield Row(name, labelled_file(_plain(name), _plain(name).split("/")[2:-1], task))


def _plain(address: str) -> str:
    return address.partition("?")[0]


def _manifest(path: str, task: Task) -> Iterator[Row]:
    """Yield the rows of a manifest with the column path and, if it likes, others of a record; they
    are read as `data.sources.manifest` reads them, except that labels may be missing.
    """
    root, count = os.path.dirname(_plain(path)), 0
    for batch in _batches(path):
        names = {name.strip().lower(): name for name in batch.schema.names}
        if "path" not in names:
            raise SourceError(
                f"{path} must have a column path, and may have {', '.join(_COLUMNS)}. "
                f"Received: {batch.schema.names}"
            )
        taken = {name: batch.column(names[name]).to_pylist() for name in names}
        records = []
        for values in zip(*taken.values(), strict=True):
            cells = ("" if value is None else told(str(value).strip()) for value in values)
            count += 1
            where, row = f"{path}, row {count}", dict(zip(taken, cells, strict=True))
            records.append(manifest_record(row, where, task.class_words, labelled=False))
        for record in keyed(records, default_directory()):
            whole = record.path if is_address(record.path) else os.path.join(root, record.path)
            yield Row(whole if is_address(whole) else os.path.abspath(whole), record)
    if not count:
        raise SourceError(f"{path} has no rows. Expected one row per radiograph.")


def _batches(path: str) -> Iterator[Any]:
    """Yield a manifest in record batches, in memory for one of them."""
    system, inside = file_system(path)
    if inside.lower().endswith(".parquet"):
        file = pyarrow("pyarrow.parquet").ParquetFile(system.open_input_file(inside))
        yield from file.iter_batches()
        return
    arrow, csv = pyarrow(), pyarrow("pyarrow.csv")
    with system.open_input_stream(inside) as stream:
        head = stream.read(1 << 16).decode("utf-8-sig", "replace").partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    names = [name.strip().strip('"') for name in head.strip().split(delimiter)]
    with system.open_input_stream(inside) as stream:
        yield from csv.open_csv(
            stream,
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types={name: arrow.string() for name in names}, strings_can_be_null=False
            ),
        )


def _packed(rows: list[Row]) -> bytes:
    """Return the rows of a part as Parquet; names that are not UTF-8 stay as they are."""
    arrow = pyarrow()
    columns = {
        "file": arrow.array([os.fsencode(r.file) for r in rows], arrow.binary()),
        "path": arrow.array([os.fsencode(r.record.path) for r in rows], arrow.binary()),
        **{n: arrow.array([getattr(r.record, n) for r in rows], arrow.string()) for n in _COLUMNS},
    }
    return packed(arrow.table(columns))


def packed(table: Any) -> bytes:
    """Return a pyarrow table as the bytes of a Parquet file."""
    stream = io.BytesIO()
    pyarrow("pyarrow.parquet").write_table(table, stream)
    return stream.getvalue()
