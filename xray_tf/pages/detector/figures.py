"""Plot anomaly detection: histograms with thresholds, the two scores against each other, and
radiographs with their heat maps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xray_tf.data.predictions import Predictions
from xray_tf.data.scores import Scores
from xray_tf.pages.kit import overlays
from xray_tf.pages.kit.canvas import CLASS_COLOURS, INK, MUTED, canvas, dress
from xray_tf.stats.detector.or_rule import HIGH_IS_ANOMALOUS

GROUP_COLOURS = {
    "normal": CLASS_COLOURS[0],
    "pneumonia": CLASS_COLOURS[1],
    "not labelled": "#8a949c",
}
WORDS = {
    "reconstruction_error": "mean squared, of standardised features",
    "log_density": "natural logarithm; higher = more normal",
}
CHOICE = (
    "The radiographs of each outcome are shown whose anomaly score is nearest to the median of "
    "their group. Positive means called anomalous; ties go to the earlier file."
)
_TAIL = 0.5  # percent of the rows at either end that share the outermost bins
_THRESHOLD = {"color": INK, "linewidth": 1.4, "linestyle": (0, (4, 2))}
_LEGEND = {"frameon": True, "framealpha": 0.9, "edgecolor": "none", "fontsize": 9}


def score_histograms(scores: Scores, thresholds: dict[str, float], bins: int = 40) -> Figure:
    """Draw how each raw score is spread over normals and pneumonia, each as shares of its own, with
    the threshold.

    Args:
        scores: rows that could be read; unlabelled ones are a group of their own.
        thresholds: score -> value.
        bins: equal-width ones; the outermost hold what lies beyond.
    """
    rows = scores.where(scores.read)
    if not len(rows):
        raise ValueError("there is no scored row to plot. Expected at least one.")
    figure = canvas(max(3.9 * len(scores.names), 5.4), 3.9)
    panels = figure.subplots(1, len(scores.names), squeeze=False)[0]
    for k, (axes, name) in enumerate(zip(panels, scores.names, strict=True)):
        low, high = _span(rows.values[:, k], thresholds[name])
        edges = np.linspace(low, high if high > low else low + 1, bins + 1)
        for group, colour, member in _groups(rows):
            inside = np.clip(rows.values[member, k], edges[0], edges[-1])
            shares, label = np.full(len(inside), 100 / len(inside)), f"{group} ({len(inside):,})"
            style = {"color": colour, "alpha": 0.55, "edgecolor": "white", "linewidth": 0.3}
            axes.hist(inside, edges, weights=shares, label=label, **style)
        axes.axvline(thresholds[name], label=f"threshold {thresholds[name]:.4g}", **_THRESHOLD)
        title, words = name.replace("_", " ").capitalize(), WORDS.get(name, "higher = more normal")
        dress(axes, title, words, "% of the group")
        side = "right" if name in HIGH_IS_ANOMALOUS else "left"
        axes.legend(loc=f"upper {side}", **_LEGEND)
        axes.xaxis.set_major_locator(MaxNLocator(5))
    return figure


def score_scatter(scores: Scores, thresholds: dict[str, float]) -> Figure:
    """Draw the first two scores against each other; what lies outside the shaded corner is
    anomalous by one of them or both.
    """
    rows, names = scores.where(scores.read), scores.names[:2]
    bounds = [thresholds[n] for n in names]
    figure = canvas(5.4, 4.6)
    axes, size = figure.subplots(), float(np.clip(6000 / len(rows), 4, 26))
    for group, colour, member in _groups(rows):
        style = {"color": colour, "alpha": 0.6, "linewidths": 0, "rasterized": True}
        axes.scatter(*rows.values[member, :2].T, s=size, label=group, **style)
    limits = []
    for k, bound in enumerate(bounds):
        low, high = _span(rows.values[:, k], bound)
        pad = 0.04 * (high - low) or 1.0
        limits.append((low - pad, high + pad))
    axes.set(xlim=limits[0], ylim=limits[1])
    axes.axvline(bounds[0], **_THRESHOLD)
    axes.axhline(bounds[1], label="thresholds", **_THRESHOLD)
    corner = {"color": CLASS_COLOURS[0], "alpha": 0.07, "linewidth": 0}
    axes.fill_between([limits[0][0], bounds[0]], bounds[1], limits[1][1], **corner)
    dress(axes, "The rule", *(n.replace("_", " ") for n in names))
    axes.legend(loc="lower left", markerscale=2, **_LEGEND)
    return figure


def loss_curves(history: Iterable[dict[str, Any]]) -> Figure:
    """Draw the autoencoder's loss on the normals it learns from and on those it is watched on; rows
    of history.csv, one an epoch.
    """
    rows = list(history)
    figure = canvas(5.4, 3.6)
    axes, epochs = figure.subplots(), np.arange(1, len(rows) + 1)
    learnt, watched = (np.array([float(r[k]) for r in rows]) for k in ("loss", "val_loss"))
    axes.plot(epochs, learnt, color=MUTED, linewidth=1.8, label="learned from (augmented)")
    axes.plot(epochs, watched, color=CLASS_COLOURS[0], linewidth=1.8, label="watched")
    axes.axvline(epochs[int(watched.argmin())], color=CLASS_COLOURS[4], linewidth=1.2, label="kept")
    axes.set_yscale("log")
    dress(axes, "Autoencoder", "epoch", "loss")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.legend(frameon=False, fontsize=9, loc="upper right")
    return figure


def as_predictions(scores: Scores) -> Predictions:
    """Return labelled scores as a table for the figures of classifiers; where those have a
    probability stands the anomaly score, which is not one.
    """
    rows = scores.where(scores.read & (scores.labels != ""))
    return Predictions(
        ("normal", "pneumonia"),
        rows.paths,
        np.stack([1 - rows.anomaly, rows.anomaly], axis=1),
        (rows.verdicts == "anomalous").astype(np.int64),
        patients=rows.patients,
        splits=rows.splits,
        labels=list(rows.labels),
    )


def choose_examples(scores: Scores, count: int) -> dict[str, np.ndarray]:
    """Choose rows of labelled scores to show for each outcome, by `CHOICE`: {outcome: positions in
    `scores`}.
    """
    positions = np.flatnonzero(scores.read & (scores.labels != ""))
    table = as_predictions(scores)
    chosen = overlays.choose_outcomes(table.labels, table.predicted, table.probabilities, count)
    return {outcome: positions[rows] for outcome, rows in chosen.items()}


def score_panel(
    image: np.ndarray,
    registered: np.ndarray,
    heat: np.ndarray,
    alpha: float = 0.5,
    colormap: str = "jet",
) -> np.ndarray:
    """Set a radiograph, what the detector sees of it, and its overlay side by side: (S, 16 + 3 S,
    3) uint8 RGB of pictures (S, S).
    """
    nothing = np.zeros(image.shape[:2], np.float32)
    plain = [overlays.overlay(picture, nothing) for picture in (image, registered)]
    return overlays.beside([*plain, overlays.overlay(image, heat, alpha, colormap)])


def _groups(rows: Scores) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield (group, colour, (N,) bool who belongs to it) of each group that has rows."""
    labels = np.where(rows.labels == "", "not labelled", rows.labels)
    for group, colour in GROUP_COLOURS.items():
        if (labels == group).any():
            yield group, colour, labels == group


def _span(values: np.ndarray, bound: float) -> tuple[float, float]:
    """Return the range of all but the outermost values, stretched to a threshold."""
    low, high = np.percentile(values, [_TAIL, 100 - _TAIL])
    return min(low, bound), max(high, bound)
