"""Set a detector's thresholds anew on normal radiographs of another site."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from xray_tf.card import MODEL
from xray_tf.data.pixels.reading import hashed
from xray_tf.data.records import Findings, Records
from xray_tf.data.scores import Scores
from xray_tf.data.tables.split_file import SPLIT, known_to, write_split
from xray_tf.jobs.detector.detector_report import calibration_text, statistics_of, write_pages
from xray_tf.jobs.detector.score_files import records_of
from xray_tf.jobs.provenance import provenance
from xray_tf.jobs.run import Options, Run, recorded, takes
from xray_tf.models.asked.queries import pixels_of
from xray_tf.models.detector import (
    FEATURE_MODEL,
    MAP_RANGE,
    REFERENCE,
    Detector,
    point_of,
    score_table,
)
from xray_tf.models.load import load
from xray_tf.models.normal_chest import MAP_ROWS
from xray_tf.options import CalibrateOptions, DataOptions, EvaluateOptions
from xray_tf.stats.detector.or_rule import OrRule

COPIED = (MODEL, FEATURE_MODEL, "history.csv")
NOTE = (
    "The thresholds are those of {n} normal patients of another site than {name} learned from. "
    "Nothing has been measured with them."
)


@takes(DataOptions, CalibrateOptions, EvaluateOptions)
def calibrate_detector(
    detector: str | os.PathLike | Detector,
    normals: str | os.PathLike | Iterable[str | os.PathLike],
    out: str | os.PathLike,
    *,
    options: Options,
) -> Detector:
    """Move a detector's thresholds so that its false-alarm budget holds among normals of another
    site, and save it as a detector of its own.

    What it has learned of normal lungs stays; only thresholds, percentiles and the range of heat
    maps come from the normals given. At a budget of 5 % at least 19 patients are needed; see
    `stats.detector.or_rule.OrRule.moved`.

    Args:
        detector: a detector's folder, the name of a shipped one, or an opened one.
        normals: normal radiographs: a folder, a data set, a glob, or a list of files.
        out: the folder to create.
        options: `DataOptions`, `CalibrateOptions` and `EvaluateOptions` in any order, or single
            options by name.

    Returns:
        The new artifact, opened.

    Raises:
        FileExistsError: `out` exists.
        ValueError: some are labelled pneumonia, the detector was fitted on some, or too few can be
            read.
    """
    run, where, how = options[Run].at(out), options[DataOptions], options[CalibrateOptions]
    detector = load(detector, kind="detector")
    records, found = records_of(normals, where, detector.card.to_task().reading(where.classes))
    _refuse_sick(records)
    records = hashed(records)
    _refuse_fitted(records, detector)
    records = records.with_rows(replace(r, label="normal", split="val") for r in records)
    parts, batch_size = [], options[EvaluateOptions].forward_batch_size
    with run.line("Scoring normals", len(records)) as line:
        for scores, _ in detector.stream(records, batch_size):
            parts.append(scores)
            line.step(len(scores))
    scores = Scores.joined(parts)
    read = scores.where(scores.read)
    rule = detector.rule.moved(read.values, list(read.patients), how.budget, how.seed)
    run.say(calibration_text(rule))
    with run.folder() as draft:
        _write(draft, detector, rule, records, scores, found)
        shown = np.flatnonzero(scores.read)[:MAP_ROWS]
        pixels = pixels_of(records, shown, detector.card)
        arrays = {**detector.arrays, "normals": rule.normals}
        arrays[MAP_RANGE] = detector.normal_chest.map_range(pixels)
        np.savez_compressed(draft / REFERENCE, **arrays)
        _write_pages(draft, detector, rule, records, options, run)
    run.say(f"Finished: {run.out}/ has the detector with its new thresholds")
    return load(run.out, kind="detector")


def _refuse_sick(records: Records) -> None:
    sick = sum(r.label not in ("", "normal") for r in records)
    if sick or not len(records):
        raise ValueError(
            f"{sick} of the {len(records)} radiographs are not labelled normal, and thresholds "
            "are set on normals only. Expected a folder with normal radiographs alone."
        )


def _refuse_fitted(records: Records, detector: Detector) -> None:
    """Refuse normals that the detector learned from: they look more normal than new ones do."""
    files, _ = known_to(records, detector.folder / SPLIT, "train")
    if files.any():
        first = records[int(np.flatnonzero(files)[0])].path
        raise ValueError(
            f"{files.sum():,} of the {len(records):,} radiographs are among those that "
            f"{detector.card.name} was fitted on, such as {first}, so they are no sample of new "
            "normals. Leave them out."
        )


def _write(
    draft: Path,
    detector: Detector,
    rule: OrRule,
    records: Records,
    scores: Scores,
    found: Findings,
) -> None:
    for name in COPIED:
        shutil.copy(detector.folder / name, draft / name)
    write_split(records, draft / SPLIT)
    again = score_table(rule, list(records), scores.values, scores.errors, scores.warnings)
    again.write_csv(draft / "scores.csv")
    statistics_of(again, rule.bounds()).write_csv(draft / "statistics.csv")
    found.write_csv(draft / "audit.csv")


def _write_pages(
    draft: Path,
    detector: Detector,
    rule: OrRule,
    records: Records,
    options: Options,
    run: Run,
) -> None:
    old, before = detector.card, detector.card.point()
    numbers = {**before.radiographs, "calibrate": len(records), "test": 0}
    learnt = {"density": before.density, "detectors": before.detectors}
    point = point_of(rule, **learnt, radiographs=numbers)
    origin = provenance(run.command_line, records, *recorded(options))
    origin["options"] = {**old.provenance.get("options", {}), **origin["options"]}
    card = replace(
        old,
        name=run.out.name,
        operating_points={point.name: point},
        default_operating_point=point.name,
        metrics={},
        provenance=origin,
        files={},
        notes=(NOTE.format(n=f"{len(rule.normals):,}", name=old.name),),
    )
    write_pages(draft, card, None)
