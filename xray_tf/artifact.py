"""Read and write artifacts: folders that describe themselves by a card.

A folder is written completely under a temporary name beside its place and then renamed, so nobody
ever sees an incomplete folder and none is overwritten. Every file is checked on load. Nothing is
unpickled, and no code in the folder is run.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from xray_tf.operating_point import DetectorPoint, OperatingPoint
from xray_tf.registry import TASKS, Task
from xray_tf.spelling import did_you_mean, meant

FORMAT_VERSION = 1
KINDS = ("classifier", "detector", "lungs")
# the command that makes each
_MAKERS = {"classifier": "train", "detector": "detect fit", "lungs": "train-lungs"}
CARD = "card.json"
MANIFEST = "manifest.json"
CHECKPOINT = "checkpoint.npz"  # of a run that has not finished yet


class ArtifactError(ValueError):
    """The folder is not an artifact, is damaged, or was made by a newer version."""


@dataclass(frozen=True)
class Card:
    """What a saved folder says about itself (`card.json`).

    Attributes:
        kind: `classifier`, `detector` or `lungs`.
        name: name of the folder when it was made.
        task: a key of `registry.TASKS`, or `custom`; empty for other kinds.
        class_names: in the order of the probabilities.
        class_words: words of folders and manifests -> the class they mean, beside the known ones.
        subtypes: of a classifier whose second class adds up others: these, in the order of its
            layer `subtype_logits`, which has the first class before them; else empty.
        preprocessing: `image_size`, `resize`, `decoding` (rule number) and `decoding_rule` (the
            rule in words).
        temperature: logits are divided by it before they become calibrated probabilities.
        operating_points: name -> how it decides: an `OperatingPoint` on calibrated probabilities,
            or a `DetectorPoint` on raw scores.
        default_operating_point: the one that is used if none is named.
        metrics: headline numbers, name -> {`value`, `low`, `high`}, on `metrics_split` rows.
        split_by: `patient` or `image`.
        provenance: command line, options, seed, versions, commit, data fingerprint, time.
        files: file name -> sha256, for every other file.
        notes: caveats in full sentences, shown on every page.
    """

    kind: str
    name: str
    task: str = ""
    class_names: tuple[str, ...] = ()
    preprocessing: dict[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    operating_points: dict[str, OperatingPoint | DetectorPoint] = field(default_factory=dict)
    default_operating_point: str = ""
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    metrics_split: str = "test"
    split_by: str = "patient"
    provenance: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    class_words: dict[str, str] = field(default_factory=dict)
    subtypes: tuple[str, ...] = ()
    format_version: int = FORMAT_VERSION

    def point(self, name: str | None = None) -> OperatingPoint | DetectorPoint:
        """Return the operating point of a name; the default one where none is given.

        Raises:
            ValueError: there is none of that name.
        """
        known = sorted(self.operating_points)
        name = meant(name or self.default_operating_point, known)
        if name not in known:
            raise ValueError(
                f"{self.name} has the operating points {known}. Received: {name!r}."
                f"{did_you_mean(name, known)}"
            )
        return self.operating_points[name]

    def to_dict(self) -> dict[str, Any]:
        """Return what `card.json` holds."""
        points = {name: point.to_dict() for name, point in self.operating_points.items()}
        spare = ("class_words", "subtypes")  # left out where empty, as in cards without them
        names = [f.name for f in fields(self) if f.name not in spare or getattr(self, f.name)]
        return {name: getattr(self, name) for name in names} | {"operating_points": points}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Card:
        """Make a card of what `card.json` holds.

        Raises:
            ValueError: an operating point that is none.
        """
        kind = DetectorPoint if raw["kind"] == "detector" else OperatingPoint
        points = raw.get("operating_points", {})
        lists = {name: tuple(raw.get(name, ())) for name in ("class_names", "notes", "subtypes")}
        points = {name: kind.from_dict(name, point) for name, point in points.items()}
        return cls(**{**raw, **lists, "operating_points": points})

    def to_task(self) -> Task:
        """Return the task it was trained for; of a detector, normal against pneumonia."""
        if self.kind == "detector":
            return replace(TASKS["binary"], words=self.class_words)
        known = TASKS.get(self.task)
        if known is None or known.class_names != self.class_names:
            known = Task(self.task, self.class_names)
        return replace(known, words=self.class_words)


@contextmanager
def new_folder(target: str | os.PathLike) -> Iterator[Path]:
    """Yield an empty temporary folder beside `target`, which is renamed to `target` when the block
    ends without an error.

    Raises:
        FileExistsError: `target` exists already; nothing is ever overwritten.
    """
    target = Path(target)
    refuse_existing(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.tmp-", dir=target.parent))
    try:
        yield draft
        draft.chmod(0o777 & ~_umask())
        refuse_existing(target)
        os.rename(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def renewed_folder(folder: str | os.PathLike) -> Iterator[Path]:
    """Yield a hidden copy of a finished folder, which replaces the folder when the block ends
    without an error.

    Use it only for what is computed from the folder itself, such as its pages; results are never
    overwritten. The exchange is two renames: a reader sees the complete old folder or the complete
    new one. A kill between the renames leaves both, hidden.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    folder = Path(folder).resolve()  # a symbolic link stays; its target is renewed
    workshop = Path(tempfile.mkdtemp(prefix=f".{folder.name}.tmp-", dir=folder.parent))
    try:
        draft, before = workshop / "new", workshop / "old"
        shutil.copytree(folder, draft)
        yield draft
        os.rename(folder, before)
        try:
            os.rename(draft, folder)
        except BaseException:
            os.rename(before, folder)
            raise
    finally:
        # otherwise it was interrupted between the renames, and the only copies are in there
        if folder.exists():
            shutil.rmtree(workshop, ignore_errors=True)


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


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file through a temporary file beside it and a rename."""
    path = Path(path)
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}.tmp-", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.chmod(draft, 0o666 & ~_umask())
    os.replace(draft, path)


def write_json(path: str | os.PathLike, value: Any, **how: Any) -> None:
    """Write a value as JSON that a person can read; `how` as `json.dumps` takes it."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False, **how) + "\n")


def seal(folder: str | os.PathLike, card: Card) -> Card:
    """Write `card.json` into a draft folder, with the sha256 of every other file (sub-folders have
    manifests of their own), and return the completed card.
    """
    folder = Path(folder)
    card = replace(card, files=_checksums(folder))
    write_json(folder / CARD, card.to_dict(), sort_keys=True)
    return card


@contextmanager
def new_piece(folder: str | os.PathLike, piece: str) -> Iterator[Path]:
    """Add the sub-folder `piece`, with a `manifest.json` of its own, to a finished artifact,
    completely or not at all.
    """
    read_card(folder)
    with new_folder(Path(folder) / piece) as draft:
        yield draft
        write_json(draft / MANIFEST, {"files": _checksums(draft)}, sort_keys=True)


def read_card(folder: str | os.PathLike, kind: str | None = None) -> Card:
    """Read and check a folder's card and the sha256 of the files it names.

    Args:
        folder: the artifact.
        kind: the only kind to accept; any if None.

    Raises:
        ArtifactError: it is not an artifact, is damaged, or is of another kind or a newer format;
            the message says what to do.
    """
    folder = Path(folder)
    path = folder / CARD
    if not path.is_file():
        raise ArtifactError(
            f"{folder} is not an xray_tf artifact: it has no {CARD}. Expected a "
            "folder created by `xray-tf train --out`."
        )
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        version = raw["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{path} cannot be read as a card ({error}). The folder is damaged; "
            "copy it or train it again."
        ) from error
    if version != FORMAT_VERSION:
        raise ArtifactError(
            f"{path} has format_version {version!r}; this xray_tf reads "
            f"{FORMAT_VERSION}. Upgrade xray_tf to open it."
        )
    unknown, missing = (
        set(raw) - {f.name for f in fields(Card)},
        {"kind", "name", "files"} - set(raw),
    )
    if unknown or missing:
        raise ArtifactError(
            f"{path} does not describe an artifact: unknown fields "
            f"{sorted(unknown)}, missing fields {sorted(missing)}."
        )
    try:
        card = Card.from_dict(raw)
    except (ValueError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"{path} does not describe an artifact: {error}. The folder is damaged; copy or make "
            "it again."
        ) from error
    if card.kind not in KINDS or kind not in (None, card.kind):
        wanted = (
            f"a {kind}, such as `xray-tf {_MAKERS[kind]}` creates" if kind else (f"one of {KINDS}")
        )
        raise ArtifactError(f"{folder} holds a {card.kind!r} artifact. Expected {wanted}.")
    check_files(folder, card.files)
    return card


def check_files(folder: Path, files: dict[str, str]) -> None:
    """Raise ArtifactError unless every named file is inside `folder` and has its sha256."""
    for name, expected in files.items():
        path = folder / name
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise ArtifactError(
                f"{folder}: the card names {name!r}, which lies outside the folder. It is refused."
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


def sha256_of(path: str | os.PathLike) -> str:
    """Return the lower-case hex sha256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _checksums(folder: Path) -> dict[str, str]:
    # sub-folders have checksums of their own
    pieces = [p.parent for p in folder.rglob(MANIFEST) if p.parent != folder]
    paths = sorted(
        p
        for p in folder.rglob("*")
        if p.is_file()
        and p.name not in (CARD, MANIFEST)
        and not any(p.is_relative_to(q) for q in pieces)
    )
    return {p.relative_to(folder).as_posix(): sha256_of(p) for p in paths}


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
