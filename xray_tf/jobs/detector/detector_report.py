"""Measure a detector's scores on labelled radiographs (AUROC of each score, sensitivity and false
alarms of the rule, chance, batch statistics), and write its pages.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf.artifact import Card, seal, write_text
from xray_tf.data.records import ALL_ROWS
from xray_tf.data.scores import Scores
from xray_tf.operating_point import DetectorPoint
from xray_tf.options import EvaluateOptions
from xray_tf.registry import TASKS
from xray_tf.stats.detector.or_rule import OrRule, turned
from xray_tf.stats.detector.statistics import Statistics, score_statistics
from xray_tf.stats.metric_rows import metrics_of
from xray_tf.stats.metrics import score

TASK = TASKS["binary"]


def calibration_text(rule: OrRule) -> str:
    """Say what set the thresholds of a rule, and what they are."""
    bounds = (f"{n} {DetectorPoint.side(n)} {t:.5g}" for n, t in rule.bounds().items())
    normals = f"{len(rule.normals)} held-out normals, one per patient"
    return f"Calibrated on {normals}: {', '.join(bounds)}"


def write_pages(draft: Path, card: Card, metrics: dict[str, Any] | None) -> None:
    """Write a detector's card, README.md and report.html beside what they describe; `metrics` has
    the layout of metrics.json.
    """
    from xray_tf.pages.detector.page import render_detector_card, write_detector_report

    seal(draft, card)
    write_text(draft / "README.md", render_detector_card(card, metrics))
    write_detector_report(draft, card)
    seal(draft, card)


def report_on(
    scores: Scores,
    thresholds: dict[str, float],
    options: EvaluateOptions,
    split_by: str = "patient",
    operating_point: str = "",
    part: str = "all",
) -> tuple[dict[str, Any] | None, Statistics]:
    """Measure a detector on the labelled rows of one part.

    Args:
        scores: the scores of radiographs, labelled or not.
        thresholds: score -> threshold of the decisions.
        options: options of the bootstrap.
        split_by, operating_point: recorded unchanged.
        part: `all`, or a split.

    Returns:
        (the layout of metrics.json, or None if no such row is labelled; mean and standard deviation
        of each score over each batch, which is all rows of one label and part).

    metrics.json is that of `xray_tf.stats.metrics` for the class pneumonia, without the metrics
    that need probabilities (Brier score, ECE), and with:
        `false_alarms`: the share of test normals that are flagged.
        `chance`: accuracy and F1 of always answering the most frequent class, and F1 of always
            answering pneumonia.
        `scores`: {score: AUROC and AUPRC of that score alone}, with `anomaly_score` for all
            together.
    """
    good, statistics = scores.where(scores.read), statistics_of(scores, thresholds)
    tested = good.where((good.labels != "") & ((good.splits == part) | (part == "all")))
    if not len(tested):
        return None, statistics
    where = ALL_ROWS if part == "all" else part
    about = {"operating_point": operating_point, "split": where, "split_by": split_by}
    metrics = _numbers(tested, tested.anomaly, options, about)
    for group in ("metrics", "definitions"):
        metrics[group] = {n: v for n, v in metrics[group].items() if n in metrics_of("detector")}
    metrics["false_alarms"] = _one_less(metrics["metrics"]["specificity"])
    share = metrics["class_counts"]["pneumonia"] / metrics["rows"]
    metrics["chance"] |= {
        "f1_always_pneumonia": 2 * share / (1 + share),
        "f1": 2 * share / (1 + share) if share >= 0.5 else 0.0,
        "auroc": 0.5,
        "auprc": share,
    }
    columns = (*turned(tested.values, tested.names).T, tested.anomaly)
    metrics["scores"] = {}
    for name, unusual in zip((*tested.names, "anomaly_score"), columns, strict=True):
        found = _numbers(tested, unusual, options, about)["metrics"]
        metrics["scores"][name] = {m: found[m] for m in ("auroc", "auprc")}
    metrics["reasons"] = {
        label: dict(sorted(Counter(rows.reasons[rows.verdicts == "anomalous"]).items()))
        for label in TASK.class_names
        if len(rows := tested.where(tested.labels == label))
    }
    return metrics, statistics


def statistics_of(scores: Scores, thresholds: dict[str, float]) -> Statistics:
    """Tabulate each score over each batch of labelled rows: all of one label and part."""
    scores, parts = scores.where(scores.read), {"val": "calibration ", "test": "test "}
    groups = [
        f"{parts.get(split, '')}{label}" if label else ""
        for split, label in zip(scores.splits, scores.labels, strict=True)
    ]
    bounds = np.array([thresholds[n] for n in scores.names])
    return score_statistics(scores.names, scores.values, groups, bounds)


def _numbers(
    scores: Scores, unusual: np.ndarray, options: EvaluateOptions, about: dict[str, str]
) -> dict[str, Any]:
    """Score the verdicts, and one number a row by which rows are ranked."""
    # every increasing function gives the same areas
    ranks = np.unique(unusual, return_inverse=True)[1] / max(len(unusual) - 1, 1)
    return score(
        np.stack([1 - ranks, ranks], axis=1),
        np.array([TASK.index(label) for label in scores.labels], np.int64),
        (scores.verdicts == "anomalous").astype(np.int64),
        list(scores.patients),
        TASK.class_names,
        options.bootstrap,
        options.bootstrap_seed,
        **about,
    )


def _one_less(cell: dict[str, Any]) -> dict[str, Any]:
    """Return one less a share, with its interval."""
    less = {k: None if cell[k] is None else 1 - cell[k] for k in ("value", "low", "high")}
    return {**cell, **less, "low": less["high"], "high": less["low"]}
