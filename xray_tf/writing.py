"""Write files and folders completely or not at all.

A folder is written under a hidden name beside its place, and then gets its name in one step, so
nobody ever sees an incomplete one. One process at a time writes a folder, and what a killed one
left is removed, or finished, by the next.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from xray_tf.locks import PATIENCE_S, locked
from xray_tf.progress import LOG

ABANDONED_S = 86_400  # a draft of a single file, which has no lock, is swept after a day
_MANY = 500  # files, from which on the whole system is synchronised at once
_NEW, _OLD = "new", "old"  # in the draft of a renewal
_AT_FDCWD, _RENAME_EXCHANGE, _RENAME_SWAP = -100, 2, 2


def is_draft(name: str) -> bool:
    """Tell whether a file of this name is a draft or a lock, so no part of a finished folder."""
    return name.startswith(".") and (".tmp-" in name or name.endswith(".lock"))


def _prefix(path: Path) -> str:
    return f".{path.name}.tmp-"


@contextmanager
def new_folder(target: str | os.PathLike, patience: float = 0) -> Iterator[Path]:
    """Yield an empty temporary folder beside `target`, which is renamed to `target` when the block
    ends without an error.

    Args:
        target: the folder to create.
        patience: seconds to wait for another process that creates it.

    Raises:
        FileExistsError: `target` exists already; nothing is ever overwritten.
        BusyError: another process creates it.
    """
    target = Path(target)
    refuse_existing(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target, patience):
        settle(target)
        refuse_existing(target)
        draft = Path(tempfile.mkdtemp(prefix=_prefix(target), dir=target.parent))
        try:
            yield draft
            draft.chmod(0o777 & ~_umask())
            refuse_existing(target)
            flush(draft)
            os.rename(draft, target)
            sync(target.parent)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def renewed_folder(folder: str | os.PathLike) -> Iterator[Path]:
    """Yield a hidden copy of a finished folder, which replaces the folder when the block ends
    without an error.

    Use it only for what is computed from the folder itself, such as its pages; results are never
    overwritten. Another process that renews the folder is waited for. Old and new change places in
    one step where the system can do that; elsewhere a kill between two renames leaves both hidden,
    and `settle` puts the new one in its place.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a file in it is a link, which may lead anywhere.
        BusyError: another process did not finish renewing it.
    """
    folder = Path(folder).resolve()  # a symbolic link stays; its target is renewed
    with locked(folder, PATIENCE_S):
        settle(folder)
        refuse_links(folder)
        workshop = Path(tempfile.mkdtemp(prefix=_prefix(folder), dir=folder.parent))
        try:
            draft = workshop / _NEW
            shutil.copytree(
                folder, draft, ignore=lambda _, names: {n for n in names if is_draft(n)}
            )
            yield draft
            flush(draft)
            if not exchange(draft, folder):
                _rename_twice(draft, folder, workshop / _OLD)
            sync(folder.parent)
        finally:
            # otherwise it was interrupted between two renames, and the only copies are in there
            if folder.exists():
                shutil.rmtree(workshop, ignore_errors=True)


def _rename_twice(draft: Path, folder: Path, before: Path) -> None:
    os.rename(folder, before)
    try:
        os.rename(draft, folder)
    except BaseException:
        os.rename(before, folder)
        raise


def exchange(one: Path, other: Path) -> bool:
    """Let two folders change places in one step; return False where the system cannot."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        names = os.fsencode(one), os.fsencode(other)
        if sys.platform == "darwin":
            failed = libc.renamex_np(*names, _RENAME_SWAP)
        else:
            failed = libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE)
    except (OSError, AttributeError, TypeError):  # Windows, and libraries without the call
        return False
    return not failed


def settle(target: Path) -> None:
    """Finish what a killed renewal of `target` began, and remove the drafts that killed processes
    left beside and in it. Call it with the lock held: every draft is then a leftover.
    """
    drafts = _leftovers(target)
    for draft in drafts:
        if not target.exists() and (draft / _OLD).is_dir():
            whole = draft / (_NEW if (draft / _NEW).is_dir() else _OLD)
            os.rename(whole, target)
            LOG.info("%s was being renewed when its process was killed: finished", target)
    for draft in (*drafts, *_drafts_in(target)):
        if draft.is_dir() and not draft.is_symlink():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)
        LOG.info("removed %s, which a killed process left", draft)


def mend(target: str | os.PathLike) -> None:
    """Put a folder in its place that a killed renewal left without its name, if nobody is at it."""
    target = Path(target)
    with suppress(OSError):  # whoever may not write here, or finds it busy, finds no folder either
        if not target.exists() and _leftovers(target):
            with locked(target, PATIENCE_S):
                settle(target)


def _leftovers(target: Path) -> list[Path]:
    """Return what has the name of a draft of `target`."""
    with suppress(FileNotFoundError, NotADirectoryError):
        found = [p for p in target.parent.iterdir() if p.name.startswith(_prefix(target))]
        return sorted(found)
    return []


def _drafts_in(folder: Path) -> list[Path]:
    """Return the drafts and locks of pieces and files in a finished folder."""
    if not folder.is_dir():
        return []
    return [p for p in folder.iterdir() if is_draft(p.name)]


def refuse_existing(target: str | os.PathLike) -> None:
    """Raise FileExistsError if `target` exists and is not an empty folder."""
    target = Path(target)
    if (
        target.is_symlink()
        or target.exists()
        and not (target.is_dir() and not any(target.iterdir()))
    ):
        raise FileExistsError(
            f"{target} exists, and a finished result is never overwritten. "
            "Remove it first, or name another folder."
        )


def refuse_target(target: str | os.PathLike) -> None:
    """Raise OSError unless a new folder or file can be created at `target`: it does not exist, and
    the nearest folder above it that does can be written. Called before anything is read.
    """
    refuse_existing(target)
    target = Path(os.path.abspath(target))
    above = next(p for p in target.parents if os.path.lexists(p))
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".xray_tf-", dir=above))
    except OSError as error:
        # what the system says of a folder that nobody can write to (/proc) is "no such file"
        raise type(error)(
            f"{target} cannot be created: {above} cannot be written "
            f"({error.strerror or error}). Name another place."
        ) from error


def refuse_links(folder: str | os.PathLike) -> None:
    """Raise ValueError if anything in a folder is a symbolic link."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if os.path.islink(os.path.join(place, name)):
                raise ValueError(
                    f"{os.path.join(place, name)} is a symbolic link, which may lead to files that "
                    "are not the artifact's. It is refused: replace it by the file, or remove it."
                )


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file through a temporary file beside it and a rename; nothing is left where
    that fails.
    """
    path = Path(path)
    with draft_of(path) as draft:
        with draft.open("w", encoding="utf-8") as stream:
            stream.write(text)


@contextmanager
def draft_of(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a hidden empty file beside `path`, which takes its place when the block ends without an
    error, and is removed otherwise.
    """
    path = Path(path)
    for left in _leftovers(path):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED_S:
                left.unlink()
    handle, draft = tempfile.mkstemp(prefix=_prefix(path), dir=path.parent)
    os.close(handle)
    try:
        yield Path(draft)
        os.chmod(draft, 0o666 & ~_umask())  # mkstemp's 0600 would hide it from everybody else
        sync(Path(draft))
        os.replace(draft, path)
    finally:
        Path(draft).unlink(missing_ok=True)


def write_json(path: str | os.PathLike, value: Any, **how: Any) -> None:
    """Write a value as JSON that a person can read; `how` as `json.dumps` takes it."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False, **how) + "\n")


def kept_secret(path: Path) -> bytes:
    """Return the 32 secret bytes of a file, 64 hex digits. It is made on first use, and only its
    owner can read it.

    Raises:
        OSError: it cannot be made or read.
        ValueError: it has other contents.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as stream:
                stream.write(secrets.token_hex(32) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            with suppress(FileExistsError):  # another process was first: use its secret
                os.link(draft, path)
        finally:
            os.unlink(draft)
    secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
    if len(secret) != 32:
        raise ValueError(f"{path} must contain 64 hex digits. Received: {2 * len(secret)}")
    return secret


def flush(folder: Path) -> None:
    """Have all of a folder on the disk before it gets its name: a power cut then leaves the old
    state or the new one.
    """
    paths = [p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()]
    if len(paths) > _MANY and hasattr(os, "sync"):
        os.sync()
        return
    for path in (*paths, folder):
        sync(path)


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows synchronises no folder
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
