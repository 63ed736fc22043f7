"""Plot ROC, precision-recall and calibration curves of a table of predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from xray_tf.data.predictions import Predictions
from xray_tf.pages.kit.canvas import CLASS_COLOURS, DASHED, MUTED, canvas, dress
from xray_tf.stats.curves import curve_bands, curves, reliability

_MARK = {"markersize": 9, "markeredgecolor": "white", "markeredgewidth": 1.6, "zorder": 5}


def roc(
    predictions: Predictions | Any, y_pred: Any = None, replicates: int = 200, seed: int = 0
) -> Figure:
    """Draw the ROC curve of the last of two classes, or of each of more against the rest.

    Bands are pointwise 95 % intervals bootstrapped by patient; circles mark the decisions in the
    table.

    Args:
        predictions: a table; or N true classes, with `y_pred` their probabilities, as
            `Predictions.of` takes them.
        replicates, seed: of the bootstrap.
    """
    figure = canvas(4.9, 4.8)
    axes, rows = figure.subplots(), scorable(predictions, y_pred)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=DASHED)
    for k, positive, called, band in _classes(rows, replicates, seed):
        points, style = curves(rows.probabilities, rows.labels, k), {"color": CLASS_COLOURS[k]}
        x, y = (
            np.concatenate([[0], points[n]]) for n in ("false_positive_rate", "true_positive_rate")
        )
        name = f"{rows.class_names[k]}  (area {np.trapezoid(y, x):.3f})"
        _band(axes, band, "roc", "post", style)
        axes.plot(x, y, linewidth=2, label=name, clip_on=False, zorder=3, **style)
        at = called[~positive].mean(), called[positive].mean()
        axes.plot(*at, "o", clip_on=False, **_MARK, **style)
    _finish_curve(axes, "ROC", "false positive rate (1 - specificity)", "lower right")
    axes.set_ylabel("true positive rate (sensitivity)")
    return figure


def precision_recall(
    predictions: Predictions | Any, y_pred: Any = None, replicates: int = 200, seed: int = 0
) -> Figure:
    """Draw the precision-recall curve of the last of two classes, or of each of more against the
    rest.

    Arguments, bands and circles are as in `roc`; dashed lines show the share of the class, which
    guessing would reach.
    """
    figure = canvas(4.9, 4.8)
    axes, rows = figure.subplots(), scorable(predictions, y_pred)
    for k, positive, called, band in _classes(rows, replicates, seed):
        points, style = curves(rows.probabilities, rows.labels, k), {"color": CLASS_COLOURS[k]}
        recall, precision = points["true_positive_rate"], points["precision"]
        area = np.sum(np.diff(recall, prepend=0) * precision)
        name = f"{rows.class_names[k]}  (average precision {area:.3f})"
        axes.axhline(positive.mean(), linewidth=1, linestyle=DASHED, alpha=0.8, **style)
        _band(axes, band, "precision", "pre", style)
        x, y = np.concatenate([[0], recall]), np.concatenate([precision[:1], precision])
        line = {"linewidth": 2, "label": name, "clip_on": False, "zorder": 3, **style}
        axes.step(x, y, where="pre", **line)
        if called.any():
            at = called[positive].mean(), positive[called].mean()
            axes.plot(*at, "o", clip_on=False, **_MARK, **style)
    _finish_curve(axes, "Precision and recall", "recall (sensitivity)", "lower left")
    axes.set_ylabel("precision (PPV)")
    return figure


def calibration(predictions: Predictions | Any, y_pred: Any = None, bins: int = 10) -> Figure:
    """Draw the reliability diagram: predicted against observed frequency, with how many radiographs
    are in each bin.

    Bars are Wilson's 95 % intervals. Of two classes the probability of the last one is drawn; of
    more, that of the top class against how often it is right. Arguments are as in `roc`.
    """
    rows = scorable(predictions, y_pred)
    p = rows.probabilities
    if len(rows.class_names) == 2:
        name, colour = rows.class_names[1], CLASS_COLOURS[1]
        table = reliability(p[:, 1], rows.labels == 1, bins)
        labels = f"predicted probability of {name}", f"observed share of {name}"
    else:
        colour = CLASS_COLOURS[0]
        table = reliability(p.max(axis=1), p.argmax(axis=1) == rows.labels, bins)
        labels = "probability of the top class", "share of rows where it is right"
    figure = canvas(4.9, 5.4)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    ideal = {"linestyle": DASHED, "label": "perfect calibration"}
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, **ideal)
    filled = table["count"] > 0
    x, y = table["confidence"][filled], table["frequency"][filled]
    axes.vlines(x, *_wilson(y, table["count"][filled]), color=colour, alpha=0.4, linewidth=1.4)
    mark = {**_MARK, "markersize": 7, "markeredgewidth": 1.2, "label": "radiographs, by bin"}
    axes.plot(x, y, "o-", color=colour, linewidth=1.6, clip_on=False, **mark)
    dress(axes, "Calibration", "", labels[1])
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left", frameon=True, framealpha=0.8, edgecolor="none", fontsize=9.5)
    bars = {"width": 1 / bins, "align": "edge", "color": colour, "alpha": 0.75}
    below.bar(table["edges"][:-1], table["count"], edgecolor="white", **bars)
    dress(below, "", labels[0], "radiographs")
    below.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    return figure


def scorable(predictions: Predictions | Any, y_pred: Any = None) -> Predictions:
    """Return the labelled, readable rows of a table, or of true classes and `y_pred`.

    Raises:
        ValueError: there is none.
    """
    if y_pred is not None:
        predictions = Predictions.of(predictions, y_pred)
    rows = predictions.where(predictions.scorable)
    if not len(rows):
        raise ValueError("there is no labelled, readable row to plot. Expected at least one.")
    return rows


def curve_classes(rows: Predictions) -> list[int]:
    """Return the classes to plot: the last of two, or each of more."""
    return [1] if len(rows.class_names) == 2 else list(range(len(rows.class_names)))


def _classes(rows: Predictions, replicates: int, seed: int):
    """Yield (class, is labelled so, is decided so, bands) of each class that has some but not all
    rows.
    """
    for k in curve_classes(rows):
        positive = rows.labels == k
        if positive.any() and not positive.all():
            arguments = (rows.probabilities, rows.labels, k, rows.patients, replicates, seed)
            yield k, positive, rows.predicted == k, curve_bands(*arguments)


def _band(axes, band: dict[str, np.ndarray], name: str, step: str, style: dict) -> None:
    edges = band["grid"], band[f"{name}_low"], band[f"{name}_high"]
    axes.fill_between(*edges, alpha=0.14, linewidth=0, step=step, **style)


def _finish_curve(axes, title: str, x_label: str, place: str) -> None:
    dress(axes, title, x_label)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    if axes.get_legend_handles_labels()[0]:
        mark = {**_MARK, "markersize": 8, "markeredgewidth": 1, "label": "at the operating point"}
        axes.plot([], [], "o", color=MUTED, **mark)
        axes.legend(loc=place, frameon=True, framealpha=0.9, edgecolor="none", fontsize=9.5)
    else:
        where = {"ha": "center", "va": "center", "color": MUTED}
        axes.text(0.5, 0.5, "undefined: all rows are of one class", **where)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))


def _wilson(frequency: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % interval of a share observed in `count` rows (Wilson 1927, score
    interval).
    """
    z = 1.96
    middle = (frequency + z**2 / (2 * count)) / (1 + z**2 / count)
    spread = np.sqrt(frequency * (1 - frequency) / count + z**2 / (4 * count**2))
    half = z / (1 + z**2 / count) * spread
    return middle - half, middle + half
