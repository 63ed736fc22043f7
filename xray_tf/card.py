"""Describe a saved folder: its card, what may stand on one, and the checksum by which the card
vouches for itself.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields, replace
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from xray_tf.operating_point import DetectorPoint, OperatingPoint
from xray_tf.registry import TASKS, Task
from xray_tf.spelling import did_you_mean, meant
from xray_tf.untrusted import Check, anything, either, items, mapping, number, one_of, text
from xray_tf.untrusted import fields as object_of

FORMAT_VERSION = 1
KINDS = ("classifier", "detector", "lungs", "trunk")
CHECKSUM = "checksum"
MODEL = "model.keras"


@dataclass(frozen=True)
class Card:
    """What a saved folder says about itself (`card.json`).

    Attributes:
        kind: `classifier`, `detector`, `lungs` or `trunk`.
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

    def point(
        self, name: str | OperatingPoint | DetectorPoint | None = None
    ) -> OperatingPoint | DetectorPoint:
        """Return the operating point of a name; the default one where none is given; a point
        itself where one is given.

        Raises:
            ValueError: there is none of that name.
        """
        if isinstance(name, OperatingPoint | DetectorPoint):
            return name
        known = sorted(self.operating_points)
        name = meant(name or self.default_operating_point, known)
        if name not in known:
            raise ValueError(
                f"{self.name} has the operating points {known}. Received: {name!r}."
                f"{did_you_mean(name, known)}"
            )
        return self.operating_points[name]

    def to_dict(self) -> dict[str, Any]:
        """Return what `card.json` holds, with the checksum by which it vouches for itself."""
        points = {name: point.to_dict() for name, point in self.operating_points.items()}
        spare = ("class_words", "subtypes")  # left out where empty, as in cards without them
        names = [f.name for f in fields(self) if f.name not in spare or getattr(self, f.name)]
        raw = {name: getattr(self, name) for name in names} | {"operating_points": points}
        return raw | {CHECKSUM: checksum_of(raw)}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Card:
        """Make a card of what `card.json` holds.

        Raises:
            ValueError: a field of another type or out of range; the message names it.
        """
        _CHECK(raw, "the card")
        raw = {name: value for name, value in raw.items() if name != CHECKSUM}
        kind = DetectorPoint if raw["kind"] == "detector" else OperatingPoint
        points = raw.get("operating_points", {})
        lists = {name: tuple(raw.get(name, ())) for name in ("class_names", "notes", "subtypes")}
        points = {name: kind.from_dict(name, point) for name, point in points.items()}
        return cls(**{**raw, **lists, "operating_points": points})

    def check_answers(self) -> None:
        """Raise ValueError unless the card says all that a model's answers depend on."""
        if MODEL not in self.files:
            raise ValueError(f"the card names no {MODEL}")
        prep, names = self.preprocessing, self.class_names
        object_of({}, ("image_size", "resize"), others=True)(prep, "preprocessing")
        if self.operating_points and self.default_operating_point not in self.operating_points:
            raise ValueError("default_operating_point must be one of the operating points")
        if self.kind != "classifier":
            return
        if len(names) < 2 or len(set(names)) < len(names) or not all(names):
            raise ValueError(f"class_names must be two or more different names. Received: {names}")
        for name, point in self.operating_points.items():
            if point.classes != len(names):
                raise ValueError(f"the operating point {name!r} does not fit {len(names)} classes")

    def to_task(self) -> Task:
        """Return the task it was trained for; of a detector, normal against pneumonia."""
        if self.kind == "detector":
            return replace(TASKS["binary"], words=self.class_words)
        known = TASKS.get(self.task)
        if known is None or known.class_names != self.class_names:
            known = Task(self.task, self.class_names)
        return replace(known, words=self.class_words)


def checksum_of(raw: dict[str, Any]) -> str:
    """Return the sha256 of all that a card says, except of its own checksum."""
    said = {name: value for name, value in raw.items() if name != CHECKSUM}
    return hashlib.sha256(
        json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()


def check_files_object(files: Any, where: str) -> None:
    """Raise ValueError unless `files` has names inside a folder, one at least, and their sha256."""
    mapping(_sha256, _inside)(files, where)
    if not files:
        raise ValueError(f"{where} names no file")


def _inside(name: Any, where: str) -> None:
    text(1000)(name, where)
    parts = PurePosixPath(name).parts
    away = PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive
    if not parts or ".." in parts or away or "\\" in name or "\0" in name:
        raise ValueError(f"{where} is {name[:80]!r}, which lies outside the folder")


def _sha256(value: Any, where: str) -> None:
    text(64)(value, where)
    if len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise ValueError(f"{where} must be a sha256, 64 hex digits. Received: {value!r}")


_NAME, _MAYBE = text(200), either(one_of(None), number())
_CARD: dict[str, Check] = {
    "kind": _NAME,
    "name": text(1000),
    "task": _NAME,
    "class_names": items(_NAME, 1000),
    "class_words": mapping(_NAME, _NAME),
    "subtypes": items(_NAME, 1000),
    "preprocessing": object_of(
        {
            "image_size": number(8, 4096, whole=True),
            "resize": one_of("crop", "pad", "squash"),
            "decoding": number(1, 1000, whole=True),
            "decoding_rule": text(),
            "channels": one_of(1),
            "pixel_range": items(number(0, 255), 2),
        },
        others=True,
    ),
    "temperature": number(1e-6, 1e6),
    "operating_points": mapping(anything, _NAME, 1000),
    "default_operating_point": _NAME,
    # beside its value and interval a metric may say in words why it is undefined
    "metrics": mapping(object_of(dict.fromkeys(("value", "low", "high"), _MAYBE), others=True)),
    "metrics_split": _NAME,
    "split_by": one_of("patient", "image"),
    "provenance": mapping(anything),
    "files": check_files_object,
    "notes": items(text()),
    "format_version": one_of(FORMAT_VERSION),
    CHECKSUM: _sha256,
}
_CHECK = object_of(_CARD, ("kind", "name", "files"))
