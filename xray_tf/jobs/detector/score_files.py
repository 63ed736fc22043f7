"""Score radiographs, labelled or not, with an anomaly detector; write scores, heat maps and a
page.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf.artifact import write_json, write_text
from xray_tf.card import CHECKSUM
from xray_tf.data.pixels.reading import hashed
from xray_tf.data.records import Findings, Records
from xray_tf.data.scores import Scores
from xray_tf.data.sources.files import find_files
from xray_tf.data.sources.names import SourceError
from xray_tf.data.sources.scan import scan
from xray_tf.data.tables.table import TableWriter
from xray_tf.jobs.corpus import rows_of_part
from xray_tf.jobs.detector.detector_report import report_on
from xray_tf.jobs.heatmaps.heatmap_file import MAPS, PICTURES, MapsFile, picture_path, write_picture
from xray_tf.jobs.known_rows import known_notes
from xray_tf.jobs.run import Options, Run, names_of, takes
from xray_tf.models.asked.queries import pixels_of
from xray_tf.models.detector import Detector
from xray_tf.models.load import load
from xray_tf.options import DataOptions, EvaluateOptions, ScoreOptions
from xray_tf.pages.kit import overlays
from xray_tf.registry import Task
from xray_tf.stats.detector.or_rule import OrRule, read_thresholds


@takes(DataOptions, ScoreOptions, EvaluateOptions)
def score_files(
    detector: str | os.PathLike | Detector,
    data: str | os.PathLike | Iterable[str | os.PathLike],
    out: str | os.PathLike,
    *,
    options: Options,
    part: str = "all",
    thresholds: str | None = None,
) -> tuple[Scores, dict[str, Any] | None]:
    """Score radiographs and write a folder, completely or not at all; nothing is fitted to them.

    Until it is complete it is `OUT.partial`, in which the same call goes on after an interruption.

    The folder has scores.csv, scores.html, audit.csv and, with `maps`,
    `overlays/NNNN_<file stem>.png` and `maps.npz` (`maps` (N, S, S) float32 in [0, 1], zero if a
    file could not be read; `paths` (N,)). If rows are labelled it also has metrics.json and
    statistics.csv.

    Args:
        detector: a detector's folder, the name of a shipped one, or an opened one.
        data: as for training, or a folder without class folders, a file, a glob, or a list of
            these.
        out: the folder to create.
        options: `DataOptions`, `ScoreOptions` and `EvaluateOptions` in any order, or single options
            by name; rows have the split in `DataOptions.split`, or that of their source.
        part: the rows to use: `all`, `train`, `val` or `test`.
        thresholds: `name=value,name=value`, replacing the detector's own.

    Returns:
        (the scores, in order; the layout of metrics.json, or None if nothing is labelled).

    Raises:
        FileExistsError: `out` exists.
        ValueError: there is no radiograph, the part is unknown, or thresholds do not fit; or, with
            `DataOptions.strict`, a file cannot be scored.
    """
    run, where, numbers = options[Run].at(out), options[DataOptions], options[EvaluateOptions]
    detector = load(detector, kind="detector")
    overlays.check_colormap(options[ScoreOptions].colormap)
    rule = detector.rule
    if thresholds:
        rule = rule.with_thresholds(read_thresholds(thresholds, rule.names))
    records, found = records_of(data, where, detector.card.to_task().reading(where.classes))
    records, notes = rows_of_part(records, where.split, part)
    if not len(records):
        raise ValueError(f"{data} contains no radiograph. Expected one or more.")
    plan = {
        "card": detector.card.to_dict()[CHECKSUM],
        "thresholds": rule.bounds(),
        "options": asdict(options[ScoreOptions]),
        **names_of(records),
    }
    with run.answers(plan) as draft:
        scores = _score(detector, records, rule, options, run, draft)
        (found + notes).write_csv(draft / "audit.csv")
        metrics, statistics = report_on(
            scores, rule.bounds(), numbers, detector.card.split_by, "the detector's rule"
        )
        if len(statistics):
            statistics.write_csv(draft / "statistics.csv")
        if metrics:
            metrics["notes"] = known_notes(hashed(records), detector)
            write_json(draft / "metrics.json", metrics)
        _write_page(draft, detector, records, scores, metrics, rule, options[ScoreOptions])
    return scores, metrics


def records_of(data: Any, options: DataOptions, task: Task) -> tuple[Records, Findings]:
    """List what to score: a data set if `data` is one, else files."""
    if not isinstance(data, str | os.PathLike):
        return find_files(data, task)
    try:
        return scan(data, options.source, options.patient_key, options.cache, task=task)
    # not a data set: files, folders and globs, labelled or not
    except (SourceError, FileNotFoundError):
        if (
            options.source != "auto"
            or os.fspath(data).split(":")[0] in ("phantom", "kaggle")
            or Path(data).suffix.lower() in (".csv", ".npz")
        ):
            raise
        return find_files(data, task)


def _score(
    detector: Detector, records: Records, rule: OrRule, options: Options, run: Run, draft: Path
) -> Scores:
    """Score batch by batch, and write each batch of heat maps."""
    how, strict = options[ScoreOptions], options[DataOptions].strict
    side, names = detector.card.preprocessing["image_size"], rule.names
    if how.maps:
        (draft / PICTURES).mkdir(exist_ok=True)
    with (
        run.line("scoring", len(records)) as line,
        TableWriter(draft / "scores.csv", Scores, names) as writer,
        MapsFile(draft / MAPS, side, writer.rows) if how.maps else nullcontext() as maps,
    ):
        batch_size, parts, done = options[EvaluateOptions].forward_batch_size, [], writer.rows
        if done:
            parts.append(writer.before)
            line.step(done)
        left = records.with_rows(records.rows[done:])
        for scores, pixels in detector.stream(left, batch_size, rule):
            if strict and not scores.read.all():
                at = int((~scores.read).argmax())
                raise ValueError(
                    f"{scores.paths[at]} cannot be scored ({scores.errors[at]}). "
                    "Leave out --strict to go on with the others."
                )
            if how.maps:
                heat = np.zeros((len(scores), side, side), np.float32)
                heat[scores.read] = detector.maps(pixels)
                maps.append(heat)
                for i, image in zip(np.flatnonzero(scores.read), pixels, strict=True):
                    picture = overlays.overlay(image, heat[i], how.alpha, how.colormap)
                    write_picture(picture_path(draft, done + i + 1, scores.paths[i]), picture)
            writer.append(scores)
            parts.append(scores)
            done += len(scores)
            line.step(len(scores))
        if how.maps:
            maps.close_with(paths=np.array([r.path for r in records], str))
    return Scores.joined(parts)


def _write_page(
    draft: Path,
    detector: Detector,
    records: Records,
    scores: Scores,
    metrics: dict[str, Any] | None,
    rule: OrRule,
    options: ScoreOptions,
) -> None:
    from xray_tf.pages.detector.page import PAGE, ScoresPage
    from xray_tf.pages.detector.parts import MeasuredPart, StatisticsPart

    shown = _shown(detector, records, scores, options)
    statistics = StatisticsPart.of(draft, scores, rule.bounds())
    page = ScoresPage(detector.card, scores, shown, MeasuredPart.of(metrics), statistics)
    write_text(draft / PAGE, page.render())


def _shown(detector: Detector, records: Records, scores: Scores, options: ScoreOptions) -> list:
    """Return the most anomalous radiographs with their pictures; these few are read again, so that
    none has to be kept in memory.
    """
    from xray_tf.pages.detector.figures import score_panel
    from xray_tf.pages.detector.page import Shown

    good = np.flatnonzero(scores.read)
    rows = good[np.argsort(-scores.anomaly[good], kind="stable")][: options.page_rows]
    if not len(rows):
        return []
    images = pixels_of(records, rows, detector.card)
    maps, registered = detector.maps(images), detector.registered(images)
    shown = []
    for at, (i, image) in enumerate(zip(rows, images, strict=True)):
        panel = score_panel(image, registered[at], maps[at], options.alpha, options.colormap)
        shown.append(Shown(int(i), panel))
    return shown
