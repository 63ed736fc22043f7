"""Plot tables: the figures of reports and notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xray_tf.data.predictions import Predictions
from xray_tf.operating_point import OperatingPoint
from xray_tf.pages.kit.canvas import (
    CLASS_COLOURS,
    INK,
    MUTED,
    Photographs,
    canvas,
    dress,
    to_png_bytes,
    to_svg,
)
from xray_tf.pages.kit.curves import calibration, curve_classes, precision_recall, roc, scorable
from xray_tf.stats.metrics import confusion

__all__ = [
    "CLASS_COLOURS",
    "calibration",
    "confusion_matrix",
    "contact_sheet",
    "precision_recall",
    "probability_histograms",
    "roc",
    "to_png_bytes",
    "to_svg",
    "training_curves",
]
_BLUES = LinearSegmentedColormap.from_list(
    "house blues", ["#f4f8fb", "#9cc7e2", "#0072B2", "#003e63"]
)
# title of a panel -> (label of its axis, place of its legend, columns of history.csv)
_HISTORY = {
    "Loss": ("cross-entropy", "upper right", ("loss", "val_loss")),
    "Validation scores": ("", "lower right", ("val_accuracy", "val_auroc")),
    "Learning rate": ("", "", ("learning_rate",)),
}
_COLUMNS = {
    "loss": ("training", MUTED),
    "val_loss": ("validation", CLASS_COLOURS[0]),
    "val_accuracy": ("accuracy", CLASS_COLOURS[1]),
    "val_auroc": ("AUROC", CLASS_COLOURS[2]),
    "learning_rate": ("", MUTED),
}


def confusion_matrix(
    matrix, class_names: Sequence[str] | None = None, title: str = "Confusion matrix"
) -> Figure:
    """Draw counts with the share of each true class, which also gives the shade.

    Args:
        matrix: (K, K) counts, rows the true class, columns the decided one; or a `Predictions`,
            whose scorable rows are counted; or N true classes, with what was decided or the
            probabilities in the second place, as `Predictions.of` takes them.
        class_names: K names; those of the table if None.
    """
    if not isinstance(matrix, Predictions) and np.ndim(matrix) == 1:
        matrix, class_names = Predictions.of(matrix, class_names), None
    if isinstance(matrix, Predictions):
        rows = matrix.where(matrix.scorable)
        class_names = class_names or rows.class_names
        matrix = confusion(rows.labels, rows.predicted, len(class_names))
    if class_names is None:
        raise ValueError("class_names must name the classes of a matrix of counts. Received: None")
    count = len(class_names)
    matrix = np.asarray(matrix)
    if matrix.shape != (count, count):
        raise ValueError(
            f"matrix must be ({count}, {count}), one row and column per class. Received: "
            f"shape {matrix.shape}"
        )
    totals = matrix.sum(axis=1)
    shares = matrix / np.maximum(totals, 1)[:, None]
    figure = canvas(2.8 + 0.95 * count, 2.2 + 0.95 * count)
    axes = figure.subplots()
    axes.imshow(shares, cmap=_BLUES, vmin=0, vmax=1)
    for i, j in np.ndindex(matrix.shape):
        style = {"ha": "center", "va": "center", "color": "white" if shares[i, j] > 0.5 else INK}
        axes.text(j, i - 0.06, f"{matrix[i, j]:,}", fontsize=15, fontweight="bold", **style)
        share = f"{shares[i, j]:.1%}" if totals[i] else "no row"
        axes.text(j, i + 0.22, share, fontsize=9, **style)
    axes.set_xticks(range(count), class_names)
    names = [f"{n}\nn = {t:,}" for n, t in zip(class_names, totals, strict=True)]
    axes.set_yticks(range(count), names)
    dress(axes, title, "decided", "true class", grid=False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(np.arange(1, count) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=3)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    return figure


def probability_histograms(
    predictions: Predictions, point: OperatingPoint | None = None, bins: int = 25
) -> Figure:
    """Draw how the calibrated probabilities of each class are spread, stacked by true class.

    Args:
        predictions: labelled rows; of two classes only the last one's probability is drawn.
        point: an operating point; its threshold is marked.
        bins: equal-width bins over [0, 1].
    """
    rows = scorable(predictions)
    wanted, names = curve_classes(rows), rows.class_names
    figure = canvas(5.2, 4.1 if len(wanted) == 1 else 1.6 + 1.5 * len(wanted))
    panels = figure.subplots(len(wanted), 1, sharex=True, squeeze=False)[:, 0]
    for axes, k in zip(panels, wanted, strict=True):
        values = [rows.probabilities[rows.labels == c, k] for c in range(len(names))]
        bars = {"stacked": True, "edgecolor": "white", "linewidth": 0.5}
        true = {"color": CLASS_COLOURS[: len(names)], "label": [f"true {n}" for n in names]}
        axes.hist(values, bins=np.linspace(0, 1, bins + 1), **bars, **true)
        title = "Probabilities by true class" if k == wanted[0] else ""
        dress(axes, title, f"probability of {names[k]}", "radiographs")
        axes.set_xlim(0, 1)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    if point is not None and point.threshold is not None:
        at, style = point.threshold, {"color": INK, "linewidth": 1.4, "linestyle": (0, (3, 2))}
        panels[0].axvline(at, label=f"threshold {at:.3f}", **style)
    names = panels[0].get_legend_handles_labels()
    style = {"ncols": min(3, len(names[1])), "frameon": False, "fontsize": 9}
    figure.legend(*names, loc="outside lower center", **style)
    return figure


def training_curves(history: Iterable[dict[str, Any]]) -> Figure:
    """Draw loss, validation scores and learning rate over the epochs of all phases, and mark the
    epoch of lowest validation loss.

    Args:
        history: rows with the columns of history.csv: phase, epoch, loss, val_loss, val_accuracy,
            val_auroc, learning_rate, seconds; numbers may still be text.
    """
    rows = list(history)
    if not rows:
        raise ValueError("the history is empty. Expected one row per epoch.")
    epochs, watched = np.arange(1, len(rows) + 1), _column(rows, "val_loss")
    best = epochs[np.nanargmin(watched)] if np.isfinite(watched).any() else None
    marker = "o" if len(rows) <= 40 else None
    figure = canvas(10.8, 3.7)
    panels = figure.subplots(1, 3)
    for axes, (title, (y_label, place, columns)) in zip(panels, _HISTORY.items(), strict=True):
        dress(axes, title, "epoch", y_label)
        for column in columns:
            label, colour = _COLUMNS[column]
            style = {"color": colour, "linewidth": 1.8, "marker": marker, "markersize": 3.5}
            axes.plot(epochs, _column(rows, column), label=label, **style)
        if best is not None:
            label = "lowest validation loss" if y_label else None
            axes.axvline(best, color=CLASS_COLOURS[4], linewidth=1.2, label=label, zorder=1)
        _mark_phases(axes, [str(r.get("phase", "")) for r in rows], title)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        if place:
            axes.legend(loc=place, framealpha=0.8, edgecolor="none", fontsize=9)
    if (_column(rows, "learning_rate") > 0).any():
        panels[2].set_yscale("log")
    return figure


def contact_sheet(images, titles: Sequence[str] | None = None, columns: int = 6) -> Figure:
    """Draw radiographs side by side.

    Args:
        images: (N, H, W) uint8 in [0, 255], or (N, H, W, 3) with colour overlays.
        titles: N short texts above the images, or none.
        columns: images per row.
    """
    images = np.asarray(images)
    fits = images.ndim == 3 or images.ndim == 4 and images.shape[3] == 3
    if not fits or images.dtype != np.uint8 or not len(images):
        raise ValueError(
            "images must be (N, H, W) or (N, H, W, 3) uint8, one or more. Received: "
            f"shape {images.shape}, {images.dtype}"
        )
    titles = [""] * len(images) if titles is None else [str(t) for t in titles]
    if len(titles) != len(images):
        raise ValueError(
            f"titles must have one entry per image, {len(images)}. Received: {len(titles)}"
        )
    columns = max(1, min(columns, len(images)))
    lines = -(-len(images) // columns)
    high = 1.75 * images.shape[1] / images.shape[2] + (0.3 if any(titles) else 0.05)
    figure = canvas(1.75 * columns, high * lines, 0.03, Photographs)
    figure.get_layout_engine().set(wspace=0.02, hspace=0.02)
    panels = figure.subplots(lines, columns, squeeze=False).flat
    for axes, image, title in zip(panels, images, titles, strict=False):
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="lanczos")
        axes.set_title(title, fontsize=8.5, color=INK, pad=3)
    for axes in figure.axes:
        axes.set_axis_off()
    return figure


def _mark_phases(axes, phases: list[str], title: str) -> None:
    """Draw a line between phases, and write the name of each above the panel."""
    starts = [i for i in range(1, len(phases)) if phases[i] != phases[i - 1]]
    if not starts:
        return
    # room for the names
    axes.set_title(title, loc="left", fontsize=12.5, fontweight="bold", color=INK, pad=22)
    style = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom"}
    for start, stop in zip([0, *starts], [*starts, len(phases)], strict=True):
        if start:
            axes.axvline(start + 0.5, color=MUTED, linewidth=1, linestyle=(0, (2, 3)))
        middle = (start + stop + 1) / 2
        axes.text(middle, 1.02, phases[start], fontsize=8.5, color=MUTED, **style)


def _column(rows: list[dict[str, Any]], name: str) -> np.ndarray:
    """Return a column of history.csv, NaN if it has no number."""

    def number(value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError):
            return np.nan

    return np.array([number(row.get(name)) for row in rows])
