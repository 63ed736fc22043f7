"""Answer one part of a listing, and write it as one Parquet file: the unit that an engine hands
out, repeats after a failure, and does not do twice.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from xray_tf.data.pixels.header import DecodeError
from xray_tf.data.pixels.reading import Reading, each, unread
from xray_tf.data.records import Finding
from xray_tf.engines.functions import BATCH, PredictFn
from xray_tf.engines.listing import Row, packed, part_name, read_part
from xray_tf.engines.places import Folder, pyarrow, read_file_bytes


class Done(NamedTuple):
    """What became of one part: rows, of which some could not be read, some have a warning, and some
    are anomalous.
    """

    rows: int = 0
    failed: int = 0
    doubtful: int = 0
    anomalous: int = 0

    def plus(self, other: Done) -> Done:
        """Return the sum of two."""
        return Done(*(a + b for a, b in zip(self, other, strict=True)))


def answer_part(
    ask: PredictFn, folder: Folder, number: int, strict: bool = False, threads: int | None = None
) -> Done:
    """Answer the rows of a part in constant memory a row, and write `ANSWERS/part-NNNNNN.parquet`.

    Args:
        ask: the function that answers.
        folder: where the listing lies, and the answers go.
        number: of the part.
        strict: raise ValueError at the first file that cannot be read.
        threads: that read and decode; None for one a CPU core.
    """
    rows = read_part(folder, number)
    opened = each(lambda row: _read(ask, row), rows, threads)
    tables, done, left = [], Done(), iter(rows)
    while batch := list(islice(left, BATCH)):
        results = list(islice(opened, len(batch)))
        columns = ask.columns([row.record for row in batch], results)
        if strict:
            _refuse_unread(columns)
        tables.append(arrow_table(columns))
        done = done.plus(_counted(columns))
    writer = {"xray_tf.writer": f"{socket.gethostname()}:{os.getpid()}"}
    joined = pyarrow().concat_tables(tables).replace_schema_metadata(writer)
    folder.write(f"{ask.answers}/{part_name(number)}", packed(joined))
    return done


def finished_parts(folder: Folder, answers: str) -> Iterator[tuple[int, Done]]:
    """Yield the parts that are answered already, with their counts."""
    parquet = pyarrow("pyarrow.parquet")
    for name in sorted(folder.names(answers)):
        found = parquet.ParquetFile(pyarrow().BufferReader(folder.read(f"{answers}/{name}")))
        wanted = [n for n in ("warning", "error", "verdict") if n in found.schema_arrow.names]
        columns = found.read(wanted).to_pydict()
        counts = _counted({name: np.array(v, object) for name, v in columns.items()})
        yield int(name.removeprefix("part-").partition(".")[0]), counts


def arrow_table(columns: dict[str, np.ndarray]) -> Any:
    """Return columns as a pyarrow table: texts as strings, NaN as null, vectors as lists of fixed
    length. A name that is not UTF-8 is written with escapes, as Parquet holds nothing else.
    """
    arrow, made = pyarrow(), {}
    for name, values in columns.items():
        if values.ndim == 2:
            flat = arrow.array(np.ascontiguousarray(values).reshape(-1), arrow.float32())
            bad = arrow.array(np.isnan(values).any(axis=1))
            made[name] = arrow.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=bad)
        elif values.dtype.kind == "f":
            made[name] = arrow.array(values, arrow.float64(), from_pandas=True)
        else:
            made[name] = arrow.array([_utf8(v) for v in values], arrow.string())
    return arrow.table(made)


def _utf8(text: str) -> str:
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def _read(ask: PredictFn, row: Row) -> np.ndarray | Finding:
    try:
        return ask.read(read_file_bytes(row.file))
    except DecodeError as error:
        return Reading(kind=error.kind, detail=str(error)).finding(row.record.path)
    except OSError as error:
        return unread(error).finding(row.record.path)


def _counted(columns: dict[str, np.ndarray]) -> Done:
    failed = int((columns["error"] != "").sum())
    doubtful = int((columns["warning"] != "").sum())
    anomalous = int((columns["verdict"] == "anomalous").sum()) if "verdict" in columns else 0
    return Done(len(columns["error"]), failed, doubtful, anomalous)


def _refuse_unread(columns: dict[str, np.ndarray]) -> None:
    bad = np.flatnonzero(columns["error"] != "")
    if len(bad):
        path, error = columns["path"][bad[0]], columns["error"][bad[0]]
        raise ValueError(
            f"{path} cannot be read ({error}). Leave out --strict to go on with the others."
        )
