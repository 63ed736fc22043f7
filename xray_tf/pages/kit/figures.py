"""Table in, Figure out: every picture of a report and of a notebook, without pyplot and without
global state.

A class has the same colour in every figure (Okabe & Ito's palette, told apart by colour-blind
readers too); figures bring their own white ground, so they read the same on light and on dark
pages.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from xray_tf.data.predictions import Predictions
from xray_tf.operating_point import OperatingPoint
from xray_tf.stats.metrics import confusion, curve_bands, curves, reliability

CLASS_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK, MUTED, FAINT = "#1f2933", "#5b6770", "#dfe4e8"
_BLUES = LinearSegmentedColormap.from_list(
    "house blues", ["#f4f8fb", "#9cc7e2", "#0072B2", "#003e63"]
)


class Picture(Figure):
    """A matplotlib Figure that a notebook shows as PNG whether or not pyplot was ever imported."""

    def _repr_png_(self) -> bytes:
        return to_png_bytes(self)


def to_png_bytes(figure: Figure, dpi: int = 150) -> bytes:
    """Return the figure as PNG."""
    stream = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()


def to_svg(figure: Figure) -> str:
    """Return the figure as SVG, text as outlines; the same drawing gives the same bytes."""
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "xray_tf"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def confusion_matrix(matrix, class_names: Sequence[str], title: str = "Confusion matrix") -> Figure:
    """Draw counts with the share of each true class, which also gives the shade.

    Args:
        matrix: (K, K) counts, rows the true class, columns the decided one; or a `Predictions`,
            whose scorable rows are counted.
        class_names: K names; of a table, its own.
    """
    if isinstance(matrix, Predictions):
        rows = matrix.where(matrix.scorable)
        matrix = confusion(rows.labels, rows.predicted, len(class_names))
    matrix = np.asarray(matrix)
    if matrix.shape != (len(class_names),) * 2:
        raise ValueError(
            f"matrix must be ({len(class_names)}, {len(class_names)}), one row and "
            f"column a class. Received: shape {matrix.shape}"
        )
    totals = matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.maximum(totals, 1)
    side = 2.2 + 0.95 * len(class_names)
    figure, axes = _figure(side + 0.6, side)
    axes.imshow(shares, cmap=_BLUES, vmin=0, vmax=1)
    for i, j in np.ndindex(matrix.shape):
        colour = "white" if shares[i, j] > 0.5 else INK
        axes.text(
            j,
            i - 0.06,
            f"{matrix[i, j]:,}",
            ha="center",
            va="center",
            color=colour,
            fontsize=15,
            fontweight="bold",
        )
        axes.text(
            j,
            i + 0.22,
            f"{shares[i, j]:.1%}" if totals[i, 0] else "no row",
            ha="center",
            va="center",
            color=colour,
            fontsize=9,
        )
    ticks = range(len(class_names))
    axes.set_xticks(ticks, class_names)
    axes.set_yticks(
        ticks, [f"{n}\nn = {t:,}" for n, t in zip(class_names, totals[:, 0], strict=True)]
    )
    dress(axes, title, "decided", "true class", grid=False)
    axes.set_xticks(np.arange(1, len(class_names)) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, len(class_names)) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=3)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    return figure


def roc(predictions: Predictions, replicates: int = 200, seed: int = 0) -> Figure:
    """Draw the ROC curve of the last of two classes, or of each of more against the rest.

    Bands are pointwise 95 % intervals bootstrapped by patient; circles mark the decisions in the
    table.
    """
    figure, axes = _figure(4.9, 4.8)
    rows = _scorable(predictions)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 4)))
    for k in _curve_classes(rows):
        positive, called, colour = rows.labels == k, rows.predicted == k, CLASS_COLOURS[k]
        if positive.all() or not positive.any():
            continue
        points = curves(rows.probabilities, rows.labels, k)
        x, y = (
            np.concatenate([[0], points[n]]) for n in ("false_positive_rate", "true_positive_rate")
        )
        band = curve_bands(rows.probabilities, rows.labels, k, rows.patients, replicates, seed)
        axes.fill_between(
            band["grid"],
            band["roc_low"],
            band["roc_high"],
            color=colour,
            alpha=0.14,
            linewidth=0,
            step="post",
        )
        axes.plot(
            x,
            y,
            color=colour,
            linewidth=2,
            label=f"{rows.class_names[k]}  (area {np.trapezoid(y, x):.3f})",
            clip_on=False,
            zorder=3,
        )
        axes.plot(
            called[~positive].mean(),
            called[positive].mean(),
            "o",
            color=colour,
            markersize=9,
            markeredgecolor="white",
            markeredgewidth=1.6,
            clip_on=False,
            zorder=5,
        )
    _finish_curve(
        axes,
        "ROC",
        "false positive rate (1 - specificity)",
        "true positive rate (sensitivity)",
        "lower right",
    )
    return figure


def precision_recall(predictions: Predictions, replicates: int = 200, seed: int = 0) -> Figure:
    """Draw the precision-recall curve of the last of two classes, or of each of more against the
    rest.

    Bands and circles as in `roc`; dashed lines show the share of the class, which a guess would
    reach.
    """
    figure, axes = _figure(4.9, 4.8)
    rows = _scorable(predictions)
    for k in _curve_classes(rows):
        positive, called, colour = rows.labels == k, rows.predicted == k, CLASS_COLOURS[k]
        if positive.all() or not positive.any():
            continue
        points = curves(rows.probabilities, rows.labels, k)
        recall, precision = points["true_positive_rate"], points["precision"]
        area = np.sum(np.diff(recall, prepend=0) * precision)
        band = curve_bands(rows.probabilities, rows.labels, k, rows.patients, replicates, seed)
        axes.axhline(positive.mean(), color=colour, linewidth=1, linestyle=(0, (4, 4)), alpha=0.8)
        axes.fill_between(
            band["grid"],
            band["precision_low"],
            band["precision_high"],
            color=colour,
            alpha=0.14,
            linewidth=0,
            step="pre",
        )
        axes.step(
            np.concatenate([[0], recall]),
            np.concatenate([precision[:1], precision]),
            where="pre",
            color=colour,
            linewidth=2,
            clip_on=False,
            zorder=3,
            label=f"{rows.class_names[k]}  (average precision {area:.3f})",
        )
        if called.any():
            axes.plot(
                called[positive].mean(),
                positive[called].mean(),
                "o",
                color=colour,
                markersize=9,
                markeredgecolor="white",
                markeredgewidth=1.6,
                clip_on=False,
                zorder=5,
            )
    _finish_curve(
        axes, "Precision and recall", "recall (sensitivity)", "precision (PPV)", "lower left"
    )
    return figure


def calibration(predictions: Predictions, bins: int = 10) -> Figure:
    """Draw the reliability diagram: predicted against observed frequency, with how many radiographs
    are in each bin.

    Bars are Wilson's 95 % intervals. Of two classes the probability of the last one is drawn; of
    more, that of the top class against how often it is right.
    """
    rows = _scorable(predictions)
    if len(rows.class_names) == 2:
        name = rows.class_names[1]
        confidence, hit = rows.probabilities[:, 1], rows.labels == 1
        x_label, y_label, colour = (
            f"predicted probability of {name}",
            f"observed share of {name}",
            CLASS_COLOURS[1],
        )
    else:
        confidence, hit = (
            rows.probabilities.max(axis=1),
            rows.probabilities.argmax(axis=1) == rows.labels,
        )
        x_label, y_label, colour = (
            "probability of the top class",
            "share of rows where it is right",
            CLASS_COLOURS[0],
        )
    table = reliability(confidence, hit, bins)
    filled = table["count"] > 0
    figure = canvas(4.9, 5.4)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    axes.plot(
        [0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 4)), label="perfect calibration"
    )
    x, y = table["confidence"][filled], table["frequency"][filled]
    axes.vlines(x, *_wilson(y, table["count"][filled]), color=colour, alpha=0.4, linewidth=1.4)
    axes.plot(
        x,
        y,
        "o-",
        color=colour,
        linewidth=1.6,
        markersize=7,
        markeredgecolor="white",
        markeredgewidth=1.2,
        label="radiographs, by bin",
        clip_on=False,
    )
    dress(axes, "Calibration", "", y_label)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="best", frameon=False, fontsize=9.5)
    below.bar(
        table["edges"][:-1],
        table["count"],
        width=1 / bins,
        align="edge",
        color=colour,
        alpha=0.75,
        edgecolor="white",
    )
    dress(below, "", x_label, "radiographs")
    below.yaxis.set_major_locator(MaxNLocator(3, integer=True))
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
    rows = _scorable(predictions)
    wanted = _curve_classes(rows)
    figure = canvas(5.2, 4.1 if len(wanted) == 1 else 1.6 + 1.5 * len(wanted))
    panels = figure.subplots(len(wanted), 1, sharex=True, squeeze=False)[:, 0]
    classes = range(len(rows.class_names))
    for axes, k in zip(panels, wanted, strict=True):
        axes.hist(
            [rows.probabilities[rows.labels == c, k] for c in classes],
            bins=np.linspace(0, 1, bins + 1),
            stacked=True,
            edgecolor="white",
            linewidth=0.5,
            color=CLASS_COLOURS[: len(rows.class_names)],
            label=[f"true {n}" for n in rows.class_names],
        )
        dress(
            axes,
            "Probabilities by true class" if k == wanted[0] else "",
            f"probability of {rows.class_names[k]}",
            "radiographs",
        )
        axes.set_xlim(0, 1)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    if point is not None and point.threshold is not None:
        panels[0].axvline(
            point.threshold,
            color=INK,
            linewidth=1.4,
            linestyle=(0, (3, 2)),
            label=f"threshold {point.threshold:.3f}",
        )
    panels[0].legend(frameon=False, fontsize=9.5)
    return figure


def training_curves(history: Iterable[dict[str, Any]]) -> Figure:
    """Draw loss, validation scores and learning rate over the epochs of all phases, and mark the
    epoch of lowest validation loss.

    Args:
        history: rows with the columns of history.csv: phase, epoch, loss, val_loss, val_accuracy,
            val_auroc, learning_rate, seconds; numbers may still be texts.
    """
    rows = list(history)
    if not rows:
        raise ValueError("the history is empty. Expected one row an epoch.")
    columns = {
        n: np.array([_number(r.get(n)) for r in rows])
        for n in ("loss", "val_loss", "val_accuracy", "val_auroc", "learning_rate")
    }
    epochs = np.arange(1, len(rows) + 1)
    phases = [str(r.get("phase", "")) for r in rows]
    starts = [i for i in range(len(rows)) if i == 0 or phases[i] != phases[i - 1]]
    best = (
        int(np.nanargmin(columns["val_loss"])) if np.isfinite(columns["val_loss"]).any() else None
    )
    marker = "o" if len(rows) <= 40 else None
    figure = canvas(10.8, 3.7)
    panels = figure.subplots(1, 3)
    lines = (
        (
            "Loss",
            "cross-entropy",
            (("loss", "training", MUTED), ("val_loss", "validation", CLASS_COLOURS[0])),
        ),
        (
            "Validation scores",
            "",
            (
                ("val_accuracy", "accuracy", CLASS_COLOURS[1]),
                ("val_auroc", "AUROC", CLASS_COLOURS[2]),
            ),
        ),
        ("Learning rate", "", (("learning_rate", "", MUTED),)),
    )
    for axes, (title, y_label, series) in zip(panels, lines, strict=True):
        for name, label, colour in series:
            axes.plot(
                epochs,
                columns[name],
                color=colour,
                linewidth=1.8,
                marker=marker,
                markersize=3.5,
                label=label,
            )
        for i in starts[1:]:
            axes.axvline(epochs[i] - 0.5, color=MUTED, linewidth=1, linestyle=(0, (2, 3)))
        if best is not None:
            axes.axvline(
                epochs[best],
                color=CLASS_COLOURS[4],
                linewidth=1.2,
                label="lowest validation loss" if y_label else None,
                zorder=1,
            )
        # room for the phases' names
        dress(axes, title, "epoch", y_label, pad=22 if len(starts) > 1 else 9)
        if len(starts) > 1:
            for i, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
                axes.text(
                    (i + stop + 1) / 2,
                    1.02,
                    phases[i],
                    transform=axes.get_xaxis_transform(),
                    ha="center",
                    va="bottom",
                    fontsize=8.5,
                    color=MUTED,
                )
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        if series[0][1]:
            axes.legend(frameon=False, fontsize=9)
    if (columns["learning_rate"] > 0).any():
        panels[2].set_yscale("log")
    return figure


def contact_sheet(images, titles: Sequence[str] | None = None, columns: int = 6) -> Figure:
    """Draw radiographs side by side.

    Args:
        images: (N, H, W) uint8 in [0, 255], or (N, H, W, 3) with colour overlays.
        titles: N short texts above them; none when left out.
        columns: images a row.
    """
    images = np.asarray(images)
    if (
        images.ndim not in (3, 4)
        or images.dtype != np.uint8
        or not len(images)
        or (images.ndim == 4 and images.shape[3] != 3)
    ):
        raise ValueError(
            "images must be (N, H, W) or (N, H, W, 3) uint8, one or more. Received: "
            f"shape {images.shape}, {images.dtype}"
        )
    titles = [""] * len(images) if titles is None else [str(t) for t in titles]
    if len(titles) != len(images):
        raise ValueError(f"titles must be one an image, {len(images)}. Received: {len(titles)}")
    columns = max(1, min(columns, len(images)))
    lines = -(-len(images) // columns)
    figure = canvas(
        1.75 * columns,
        (1.75 * images.shape[1] / images.shape[2] + (0.3 if any(titles) else 0.05)) * lines,
    )
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02)
    for axes, image, title in zip(
        figure.subplots(lines, columns, squeeze=False).flat, images, titles, strict=False
    ):
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="lanczos")
        axes.set_title(title, fontsize=8.5, color=INK, pad=3)
    for axes in figure.axes:
        axes.set_axis_off()
    return figure


def canvas(width: float, height: float) -> Figure:
    """Make an empty figure of the house, inches."""
    figure = Picture(figsize=(width, height), layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    return figure


def _figure(width: float, height: float):
    figure = canvas(width, height)
    return figure, figure.subplots()


def dress(axes, title: str, x_label: str, y_label: str, grid: bool = True, pad: float = 9) -> None:
    """Give axes the house's title, labels, spines and grid."""
    axes.set_title(title, loc="left", fontsize=12.5, fontweight="bold", color=INK, pad=pad)
    axes.set_xlabel(x_label, color=MUTED, fontsize=10)
    axes.set_ylabel(y_label, color=MUTED, fontsize=10)
    axes.tick_params(colors=INK, labelsize=9.5, color=FAINT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#aab4bc")
    axes.set_axisbelow(True)
    if grid:
        axes.grid(color=FAINT, linewidth=0.8)


def _finish_curve(axes, title: str, x_label: str, y_label: str, place: str) -> None:
    dress(axes, title, x_label, y_label)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    if axes.get_legend_handles_labels()[0]:
        axes.plot(
            [],
            [],
            "o",
            color=MUTED,
            markersize=8,
            markeredgecolor="white",
            label="at the operating point",
        )
        axes.legend(loc=place, frameon=True, framealpha=0.9, edgecolor="none", fontsize=9.5)
    else:
        axes.text(
            0.5,
            0.5,
            "not defined: every row is of one class",
            ha="center",
            va="center",
            color=MUTED,
        )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))


def _scorable(predictions: Predictions) -> Predictions:
    rows = predictions.where(predictions.scorable)
    if not len(rows):
        raise ValueError("there is no labelled, readable row to draw. Expected at least one.")
    return rows


def _curve_classes(rows: Predictions) -> list[int]:
    return [1] if len(rows.class_names) == 2 else list(range(len(rows.class_names)))


def _wilson(frequency: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % interval of a share observed in `count` rows (Wilson 1927, score
    interval).
    """
    z = 1.96
    middle = (frequency + z**2 / (2 * count)) / (1 + z**2 / count)
    half = (
        z
        / (1 + z**2 / count)
        * np.sqrt(frequency * (1 - frequency) / count + z**2 / (4 * count**2))
    )
    return middle - half, middle + half


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan
