"""Net benefit and decision curves: what a probability is worth to whoever acts from a threshold on.

Acting from a probability t on says that acting on one patient who is not sick costs t / (1 - t) of
what acting on one who is sick gains; net benefit is in units of that gain, per patient (Vickers &
Elkin 2006, Decision curve analysis).
"""

from __future__ import annotations

import numpy as np

THRESHOLDS = np.round(np.arange(0.01, 1.0, 0.01), 2)


def net_benefit(
    probability: np.ndarray,
    positive: np.ndarray,
    thresholds: np.ndarray = THRESHOLDS,
    weights: np.ndarray | None = None,
    prevalence: float | None = None,
) -> np.ndarray:
    """Return the net benefit of acting where `probability` reaches each threshold.

    Args:
        probability: (N,) in [0, 1].
        positive: (N,) bool; both kinds present where a prevalence is given.
        thresholds: (T,) in (0, 1).
        weights: (R, N) of the rows in each replicate; all 1 if None.
        prevalence: share of the sick among those who will be asked about; that of the rows if None.

    Returns:
        (R, T) float64; R is 1 without weights; NaN where a prevalence is given and a kind is
        missing.
    """
    probability, positive = np.asarray(probability, np.float64), np.asarray(positive, bool)
    weights = np.ones((1, len(positive))) if weights is None else weights
    called = (probability[:, None] >= thresholds).astype(np.float64)
    true, false = (weights[:, k] @ called[k] for k in (positive, ~positive))
    sick, rest = (weights[:, k].sum(axis=1, keepdims=True) for k in (positive, ~positive))
    odds = thresholds / (1 - thresholds)
    if prevalence is None:
        return (true - odds * false) / (sick + rest)
    with np.errstate(divide="ignore", invalid="ignore"):
        return prevalence * true / sick - odds * (1 - prevalence) * false / rest


def treat_all(prevalence: float, thresholds: np.ndarray = THRESHOLDS) -> np.ndarray:
    """Return the net benefit (T,) of acting on everybody; that of acting on nobody is 0."""
    return prevalence - (1 - prevalence) * thresholds / (1 - thresholds)
