"""Find files in a folder by their sha256."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from xray_tf.artifact import sha256_of


def find_by_sha256(folder: str | os.PathLike, wanted: Iterable[tuple[str, str]]) -> dict[str, Path]:
    """Find files by their bytes.

    Args:
        folder: the folder to search, with all its sub-folders.
        wanted: (sha256, former path) of each file; files at that path or of that name are read
            first.

    Returns:
        {sha256: file}, of those that were found.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is not a folder. Expected the one with the radiographs of the reference."
        )
    missing, found = dict(wanted), {}
    named = {Path(path).name for path in missing.values()}

    def look(path: Path) -> None:
        if path.is_file() and (sha256 := sha256_of(path)) in missing:
            found[sha256] = path
            del missing[sha256]

    for path in [folder / p for p in missing.values()]:
        look(path)
    if missing:
        for path in sorted(folder.rglob("*"), key=lambda p: (p.name not in named, p)):
            look(path)
            if not missing:
                break
    return found
