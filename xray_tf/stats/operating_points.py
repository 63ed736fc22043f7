"""Named operating points, fitted on validation rows only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import softmax

from xray_tf.operating_point import TINY, OperatingPoint
from xray_tf.stats.checks import class_indices
from xray_tf.stats.metrics import macro_recall

SENSITIVITY_TARGET, SENSITIVE = 0.95, "sensitivity_95"
# of Youden's J, half a point of balanced accuracy: what the steady point gives away of the highest
# mean to lie nearer to one half
PLATEAU = 0.01
_OFFSET_PENALTY = 0.01  # soft macro recall that offsets of one logit must be worth
_OFFSET_LIMIT = 4.0


def fit_operating_points(
    probabilities, labels, splits: Sequence[str], class_names: Sequence[str]
) -> dict[str, OperatingPoint]:
    """Fit the named operating points on validation rows.

    Two classes: `balanced` (Youden's J = sensitivity + specificity - 1; Youden 1950) and
    `sensitivity_95`, thresholds on the probability of the last class. More classes: `balanced`
    (offsets that maximise the macro recall) and `argmax`.

    Args:
        probabilities: (N, K) calibrated, in [0, 1].
        labels: (N,) int class indices; every class present.
        splits: (N,) each must be "val".
        class_names: K names.

    Returns:
        name -> the point, with what it reaches on the validation rows.

    Raises:
        ValueError: a row is not a validation row, a class is missing, or shapes do not fit.
    """
    probabilities, labels, class_names = _checked_validation_rows(
        probabilities, labels, splits, class_names
    )
    if len(class_names) == 2:
        cuts = _Cuts(probabilities[:, 1], labels == 1)
        optimal = np.flatnonzero(cuts.youden >= cuts.youden.max() - 1e-12)
        # the first, lowest, of equally wide ones
        widest = optimal[np.argmax((cuts.high - cuts.low)[optimal])]
        sensitive = np.flatnonzero(cuts.sensitivity >= SENSITIVITY_TARGET - 1e-12)[-1]
        sensitive = min(sensitive, widest)  # who asks for sensitivity never gets less of it
        best = (
            f"highest sensitivity + specificity - 1 (Youden's J) for {class_names[1]}, middle "
            "of the widest optimal interval"
        )
        enough = (
            f"highest threshold with sensitivity >= {SENSITIVITY_TARGET} for {class_names[1]} that "
            "is not above that of balanced"
        )
        points = (
            replace(cuts.point(widest, best), name="balanced"),
            replace(cuts.point(sensitive, enough), name=SENSITIVE),
        )
    else:
        criterion = "the class of the highest calibrated probability"
        argmax = OperatingPoint("argmax", criterion, offsets=(0.0,) * len(class_names))
        points = (
            replace(_balanced_point(probabilities, labels, class_names), name="balanced"),
            _with_recalls(argmax, probabilities, labels, class_names),
        )
    return {point.name: point for point in points}


def fit_steady_point(
    probabilities, labels, splits: Sequence[str], class_names: Sequence[str]
) -> OperatingPoint:
    """Fit the point that is best over validation rows under many changes, on all of them as if they
    were rows.

    On unchanged rows a net that separates nearly all of them leaves the threshold to a few odd
    ones, and it may lie where no row is; under changes the scores of both classes spread towards
    it. Every change has the same rows, so sensitivity and specificity are means over changes. Two
    classes: J is flat about its maximum, which is a matter of chance there; of the thresholds
    within `PLATEAU` of it the one nearest to a probability of one half is taken, where calibrated
    probabilities would be cut without any of this. More classes: the offsets of `balanced` in
    `fit_operating_points`.

    Args:
        probabilities: (C, N, K) calibrated, in [0, 1]: the same N rows under C changes, no change
            being one of them.
        labels: (N,) int class indices; every class present.
        splits: (N,) each must be "val".
        class_names: K names.

    Returns:
        One point, as `fit_operating_points` gives; what it reaches is the mean over the changes,
        `conditions` their number.

    Raises:
        ValueError: as `fit_operating_points`, or the shape is not (C, N, K).
    """
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.ndim != 3:
        raise ValueError(
            "probabilities must be (C, N, K), one (N, K) a change. Received: shape "
            f"{probabilities.shape}"
        )
    conditions, rows, classes = probabilities.shape
    pooled = probabilities.reshape(-1, classes), np.tile(np.asarray(labels), conditions)
    probabilities, labels, class_names = _checked_validation_rows(
        *pooled, list(splits) * conditions, class_names
    )
    if classes == 2:
        cuts = _Cuts(probabilities[:, 1], labels == 1)
        good = np.flatnonzero(cuts.youden >= cuts.youden.max() - PLATEAU)
        nearest = good[np.argmin(np.maximum(cuts.low - 0.5, 0.5 - cuts.high)[good])]
        criterion = (
            "threshold nearest to 0.5 with sensitivity + specificity - 1 (Youden's J) for "
            f"{class_names[1]} within {PLATEAU} of its maximum"
        )
        point = cuts.point(nearest, criterion)
    else:
        point = _balanced_point(probabilities, labels, class_names)
    return replace(
        point,
        name="steady",
        criterion=f"{point.criterion}; over {conditions} conditions of the same rows: unchanged, "
        "and under graded changes",
        conditions=conditions,
        rows=rows,
    )


def no_less_sensitive(
    point: OperatingPoint, default: OperatingPoint, probabilities, labels
) -> OperatingPoint:
    """Return a point of two classes whose threshold is not above the default's.

    Args:
        point: the one to lower where it is above.
        default: a point with a threshold.
        probabilities: (N, 2) calibrated, of the rows on which `point` was fitted.
        labels: (N,) int class indices.
    """
    if point.threshold <= default.threshold:
        return point
    called, sick = np.asarray(probabilities)[:, 1] >= default.threshold, np.asarray(labels) == 1
    return replace(
        point,
        criterion=f"{point.criterion}, nor above that of {default.name}",
        threshold=default.threshold,
        sensitivity=float(called[sick].mean()),
        specificity=float((~called[~sick]).mean()),
    )


def fit_site_points(
    probabilities, labels, splits: Sequence[str], class_names: Sequence[str]
) -> dict[str, OperatingPoint]:
    """Fit operating points on the few rows of a site to which probabilities were just calibrated.

    `balanced` is where the density of a class equals that of the others: calibrated probabilities
    are there the shares of the classes. It uses every row, while the maximum of Youden's J on rows
    hangs on a few of them: with 30 to 250 rows it lost 1.2 to 5 times as much J on new ones
    (`benchmarks/acceptance.py`). The other points are those of `fit_operating_points`, which says
    what is taken, returned and raised.
    """
    probabilities, labels, class_names = _checked_validation_rows(
        probabilities, labels, splits, class_names
    )
    points = fit_operating_points(probabilities, labels, splits, class_names)
    shares = np.bincount(labels, minlength=len(class_names)) / len(labels)
    if len(class_names) == 2:
        cuts, threshold = _Cuts(probabilities[:, 1], labels == 1), float(shares[1])
        i = int(np.searchsorted(cuts.high[:-1], threshold))
        reached = cuts.point(i, "")
        point = replace(
            reached,
            threshold=threshold,
            criterion=f"the share of {class_names[1]} among the rows, where calibrated "
            "probabilities have the highest sensitivity + specificity",
        )
    else:
        offsets = -np.log(shares)
        point = OperatingPoint(
            criterion="highest ratio of the calibrated probability to the class's share of the "
            "rows, which evens out the recalls",
            offsets=tuple(np.round(offsets - offsets.mean(), 6).tolist()),
        )
        point = _with_recalls(point, probabilities, labels, class_names)
    points["balanced"] = replace(point, name="balanced")
    if SENSITIVE in points:
        points[SENSITIVE] = no_less_sensitive(
            points[SENSITIVE], points["balanced"], probabilities, labels
        )
    return points


class _Cuts:
    """Every threshold worth having on (N,) scores, as the intervals between neighbouring distinct
    ones: the i-th calls positive what is above `low[i]`.
    """

    def __init__(self, scores: np.ndarray, positive: np.ndarray):
        edges = np.concatenate([[0.0], np.unique(scores), [1.0]])
        self.low, self.high, self.rows = edges[:-1], edges[1:], len(scores)
        # the first calls everything positive
        self.sensitivity, self.specificity = np.ones(len(self.low)), np.zeros(len(self.low))
        below_positive = np.searchsorted(np.sort(scores[positive]), self.low[1:], side="right")
        below_negative = np.searchsorted(np.sort(scores[~positive]), self.low[1:], side="right")
        self.sensitivity[1:] = 1 - below_positive / positive.sum()
        self.specificity[1:] = below_negative / (~positive).sum()
        self.youden = self.sensitivity + self.specificity - 1

    def point(self, i: int, criterion: str) -> OperatingPoint:
        """Return the operating point in the middle of interval i."""
        threshold = (self.low[i] + self.high[i]) / 2
        # neighbouring floats, or all scores 1: midway falls on the score it must exclude
        if i and threshold <= self.low[i]:
            threshold = np.nextafter(self.low[i], 2.0)
        return OperatingPoint(
            criterion=criterion,
            threshold=float(threshold),
            sensitivity=float(self.sensitivity[i]),
            specificity=float(self.specificity[i]),
            fitted_on="val",
            rows=self.rows,
        )


def _balanced_offsets(probabilities: np.ndarray, labels: np.ndarray) -> list[float]:
    """Maximise the soft macro recall less a small penalty, one coordinate at a time, in steps of 1
    down to 1/128 of a logit.

    Soft: a row counts with the probability its true class has after the offsets. The recall itself
    jumps from row to row, and offsets that chase it lose on new rows (simulated with 150, 400 and
    800 validation rows, the soft aim came out 0.2 to 1.6 points of macro recall better than the
    recall softened over a tenth of a logit). Offsets are returned with mean zero.
    """
    logs, classes = np.log(np.maximum(probabilities, TINY)), probabilities.shape[1]
    # A row's weight makes the weighted mean a mean over classes.
    weights = 1.0 / (classes * np.bincount(labels, minlength=classes)[labels])
    rows = np.arange(len(labels))

    def objective(offsets: np.ndarray) -> float:
        soft = softmax(logs + offsets, axis=1)[rows, labels]
        return float(weights @ soft) - _OFFSET_PENALTY * float(
            ((offsets - offsets.mean()) ** 2).mean()
        )

    best = np.zeros(classes)
    best_value = objective(best)
    for step in 2.0 ** -np.arange(8):
        improved = True
        while improved:
            improved = False
            for k in range(classes):
                for sign in (1, -1):
                    trial = best.copy()
                    trial[k] += sign * step
                    trial -= trial.mean()
                    value = objective(trial)
                    if value > best_value + 1e-9 and np.abs(trial).max() <= _OFFSET_LIMIT:
                        best, best_value, improved = trial, value, True
    moved, plain = (macro_recall(np.argmax(x, axis=1), labels) for x in (logs + best, logs))
    if moved < plain:
        best = np.zeros(classes)  # the soft aim must never cost the real one
    return [round(float(x), 6) for x in best]


def _balanced_point(
    probabilities: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...]
) -> OperatingPoint:
    point = OperatingPoint(
        criterion="highest macro recall: offsets added to the log probabilities before the argmax",
        offsets=_balanced_offsets(probabilities, labels),
    )
    return _with_recalls(point, probabilities, labels, class_names)


def _with_recalls(
    point: OperatingPoint,
    probabilities: np.ndarray,
    labels: np.ndarray,
    class_names: tuple[str, ...],
) -> OperatingPoint:
    decided = point.decide(probabilities)
    recalls = {
        name: float((decided[labels == k] == k).mean()) for k, name in enumerate(class_names)
    }
    return replace(
        point,
        balanced_accuracy=macro_recall(decided, labels),
        recall=recalls,
        fitted_on="val",
        rows=len(labels),
    )


def _checked_validation_rows(
    probabilities, labels, splits: Sequence[str], class_names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    probabilities, class_names = np.asarray(probabilities, np.float64), tuple(class_names)
    foreign = sorted({str(s) for s in splits} - {"val"})
    if foreign or len(splits) != len(probabilities):
        raise ValueError(
            "thresholds are fitted on validation rows only: every row's split must be 'val', one a "
            f"row ({len(probabilities)}). Received: {len(splits)} rows, other splits {foreign}"
        )
    if probabilities.ndim != 2 or probabilities.shape[1] != len(class_names):
        raise ValueError(
            f"probabilities must have one column a class of {class_names}. Received: "
            f"shape {probabilities.shape}"
        )
    labels = class_indices(labels, "labels", len(probabilities), len(class_names))
    if not np.isfinite(probabilities).all():
        raise ValueError(
            "probabilities must be finite to fit an operating point. Leave out the "
            "rows of files that could not be read."
        )
    missing = [name for k, name in enumerate(class_names) if not (labels == k).any()]
    if missing:
        raise ValueError(
            "operating points need validation rows of every class. Received no row of: "
            f"{', '.join(missing)}. Give a larger --validation share or more data."
        )
    return probabilities, labels, class_names
