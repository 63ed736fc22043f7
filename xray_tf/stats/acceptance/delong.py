"""Compare areas under ROC curves on the same rows, which may be several a patient.

The covariance is DeLong, DeLong & Clarke-Pearson's (1988, Comparing the areas under two or more
correlated receiver operating characteristic curves), with the rows of a patient summed as
Obuchowski (1997, Nonparametric analysis of clustered ROC curve data) does; with one row a
patient both are the same. Placements come from midranks (Sun & Xu 2014, Fast implementation of
DeLong's algorithm).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr
from scipy.stats import rankdata

from xray_tf.data.kin import patient_groups

Z95 = 1.959963984540054


def delong(
    scores: np.ndarray, positive: np.ndarray, patients: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return areas under ROC curves and their covariance.

    Args:
        scores: (C, N) floats, one row a classifier; higher = more likely positive.
        positive: (N,) bool, both kinds present.
        patients: N keys, empty where not known; None where none is.

    Returns:
        (C,) areas, ties count half, and (C, C) covariance, NaN where fewer than two patients have
        rows of a kind.

    Raises:
        ValueError: shapes do not fit, or one kind of rows is missing.
    """
    scores, positive = np.atleast_2d(np.asarray(scores, np.float64)), np.asarray(positive, bool)
    if scores.shape[1:] != positive.shape or not np.isfinite(scores).all():
        raise ValueError(
            "scores must be (C, N) finite numbers and positive (N,). Received: shapes "
            f"{scores.shape} and {positive.shape}"
        )
    m, n = int(positive.sum()), int((~positive).sum())
    if not m or not n:
        raise ValueError(f"an area needs rows of both kinds. Received: {m} positive, {n} negative")
    of_positive, of_negative = _placements(scores, positive)
    areas = of_positive.mean(axis=1)
    groups = patient_groups(patients, len(positive))
    count = int(groups.max()) + 1
    sums = []
    for kind, placed in ((positive, of_positive), (~positive, of_negative)):
        away = placed - areas[:, None]
        sums.append(np.stack([np.bincount(groups[kind], row, count) for row in away]))
    there = [np.unique(groups[kind]).size for kind in (positive, ~positive)]
    with np.errstate(divide="ignore", invalid="ignore"):
        s10, s01 = (
            np.float64(i) / (i - 1) / size * (x @ x.T)
            for i, size, x in zip(there, (m, n), sums, strict=True)
        )
        cross = sums[0] @ sums[1].T
        both = np.float64(count) / (count - 1) * (cross + cross.T)
        return areas, s10 / m + s01 / n + both / (m * n)


def compare_areas(
    scores: np.ndarray, positive: np.ndarray, patients: Sequence[str] | None = None
) -> dict[str, float | None]:
    """Compare two classifiers by their areas.

    Args:
        scores: (2, N) of the one and of the other; the rest as in `delong`.

    Returns:
        `value` (one less other), `low` and `high` (95 %, normal), `z` and `p` (two-sided); None
        where there is no variance to judge by. Two classifiers that rank alike differ by 0 for
        sure.
    """
    areas, covariance = delong(scores, positive, patients)
    difference = float(areas[0] - areas[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if not variance > 1e-18:
        same = difference == 0 and not np.isnan(variance)
        known = {"low": 0.0, "high": 0.0, "z": 0.0, "p": 1.0}
        return {"value": difference, **(known if same else dict.fromkeys(known))}
    error = variance**0.5
    z = difference / error
    return {
        "value": difference,
        "low": difference - Z95 * error,
        "high": difference + Z95 * error,
        "z": z,
        "p": float(2 * ndtr(-abs(z))),
    }


def _placements(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each positive row the share of negatives that score less (C, m), and for each
    negative row the share of positives that score more (C, n); ties count half.
    """
    m, n = int(positive.sum()), int((~positive).sum())
    everywhere = rankdata(scores, axis=1)
    among_positive = rankdata(scores[:, positive], axis=1)
    among_negative = rankdata(scores[:, ~positive], axis=1)
    of_positive = (everywhere[:, positive] - among_positive) / n
    return of_positive, 1 - (everywhere[:, ~positive] - among_negative) / m
