"""The same rows scored under several conditions: each condition's numbers, and what they differ by
from the first, resampled together by patient.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xray_tf.stats.metrics import LEVEL, _checked, _clusters, _Table, cluster_weights

METRICS = ("auroc", "sensitivity", "specificity", "balanced_accuracy", "accuracy")


def paired_scores(
    probabilities: np.ndarray,
    decided: np.ndarray,
    labels: np.ndarray,
    patients: Sequence[str] | None,
    class_names: Sequence[str],
    replicates: int = 1000,
    seed: int = 0,
    metrics: Sequence[str] = METRICS,
) -> list[dict[str, dict[str, float | None]]]:
    """Score the rows under each condition and set it against condition 0.

    Args:
        probabilities: (C, N, K) calibrated, in [0, 1].
        decided: (C, N) int class indices.
        labels: (N,) int class indices.
        patients: N keys, empty where not known: such a row counts as a patient of its own.
        class_names: K names; recalls are added as `recall/<name>` where K > 2.
        replicates: of the bootstrap, the same draws for every condition; 0 leaves the intervals
            out.
        seed: of the bootstrap.
        metrics: as `stats.metrics` defines them.

    Returns:
        One dict a condition: metric -> {`value`, `low`, `high`, `change`, `change_low`,
            `change_high`}, 95 % percentile intervals; `change` is this
        condition less condition 0; None where a number is not defined.

    Raises:
        ValueError: what `stats.metrics.score` raises.
    """
    draws = paired_draws(
        probabilities, decided, labels, patients, class_names, replicates, seed, metrics
    )
    return [
        {
            m: with_interval(values)
            | {
                f"change{end}": v
                for end, v in zip(
                    ("", "_low", "_high"), with_interval(values - draws[0][m]).values(), strict=True
                )
            }
            for m, values in one.items()
        }
        for one in draws
    ]


def paired_draws(
    probabilities: np.ndarray,
    decided: np.ndarray,
    labels: np.ndarray,
    patients: Sequence[str] | None,
    class_names: Sequence[str],
    replicates: int = 1000,
    seed: int = 0,
    metrics: Sequence[str] = METRICS,
    weights: np.ndarray | None = None,
) -> list[dict[str, np.ndarray]]:
    """Score the rows under each condition, as they are and resampled; for whoever averages over
    several sets of rows before taking an interval.

    Args, errors: as in `paired_scores`.
        weights: (R, N) of the rows in each replicate, where they were drawn for several sets of
            rows that share patients.

    Returns:
        One dict a condition: metric -> (1 + R,) float64, the value and then its bootstrap
            replicates, NaN where not defined.
    """
    keys = {m: m for m in metrics} | (
        {f"recall/{n}": f"recall/{k}" for k, n in enumerate(class_names)}
        if len(class_names) > 2
        else {}
    )
    if weights is None:
        clusters, _ = _clusters(patients, len(labels))
        drawn = cluster_weights(clusters, replicates, seed) if clusters.max() and replicates else ()
    else:
        drawn = (weights,)
    blocks = [np.ones((1, len(labels))), *drawn]
    draws: list[dict[str, np.ndarray]] = []
    for probability, decision in zip(probabilities, decided, strict=True):
        table = _Table(*_checked(probability, labels, decision, len(class_names)))
        numbers = [table.numbers(w) for w in blocks]
        draws.append(
            {name: np.concatenate([n[key] for n in numbers]) for name, key in keys.items()}
        )
    return draws


def with_interval(values: np.ndarray) -> dict[str, float | None]:
    """Return {`value`, `low`, `high`} of (1 + R,): a number and its replicates, 95 % percentile
    interval; None where not defined.
    """
    known = values[1:][~np.isnan(values[1:])]
    low, high = (
        np.percentile(known, [50 * (1 - LEVEL), 50 * (1 + LEVEL)]).tolist()
        if len(known)
        else (None, None)
    )
    return {"value": None if np.isnan(values[0]) else float(values[0]), "low": low, "high": high}
