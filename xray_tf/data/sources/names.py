"""Read label, sub-type and patient from file and folder names, by stated rules."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from xray_tf.data.records import Findings, Records
from xray_tf.registry import CLASS_WORDS, Task

PATIENT_KEYS = ("namespaced", "bare")
IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".tif", ".tiff", ".webp")
SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


@dataclass(frozen=True)
class NameRule:
    """One pattern of file names, what it says about patient and label, and a sentence that states
    it.

    `namespaced` and `bare` are templates of the patient key; {word} is bacteria, virus or normal.
    """

    pattern: re.Pattern
    namespaced: str
    bare: str
    says: str


NAME_RULES = (
    NameRule(
        re.compile(r"person(?P<number>\d+)_(?P<word>bacteria|virus)_\d+(_\d+)?", re.I),
        "{word}:person{number}",
        "person{number}",
        "person1000_bacteria_2931: child 1000 in the bacterial (or viral) numbering; another "
        "number (person447_virus_921_1) is another image.",
    ),
    NameRule(
        re.compile(r"(?P<series>NORMAL\d+-)?IM-(?P<number>\d+)(-\d+){1,2}", re.I),
        "{series}IM-{number}",
        "{series}IM-{number}",
        "NORMAL2-IM-0501-0001 and IM-0125-0001-0002: a normal child; numbers after the first are "
        "images, and the prefix NORMAL2- starts a new numbering.",
    ),
    NameRule(
        re.compile(r"(?P<word>bacteria|virus|normal)-(?P<number>\d+)-\d+", re.I),
        "{word}:{number}",
        "{number}",
        "BACTERIA-1135262-0001 (Mendeley release 3): class, randomised patient number, image.",
    ),
)


class SourceError(ValueError):
    """The data is missing or in a form that cannot be read; the message says what was expected."""


@dataclass(frozen=True)
class Request:
    """What a source is asked for.

    Attributes:
        data: the text after `--data`.
        source: the name of the row of `registry.SOURCES`.
        patient_key: `namespaced` or `bare`.
        directory: where images are written that are no files yet.
        task: which words of folders and manifests name classes.
        progress: whether to show a line while writing them.
    """

    data: str
    source: str
    patient_key: str
    directory: Path
    task: Task
    progress: bool = False

    def path(self, suffix: str = "") -> Path:
        """Return the file of that suffix, or without one the folder, that `data` names.

        Raises:
            FileNotFoundError, SourceError: it is not there, or not of that kind.
        """
        path = Path(self.data).expanduser()
        if not path.exists():
            raise FileNotFoundError(
                f"{self.data} does not exist. Expected a folder, a .csv manifest, a "
                "MedMNIST .npz, or the word phantom or kaggle."
            )
        if path.is_file() != bool(suffix):
            needed, found = (f"{suffix} file", "folder") if suffix else ("folder", "file")
            raise SourceError(
                f"source {self.source} needs a {needed}. Received the {found} {path}."
            )
        return path


class Scan(NamedTuple):
    """What a source returns: `records, findings = scan(...)`."""

    records: Records
    findings: Findings


def read_name(name: str, patient_key: str = "namespaced") -> tuple[str, str, str] | None:
    """Read (label, sub-type, patient key) from a file name by `NAME_RULES`; None if no rule
    fits.
    """
    stem = name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    for rule in NAME_RULES:
        match = rule.pattern.fullmatch(stem)
        if match:
            groups = {k: v or "" for k, v in match.groupdict().items()}
            word = groups.get("word", "normal").lower()
            template = rule.namespaced if patient_key == "namespaced" else rule.bare
            return *CLASS_WORDS[word], template.format(
                word=word, number=groups["number"], series=groups.get("series", "").upper()
            )
    return None


def natural_key(path: str) -> tuple:
    """Return a sort key that puts image2 before image10, folder by folder."""
    parts = path.split("/")
    return tuple(
        tuple(int(t) if i % 2 else t.lower() for i, t in enumerate(re.split("([0-9]+)", part)))
        for part in parts
    ), path
