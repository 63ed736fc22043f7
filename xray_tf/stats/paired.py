"""The same rows scored under several conditions: each condition's numbers, and what they differ by
from the first, resampled together by patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xray_tf.data.kin import patient_groups
from xray_tf.operating_point import OperatingPoint
from xray_tf.stats.metric_rows import METRICS, Rows
from xray_tf.stats.metrics import _checked, cluster_weights, interval, score

UNDER_CHANGE = tuple(name for name, row in METRICS.items() if row.under_change)


@dataclass(frozen=True)
class Conditions:
    """The same labelled rows, predicted under several conditions.

    Attributes:
        probabilities: (C, N, K) calibrated, in [0, 1].
        decided: (C, N) int class indices.
        labels: (N,) int class indices.
        patients: N keys, empty where not known: such a row counts as a patient of its own; None
            where none is.
        class_names: K names.
    """

    probabilities: np.ndarray
    decided: np.ndarray
    labels: np.ndarray
    patients: Sequence[str] | None
    class_names: Sequence[str]

    @classmethod
    def at(
        cls,
        point: OperatingPoint,
        probabilities: np.ndarray,
        labels: np.ndarray,
        patients: Sequence[str] | None,
        class_names: Sequence[str],
    ) -> Conditions:
        """Decide the probabilities at an operating point."""
        decided = np.stack([point.decide(p) for p in probabilities])
        return cls(probabilities, decided, labels, patients, class_names)

    def unchanged(self, replicates: int, seed: int, **about: str) -> dict[str, Any]:
        """Return what `stats.metrics.score` makes of condition 0."""
        rows = self.probabilities[0], self.labels, self.decided[0], self.patients
        return score(*rows, self.class_names, replicates, seed, **about)


def paired_scores(
    conditions: Conditions,
    replicates: int = 1000,
    seed: int = 0,
    metrics: Sequence[str] = UNDER_CHANGE,
) -> list[dict[str, dict[str, float | None]]]:
    """Score the rows under each condition and set it against condition 0.

    Args:
        conditions: the predictions; recalls are added as `recall/<name>` where K > 2.
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
    draws = paired_draws(conditions, replicates, seed, metrics)
    names = {"value": "change", "low": "change_low", "high": "change_high"}

    def compared(values: np.ndarray, first: np.ndarray) -> dict[str, float | None]:
        change = with_interval(values - first)
        return with_interval(values) | {names[k]: v for k, v in change.items()}

    return [{m: compared(values, draws[0][m]) for m, values in one.items()} for one in draws]


def paired_draws(
    conditions: Conditions,
    replicates: int = 1000,
    seed: int = 0,
    metrics: Sequence[str] = UNDER_CHANGE,
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
    names, labels = conditions.class_names, conditions.labels
    keys = {m: m for m in metrics}
    if len(names) > 2:
        keys |= {f"recall/{n}": f"recall/{k}" for k, n in enumerate(names)}
    if weights is None:
        clusters = patient_groups(conditions.patients, len(labels))
        drawn = cluster_weights(clusters, replicates, seed) if clusters.max() and replicates else ()
    else:
        drawn = (weights,)
    blocks = [np.ones((1, len(labels))), *drawn]
    draws: list[dict[str, np.ndarray]] = []
    for probability, decision in zip(conditions.probabilities, conditions.decided, strict=True):
        rows = Rows(*_checked(probability, labels, decision, len(names)))
        numbers = [rows.numbers(w) for w in blocks]
        draws.append({m: np.concatenate([n[key] for n in numbers]) for m, key in keys.items()})
    return draws


def with_interval(values: np.ndarray) -> dict[str, float | None]:
    """Return {`value`, `low`, `high`} of (1 + R,): a number and its replicates, 95 % percentile
    interval; None where not defined.
    """
    known = values[1:][~np.isnan(values[1:])]
    low, high = interval(known).tolist() if len(known) else (None, None)
    return {"value": None if np.isnan(values[0]) else float(values[0]), "low": low, "high": high}


def paired_bootstrap(
    values: np.ndarray,
    control: np.ndarray,
    groups: Sequence | None = None,
    replicates: int = 2000,
    seed: int = 0,
) -> dict[str, float]:
    """Compare two methods on the same images.

    Args:
        values, control: (N,) one number an image.
        groups: N keys, such as patients, drawn together; each image is its own when None.
        replicates: bootstrap samples.
        seed: of the samples.

    Returns:
        `difference` (mean of values - control), `low` and `high` (95 % percentile interval), `p`
        (two-sided, from how often the difference lies beyond 0; never below 2 / (replicates + 1))
        and `groups` (how many were drawn from).

    Raises:
        ValueError: lengths that differ, no image, or NaN.
    """
    values, control = np.asarray(values, np.float64), np.asarray(control, np.float64)
    fits = values.ndim == 1 and values.shape == control.shape and len(values)
    if not fits or not np.isfinite(values - control).all():
        raise ValueError(
            "values and control must be finite numbers, one an image. Received: shapes "
            f"{values.shape} and {control.shape}"
        )
    groups = np.arange(len(values)) if groups is None else np.asarray(groups)
    if len(groups) != len(values):
        raise ValueError(
            f"groups must hold one key an image. Received: {len(groups)} for {len(values)}"
        )
    keys = np.unique(groups, return_inverse=True)[1]
    sums, counts = np.bincount(keys, values - control), np.bincount(keys).astype(np.float64)
    # how often each group is drawn
    even = np.full(len(sums), 1 / len(sums))
    draws = np.random.default_rng(seed).multinomial(len(sums), even, size=replicates)
    means = (draws @ sums) / (draws @ counts)
    low, high = np.quantile(means, (0.025, 0.975))
    beyond = (min((means <= 0).sum(), (means >= 0).sum()) + 1) / (replicates + 1)
    return {
        "difference": float((values - control).mean()),
        "low": float(low),
        "high": float(high),
        "p": float(min(1.0, 2 * beyond)),
        "groups": len(sums),
    }


def mean_interval(
    values: np.ndarray, groups: Sequence | None = None, replicates: int = 2000, seed: int = 0
) -> dict[str, float]:
    """Return the mean of (N,) numbers as {`value`, `low`, `high`}; arguments and errors as in
    `paired_bootstrap`.
    """
    found = paired_bootstrap(values, np.zeros(len(values)), groups, replicates, seed)
    return {"value": found["difference"], "low": found["low"], "high": found["high"]}
