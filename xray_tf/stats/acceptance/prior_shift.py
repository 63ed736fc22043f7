"""Adapt probabilities to another prevalence, known or estimated from unlabelled radiographs.

All of it assumes prior shift and nothing else: that radiographs of a class look here as they do
where the probabilities were fitted, that the probabilities were calibrated there, and that no class
is here that was not there. Under these assumptions sensitivity and specificity of a cut do not
change; calibration, PPV and NPV do.
"""

from __future__ import annotations

import numpy as np

from xray_tf.operating_point import TINY

_STEPS, _STILL = 5000, 1e-9


def shift_logits(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return what is added to the log probabilities of each class (K,), before they are normalised
    again, when the prevalences become `after` (K,) from `before` (K,).
    """
    before, after = np.asarray(before, np.float64), np.asarray(after, np.float64)
    return np.log(np.maximum(after, TINY)) - np.log(np.maximum(before, TINY))


def adapt(probabilities: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return probabilities (N, K) for the prevalences `after` from those for `before` (Saerens,
    Latinne & Decaestecker 2002, Adjusting the Outputs of a Classifier to New a Priori
    Probabilities, eq. 2.4).
    """
    scaled = np.asarray(probabilities, np.float64) * np.exp(shift_logits(before, after))
    return scaled / scaled.sum(axis=1, keepdims=True)


def estimate_prevalence(
    probabilities: np.ndarray, before: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Estimate prevalences from probabilities of unlabelled rows by expectation maximisation
    (Saerens et al. 2002, eq. 2.9): the most likely ones, which are unique.

    Args:
        probabilities: (N, K) calibrated for the prevalences `before`.
        before: (K,) above 0, sums to 1.
        weights: (R, N) of the rows in each replicate; all 1 if None.

    Returns:
        (R, K) float64, rows sum to 1; R is 1 without weights.
    """
    probabilities, before = np.asarray(probabilities, np.float64), np.asarray(before, np.float64)
    weights = np.ones((1, len(probabilities))) if weights is None else weights
    shares = weights / weights.sum(axis=1, keepdims=True)
    ratio = probabilities / before
    now = np.tile(before, (len(weights), 1))
    for _ in range(_STEPS):
        last, evidence = now, np.maximum(now @ ratio.T, TINY)
        now = now * ((shares / evidence) @ ratio)
        now /= now.sum(axis=1, keepdims=True)
        if np.abs(now - last).max() < _STILL:
            break
    return now
