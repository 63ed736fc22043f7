"""Maps of embeddings: where radiographs lie, by true class, by decision and by error; and the
nearest cases side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from xray_tf.pages.kit.figures import CLASS_COLOURS, INK, MUTED, Picture, contact_sheet

UNKNOWN = "#b8c0c6"
NEAREST_COLUMNS = 6  # more radiographs a line are too small to see


def draw_map(
    points,
    labels,
    decided,
    class_names: Sequence[str],
    title: str,
    decided_by: str = "the network's head",
) -> Figure:
    """Draw one map three times: coloured by true class, by decided class, and with the errors
    picked out.

    Args:
        points: (N, 2) floats.
        labels: (N,) class indices, -1 where not known (drawn grey).
        decided: (N,) class indices, -1 where not known.
        class_names: K names.
        title: how the map was made.
        decided_by: whose decisions they are.
    """
    points, labels, decided = np.asarray(points, float), np.asarray(labels), np.asarray(decided)
    if (
        points.ndim != 2
        or points.shape[1] != 2
        or labels.shape != points.shape[:1]
        or decided.shape != labels.shape
    ):
        raise ValueError(
            "points must be (N, 2), with one label and one decision each. Received: "
            f"shapes {points.shape}, {labels.shape}, {decided.shape}"
        )
    figure = Picture(figsize=(13.2, 4.9), layout="constrained", facecolor="white")
    panels = figure.subplots(1, 3)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, color=MUTED)
    # or the last class drawn would hide the others
    order = np.random.default_rng(0).permutation(len(points))
    size = float(np.clip(9000 / max(len(points), 1), 5, 36))
    for axes, values, words in (
        (panels[0], labels, "true class"),
        (panels[1], decided, f"decided by {decided_by}"),
    ):
        colours = np.array([*CLASS_COLOURS[: len(class_names)], UNKNOWN])
        axes.scatter(
            *points[order].T,
            s=size,
            c=colours[values[order]],
            linewidths=0,
            alpha=0.75,
            rasterized=True,
        )
        _keys(
            axes,
            [(name, CLASS_COLOURS[c]) for c, name in enumerate(class_names)]
            + ([("not known", UNKNOWN)] if (values < 0).any() else []),
        )
        _bare(axes, words)
    known = (labels >= 0) & (decided >= 0)
    wrong = known & (labels != decided)
    panels[2].scatter(
        *points[~wrong].T, s=size, c="#cfd6db", linewidths=0, alpha=0.7, rasterized=True
    )
    for c in range(len(class_names)):
        panels[2].scatter(
            *points[wrong & (labels == c)].T,
            s=2.2 * size + 8,
            c=CLASS_COLOURS[c],
            marker="X",
            edgecolors="white",
            linewidths=0.5,
        )
    _keys(
        panels[2],
        [(f"{name}, called otherwise", CLASS_COLOURS[c]) for c, name in enumerate(class_names)],
        "X",
    )
    _bare(panels[2], f"errors: {int(wrong.sum()):,} of {int(known.sum()):,}")
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
    return contact_sheet(
        np.stack(shown),
        [t + m for t, m in zip([query_title, *titles], missing, strict=True)],
        columns=NEAREST_COLUMNS,
    )


def _keys(axes, entries: Sequence[tuple[str, str]], marker: str = "o") -> None:
    for name, colour in entries:
        axes.plot(
            [],
            [],
            marker,
            color=colour,
            markersize=6.5,
            label=name,
            markeredgecolor="white",
            markeredgewidth=0.4,
        )
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.01),
        ncols=min(2, len(entries)),
        frameon=False,
        fontsize=8.5,
    )


def _bare(axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11.5, fontweight="bold", color=INK)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#d5dce1")
