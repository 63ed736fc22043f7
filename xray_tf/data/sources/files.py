"""Make records of single files, folders and globs."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from xray_tf.data.pixels.reading import each, read_file
from xray_tf.data.records import Finding, Findings, Record, Records
from xray_tf.data.sources.folder import labelled_row, walk
from xray_tf.data.sources.names import (
    SPLIT_FOLDERS,
    Request,
    Scan,
    SourceError,
    natural_key,
    read_name,
)
from xray_tf.progress import ProgressLine
from xray_tf.registry import TASKS, Task

CHECK_SIZE = 64  # pixels: side of the square to which a file is decoded to check that this works


def list_files(
    paths: str | os.PathLike | Iterable[str | os.PathLike], task: Task = TASKS["binary"]
) -> Records:
    """List the files that `predict` reads, as `find_files` does, without its notes."""
    return find_files(paths, task).records


def find_files(
    paths: str | os.PathLike | Iterable[str | os.PathLike], task: Task = TASKS["binary"]
) -> Scan:
    """List files, folders (recursive, natural order) and globs, in the order given, labelled or
    not.

    A file that is named directly is kept whatever its suffix. Labels come from folder names that
    are words of `task`, if there are any (for a file, from its own folder). Paths stay as given,
    relative to the working folder.

    Raises:
        SourceError: nothing was given, or a path leads to no image.
    """
    single = isinstance(paths, str | os.PathLike | bytes) or not isinstance(paths, Iterable)
    given = [paths] if single else list(paths)
    wrong = [type(item).__name__ for item in given if not isinstance(item, str | os.PathLike)]
    if wrong:
        raise SourceError(
            "expected paths of files, folders or globs, or an array of grey "
            f"pixels where arrays are accepted. Received: {wrong[0]}."
        )
    if not given:
        raise SourceError("no radiograph was given. Expected files, folders or globs.")
    found, findings = {}, []
    for item in map(os.fspath, given):
        before = len(found), len(findings)
        matches = (
            [item]
            if os.path.lexists(item)
            else sorted(glob.glob(os.path.expanduser(item), recursive=True), key=natural_key)
        )
        again = 0
        for match in matches:
            files, walked = walk(Path(match)) if os.path.isdir(match) else ([""], [])
            findings += walked
            for file in files:
                path = os.path.join(match, file) if file else match
                again += path in found
                found.setdefault(
                    path,
                    [Path(os.path.abspath(match)).name, *file.split("/")[:-1]]
                    if file
                    else Path(os.path.abspath(match)).parts[-2:-1],
                )
        if again:
            findings.append(
                Finding(
                    "named-twice",
                    "note",
                    "",
                    f"{again} file(s) of {item} were listed before; each is read once.",
                )
            )
        elif len(found) == before[0]:
            skipped = " ".join(f.detail for f in findings[before[1] :])
            raise SourceError(
                f"{item} leads to no image. Expected a file, a folder with images "
                f"in it, or a glob that matches some. {skipped}".strip()
            )
    known = task.class_words
    return Scan(
        Records(_row(path, folders, known) for path, folders in found.items()),
        Findings(findings),
    )


def scan_flat(request: Request) -> Scan:
    """List a file, or the files of a folder."""
    path = Path(request.data).expanduser()
    return find_files(path if path.is_file() else request.path(), request.task)


def _row(path: str, folders: Iterable[str], known: dict[str, tuple[str, str]]) -> Record:
    words = [known[f.lower()] for f in folders if f.lower() in known]
    named = read_name(Path(path).name)
    if not words:
        return Record(path, patient=named[2] if named else "")
    return labelled_row(
        path,
        words,
        next((SPLIT_FOLDERS[f.lower()] for f in folders if f.lower() in SPLIT_FOLDERS), ""),
        "namespaced",
    )[0]


def fill_records(records: Records, workers: int | None = None, progress: bool = False) -> Scan:
    """Read every file once, in threads, and fill in sha256, width, height and mode.

    The file is also decoded to a small size, so what passes here passes in `build_cache` too.

    Returns:
        (records, findings): a row whose file is missing, empty, damaged or not an image is left
            out, and gets an `error` finding.
    """
    rows, findings = [], []
    with ProgressLine("Reading", len(records), progress) as line:
        for row, reading in zip(
            records,
            each(
                lambda row: read_file(records.file(row), CHECK_SIZE, "squash")[0], records, workers
            ),
            strict=True,
        ):
            if reading.kind:
                findings.append(reading.finding(row.path))
            else:
                rows.append(reading.fill(row))
            line.step()
    return Scan(records.with_rows(rows), Findings(findings))
