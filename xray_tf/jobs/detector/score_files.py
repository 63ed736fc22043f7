"""Anomaly scores of radiographs, labelled or not, with maps and a page, in constant memory beside
the scores.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from xray_tf.artifact import new_folder, refuse_existing, write_text
from xray_tf.data.pixels.reading import stream_pixels
from xray_tf.data.records import Findings, Records
from xray_tf.data.scores import Scores
from xray_tf.data.sources.files import find_files
from xray_tf.data.sources.names import SourceError
from xray_tf.data.sources.scan import scan
from xray_tf.data.split import apply_split
from xray_tf.jobs.corpus import known_notes
from xray_tf.jobs.detector.detector_report import report_on
from xray_tf.jobs.heatmap_file import MapsFile, safe_name
from xray_tf.jobs.heatmaps.explain_files import MAPS, PICTURES
from xray_tf.models.detector import Detector
from xray_tf.models.load import load
from xray_tf.options import PARTS, DataOptions, EvaluateOptions, ScoreOptions
from xray_tf.pages.kit import overlays
from xray_tf.progress import ProgressLine
from xray_tf.stats.detector.or_rule import read_thresholds


def score_files(
    detector: str | os.PathLike | Detector,
    data: str | os.PathLike | Iterable[str | os.PathLike],
    out: str | os.PathLike,
    data_options: DataOptions = DataOptions(),
    options: ScoreOptions = ScoreOptions(),
    evaluate_options: EvaluateOptions = EvaluateOptions(),
    *,
    part: str = "all",
    thresholds: str | None = None,
    progress: bool = True,
) -> tuple[Scores, dict[str, Any] | None]:
    """Score radiographs and write a folder, whole or not at all; nothing is fitted to them.

    The folder holds scores.csv, scores.html, audit.csv and, with `options.maps`,
    `overlays/NNNN_<file stem>.png` and `maps.npz` (`maps` (N, S, S) float32 in [0, 1], zero where a
    file could not be read; `paths` (N,)); where rows are labelled also metrics.json and
    statistics.csv.

    Args:
        detector: a folder that `fit_detector` made, or one already opened.
        data: as in training, a folder without class folders, a file, a glob, or a list of these.
        out: the folder to make.
        data_options, options, evaluate_options: see `xray_tf.options`; rows have the split that
            `data_options.split` names, or their source gives.
        part: which rows: `all`, or those of the split `train`, `val` or `test`.
        thresholds: `name=value,name=value`, in place of the detector's own.
        progress: show a line.

    Returns:
        (the scores, in order; the layout of metrics.json, None where nothing is labelled).

    Raises:
        FileExistsError: `out` is there.
        ValueError: no radiograph, an unknown part, thresholds that do not fit, or, with
            `data_options.strict`, a file that cannot be scored.
    """
    refuse_existing(out)
    detector = load(detector, kind="detector")
    if options.colormap not in overlays.COLORMAPS:
        raise ValueError(
            f"colormap must be one of {', '.join(overlays.COLORMAPS)}. Received: "
            f"colormap={options.colormap!r}"
        )
    rule = (
        detector.rule.with_thresholds(read_thresholds(thresholds, detector.rule.names))
        if thresholds
        else detector.rule
    )
    records, findings = _records(data, data_options, part)
    side, parts, done = detector.card.preprocessing["image_size"], [], 0
    with new_folder(out) as draft:
        if options.maps:
            (draft / PICTURES).mkdir()
        with (
            ProgressLine("scoring", len(records), progress) as line,
            MapsFile(draft / MAPS, len(records), side) if options.maps else nullcontext() as maps,
        ):
            for scores, pixels in detector.stream(
                records, evaluate_options.forward_batch_size, rule
            ):
                if data_options.strict and not scores.read.all():
                    at = int((~scores.read).argmax())
                    raise ValueError(
                        f"{scores.paths[at]} cannot be scored ({scores.errors[at]}). "
                        "Leave out --strict to go on with the others."
                    )
                if options.maps:
                    heat = np.zeros((len(scores), side, side), np.float32)
                    heat[scores.read] = detector.maps(pixels)
                    maps.append(heat)
                    _draw(draft / PICTURES, scores, pixels, heat, done, options)
                parts.append(scores)
                done += len(scores)
                line.step(len(scores))
            if options.maps:
                maps.close_with(paths=np.array([r.path for r in records], str))
        scores = Scores.joined(parts)
        metrics = _write(
            draft, detector, records, findings, scores, rule, options, evaluate_options
        )
    return scores, metrics


def _records(data: Any, data_options: DataOptions, part: str) -> tuple[Records, Findings]:
    """List what to score: a data set where `data` is one, else files; given their parts, and
    narrowed to one.
    """
    if part not in PARTS:
        raise ValueError(f"part must be one of {PARTS}. Received: part={part!r}")
    if not isinstance(data, str | os.PathLike):
        records, findings = find_files(data)
    else:
        try:
            records, findings = scan(
                data, data_options.source, data_options.patient_key, cache=data_options.cache
            )
        # no data set: files, folders and globs, labelled or not
        except (SourceError, FileNotFoundError):
            if (
                data_options.source != "auto"
                or os.fspath(data).split(":")[0] in ("phantom", "kaggle")
                or Path(data).suffix.lower() in (".csv", ".npz")
            ):
                raise
            records, findings = find_files(data)
    if data_options.split:
        records, notes = apply_split(records, data_options.split)
        findings = findings + notes
    kept = records.where(lambda r: part in ("all", r.split))
    if not len(kept):
        raise ValueError(
            f"There is no radiograph of the part {part!r} among {len(records)}. Name "
            "a split.csv with --split, such as the one in the detector's "
            "folder, or another --part."
        )
    return kept, findings


def _draw(
    folder: Path,
    scores: Scores,
    pixels: np.ndarray,
    heat: np.ndarray,
    done: int,
    options: ScoreOptions,
) -> None:
    for i, image in zip(np.flatnonzero(scores.read), pixels, strict=True):
        picture = overlays.overlay(image, heat[i], options.alpha, options.colormap)
        path = folder / f"{done + i + 1:04d}_{safe_name(scores.paths[i])}.png"
        path.write_bytes(
            cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()
        )


def _write(
    draft: Path,
    detector: Detector,
    records: Records,
    findings: Findings,
    scores: Scores,
    rule,
    options: ScoreOptions,
    evaluate_options: EvaluateOptions,
) -> dict[str, Any] | None:
    from xray_tf.pages.detector.page import PAGE, STATISTICS, render_scores

    scores.write_csv(draft / "scores.csv")
    findings.write_csv(draft / "audit.csv")
    thresholds = rule.bounds()
    metrics, statistics = report_on(
        scores, thresholds, evaluate_options, detector.card.split_by, "the detector's rule"
    )
    if len(statistics):
        statistics.write_csv(draft / STATISTICS)
    if metrics:
        metrics["notes"] = known_notes(records, detector.folder / "split.csv", detector.card)
        write_text(draft / "metrics.json", json.dumps(metrics, indent=1, allow_nan=False) + "\n")
    write_text(
        draft / PAGE,
        render_scores(
            detector.card,
            scores,
            _shown(detector, records, scores, options),
            metrics,
            thresholds,
            draft,
        ),
    )
    return metrics


def _shown(detector: Detector, records: Records, scores: Scores, options: ScoreOptions) -> list:
    """Return the most anomalous radiographs with their pictures; these few are read once more, so
    that none had to be kept.
    """
    from xray_tf.pages.detector.figures import score_panel
    from xray_tf.pages.detector.page import Shown

    good = np.flatnonzero(scores.read)
    rows = good[np.argsort(-scores.anomaly[good], kind="stable")][: options.page_rows]
    if not len(rows):
        return []
    prep = detector.card.preprocessing
    images = np.stack(
        [
            image
            for _, image in stream_pixels(
                [records.file(records[int(i)]) for i in rows], prep["image_size"], prep["resize"]
            )
        ]
    )
    maps = {kind: detector.maps(images, kind) for kind in detector.map_kinds}
    return [
        Shown(
            int(i),
            score_panel(
                image,
                {kind: each[at] for kind, each in maps.items()},
                float(scores.anomaly[i]),
                options.alpha,
                options.colormap,
            ),
        )
        for at, (i, image) in enumerate(zip(rows, images, strict=True))
    ]
