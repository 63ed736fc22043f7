"""Pictures of anomaly detection: histograms with the thresholds drawn in, the two scores against
each other, and radiographs with their error maps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xray_tf.data.predictions import Predictions
from xray_tf.data.scores import Scores
from xray_tf.pages.kit import overlays
from xray_tf.pages.kit.figures import CLASS_COLOURS, INK, MUTED, canvas, dress
from xray_tf.stats.detector.or_rule import HIGH_IS_ANOMALOUS

GROUP_COLOURS = {
    "normal": CLASS_COLOURS[0],
    "pneumonia": CLASS_COLOURS[1],
    "not labelled": "#8a949c",
}
WORDS = {
    "reconstruction_error": "mean squared, intensities in [0, 1]",
    "log_density": "natural logarithm; higher = more normal",
}
CHOICE = (
    "Of each outcome the radiographs whose anomaly score lies nearest to the median of "
    "their group; positive means called anomalous; "
    "ties go to the earlier file."
)
_TAIL = 0.5  # percent of the rows at either end that share the outermost bins


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
        raise ValueError("there is no scored row to draw. Expected at least one.")
    figure = canvas(max(3.9 * len(scores.names), 5.4), 3.9)
    for k, (axes, name) in enumerate(
        zip(figure.subplots(1, len(scores.names), squeeze=False)[0], scores.names, strict=True)
    ):
        values, bound = rows.values[:, k], thresholds[name]
        low, high = np.percentile(values, [_TAIL, 100 - _TAIL])
        low, high = min(low, bound), max(high, bound)
        edges = np.linspace(low, high if high > low else low + 1, bins + 1)
        for group, colour in GROUP_COLOURS.items():
            inside = values[
                (rows.labels if group != "not labelled" else np.where(rows.labels == "", group, ""))
                == group
            ]
            if len(inside):
                axes.hist(
                    np.clip(inside, edges[0], edges[-1]),
                    edges,
                    weights=np.full(len(inside), 100 / len(inside)),
                    color=colour,
                    alpha=0.55,
                    label=f"{group} ({len(inside):,})",
                    edgecolor="white",
                    linewidth=0.3,
                )
        axes.axvline(
            bound, color=INK, linewidth=1.5, linestyle=(0, (4, 2)), label=f"threshold {bound:.4g}"
        )
        dress(
            axes,
            name.replace("_", " ").capitalize(),
            WORDS.get(name, "higher = more normal"),
            "% of the group",
        )
        # "best" is slow, and warns of it
        corner = "upper right" if name in HIGH_IS_ANOMALOUS else "upper left"
        axes.legend(frameon=True, framealpha=0.9, edgecolor="none", fontsize=9, loc=corner)
        axes.xaxis.set_major_locator(MaxNLocator(5))
    return figure


def score_scatter(scores: Scores, thresholds: dict[str, float]) -> Figure:
    """Draw the first two scores against each other; what lies outside the shaded corner is
    anomalous by one of them or both.
    """
    rows = scores.where(scores.read)
    (x_name, y_name), values = scores.names[:2], rows.values
    figure = canvas(5.4, 4.6)
    axes = figure.subplots()
    for group, colour in GROUP_COLOURS.items():
        inside = (
            rows.labels if group != "not labelled" else np.where(rows.labels == "", group, "")
        ) == group
        if inside.any():
            axes.scatter(
                values[inside, 0],
                values[inside, 1],
                s=float(np.clip(6000 / len(rows), 4, 26)),
                color=colour,
                alpha=0.6,
                linewidths=0,
                label=group,
                rasterized=True,
            )
    lines = {"color": INK, "linewidth": 1.3, "linestyle": (0, (4, 2))}
    limits = [np.percentile(values[:, k], [_TAIL, 100 - _TAIL]) for k in (0, 1)]
    bounds = [thresholds[x_name], thresholds[y_name]]
    spans = [(min(a, t), max(b, t)) for (a, b), t in zip(limits, bounds, strict=True)]
    pads = [0.04 * (b - a) or 1.0 for a, b in spans]
    axes.set(
        xlim=(spans[0][0] - pads[0], spans[0][1] + pads[0]),
        ylim=(spans[1][0] - pads[1], spans[1][1] + pads[1]),
    )
    axes.axvline(bounds[0], **lines)
    axes.axhline(bounds[1], **lines, label="thresholds")
    axes.fill_between(
        [axes.get_xlim()[0], bounds[0]],
        bounds[1],
        axes.get_ylim()[1],
        color=CLASS_COLOURS[0],
        alpha=0.07,
        linewidth=0,
    )
    dress(axes, "The rule", x_name.replace("_", " "), y_name.replace("_", " "))
    axes.legend(
        frameon=True, framealpha=0.85, edgecolor="none", fontsize=9, markerscale=2, loc="lower left"
    )
    return figure


def loss_curves(history: Iterable[dict[str, Any]]) -> Figure:
    """Draw the autoencoder's loss on the normals it learns from and on those it is watched on; rows
    of history.csv, one an epoch.
    """
    rows = list(history)
    figure = canvas(5.4, 3.6)
    axes = figure.subplots()
    epochs = np.arange(1, len(rows) + 1)
    watched = np.array([float(r["val_loss"]) for r in rows])
    axes.plot(
        epochs,
        [float(r["loss"]) for r in rows],
        color=MUTED,
        linewidth=1.8,
        label="learnt from (augmented)",
    )
    axes.plot(epochs, watched, color=CLASS_COLOURS[0], linewidth=1.8, label="watched")
    axes.axvline(epochs[int(watched.argmin())], color=CLASS_COLOURS[4], linewidth=1.2, label="kept")
    axes.set_yscale("log")
    dress(axes, "Autoencoder", "epoch", "loss")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.legend(frameon=False, fontsize=9, loc="upper right")
    return figure


def as_predictions(scores: Scores) -> Predictions:
    """Return labelled scores as a table for the figures of classifiers: the anomaly score stands
    where they have a probability; it is none.
    """
    rows = scores.where(scores.read & (scores.labels != ""))
    return Predictions(
        ("normal", "pneumonia"),
        rows.paths,
        np.stack([1 - rows.anomaly, rows.anomaly], axis=1),
        (rows.verdicts == "anomalous").astype(np.int64),
        rows.patients,
        rows.splits,
        list(rows.labels),
    )


def choose_examples(scores: Scores, count: int) -> dict[str, np.ndarray]:
    """Choose rows of labelled scores to show for each outcome, by `CHOICE`: {outcome: positions in
    `scores`}.
    """
    positions = np.flatnonzero(scores.read & (scores.labels != ""))
    table = as_predictions(scores)
    return {
        outcome: positions[rows]
        for outcome, rows in overlays.choose_outcomes(
            table.labels, table.predicted, table.probabilities, count
        ).items()
    }


def example_grid(
    images: Sequence[np.ndarray],
    maps: dict[str, np.ndarray],
    scores: Scores,
    groups: dict[str, np.ndarray],
    alpha: float = 0.5,
    colormap: str = "jet",
) -> np.ndarray:
    """Draw radiographs beside their maps, one row a group.

    Args:
        images: radiographs (S, S) uint8, aligned with the groups' positions laid end to end.
        maps: kind -> maps (S, S) in [0, 1], aligned alike.
        scores: the table the positions are of.
        groups: {title: positions}.

    Returns:
        (H, W, 3) uint8 RGB on white.
    """
    lines, at = [], 0
    for title, positions in groups.items():
        cells = []
        for i in positions:
            cells.append(
                score_panel(
                    images[at],
                    {kind: each[at] for kind, each in maps.items()},
                    float(scores.anomaly[i]),
                    alpha,
                    colormap,
                )
            )
            at += 1
        nothing = np.full((8, 2 * np.asarray(images[0]).shape[1], 3), 255, np.uint8)
        lines.append(
            overlays.titled(overlays.beside(cells), title)
            if cells
            else overlays.titled(nothing, f"{title}: none")
        )
    return overlays.stacked(lines)


def score_panel(
    image: np.ndarray,
    maps: dict[str, np.ndarray],
    anomaly: float,
    alpha: float = 0.5,
    colormap: str = "jet",
) -> np.ndarray:
    """Set a radiograph and its overlays side by side, the anomaly score above: (24 + S, 8 k + (k +
    1) S, 3) uint8 RGB for k kinds of map (S, S) in [0, 1].
    """
    plain = overlays.overlay(image, np.zeros_like(next(iter(maps.values()))))
    return overlays.beside(
        [
            overlays.titled(plain, f"anomaly score {anomaly:.2f}"),
            *(
                overlays.titled(overlays.overlay(image, heat, alpha, colormap), kind)
                for kind, heat in maps.items()
            ),
        ]
    )
