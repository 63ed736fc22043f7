"""Points and bands of ROC, precision-recall and calibration curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xray_tf.data.kin import patient_groups
from xray_tf.stats.metric_rows import ECE_BINS, Ranking, bins_of
from xray_tf.stats.metrics import cluster_weights, interval


def curves(probabilities, labels, positive: int) -> dict[str, np.ndarray]:
    """Return the points of one class's ROC and precision-recall curves, one a distinct score.

    Args:
        probabilities: (N, K).
        labels: (N,) int class indices; rows of and outside the class `positive`.
        positive: its index.

    Returns:
        `thresholds` (T,) falling; `true_positive_rate`, `false_positive_rate`, `precision` (T,)
        float64 of calling positive what scores at least the threshold. The ROC curve starts at (0,
        0), which is not among them.
    """
    ranking = _ranking(probabilities, labels, positive)
    true, false = (c[0] for c in ranking.counts(np.ones((1, len(labels)))))
    true, false = np.cumsum(true), np.cumsum(false)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "thresholds": ranking.thresholds,
            "true_positive_rate": true / true[-1],
            "false_positive_rate": false / false[-1],
            "precision": true / (true + false),
        }


def curve_bands(
    probabilities,
    labels,
    positive: int,
    patients: Sequence[str] | None,
    replicates: int = 200,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Return pointwise 95 % bands of one class's ROC and precision-recall curves, bootstrapped by
    patient.

    Args:
        probabilities, labels, positive: as in `curves`.
        patients: as in `score`.
        replicates: of the bootstrap; those without both kinds of rows are left out.
        seed: of the bootstrap.

    Returns:
        `grid` (201,) in [0, 1]; `roc_low`, `roc_high` (201,) the true positive rate at a false
        positive rate of `grid`; `precision_low`, `precision_high` (201,) the precision at a recall
        of `grid`. NaN where no replicate has a value.
    """
    ranking = _ranking(probabilities, labels, positive)
    clusters = patient_groups(patients, len(ranking.order))
    grid = np.linspace(0, 1, 201)
    rates, precisions = [np.empty((0, len(grid)))], [np.empty((0, len(grid)))]
    for weights in cluster_weights(clusters, replicates, seed):
        totals = (np.cumsum(counts, axis=1) for counts in ranking.counts(weights))
        for true, false in zip(*totals, strict=True):
            if true[-1] and false[-1]:
                # The curve's height at a rate is what is reached before that rate is passed; at a
                # recall, where it is first reached.
                passed = np.searchsorted(false, grid * false[-1] + 1e-9, side="right")
                rates.append((np.concatenate([[0], true])[passed] / true[-1])[None])
                reached = np.searchsorted(true, np.maximum(grid * true[-1] - 1e-9, 1e-9))
                precisions.append((true[reached] / (true[reached] + false[reached]))[None])
    out = {"grid": grid}
    for name, drawn in (("roc", np.concatenate(rates)), ("precision", np.concatenate(precisions))):
        low, high = interval(drawn) if len(drawn) else np.full((2, len(grid)), np.nan)
        out |= {f"{name}_low": low, f"{name}_high": high}
    return out


def reliability(confidence, hit, bins: int = ECE_BINS) -> dict[str, np.ndarray]:
    """Bin predicted against observed frequency in equal-width bins (a, b].

    Args:
        confidence: (N,) probabilities in [0, 1].
        hit: (N,) bool, whether what they were given to came true.

    Returns:
        `edges` (bins + 1,), `count` (bins,), `confidence` and `frequency` (bins,) float64, NaN in
        empty bins.
    """
    confidence, hit = np.asarray(confidence, dtype=np.float64), np.asarray(hit, dtype=np.float64)
    where = bins_of(confidence, bins)
    count = np.bincount(where, minlength=bins)
    with np.errstate(invalid="ignore"):
        return {
            "edges": np.linspace(0, 1, bins + 1),
            "count": count,
            "confidence": np.bincount(where, confidence, bins) / count,
            "frequency": np.bincount(where, hit, bins) / count,
        }


def _ranking(probabilities, labels, positive: int) -> Ranking:
    scores = np.asarray(probabilities, dtype=np.float64)[:, positive]
    return Ranking(scores, np.asarray(labels) == positive)
