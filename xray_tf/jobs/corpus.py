"""From --data to rows with pixels, for every job that reads radiographs."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xray_tf.artifact import Card
from xray_tf.data.pixels.cache import build_cache
from xray_tf.data.records import Finding, Findings, Record, Records
from xray_tf.data.sources.scan import scan
from xray_tf.data.split import apply_split, known_to, split_records
from xray_tf.options import PARTS, DataOptions
from xray_tf.registry import TASKS


@dataclass(frozen=True)
class Corpus:
    """Radiographs ready for a net.

    Attributes:
        records: N rows, in the order of `rows`.
        pixels: memory-mapped (M, S, S) uint8, M >= N.
        rows: (N,) int64, each record's row in `pixels`.
        labels: (N,) int64 class indices, -1 where not known.
        findings: what was set aside or is worth saying.
    """

    records: Records
    pixels: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    findings: Findings

    def of_split(self, *splits: str) -> np.ndarray:
        """Return the positions (n,) of the labelled records of these splits."""
        wanted = [
            r.split in splits and label >= 0
            for r, label in zip(self.records, self.labels, strict=True)
        ]
        return np.flatnonzero(wanted)

    def nameless(self, task: str, fate: str) -> Findings:
        """Return a finding for each record without a class of the task, which says what becomes of
        it.
        """
        return Findings(
            Finding(
                "no-class",
                "warning",
                r.path,
                f"no class under {task}: no label, or no sub-type; {fate}",
            )
            for r, label in zip(self.records, self.labels, strict=True)
            if label < 0
        )

    def narrowed(self, records: Records, findings: Findings) -> Corpus:
        """Return the corpus of `records`, some of its own in any order, with their rows and labels,
        and with more findings.
        """
        position = {r.path: i for i, r in enumerate(self.records)}
        chosen = np.array([position[r.path] for r in records], np.int64)
        return replace(
            self,
            records=records,
            rows=self.rows[chosen],
            labels=self.labels[chosen],
            findings=self.findings + findings,
        )


def read_corpus(
    data: str, task: str, options: DataOptions, image_size: int, resize: str, progress: bool = True
) -> Corpus:
    """Scan a source and decode it once, without dividing it.

    Args:
        data: what `--data` takes.
        task: decides the labels.
        image_size, resize: pixels, and how a radiograph becomes a square.
    """
    found = scan(data, options.source, options.patient_key, cache=options.cache, progress=progress)
    cache = build_cache(
        found.records, image_size, resize, options.cache, progress=progress, strict=options.strict
    )
    records = Records(cache.records.rows, found.records.root, options.split_by)
    labels = np.array(records.class_indices(task), np.int64)
    return Corpus(
        records, cache.pixels, np.arange(len(records)), labels, found.findings + cache.findings
    )


def divide(corpus: Corpus, task: str, options: DataOptions, seed: int) -> Corpus:
    """Set the rows without a class aside, and give each of the others its part: train, val or test.

    Raises:
        ValueError: fewer than all classes of the task are there, or too few patients to divide.
    """
    known = corpus.labels >= 0
    nameless = corpus.nameless(task, "set aside")
    records = corpus.records.with_rows(r for r, k in zip(corpus.records, known, strict=True) if k)
    present = Counter(records.class_indices(task))
    missing = [name for i, name in enumerate(TASKS[task]) if not present[i]]
    if missing:
        raise ValueError(
            f"Task {task} needs radiographs of each class {TASKS[task]}. Received "
            f"none of {missing}; "
            f"{len(nameless)} of {len(corpus.records)} rows had no class. Check the "
            "folders' names, or the subtype column."
        )
    if options.split:
        divided, notes = apply_split(records, options.split)
    else:
        divided, notes = split_records(
            records, options.validation, options.test, seed, options.split_by
        )
    return corpus.narrowed(divided.where(lambda r: r.split), nameless + notes)


def choose_part(corpus: Corpus, split: str | os.PathLike | None, part: str = "all") -> Corpus:
    """Give the rows the split an earlier run's split.csv names, if there is one, and keep those of
    one part.

    Raises:
        SplitError: not a split.csv, or radiographs it names are not in the data.
        ValueError: an unknown part, or no row is of it.
    """
    if part not in PARTS:
        raise ValueError(f"part must be one of {PARTS}. Received: part={part!r}")
    records, notes = apply_split(corpus.records, split) if split else (corpus.records, Findings([]))
    kept = records.where(lambda r: part in ("all", r.split))
    if not len(kept) and len(records):
        counts = ", ".join(
            f"{n} {name or 'without a part'}"
            for name, n in sorted(Counter(records.column("split")).items())
        )
        raise ValueError(
            f"There is no radiograph of the part {part!r}. Received: {counts}. "
            "Name a split.csv with --split, such as the one in the model's folder, "
            "or another --part."
        )
    return corpus.narrowed(kept, notes)


def known_notes(records: Iterable[Record], split_csv: str | os.PathLike, card: Card) -> list[str]:
    """Say how many of the rows scored an artifact was trained on, and to how many its thresholds
    were fitted; nothing where there are none.
    """
    records, notes = list(records), []
    for part, what in (
        ("train", "training rows"),
        ("val", "the validation rows that thresholds were fitted to"),
    ):
        files, keys = known_to(records, split_csv, part)
        if files.any():
            notes.append(
                f"{files.sum():,} of these {len(records):,} radiographs are {what} of "
                f"{card.name}: the figures flatter it."
            )
        if keys.any():
            notes.append(
                f"{keys.sum():,} of these {len(records):,} radiographs have patient keys "
                f"of {what} of {card.name}: if they are the same patients, the "
                "figures flatter it."
            )
    return notes


def draw_rows(labels: np.ndarray, patients: Sequence[str], limit: int, seed: int) -> np.ndarray:
    """Choose rows whose class is known, as many of each class as can be, at most `limit` in all (0:
    every one).

    Within a class the patients' order depends on the seed and the key alone, so a smaller draw is
    part of a larger one.

    Returns:
        (n,) int64 positions, rising.
    """
    order = [
        hashlib.sha256(f"{seed}:{p}".encode("utf-8", "surrogateescape")).digest() for p in patients
    ]
    queues = [
        sorted(np.flatnonzero(labels == k), key=lambda i: (order[i], i))
        for k in np.unique(labels[labels >= 0])
    ]
    left, taken = limit if limit else len(labels), []
    for place, queue in enumerate(sorted(queues, key=len)):
        count = min(len(queue), -(-left // (len(queues) - place)) if left else 0)
        taken += queue[:count]
        left -= count
    return np.sort(np.array(taken, np.int64))
