"""Plot an examination: what survives without each region, the score while pixels are removed, and
heat maps while weights are shuffled.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from xray_tf.pages.classifier.shift_card import metric_text
from xray_tf.pages.heatmaps.measures import REGION_NAMES, drawn_metrics, shortcut_summary
from xray_tf.pages.kit.canvas import CLASS_COLOURS, INK, MUTED, canvas, dress, to_png_bytes

_FILL_MARKS = {"mean": "o", "smooth": "s", "noise": "^"}


def removal_figure(result: dict[str, Any]) -> Figure:
    """Draw the mean score against the share removed, most and least important first, a panel a
    baseline.
    """
    curves, names = result["curves"], list(result["maps"])
    baselines = list(dict.fromkeys(k.rsplit("_", 1)[0] for k in curves[names[0]]))
    figure = canvas(3.4 * len(baselines), 3.3, pad=0.04)
    panels = figure.subplots(1, len(baselines), squeeze=False, sharey=True)[0]
    for axes, baseline in zip(panels, baselines, strict=True):
        for name, colour in zip(names, [*CLASS_COLOURS, MUTED, INK], strict=False):
            for order, line in (("most", "-"), ("least", ":")):
                y, label = curves[name][f"{baseline}_{order}"], f"{name}, {order} first"
                axes.plot(curves["shares"], y, line, color=colour, linewidth=1.6, label=label)
        title = f"{baseline.replace('_', ' ')} in their place"
        dress(axes, title, "share of the pixels removed", size=10)
    panels[0].set_ylabel("mean score")
    _legend_below(figure, panels[0], min(4, len(names)))
    return figure


def randomisation_figure(result: dict[str, Any]) -> Figure:
    """Draw how alike heat maps stay while weights are shuffled from the top; dashed: heat maps of
    different radiographs.
    """
    figure = canvas(7.6, 3.2, pad=0.04)
    panels = figure.subplots(1, 2, sharey=True)
    titles = {"rank_correlation": "rank correlation", "ssim": "structural similarity"}
    for axes, (key, title) in zip(panels, titles.items(), strict=True):
        methods = result["randomisation"]["methods"].items()
        for (name, one), colour in zip(methods, CLASS_COLOURS * 2, strict=False):
            x = [0, *(d["share"] for d in one["depths"])]
            y, low, high = (
                [1.0, *(d[key][k] for d in one["depths"])] for k in ("value", "low", "high")
            )
            axes.plot(x, y, marker="o", markersize=4, color=colour, linewidth=1.6, label=name)
            axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
            other = one["between_radiographs"][key]["value"]
            style = {"color": colour, "linestyle": "--", "linewidth": 1}
            axes.axhline(other, label="heat maps of different radiographs", **style)
        dress(axes, title, "share of the layers shuffled, from the top", size=10)
    panels[0].legend(loc="upper right", framealpha=0.8, edgecolor="none", fontsize=8.5)
    return figure


def shortcut_figure(result: dict[str, Any]) -> Figure:
    """Draw what survives each region, a panel a metric, a mark a fill, with 95 % intervals; the
    line is the value unchanged.
    """
    metrics, regions, fills = drawn_metrics(result), list(result["regions"]), list(result["fills"])
    figure = canvas(1.9 + 2.5 * len(metrics), 0.5 * len(regions) + 1.3, pad=0.04)
    panels = figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        whole = result["unchanged"][metric]["value"]
        if whole is not None:
            axes.axvline(whole, color=MUTED, linewidth=1)
        for cell in result["cells"]:
            at, one = fills.index(cell["fill"]), cell[metric]
            y = regions.index(cell["region"]) + 0.22 * (at - (len(fills) - 1) / 2)
            label = cell["fill"] if cell["region"] == regions[0] else None
            style = {"color": CLASS_COLOURS[at]}
            if one["low"] is not None:
                axes.plot([one["low"], one["high"]], [y, y], linewidth=1.6, alpha=0.5, **style)
            if one["value"] is not None:
                mark = _FILL_MARKS[cell["fill"]]
                axes.plot(one["value"], y, mark, markersize=5, label=label, **style)
        axes.set_xlim(-0.02, 1.02)
        dress(axes, metric_text(metric), size=10)
    panels[0].set_yticks(range(len(regions)), [REGION_NAMES[r] for r in regions])
    panels[0].invert_yaxis()
    _legend_below(figure, panels[0], 3, title="removed, filled with")
    return figure


def write_pictures(folder: str | os.PathLike) -> None:
    """Plot the contents of the folder's JSON files as faithfulness.png, randomisation.png and
    shortcuts.png.
    """
    found = shortcut_summary(folder)
    faithful, shortcuts = found["faithfulness"] or {}, found["shortcuts"]
    drawn = {}
    if "maps" in faithful:
        drawn["faithfulness.png"] = removal_figure(faithful)
    if faithful.get("randomisation"):
        drawn["randomisation.png"] = randomisation_figure(faithful)
    if shortcuts:
        drawn["shortcuts.png"] = shortcut_figure(shortcuts)
    for name, figure in drawn.items():
        (Path(folder) / name).write_bytes(to_png_bytes(figure))


def _legend_below(figure: Figure, axes, columns: int, title: str | None = None) -> None:
    names = axes.get_legend_handles_labels()
    style = {"ncols": columns, "frameon": False, "fontsize": 8.5, "title": title}
    figure.legend(*names, loc="outside lower center", **style)
