"""Measure whether a classifier's probabilities mean at a site what they say."""

from __future__ import annotations

from typing import Any

import numpy as np

from xray_tf.data.kin import patient_groups
from xray_tf.jobs.classifier.acceptance.sample import Sample
from xray_tf.stats.acceptance.net_benefit import THRESHOLDS, net_benefit, treat_all
from xray_tf.stats.acceptance.recalibration import calibration_slope
from xray_tf.stats.metrics import cluster_weights
from xray_tf.stats.paired import mean_interval, with_interval

_MOST_DRAWS = 200  # each fits a model
DEFINITIONS = {
    "in_the_large": "share of the class less its mean probability; 0 is right",
    "slope": "slope of the calibrated logits in a logistic regression of the class on them (Cox "
    "1958): 1 is right, less is too sure, more is not sure enough",
}


def measure_calibration(sample: Sample, replicates: int, seed: int) -> dict[str, Any]:
    """Return calibration in the large, class by class, and the slope, with 95 % intervals by
    patient.

    Returns:
        `in_the_large` (class -> {`value`, `low`, `high`, `observed`, `mean_probability`}) and
        `slope` ({`value`, `low`, `high`}, None where a class is missing); `definitions`.
    """
    rows, names = sample.known, sample.predictions.class_names
    groups = patient_groups(rows.patients, len(rows))
    large = {}
    for k in range(1, 2) if len(names) == 2 else range(len(names)):
        is_so, said = (rows.labels == k).astype(np.float64), rows.probabilities[:, k]
        cell = mean_interval(is_so - said, groups, max(1, replicates), seed)
        cell = cell if replicates else {**cell, "low": None, "high": None}
        means = {"observed": float(is_so.mean()), "mean_probability": float(said.mean())}
        large[names[k]] = {**cell, **means}
    slope = None
    if len(np.unique(rows.labels)) == len(names):
        draws = cluster_weights(groups, min(replicates, _MOST_DRAWS), seed)
        drawn = np.concatenate([np.zeros((0, len(rows))), *draws])
        logits = sample.logits[sample.labelled]
        slope = with_interval(calibration_slope(logits, rows.labels, sample.temperature, drawn))
    return {"in_the_large": large, "slope": slope, "definitions": DEFINITIONS}


def decision_curve(sample: Sample, prevalence: float | None) -> dict[str, Any] | None:
    """Return the net benefit of acting from a probability on, for all that is not the negative
    class, beside acting on everybody; None where a kind of rows is missing.

    Args:
        sample: its labelled rows.
        prevalence: share of the sick where the model will be used; that of the rows if None.
    """
    rows = sample.known
    sick, probability = is_sick(sample, rows.labels), sick_probability(sample, rows.probabilities)
    if sick.all() or not sick.any():
        return None
    share = float(sick.mean()) if prevalence is None else prevalence
    benefit = net_benefit(probability, sick, prevalence=prevalence)[0]
    return {
        "prevalence": share,
        "thresholds": THRESHOLDS.tolist(),
        "model": np.round(benefit, 6).tolist(),
        "everybody": np.round(treat_all(share), 6).tolist(),
    }


def is_sick(sample: Sample, labels: np.ndarray) -> np.ndarray:
    """Tell (N,) which labels are not the class that stands for no finding, the first one."""
    return np.asarray(labels) != (sample.corpus.task.negative or 0)


def sick_probability(sample: Sample, probabilities: np.ndarray) -> np.ndarray:
    """Return (N,) the probability of all classes but the one that stands for no finding."""
    return 1 - probabilities[:, sample.corpus.task.negative or 0]
