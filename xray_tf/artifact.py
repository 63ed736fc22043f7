"""Read and write artifacts: folders that describe themselves by a card.

The card has the sha256 of every file and of itself, and all of it is checked on load. Nothing is
unpickled, and no code in the folder is run.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from xray_tf.card import CHECKSUM, FORMAT_VERSION, KINDS, Card, check_files_object, checksum_of
from xray_tf.locks import PATIENCE_S, locked
from xray_tf.progress import LOG
from xray_tf.untrusted import read_json
from xray_tf.writing import (
    mend,
    new_folder,
    refuse_existing,
    refuse_links,
    renewed_folder,
    settle,
    write_json,
    write_text,
)

__all__ = [
    "ArtifactError",
    "Card",
    "check_files",
    "new_folder",
    "new_piece",
    "read_card",
    "read_manifest",
    "refuse_existing",
    "renewed_folder",
    "seal",
    "sha256_of",
    "write_json",
    "write_text",
]

# the command that makes each
_MAKERS = {
    "classifier": "train",
    "detector": "detect fit",
    "lungs": "train-lungs",
    "trunk": "distil",
}
CARD = "card.json"
MANIFEST = "manifest.json"
CHECKPOINT = "checkpoint.npz"  # of a run that has not finished yet
_RETRIES, _PAUSE_S = 50, 0.05  # of a reader who meets a folder that is being exchanged


class ArtifactError(ValueError):
    """The folder is not an artifact, is damaged, or was made by a newer version."""


def seal(folder: str | os.PathLike, card: Card) -> Card:
    """Write `card.json` into a draft folder, with the sha256 of every other file (sub-folders have
    manifests of their own) and of the card itself, and return the completed card.
    """
    folder = Path(folder)
    card = replace(card, files=_checksums(folder))
    write_json(folder / CARD, card.to_dict(), sort_keys=True)
    return card


@contextmanager
def new_piece(folder: str | os.PathLike, piece: str) -> Iterator[Path]:
    """Add the sub-folder `piece`, with a `manifest.json` of its own, to a finished artifact,
    completely or not at all. Another process that renews the artifact is waited for.
    """
    folder = Path(folder).resolve()
    with locked(folder, PATIENCE_S):
        settle(folder)
        read_card(folder)
        with new_folder(folder / piece) as draft:
            yield draft
            write_json(draft / MANIFEST, {"files": _checksums(draft)}, sort_keys=True)


def read_card(folder: str | os.PathLike, kind: str | None = None) -> Card:
    """Read and check a folder's card, its own checksum and the sha256 of the files it names.

    A folder that is exchanged for a newer one meanwhile is read again.

    Args:
        folder: the artifact.
        kind: the only kind to accept; any if None.

    Raises:
        ArtifactError: it is not an artifact, is damaged, or is of another kind or a newer format;
            the message says what to do.
    """
    folder = Path(folder)
    mend(folder)
    for _ in range(_RETRIES):
        before = _identity(folder)
        try:
            return _read_card(folder, kind)
        except (ArtifactError, FileNotFoundError):
            if before is not None and _identity(folder) == before:
                raise
            if not folder.parent.is_dir():
                break
            time.sleep(_PAUSE_S)
    return _read_card(folder, kind)


def _identity(folder: Path) -> tuple[int, ...] | None:
    """Return what differs between a folder and the one that took its name."""
    try:
        about, card = os.stat(folder), os.stat(folder / CARD)
    except OSError:
        return None
    return about.st_ino, about.st_ctime_ns, card.st_ino, card.st_mtime_ns


def _read_card(folder: Path, kind: str | None) -> Card:
    path = folder / CARD
    if not path.is_file():
        raise ArtifactError(
            f"{folder} is not an xray_tf artifact: it has no {CARD}. Expected a "
            "folder created by `xray-tf train --out`."
        )
    try:
        raw = read_json(path)
        version = raw["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{path} cannot be read as a card ({error}). The folder is damaged; "
            "copy it or train it again."
        ) from error
    if type(version) is not int or version != FORMAT_VERSION:
        raise ArtifactError(
            f"{path} has format_version {version!r}; this xray_tf reads "
            f"{FORMAT_VERSION}. Upgrade xray_tf to open it."
        )
    try:
        card = Card.from_dict(raw)
    except ValueError as error:
        raise ArtifactError(
            f"{path} does not describe an artifact: {error}. The folder is damaged; copy or make "
            "it again."
        ) from error
    if card.kind not in KINDS or kind not in (None, card.kind):
        wanted = (
            f"a {kind}, such as `xray-tf {_MAKERS[kind]}` creates" if kind else (f"one of {KINDS}")
        )
        raise ArtifactError(f"{folder} holds a {card.kind!r} artifact. Expected {wanted}.")
    if CHECKSUM not in raw:
        LOG.warning("%s was made before cards had a checksum: edits of it go unnoticed", folder)
    elif raw[CHECKSUM] != checksum_of(raw):
        raise ArtifactError(
            f"{path} was changed after it was written: it does not have its own {CHECKSUM}. Copy "
            "the folder or make it again."
        )
    check_files(folder, card.files)
    return card


def check_files(folder: Path, files: dict[str, str]) -> None:
    """Raise ArtifactError unless every named file is a real one inside `folder` and has its
    sha256.
    """
    try:
        check_files_object(files, "files")
    except ValueError as error:
        raise ArtifactError(f"{folder}: {error}. It is refused.") from error
    for name, expected in files.items():
        path = folder / name
        if any(p.is_symlink() for p in (path, *path.parents[: len(Path(name).parts) - 1])):
            raise ArtifactError(
                f"{path} is a symbolic link, which may lead anywhere. It is refused: replace it by "
                "the file."
            )
        if not path.is_file():
            raise ArtifactError(
                f"{folder} is incomplete: {name} is missing. Copy it or train it again."
            )
        if sha256_of(path) != expected:
            raise ArtifactError(
                f"{path} is damaged or was changed: its sha256 is not the one on "
                "the card. Copy it or train it again."
            )


def read_manifest(piece: str | os.PathLike) -> None:
    """Check a sub-folder's files against its `manifest.json`.

    Raises:
        ArtifactError: there is none, or a file is not as it says.
    """
    piece = Path(piece)
    try:
        raw = read_json(piece / MANIFEST)
        files = raw["files"] if isinstance(raw, dict) else None
    except FileNotFoundError as error:
        raise ArtifactError(f"{piece} has no {MANIFEST}, so nothing vouches for it.") from error
    except (ValueError, KeyError) as error:
        raise ArtifactError(f"{piece / MANIFEST} is damaged: {error}.") from error
    check_files(piece, files)


def sha256_of(path: str | os.PathLike) -> str:
    """Return the lower-case hex sha256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _checksums(folder: Path) -> dict[str, str]:
    refuse_links(folder)
    # sub-folders have checksums of their own
    pieces = [p.parent for p in folder.rglob(MANIFEST) if p.parent != folder]
    paths = sorted(
        p
        for p in folder.rglob("*")
        if p.is_file()
        and p.name not in (CARD, MANIFEST)
        and not any(part.startswith(".") for part in p.relative_to(folder).parts)
        and not any(p.is_relative_to(q) for q in pieces)
    )
    return {p.relative_to(folder).as_posix(): sha256_of(p) for p in paths}
