"""Make records of single files, folders and globs."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from xray_tf.data.records import Finding, Findings, Record, Records
from xray_tf.data.sources.folder import labelled_row, walk_images
from xray_tf.data.sources.folder_words import part_of_folders
from xray_tf.data.sources.names import (
    Request,
    Scan,
    SourceError,
    natural_key,
    read_name,
)
from xray_tf.registry import TASKS, Task


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
            "expected paths of files, folders or globs, or an array of grey pixels where arrays "
            f"are accepted. Received: {wrong[0]}."
        )
    if not given:
        raise SourceError("no radiograph was given. Expected files, folders or globs.")
    found, findings = {}, []
    for item in map(os.fspath, given):
        matches, again, fresh, skipped = [item], 0, 0, []
        if not os.path.lexists(item):
            matches = sorted(glob.glob(os.path.expanduser(item), recursive=True), key=natural_key)
        for match in matches:
            files, walked = walk_images(Path(match)) if os.path.isdir(match) else ([""], [])
            skipped += walked
            whole = Path(os.path.abspath(match))
            for file in files:
                path = os.path.join(match, file) if file else match
                again, fresh = again + (path in found), fresh + (path not in found)
                inside = [whole.name, *file.split("/")[:-1]] if file else whole.parts[-2:-1]
                found.setdefault(path, inside)
        if not again and not fresh:
            raise SourceError(
                f"{item} leads to no image. Expected a file, a folder with images in it, or a glob "
                f"that matches some. {' '.join(f.detail for f in skipped)}".strip()
            )
        findings += skipped
        if again:
            said = f"{again} file(s) of {item} were listed before; each is read once."
            findings.append(Finding("named-twice", "note", "", said))
    rows = (labelled_file(path, folders, task) for path, folders in found.items())
    return Scan(Records(rows), Findings(findings))


def scan_flat(request: Request) -> Scan:
    """List a file, or the files of a folder."""
    path = Path(request.data).expanduser()
    return find_files(path if path.is_file() else request.path(), request.task)


def labelled_file(path: str, folders: Iterable[str], task: Task) -> Record:
    """Return the record of a file from its name and the names of the folders it lies in."""
    folders, known = list(folders), task.class_words
    words = [known[f.lower()] for f in folders if f.lower() in known]
    named = read_name(Path(path).name)
    if not words:
        return Record(path, patient=named[2] if named else "")
    part = part_of_folders(f for f in folders if f.lower() not in known)
    return labelled_row(path, words, part, "namespaced")[0]
