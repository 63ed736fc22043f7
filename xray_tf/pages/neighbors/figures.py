"""Plot embeddings by true class, acquisition group, decision and error, and nearest cases side by
side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from xray_tf.pages.kit.canvas import CLASS_COLOURS, INK, MUTED, canvas
from xray_tf.pages.kit.figures import contact_sheet

UNKNOWN = "#b8c0c6"
# of acquisition groups, the largest first (Tol's light palette), unlike those of classes
GROUP_COLOURS = (
    *("#77AADD", "#EE8866", "#EEDD88", "#FFAABB", "#99DDFF"),
    *("#44BB99", "#BBCC33", "#AAAA00", "#7D5A9B"),
)
NEAREST_COLUMNS = 6  # with more radiographs per line they would be too small


def draw_map(
    points,
    labels,
    decided,
    class_names: Sequence[str],
    title: str,
    decided_by: str = "the network's head",
    groups: Sequence[str] = (),
) -> Figure:
    """Plot embeddings coloured by true class, by acquisition group where those are known, by
    decided class, and with the errors highlighted.

    Args:
        points: (N, 2) floats.
        labels: (N,) class indices, -1 where not known (drawn grey).
        decided: (N,) class indices, -1 where not known.
        class_names: K names.
        title: how the plot was made.
        decided_by: whose decisions they are.
        groups: N names of acquisition groups, empty where not known; or none.
    """
    points, labels, decided = np.asarray(points, float), np.asarray(labels), np.asarray(decided)
    count = points.shape[:1]
    named = len(groups) in (0, len(points))
    if points.shape != (*count, 2) or labels.shape != count or decided.shape != count or not named:
        raise ValueError(
            "points must be (N, 2), with N labels, N decisions, and N groups or none. "
            f"Received: shapes {points.shape}, {labels.shape}, {decided.shape}, ({len(groups)},)"
        )
    with_groups = any(groups)
    figure = canvas(17.6 if with_groups else 13.2, 4.9, pad=0.04)
    panels = list(figure.subplots(1, 4 if with_groups else 3))
    figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, color=MUTED)
    # or the last class drawn would hide the others
    order = np.random.default_rng(0).permutation(len(points))
    size = float(np.clip(9000 / max(len(points), 1), 5, 36))
    dots = {"s": size, "linewidths": 0, "rasterized": True}
    if with_groups:
        _by_group(panels.pop(1), points[order], [groups[i] for i in order], dots)
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


def _by_group(axes, points: np.ndarray, groups: Sequence[str], dots: dict) -> None:
    """Colour the largest acquisition groups; all others, and the unknown, are grey."""
    counted = Counter(sorted(g for g in groups if g)).most_common(len(GROUP_COLOURS))
    colour = dict(zip((name for name, _ in counted), GROUP_COLOURS, strict=False))
    axes.scatter(*points.T, c=[colour.get(g, UNKNOWN) for g in groups], alpha=0.75, **dots)
    keys = {f"{name}: {count:,}": colour[name] for name, count in counted}
    others = len(groups) - sum(count for _, count in counted)
    rest = {f"others: {others:,}": UNKNOWN} if others else {}
    _finish(axes, "acquisition group", {**keys, **rest})


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
    axes.legend(ncols=min(3 if len(keys) > 6 else 2, len(keys)), fontsize=8.5, **below)
    axes.set_title(title, loc="left", fontsize=11.5, fontweight="bold", color=INK)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("#d5dce1")
