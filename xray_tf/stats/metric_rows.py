"""The metrics, one row each: what they are called and are, where they are shown, and how rows of a
table, weighted many times over, give them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

ECE_BINS = 15


@dataclass(frozen=True)
class Metric:
    """One row of `METRICS`.

    Attributes:
        label: its name on pages.
        two: what it is for two classes; {last} is the last one's name.
        more: what it is for more classes; the same when empty.
        each: tally -> (R, K) float64, of each class against the rest.
        overall: tally -> (R,) float64, where it is not `each` of the last class of two, or the mean
            over more classes.
        of: what it is told of: `classifier` and `detector`, whole, and `class`, each alone.
        headline: for whom it is one of the few numbers shown first: `two classes`,
            `more classes`, `detector`.
        on_card: whether cards keep it and comparisons show it.
        under_change: whether it is measured when radiographs are changed.
        macro: whether it is called so for more classes.
        lower_is_better: and 0 is best.
        undefined: why it may be so, {name} is the class; empty where rows of a class are missing.
    """

    label: str
    two: str
    more: str = ""
    each: Callable[[Tally], np.ndarray] | None = None
    overall: Callable[[Tally], np.ndarray] | None = None
    of: tuple[str, ...] = ("classifier", "detector")
    headline: tuple[str, ...] = ()
    on_card: bool = True
    under_change: bool = False
    macro: bool = False
    lower_is_better: bool = False
    undefined: str = ""

    def value(self, tally: Tally) -> np.ndarray:
        """Return (R,) float64, NaN where it is not defined."""
        if self.overall is not None:
            return self.overall(tally)
        each = self.each(tally)
        return each[:, 1] if each.shape[1] == 2 else each.mean(axis=1)

    def definition(self, class_names: Sequence[str]) -> str:
        """Say what it is for these classes."""
        text = self.more if self.more and len(class_names) > 2 else self.two
        return text.format(last=class_names[-1])

    def name(self, class_count: int) -> str:
        """Name it for a person."""
        return f"Macro {self.label}" if self.macro and class_count > 2 else self.label


METRICS: dict[str, Metric] = {
    "recall": Metric(
        "Recall", "share of its rows that are called so", each=lambda t: t.recall, of=("class",)
    ),
    "precision": Metric(
        "Precision",
        "share of rows called so that are",
        each=lambda t: t.precision,
        of=("class",),
        undefined="no row was called {name}",
    ),
    "auroc": Metric(
        "AUROC",
        "area under the ROC curve of {last}, ties count half",
        "mean over classes of the one-versus-rest area under the ROC curve, ties count half",
        each=lambda t: t.areas[0],
        of=("classifier", "detector", "class"),
        headline=("two classes", "more classes", "detector"),
        under_change=True,
        macro=True,
    ),
    "auprc": Metric(
        "AUPRC",
        "average precision of {last}: sum of precision x step in recall",
        "mean over classes of the one-versus-rest average precision",
        each=lambda t: t.areas[1],
        of=("classifier", "detector", "class"),
        headline=("detector",),
    ),
    "balanced_accuracy": Metric(
        "Balanced accuracy",
        "mean over classes of the recall",
        overall=lambda t: t.recall.mean(axis=1),
        headline=("two classes", "more classes"),
        under_change=True,
    ),
    "sensitivity": Metric(
        "Sensitivity",
        "recall: share of {last} rows that are called {last}",
        "mean over classes of the recall",
        each=lambda t: t.recall,
        headline=("two classes", "detector"),
        under_change=True,
    ),
    "specificity": Metric(
        "Specificity",
        "share of other rows that are not called {last}",
        "mean over classes of the one-versus-rest specificity",
        each=lambda t: t.not_called / (t.total[:, None] - t.true),
        headline=("two classes",),
        under_change=True,
    ),
    "false_alarms": Metric(
        "False alarms among normals",
        "share of normal rows that are called anomalous",
        of=(),  # a detector's report turns its specificity round
        headline=("detector",),
        lower_is_better=True,
    ),
    "accuracy": Metric(
        "Accuracy",
        "share of rows decided rightly",
        overall=lambda t: t.hits.sum(axis=1) / t.total,
        headline=("more classes",),
        under_change=True,
    ),
    "f1": Metric(
        "F1",
        "2 TP / (2 TP + FP + FN) of {last}",
        "mean over classes of the one-versus-rest F1 (macro F1)",
        each=lambda t: np.where(t.true > 0, 2 * t.hits / (t.true + t.called), np.nan),
        of=("classifier", "detector", "class"),
        headline=("more classes",),
        macro=True,
    ),
    "ppv": Metric(
        "PPV",
        "precision: share of rows called {last} that are {last}",
        "mean over classes of the precision",
        each=lambda t: t.precision,
        on_card=False,
        undefined="no row was called {name}",
    ),
    "npv": Metric(
        "NPV",
        "share of rows not called {last} that are not {last}",
        "mean over classes of the one-versus-rest NPV",
        each=lambda t: t.not_called / (t.total[:, None] - t.called),
        on_card=False,
        undefined="every row was called {name}",
    ),
    "brier": Metric(
        "Brier score",
        "mean squared error of the probability of {last}, 0 to 1",
        "squared error summed over classes, mean over rows, 0 to 2 (Brier 1950)",
        overall=lambda t: t.weights @ t.rows.squares / t.total,
        of=("classifier",),
        lower_is_better=True,
    ),
    "ece": Metric(
        "ECE",
        f"expected calibration error of the top class's probability, {ECE_BINS} equal-width bins "
        "(Guo et al. 2017, eq. 3); resampling adds noise, so its interval leans upwards",
        overall=lambda t: np.abs(t.weights @ t.rows.gaps).sum(axis=1) / t.total,
        of=("classifier",),
        lower_is_better=True,
    ),
}


def metrics_of(what: str) -> dict[str, Metric]:
    """Return the rows that are told of a `classifier`, a `detector` or a `class`."""
    return {name: row for name, row in METRICS.items() if what in row.of}


def card_metrics(metrics: dict[str, dict]) -> dict[str, dict]:
    """Return the metrics that cards keep, {name: its numbers}."""
    return {name: cell for name, cell in metrics.items() if METRICS[name].on_card}


def headline(class_count: int) -> list[str]:
    """Name the few numbers that are shown first of a classifier of so many classes."""
    which = "two classes" if class_count == 2 else "more classes"
    return [name for name, row in METRICS.items() if which in row.headline]


def under_change(class_names: Sequence[str]) -> list[str]:
    """Return the metrics of changed radiographs: sensitivity and specificity for two classes, every
    recall (`recall/<name>`) for more; then the rest.
    """
    names = [name for name, row in METRICS.items() if row.under_change]
    recalls = ["sensitivity", "specificity"]
    rest = [name for name in names if name not in recalls]
    return [*(recalls if len(class_names) == 2 else (f"recall/{n}" for n in class_names)), *rest]


class Ranking:
    """Rows sorted by falling score with ties grouped, so that weighted areas are cumulative
    sums.
    """

    def __init__(self, scores: np.ndarray, positive: np.ndarray):
        self.order = np.argsort(-scores, kind="stable")
        ordered = scores[self.order]
        self.starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        self.thresholds = ordered[self.starts]
        self.positive = positive[self.order].astype(np.float64)

    def counts(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the weight of positive and of negative rows at each distinct score: (R, T)
        each.
        """
        weights = weights[:, self.order]
        positive = weights * self.positive
        negative = weights - positive
        if len(self.starts) == len(self.order):
            return positive, negative
        return tuple(np.add.reduceat(w, self.starts, axis=1) for w in (positive, negative))

    def areas(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return AUROC (Mann-Whitney form, ties count half) and average precision: (R,) each, NaN
        where not defined.
        """
        positive, negative = self.counts(weights)
        true, false = np.cumsum(positive, axis=1), np.cumsum(negative, axis=1)
        positives, negatives = true[:, -1], false[:, -1]
        with np.errstate(invalid="ignore", divide="ignore"):
            # A positive wins against every negative that comes later, and half against those at its
            # own score.
            wins = positives * negatives - (positive * (false - 0.5 * negative)).sum(axis=1)
            auroc = wins / (positives * negatives)
            # Scores above the first drawn row have neither positives nor negatives: 0 / 0 there
            # contributes nothing.
            precision = true / np.maximum(true + false, 1)
            average_precision = np.where(
                negatives > 0, (positive * precision).sum(axis=1) / positives, np.nan
            )
        return auroc, average_precision


class Rows:
    """Rows in the forms from which weights (R, N) give every metric at once."""

    def __init__(self, probabilities: np.ndarray, labels: np.ndarray, decided: np.ndarray):
        rows, self.classes = probabilities.shape
        self.cells = np.zeros((rows, self.classes**2))
        self.cells[np.arange(rows), labels * self.classes + decided] = 1
        top = probabilities.max(axis=1)
        hit = probabilities.argmax(axis=1) == labels
        self.gaps = np.zeros((rows, ECE_BINS))
        self.gaps[np.arange(rows), bins_of(top, ECE_BINS)] = top - hit
        squares = (probabilities - np.eye(self.classes)[labels]) ** 2
        self.squares = squares[:, 1] if self.classes == 2 else squares.sum(axis=1)
        self.rankings = [Ranking(probabilities[:, k], labels == k) for k in range(self.classes)]

    def numbers(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return metric name -> (R,) float64, NaN where not defined; per class as `name/index`."""
        tally = Tally(self, weights)
        with np.errstate(invalid="ignore", divide="ignore"):
            out = {name: row.value(tally) for name, row in metrics_of("classifier").items()}
            for name, row in metrics_of("class").items():
                out |= {f"{name}/{k}": values for k, values in enumerate(row.each(tally).T)}
        return out


class Tally:
    """Rows, weighted R times over.

    Attributes:
        weights: (R, N) float64.
        total: (R,) the sum of the weights.
        hits, true, called: (R, K) the weight of the rows that are and are called each class, are
            it, are called it.
        not_called: (R, K) the weight of the rows that neither are nor are called each class.
    """

    def __init__(self, rows: Rows, weights: np.ndarray):
        self.rows, self.weights, self.total = rows, weights, weights.sum(axis=1)
        table = (weights @ rows.cells).reshape(-1, rows.classes, rows.classes)
        self.hits = np.einsum("rkk->rk", table)
        self.true, self.called = table.sum(axis=2), table.sum(axis=1)
        self.not_called = self.total[:, None] - self.true - self.called + self.hits

    @property
    def recall(self) -> np.ndarray:
        """(R, K) share of a class's rows that are called so."""
        return self.hits / self.true

    @property
    def precision(self) -> np.ndarray:
        """(R, K) share of the rows called a class that are."""
        return self.hits / self.called

    @cached_property
    def areas(self) -> tuple[np.ndarray, np.ndarray]:
        """AUROC and average precision of each class against the rest, (R, K) each."""
        areas = [ranking.areas(self.weights) for ranking in self.rows.rankings]
        return tuple(np.stack([a[i] for a in areas], axis=1) for i in (0, 1))


def bins_of(confidence: np.ndarray, bins: int) -> np.ndarray:
    """Return the equal-width bin (a, b] of each probability: (N,) int64."""
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
