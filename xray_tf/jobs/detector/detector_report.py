"""What a detector's scores of labelled radiographs come to: each score's AUROC, the rule's
sensitivity and false alarms, chance, and batch statistics.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xray_tf.data.records import ALL_ROWS
from xray_tf.data.scores import Scores
from xray_tf.options import EvaluateOptions
from xray_tf.registry import TASKS
from xray_tf.stats.detector.or_rule import Statistics, score_statistics, turned
from xray_tf.stats.metrics import score

TASK = "binary"
HEADLINE = ("auroc", "auprc", "sensitivity", "specificity", "balanced_accuracy", "accuracy", "f1")


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
        scores: of radiographs, labelled or not.
        thresholds: score -> value, as they were decided by.
        options: bootstrap.
        split_by, operating_point: recorded as they are.
        part: `all`, or a split.

    Returns:
        (the layout of metrics.json, or None where no such row is labelled; mean and standard
        deviation of each score over each batch of radiographs, a batch being the rows of one label
        and part).

    metrics.json is that of `xray_tf.stats.metrics` for the class pneumonia, less what wants
    probabilities (Brier score, ECE), and:
        `false_alarms`: share of test normals flagged; `chance`: accuracy and F1 of always answering
            the commonest class, and F1 of always answering
        pneumonia; `scores`: {score: AUROC and AUPRC of that score alone}, `anomaly_score` for all
        together.
    """
    bounds = np.array([thresholds[n] for n in scores.names])
    good = scores.where(scores.read)
    parts = np.where(
        (good.splits == "val"), "calibration ", np.where(good.splits == "test", "test ", "")
    )
    groups = [f"{p}{label}" if label else "" for p, label in zip(parts, good.labels, strict=True)]
    statistics = score_statistics(good.names, good.values, groups, bounds)
    tested = good.where((good.labels != "") & ((good.splits == part) | (part == "all")))
    if not len(tested):
        return None, statistics
    labels = np.array([TASKS[TASK].index(label) for label in tested.labels], np.int64)
    flagged = (tested.verdicts == "anomalous").astype(np.int64)

    def numbers(unusual: np.ndarray) -> dict[str, Any]:
        # any rising function gives the same areas
        ranks = np.unique(unusual, return_inverse=True)[1] / max(len(unusual) - 1, 1)
        return score(
            np.stack([1 - ranks, ranks], axis=1),
            labels,
            flagged,
            list(tested.patients),
            TASKS[TASK],
            options.bootstrap,
            options.bootstrap_seed,
            operating_point=operating_point,
            split=part if part != "all" else ALL_ROWS,
            split_by=split_by,
        )

    metrics = numbers(tested.anomaly)
    for group in (metrics["metrics"], metrics["definitions"]):
        for name in ("brier", "ece"):
            group.pop(name)
    specificity = metrics["metrics"]["specificity"]
    metrics["false_alarms"] = {
        "value": _less(specificity["value"]),
        "low": _less(specificity["high"]),
        "high": _less(specificity["low"]),
        **({"reason": specificity["reason"]} if "reason" in specificity else {}),
    }
    share = metrics["class_counts"]["pneumonia"] / metrics["rows"]
    metrics["chance"] |= {
        "f1_always_pneumonia": 2 * share / (1 + share),
        "f1": 2 * share / (1 + share) if share >= 0.5 else 0.0,
        "auroc": 0.5,
        "auprc": share,
    }
    unusual = turned(tested.values, tested.names)
    metrics["scores"] = {
        name: {m: numbers(column)["metrics"][m] for m in ("auroc", "auprc")}
        for name, column in zip(
            (*tested.names, "anomaly_score"), (*unusual.T, tested.anomaly), strict=True
        )
    }
    metrics["reasons"] = {
        label: _reasons(tested.where(tested.labels == label))
        for label in TASKS[TASK]
        if (tested.labels == label).any()
    }
    return metrics, statistics


def _less(value: float | None) -> float | None:
    return None if value is None else 1 - value


def _reasons(scores: Scores) -> dict[str, int]:
    return {
        str(r): int(n)
        for r, n in zip(
            *np.unique(
                scores.reasons[scores.verdicts == "anomalous"].astype(str), return_counts=True
            ),
            strict=True,
        )
    }
