"""Read --data into rows with pixels, for every job that needs radiographs."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xray_tf.data.duplicates import THUMBNAIL, near_copies
from xray_tf.data.pixels.cache import build_cache
from xray_tf.data.records import Finding, Findings, Records
from xray_tf.data.sources.scan import scan
from xray_tf.data.split import split_records
from xray_tf.data.tables.split_file import apply_split
from xray_tf.jobs.given_data import given_data
from xray_tf.options import PARTS, DataOptions
from xray_tf.registry import Task, read_task


@dataclass(frozen=True)
class Corpus:
    """Radiographs ready for a network.

    Attributes:
        records: N rows, in the order of `rows`.
        pixels: memory-mapped (M, S, S) uint8, M >= N.
        rows: (N,) int64, each record's row in `pixels`.
        labels: (N,) int64 class indices, -1 if unknown.
        findings: what was left out, and other findings.
        task: the task whose classes `labels` are.
    """

    records: Records
    pixels: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    findings: Findings
    task: Task

    def of_split(self, *splits: str) -> np.ndarray:
        """Return the positions (n,) of the labelled records of these splits."""
        pairs = zip(self.records, self.labels, strict=True)
        return np.flatnonzero([r.split in splits and label >= 0 for r, label in pairs])

    def nameless(self, fate: str) -> Findings:
        """Return a finding for each record without a class of the task, stating what happens to
        it.
        """
        said = f"no class under {self.task.name}: no label, or no sub-type; {fate}"
        pairs = zip(self.records, self.labels, strict=True)
        return Findings(Finding("no-class", "warning", r.path, said) for r, c in pairs if c < 0)

    def narrowed(self, records: Records, findings: Findings) -> Corpus:
        """Return a corpus of `records`, a subset in any order, with their rows and labels and with
        additional findings.
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
    data: Any,
    task: str | Task,
    options: DataOptions,
    image_size: int,
    resize: str,
    progress: bool = True,
    source: str | None = None,
) -> Corpus:
    """Scan a source and decode it once, without splitting it.

    Args:
        data: as for `--data`, or what a program holds, see `xray_tf.jobs.given_data`.
        task: the task, which determines the labels; a name is read together with the options'
            `classes`.
        options: source, patient key, cache.
        image_size, resize: side in pixels, and how a radiograph becomes a square.
        progress: show progress.
        source: replaces that of the options.
    """
    source = source or options.source
    task = read_task(task, options.classes) if isinstance(task, str) else task
    data = given_data(data, task, options.cache)
    found = scan(data, source, options.patient_key, options.cache, progress, task)
    cache = build_cache(
        found.records, image_size, resize, options.cache, progress=progress, strict=options.strict
    )
    about = found.records
    records = Records(cache.records.rows, about.root, options.split_by, about.traits)
    notes = Findings([])
    if options.groups:
        records, notes = _grouped(records, options.groups)
    labels = np.array(records.class_indices(task), np.int64)
    rows, findings = np.arange(len(records)), found.findings + cache.findings + notes
    return Corpus(records, cache.pixels, rows, labels, findings, task)


def _grouped(records: Records, path: str | os.PathLike) -> tuple[Records, Findings]:
    """Give the rows the acquisition groups of a table that an audit wrote."""
    known = Records.read_csv(path)
    if not any(known.column("acquisition")):
        raise ValueError(
            f"{path} has no acquisition groups. Expected records.csv of xray-tf audit "
            "--acquisitions, or a CSV file with the columns path and acquisition."
        )
    records = records.with_acquisitions(known)
    without = sum(not a for a in records.column("acquisition"))
    text = f"{without:,} radiographs have no acquisition group in {path}."
    notes = [Finding("no-acquisition-group", "note", "", text)] if without else []
    return records, Findings(notes)


def read_for(model: Any, data: Any, options: DataOptions, progress: bool = True) -> Corpus:
    """Read a source for an opened model: its task, image size and resize mode."""
    task, prep = model.card.to_task().reading(options.classes), model.card.preprocessing
    return read_corpus(data, task, options, prep["image_size"], prep["resize"], progress)


def divide(corpus: Corpus, options: DataOptions, seed: int) -> Corpus:
    """Leave out the rows without a class, and split the others into train, val and test.

    Raises:
        ValueError: a class of the task is missing, or there are too few patients.
    """
    known, names = corpus.labels >= 0, corpus.task.class_names
    nameless = corpus.nameless("set aside")
    records = corpus.records.with_rows(r for r, k in zip(corpus.records, known, strict=True) if k)
    present = Counter(corpus.labels.tolist())
    missing = [name for i, name in enumerate(names) if not present[i]]
    if missing:
        raise ValueError(
            f"Task {corpus.task.name} needs radiographs of each class {names}. Received none of "
            f"{missing}; {len(nameless)} of {len(corpus.records)} rows had no class. Check the "
            "names of the folders, or the subtype column."
        )
    if options.split:
        divided, notes = apply_split(records, options.split)
    else:
        copies = find_copies(records, options)
        divided, notes = split_records(
            records, options.validation, options.test, seed, options.split_by, copies
        )
    return corpus.narrowed(divided.where(lambda r: r.split), nameless + notes)


def find_copies(records: Records, options: DataOptions) -> list[tuple[str, str]]:
    """Find near copies as `audit` does, on thumbnails of the same size, which are cached."""
    cache = build_cache(records, THUMBNAIL, "squash", options.cache, progress=False)
    return near_copies(list(cache.records), np.asarray(cache.pixels))


def choose_part(corpus: Corpus, split: str | os.PathLike | None, part: str = "all") -> Corpus:
    """Apply the split.csv of an earlier run, if there is one, and keep the rows of one part.

    Raises:
        SplitError: the file is not a split.csv, or lists radiographs that the data lacks.
        ValueError: the part is unknown or empty.
    """
    return corpus.narrowed(*rows_of_part(corpus.records, split, part))


def rows_of_part(
    records: Records, split: str | os.PathLike | None, part: str = "all"
) -> tuple[Records, Findings]:
    """Return the records of one part and findings about them, as in `choose_part`."""
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
            f"There is no radiograph of the part {part!r}. Received: {counts}. Name a split.csv "
            "with --split, such as the one in the model's folder, or another --part."
        )
    return kept, notes
