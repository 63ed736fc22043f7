"""Fit a temperature on validation rows, and make calibrated probabilities of logits."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, log_expit, log_softmax, softmax

from xray_tf.stats.checks import class_indices

TEMPERATURES = (0.05, 20.0)
# logits; beyond it a float32 probability starts to round to 1 and the ranking is lost
MAX_SHARPENED_MARGIN = 15.0


def fit_temperature(logits, labels) -> float:
    """Find the temperature that minimises the negative log likelihood (Guo et al. 2017, On
    Calibration of Modern Neural Networks, eq. 9).

    The likelihood has one minimum along log T; a bounded scalar search finds it. Where there is
    none inside (perfect separation drives T to 0, answers worse than chance to infinity) the bound
    is returned: 20 above; below, 0.05 or the T at which the widest margin reaches 15 logits,
    whichever is larger, so that probabilities keep their ranking.

    Args:
        logits: (N, 1) one-logit head, positive for the last class, or (N, K).
        labels: (N,) int class indices; at least two classes.

    Returns:
        T > 0; `calibrated_probabilities(logits, T)` divides by it.

    Raises:
        ValueError: shapes do not fit, a logit is not finite, or only one class is present.
    """
    from scipy.optimize import minimize_scalar  # slow to import, and not needed to predict

    logits = _checked_logits(logits)
    labels = class_indices(labels, "labels", len(logits), max(2, logits.shape[1]))
    if len(np.unique(labels)) < 2:
        raise ValueError(
            "a temperature needs rows of at least two classes. Received: "
            f"{len(labels)} rows of class {np.unique(labels).tolist()}"
        )
    margin = np.abs(logits).max() if logits.shape[1] == 1 else np.ptp(logits, axis=1).max()
    low, high = max(TEMPERATURES[0], min(1.0, margin / MAX_SHARPENED_MARGIN)), TEMPERATURES[1]

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        if logits.shape[1] == 1:
            return -log_expit(np.where(labels == 1, scaled[:, 0], -scaled[:, 0])).mean()
        return -log_softmax(scaled, axis=1)[np.arange(len(labels)), labels].mean()

    best = minimize_scalar(
        loss, bounds=(np.log(low), np.log(high)), method="bounded", options={"xatol": 1e-6}
    ).x
    # The search never lands on a bound exactly, and a bound that is no worse is the answer.
    return float(np.exp(min((best, np.log(low), np.log(high)), key=loss)))


def calibrated_probabilities(logits, temperature: float) -> np.ndarray:
    """Divide logits by the temperature and make probabilities of them.

    Args:
        logits: (N, 1) or (N, K).
        temperature: > 0.

    Returns:
        (N, 2) or (N, K) float64 in [0, 1]; rows sum to 1. A one-logit head gives [1 - p, p].
    """
    logits = _checked_logits(logits)
    if not (np.isfinite(temperature) and temperature > 0):
        raise ValueError(
            f"temperature must be a finite number above 0. Received: temperature={temperature!r}"
        )
    scaled = logits / temperature
    if logits.shape[1] == 1:
        return np.hstack([expit(-scaled), expit(scaled)])
    return softmax(scaled, axis=1)


def _checked_logits(logits) -> np.ndarray:
    logits = np.asarray(logits, dtype=np.float64)
    if logits.ndim != 2 or not logits.shape[1]:
        raise ValueError(f"logits must be (N, 1) or (N, K). Received: shape {logits.shape}")
    if not np.isfinite(logits).all():
        raise ValueError(
            "logits must be finite. Received "
            f"{int((~np.isfinite(logits)).any(axis=1).sum())} rows that are not."
        )
    return logits
