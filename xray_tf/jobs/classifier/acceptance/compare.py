"""Compare two classifiers on the same radiographs of a site."""

from __future__ import annotations

from typing import Any

import numpy as np

from xray_tf.data.kin import patient_groups
from xray_tf.jobs.classifier.acceptance.calibration import is_sick, sick_probability
from xray_tf.jobs.classifier.acceptance.sample import Sample
from xray_tf.stats.acceptance.delong import compare_areas, delong
from xray_tf.stats.acceptance.net_benefit import THRESHOLDS, net_benefit, treat_all
from xray_tf.stats.metrics import cluster_weights
from xray_tf.stats.paired import Conditions, paired_scores, with_interval

_MOST_DRAWS = 500  # of the net benefit, at 99 thresholds each


def metrics_compared(class_names: tuple[str, ...]) -> tuple[str, ...]:
    """Return what two classifiers are compared by."""
    recalls = ("sensitivity", "specificity") if len(class_names) == 2 else ()
    return (*recalls, "balanced_accuracy", "accuracy", "auroc", "brier", "ece")


def compare_samples(
    one: Sample, other: Sample, replicates: int, seed: int, prevalence: float | None
) -> dict[str, Any]:
    """Compare the model that is to be accepted with another, on the labelled rows of both.

    Args:
        one, other: the same rows, read by each.
        replicates, seed: of the bootstrap by patient, the same draws for both.
        prevalence: as in `calibration.decision_curve`.

    Returns:
        `one`, `other` (names), `rows`, `patients`; `metrics` (name -> {`one`, `other`,
        `difference`}, each {`value`, `low`, `high`}, the difference paired and one less other);
        `auroc` (DeLong's test with the rows of a patient summed: class -> {`one`, `other`,
        `value`, `low`, `high`, `z`, `p`}); `agreement`, how many rows each decides rightly; and
        `net_benefit`, None where a kind of rows is missing.
    """
    mine, theirs = one.known, other.known
    names, labels = mine.class_names, mine.labels
    conditions = Conditions(
        np.stack([theirs.probabilities, mine.probabilities]),
        np.stack([theirs.predicted, mine.predicted]),
        labels,
        mine.patients,
        names,
    )
    right = [rows.predicted == labels for rows in (mine, theirs)]
    return {
        "one": one.classifier.card.name,
        "other": other.classifier.card.name,
        "operating_points": [one.point.name, other.point.name],
        "rows": len(mine),
        "patients": int(patient_groups(mine.patients, len(mine)).max()) + 1,
        "metrics": paired_metrics(conditions, replicates, seed),
        "auroc": _areas(one, other),
        "agreement": {
            "both_right": int((right[0] & right[1]).sum()),
            "only_one_right": int((right[0] & ~right[1]).sum()),
            "only_other_right": int((~right[0] & right[1]).sum()),
            "both_wrong": int((~right[0] & ~right[1]).sum()),
        },
        "net_benefit": _net_benefit(one, other, min(replicates, _MOST_DRAWS), seed, prevalence),
    }


def paired_metrics(
    conditions: Conditions, replicates: int, seed: int
) -> dict[str, dict[str, dict[str, float | None]]]:
    """Return metric -> {`one`, `other`, `difference`} of condition 1 (one) and 0 (other)."""
    wanted = metrics_compared(tuple(conditions.class_names))
    other, one = paired_scores(conditions, replicates, seed, wanted)
    ends = ("value", "low", "high")
    return {
        name: {
            "one": {e: cell[e] for e in ends},
            "other": {e: other[name][e] for e in ends},
            "difference": {e: cell["change" if e == "value" else f"change_{e}"] for e in ends},
        }
        for name, cell in one.items()
    }


def _areas(one: Sample, other: Sample) -> dict[str, Any]:
    mine, theirs, found = one.known, other.known, {}
    names = mine.class_names
    for k in range(1, 2) if len(names) == 2 else range(len(names)):
        positive = mine.labels == k
        if positive.all() or not positive.any():
            continue
        scores = np.stack([mine.probabilities[:, k], theirs.probabilities[:, k]])
        areas, _ = delong(scores, positive, mine.patients)
        told = {"one": float(areas[0]), "other": float(areas[1])}
        found[names[k]] = {**told, **compare_areas(scores, positive, mine.patients)}
    return found


def _net_benefit(
    one: Sample, other: Sample, replicates: int, seed: int, prevalence: float | None
) -> dict[str, Any] | None:
    rows = one.known
    sick = is_sick(one, rows.labels)
    if sick.all() or not sick.any():
        return None
    scores = [sick_probability(s, s.known.probabilities) for s in (one, other)]
    groups = patient_groups(rows.patients, len(rows))
    drawn = [np.ones((1, len(rows))), *cluster_weights(groups, replicates, seed)]
    weights = np.concatenate(drawn)
    mine, theirs = (net_benefit(s, sick, THRESHOLDS, weights, prevalence) for s in scores)
    change = [with_interval(column) for column in (mine - theirs).T]
    share = float(sick.mean()) if prevalence is None else prevalence
    return {
        "prevalence": share,
        "thresholds": THRESHOLDS.tolist(),
        "one": np.round(mine[0], 6).tolist(),
        "other": np.round(theirs[0], 6).tolist(),
        "everybody": np.round(treat_all(share), 6).tolist(),
        **{end: [cell[end] for cell in change] for end in ("low", "high")},
    }
