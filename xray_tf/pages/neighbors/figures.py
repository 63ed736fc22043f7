"""Plot embeddings by true class, by decision and by error, and nearest cases side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from xray_tf.pages.kit.canvas import CLASS_COLOURS, INK, MUTED, canvas
from xray_tf.pages.kit.figures import contact_sheet

UNKNOWN = "#b8c0c6"
NEAREST_COLUMNS = 6  # with more radiographs per line they would be too small


def draw_map(
    points,
    labels,
    decided,
    class_names: Sequence[str],
    title: str,
    decided_by: str = "the network's head",
) -> Figure:
    """Plot embeddings three times: coloured by true class, by decided class, and with the errors
    highlighted.

    Args:
        points: (N, 2) floats.
        labels: (N,) class indices, -1 where not known (drawn grey).
        decided: (N,) class indices, -1 where not known.
        class_names: K names.
        title: how the plot was made.
        decided_by: whose decisions they are.
    """
    points, labels, decided = np.asarray(points, float), np.asarray(labels), np.asarray(decided)
    count = points.shape[:1]
    if points.shape != (*count, 2) or labels.shape != count or decided.shape != count:
        raise ValueError(
            "points must be (N, 2), with one label and one decision each. Received: "
            f"shapes {points.shape}, {labels.shape}, {decided.shape}"
        )
    figure = canvas(13.2, 4.9, pad=0.04)
    panels = figure.subplots(1, 3)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, color=MUTED)
    # or the last class drawn would hide the others
    order = np.random.default_rng(0).permutation(len(points))
    size = float(np.clip(9000 / max(len(points), 1), 5, 36))
    dots = {"s": size, "linewidths": 0, "rasterized": True}
    keys = dict(zip(class_names, CLASS_COLOURS, strict=False))
    titles = {"true class": labels, f"decided by {decided_by}": decided}
    for axes, (words, values) in zip(panels, titles.items(), strict=False):
        colours = np.array([*CLASS_COLOURS[: len(class_names)], UNKNOWN])
        axes.scatter(*points[order].T, c=colours[values[order]], alpha=0.75, **dots)
        unknown = {"not known": UNKNOWN} if (values < 0).any() else {}
        _finish(axes, words, {**keys, **unknown})
    known = (labels >= 0) & (decided >= 0)
    wrong = known & (labels != decided)
    panels[2].scatter(*points[~wrong].T, c="#cfd6db", alpha=0.7, **dots)
    cross = {"s": 2.2 * size + 8, "marker": "X", "edgecolors": "white", "linewidths": 0.5}
    for c in range(len(class_names)):
        panels[2].scatter(*points[wrong & (labels == c)].T, c=CLASS_COLOURS[c], **cross)
    words = f"errors: {int(wrong.sum()):,} of {int(known.sum()):,}"
    _finish(panels[2], words, {f"{n}, called otherwise": c for n, c in keys.items()}, "X")
    return figure


def draw_nearest(
    query: np.ndarray | None,
    query_title: str,
    images: Sequence[np.ndarray | None],
    titles: Sequence[str],
) -> Figure:
    """Draw a radiograph and its nearest training cases side by side, six a line.

    Args:
        query: (S, S) uint8, or None where it cannot be shown.
        query_title: a short text.
        images: neighbours, each (S, S) uint8 or None where its file was not found; those are drawn
            as an empty frame.
        titles: one a neighbour.
    """
    side = next((i.shape[0] for i in (query, *images) if i is not None), 64)
    empty = np.full((side, side), 235, np.uint8)
    shown = [empty if i is None else i for i in (query, *images)]
    missing = ["" if i is not None else "\n(no picture)" for i in (query, *images)]
    words = [t + m for t, m in zip([query_title, *titles], missing, strict=True)]
    return contact_sheet(np.stack(shown), words, columns=NEAREST_COLUMNS)


def _finish(axes, title: str, keys: dict[str, str], marker: str = "o") -> None:
    """Write what the colours are below a panel, and its title above."""
    for name, colour in keys.items():
        style = {"color": colour, "markeredgecolor": "white", "markeredgewidth": 0.4}
        axes.plot([], [], marker, markersize=6.5, label=name, **style)
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.01), "frameon": False}
    axes.legend(ncols=min(2, len(keys)), fontsize=8.5, **below)
    axes.set_title(title, loc="left", fontsize=11.5, fontweight="bold", color=INK)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("#d5dce1")
