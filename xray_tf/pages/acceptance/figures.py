"""Draw decision curves, and how unusual radiographs are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from xray_tf.pages.kit.canvas import CLASS_COLOURS, DASHED, MUTED, canvas, dress


def decision_curve(curve: dict[str, Any], names: Sequence[str]) -> Figure:
    """Draw net benefit against the probability from which one acts.

    Args:
        curve: `decision_curve`, or `net_benefit` of a comparison, of acceptance.json.
        names: of the model, and of the other one in a comparison.
    """
    figure = canvas(5.6, 4.2)
    axes, x = figure.subplots(), np.array(curve["thresholds"])
    everybody = np.array(curve["everybody"])
    series = [curve[key] for key in ("model", "one", "other") if key in curve]
    for y, name, colour in zip(series, names, CLASS_COLOURS, strict=False):
        axes.plot(x, y, color=colour, linewidth=2, label=name, zorder=3)
    axes.plot(x, everybody, color=MUTED, linewidth=1.2, linestyle=DASHED, label="act on everybody")
    axes.axhline(0, color=MUTED, linewidth=1.2, label="act on nobody")
    top = max(curve["prevalence"], max(map(max, series)))
    axes.set(xlim=(0, 1), ylim=(-0.12 * top - 0.02, 1.08 * top))
    dress(axes, "Net benefit", "probability from which one acts", "net benefit")
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.legend(loc="best", frameon=True, framealpha=0.9, edgecolor="none", fontsize=9.5)
    return figure


def unusual(percentiles: Sequence[float]) -> Figure:
    """Draw how unusual radiographs are, by their percentile among the training radiographs; a flat
    histogram is what training radiographs would have.
    """
    figure = canvas(5.6, 3.4)
    axes, values = figure.subplots(), np.asarray(percentiles)
    bars = {"color": CLASS_COLOURS[0], "alpha": 0.75, "edgecolor": "white"}
    axes.hist(values, bins=np.linspace(0, 100, 21), **bars)
    expected = {"color": MUTED, "linestyle": DASHED, "label": "if they were training radiographs"}
    axes.axhline(len(values) / 20, linewidth=1.4, **expected)
    axes.set(xlim=(0, 100))
    dress(axes, "Distance to the training radiographs", "percentile among them", "radiographs")
    axes.legend(loc="best", frameon=True, framealpha=0.9, edgecolor="none", fontsize=9.5)
    return figure
