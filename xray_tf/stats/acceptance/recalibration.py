"""Fit temperature and intercepts anew on few rows, and judge calibration.

Probabilities are softmax(s x / T + b) of logits x: one slope s for all of them, an intercept b for
each class (of two classes only their difference counts). Both start from what the model has, s = 1
and b = 0, and are drawn to it by a weak prior, log s ~ N(0, 0.5) and b ~ N(0, 2), which decides
only where the rows do not: when they are few, or separated.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit, log_softmax, softmax

from xray_tf.stats.checks import class_indices, finite_rows

_SLOPE_SD, _INTERCEPT_SD = 0.5, 2.0


def fit_logits(
    logits: np.ndarray, labels: np.ndarray, temperature: float, weights: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """Fit a temperature and intercepts.

    Args:
        logits: (N, 1), positive for the last of two classes, or (N, K).
        labels: (N,) int class indices.
        temperature: T, by which the model divides its logits now.
        weights: (N,) of the rows; all 1 if None.

    Returns:
        (T / s, intercepts (L,) float64 in calibrated logits, with mean 0 for K classes).
    """
    logits = finite_rows(logits, "logits", ("L",)).astype(np.float64) / temperature
    size = logits.shape[1]
    labels = class_indices(labels, "labels", len(logits), max(2, size))
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, np.float64)
    loss = _loss_of_two if size == 1 else _loss_of_many
    start = np.zeros(1 + size)
    found = minimize(loss, start, (logits, labels, weights), jac=True, method="L-BFGS-B").x
    intercepts = found[1:] if size == 1 else found[1:] - found[1:].mean()
    return float(temperature / np.exp(found[0])), intercepts


def calibration_slope(
    logits: np.ndarray, labels: np.ndarray, temperature: float, draws: np.ndarray
) -> np.ndarray:
    """Return the slope of the calibrated logits (1 + R,), for the rows as they are and weighted by
    `draws` (R, N): 1 is right, less is overconfident (Cox 1958).
    """
    rows = [np.ones(len(labels)), *draws]
    slopes = [temperature / fit_logits(logits, labels, temperature, row)[0] for row in rows]
    return np.array(slopes)


def _loss_of_two(
    parameters: np.ndarray, logits: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> tuple[float, np.ndarray]:
    x, slope = logits[:, 0], np.exp(parameters[0])
    z = slope * x + parameters[1]
    likely = weights @ log_expit(np.where(labels == 1, z, -z))
    wrong = weights * (expit(z) - labels)
    gradient = np.array([slope * (wrong @ x), wrong.sum()])
    prior, slant = _prior(parameters)
    return prior - likely, gradient + slant


def _loss_of_many(
    parameters: np.ndarray, logits: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> tuple[float, np.ndarray]:
    slope = np.exp(parameters[0])
    z = slope * logits + parameters[1:]
    rows = np.arange(len(labels))
    likely = weights @ log_softmax(z, axis=1)[rows, labels]
    wrong = softmax(z, axis=1)
    wrong[rows, labels] -= 1
    wrong *= weights[:, None]
    gradient = np.concatenate([[slope * (wrong * logits).sum()], wrong.sum(axis=0)])
    prior, slant = _prior(parameters)
    return prior - likely, gradient + slant


def _prior(parameters: np.ndarray) -> tuple[float, np.ndarray]:
    variance = np.full(len(parameters), _INTERCEPT_SD**2)
    variance[0] = _SLOPE_SD**2
    return float(np.sum(parameters**2 / variance) / 2), parameters / variance
