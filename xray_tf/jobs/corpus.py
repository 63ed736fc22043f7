"""From --data to rows with pixels, for every job that reads radiographs."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xray_tf.data.pixels.cache import build_cache
from xray_tf.data.records import Finding, Findings, Records
from xray_tf.data.sources.scan import scan
from xray_tf.data.split import apply_split, split_records
from xray_tf.options import PARTS, DataOptions
from xray_tf.registry import Task, read_task


@dataclass(frozen=True)
class Corpus:
    """Radiographs ready for a net.

    Attributes:
        records: N rows, in the order of `rows`.
        pixels: memory-mapped (M, S, S) uint8, M >= N.
        rows: (N,) int64, each record's row in `pixels`.
        labels: (N,) int64 class indices, -1 where not known.
        findings: what was set aside or is worth saying.
        task: whose classes `labels` are.
    """

    records: Records
    pixels: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    findings: Findings
    task: Task

    def of_split(self, *splits: str) -> np.ndarray:
        """Return the positions (n,) of the labelled records of these splits."""
        wanted = [
            r.split in splits and label >= 0
            for r, label in zip(self.records, self.labels, strict=True)
        ]
        return np.flatnonzero(wanted)

    def nameless(self, fate: str) -> Findings:
        """Return a finding for each record without a class of the task, which says what becomes of
        it.
        """
        return Findings(
            Finding(
                "no-class",
                "warning",
                r.path,
                f"no class under {self.task.name}: no label, or no sub-type; {fate}",
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
    data: str,
    task: str | Task,
    options: DataOptions,
    image_size: int,
    resize: str,
    progress: bool = True,
    source: str | None = None,
) -> Corpus:
    """Scan a source and decode it once, without dividing it.

    Args:
        data: what `--data` takes.
        task: decides the labels; a name is read together with the options' `classes`.
        options: source, patient key, cache.
        image_size, resize: pixels, and how a radiograph becomes a square.
        progress: show what is going on.
        source: in place of the options'.
    """
    source = source or options.source
    task = read_task(task, options.classes) if isinstance(task, str) else task
    found = scan(data, source, options.patient_key, options.cache, progress, task)
    cache = build_cache(
        found.records, image_size, resize, options.cache, progress=progress, strict=options.strict
    )
    records = Records(cache.records.rows, found.records.root, options.split_by)
    labels = np.array(records.class_indices(task), np.int64)
    return Corpus(
        records,
        cache.pixels,
        np.arange(len(records)),
        labels,
        found.findings + cache.findings,
        task,
    )


def read_for(model: Any, data: str, options: DataOptions, progress: bool = True) -> Corpus:
    """Read a source as an opened model sees it: its task, its size, its way to a square."""
    task, prep = model.card.to_task().reading(options.classes), model.card.preprocessing
    return read_corpus(data, task, options, prep["image_size"], prep["resize"], progress)


def divide(corpus: Corpus, options: DataOptions, seed: int) -> Corpus:
    """Set the rows without a class aside, and give each of the others its part: train, val or test.

    Raises:
        ValueError: fewer than all classes of the task are there, or too few patients to divide.
    """
    known, names = corpus.labels >= 0, corpus.task.class_names
    nameless = corpus.nameless("set aside")
    records = corpus.records.with_rows(r for r, k in zip(corpus.records, known, strict=True) if k)
    present = Counter(corpus.labels.tolist())
    missing = [name for i, name in enumerate(names) if not present[i]]
    if missing:
        raise ValueError(
            f"Task {corpus.task.name} needs radiographs of each class {names}. Received "
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
    return corpus.narrowed(*rows_of_part(corpus.records, split, part))


def rows_of_part(
    records: Records, split: str | os.PathLike | None, part: str = "all"
) -> tuple[Records, Findings]:
    """Return the records of one part, and what is worth saying of them; as in `choose_part`."""
    if part not in PARTS:
        raise ValueError(f"part must be one of {PARTS}. Received: part={part!r}")
    records, notes = apply_split(records, split) if split else (records, Findings([]))
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
    return kept, notes
