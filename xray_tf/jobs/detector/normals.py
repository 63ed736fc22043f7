"""Read --data into the three parts of a detector: fit normals, calibration normals, and a test
part, the only one with pneumonia.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from xray_tf.data.kin import patient_groups
from xray_tf.data.records import Finding, Findings, Record
from xray_tf.data.split import split_records
from xray_tf.data.tables.split_file import apply_split
from xray_tf.jobs.corpus import Corpus, find_copies, read_corpus
from xray_tf.jobs.provenance import fingerprint
from xray_tf.options import DataOptions, DetectOptions
from xray_tf.registry import TASKS

STAND_INS = 8


@dataclass(frozen=True)
class Parts:
    """Positions in a corpus.

    Attributes:
        learn: (n,) normals of the fit part on which the autoencoder is trained.
        watch: (n,) normals of other patients in the fit part, which monitor its training.
        calibrate: (n,) held-out normals that set the thresholds; nothing is fitted on them.
        test: (n,) the test part: normals and, if requested, pneumonia.
    """

    learn: np.ndarray
    watch: np.ndarray
    calibrate: np.ndarray
    test: np.ndarray

    @property
    def fit(self) -> np.ndarray:
        """(n,) the whole fit part, in ascending order."""
        return np.sort(np.concatenate([self.learn, self.watch]))


def read_normals(
    data: str, data_options: DataOptions, options: DetectOptions, progress: bool = True
) -> tuple[Corpus, str]:
    """Read a corpus and split it by patient: `train` is the fit part, `val` calibrates, and `test`
    is reported on.

    Pneumonia outside the test part is left out and never used.

    Returns:
        (the corpus, the fingerprint of all radiographs it comes from).

    Raises:
        ValueError: there is pneumonia without `report_on_pneumonia`, or there are no normals or too
            few patients.
    """
    corpus = _with_labels(_read(data, data_options, options, progress), options)
    source = fingerprint(corpus.records)
    counts = Counter(corpus.records.column("label"))
    if counts["pneumonia"] and not options.report_on_pneumonia:
        raise ValueError(
            f"{counts['pneumonia']} of the {len(corpus.records)} radiographs are labelled "
            "pneumonia, and a detector learns from normals only. Use normals only, or add "
            "--report-on-pneumonia (report_on_pneumonia=True): then only normals are learned from "
            "and calibrated on, and the test part's pneumonia is scored in the report."
        )
    if not counts["normal"]:
        raise ValueError(
            f"none of the {len(corpus.records)} radiographs is labelled normal. "
            "Expected a folder NORMAL, a manifest with the label normal, or --all-normal "
            "(all_normal=True) if radiographs without a label are known to be normal."
        )
    corpus = _divided(corpus, data_options, options)
    odd = [r for r in corpus.records if r.label == "pneumonia" and r.split != "test"]
    said = f"{len(odd)} radiographs of pneumonia outside the test part are not used."
    notes = Findings([Finding("pneumonia-left-out", "note", "", said)] if odd else [])
    used = corpus.records.where(lambda r: r.label == "normal" or r.split == "test")
    return corpus.narrowed(used, notes), source


def parts_of(corpus: Corpus, options: DetectOptions) -> Parts:
    """Split the fit part of a corpus from `read_normals` further: some patients only monitor.

    Raises:
        ValueError: the fit part has fewer than two patients.
    """
    fit, calibrate, test = (corpus.of_split(s) for s in ("train", "val", "test"))
    groups = patient_groups([corpus.records[i].patient for i in fit], len(fit))
    count = int(groups.max()) + 1 if len(fit) else 0
    if count < 2:
        raise ValueError(
            f"the fit part needs normals of at least 2 patients. Received: {count} "
            f"patients, {len(fit)} radiographs. Use more normals."
        )
    watched = min(count - 1, max(1, round(options.watched * count)))
    drawn = np.random.default_rng(options.seed).permutation(count)[:watched]
    watching = np.isin(groups, drawn)
    return Parts(fit[~watching], fit[watching], calibrate, test)


def _read(data: str, data_options: DataOptions, options: DetectOptions, progress: bool) -> Corpus:
    """Read a corpus; if everything is normal, a folder needs no class folders."""
    task = TASKS["binary"].reading(data_options.classes)
    how = (data, task, data_options, options.image_size, options.resize, progress)
    try:
        return read_corpus(*how)
    except ValueError:
        if not (options.all_normal and os.path.isdir(data)):
            raise
        return read_corpus(*how, source="flat")


def _with_labels(corpus: Corpus, options: DetectOptions) -> Corpus:
    """Take rows without a label as normal with `all_normal`, else leave them out."""
    records = corpus.records
    if options.all_normal:
        if "pneumonia" in records.column("label"):
            raise ValueError(
                "--all-normal says that every radiograph without a label is normal, but some are "
                "labelled pneumonia. Remove one or the other."
            )
        labelled = records.with_rows(replace(r, label="normal") for r in records)
        return replace(corpus, records=labelled, labels=np.zeros(len(labelled), np.int64))
    nameless = sum(not r.label for r in records)
    said = (
        f"{nameless} radiographs have no label and are left out; --all-normal takes them as normal."
    )
    notes = Findings([Finding("no-label", "warning", "", said)] if nameless else [])
    return corpus.narrowed(records.where(lambda r: r.label), notes)


def _divided(corpus: Corpus, data_options: DataOptions, options: DetectOptions) -> Corpus:
    if data_options.split:
        records, notes = apply_split(corpus.records, data_options.split)
        return corpus.narrowed(records, notes)
    # split_records needs two classes and draws each independently of the other, so placeholders for
    # a missing class change nothing
    absent = "pneumonia" not in corpus.records.column("label")
    stand_ins = [
        Record(f"stand-in {i}", "pneumonia", patient=f"stand-in {i}", sha256=f"stand-in {i}")
        for i in range(STAND_INS * absent)
    ]
    divided, notes = split_records(
        corpus.records.with_rows([*corpus.records, *stand_ins]),
        data_options.validation,
        data_options.test,
        options.seed,
        data_options.split_by,
        find_copies(corpus.records, data_options),
    )
    names = {r.path for r in stand_ins}
    return corpus.narrowed(divided.where(lambda r: r.path not in names and r.split), notes)
