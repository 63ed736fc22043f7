"""Make the shift card: the results of the shift bench as a plot, sentences and tables.

Everything here takes the dict of shift.json; `jobs.classifier.shift_bench` documents its layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from xray_tf.pages.kit.canvas import CLASS_COLOURS, INK, canvas, dress
from xray_tf.pages.kit.render import Part, Table
from xray_tf.pages.kit.words import NAMES, SPLIT_NAMES, interval_kind, interval_text, value_text

COLUMNS = 6


@dataclass(frozen=True)
class ShiftCard(Part):
    """The shift card in Markdown: a sentence and two tables (head, rows)."""

    template = "classifier/shift.md.jinja"
    said: str
    summary: Table
    changes: Table


def shift_markdown(result: dict[str, Any]) -> list[str]:
    """Return the shift card as lines of Markdown, for a model card."""
    said = shift_sentences(result)[0]
    return ShiftCard(said, shift_summary(result), shift_table(result)).render().splitlines()


def shift_curves(result: dict[str, Any]) -> Figure:
    """Draw each stress in a panel of its own: the recalls at the frozen operating point and AUROC,
    from unchanged to the strongest.

    Bars are 95 % intervals bootstrapped by patient (or by image, where there are no patient keys).
    The panels share one axis, which ends at 0.5 so that small losses are visible; smaller values
    are written at its end. If more than a twentieth of the values are smaller, it ends at 0.
    """
    stresses, series, floor = result["stresses"], _series(result), _floor(result)
    columns = min(COLUMNS, len(stresses))
    lines = -(-len(stresses) // columns)
    figure = canvas(max(2.15 * columns, 4.5), 2.05 * lines + 0.55, pad=0.04)
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axes, stress in zip(panels.flat, stresses, strict=False):
        cells = [result["clean"], *stress["cells"]]
        dress(axes, stress["name"], stress["unit"], size=9.5)
        axes.grid(visible=False, axis="x")
        axes.set_xticks(range(len(cells)), ["clean", *(f"{v:g}" for v in stress["severities"])])
        axes.set(xlim=(-0.3, len(cells) - 0.7), ylim=(floor, 1.003))
        shifts = np.linspace(-0.09, 0.09, len(series))
        for shift, (metric, colour, marker) in zip(shifts, series, strict=True):
            _draw_series(axes, [c[metric] for c in cells], shift, floor, metric, colour, marker)
    for axes in list(panels.flat)[len(stresses) :]:
        axes.set_axis_off()
    names = panels.flat[0].get_legend_handles_labels()
    style = {"ncols": min(4, len(series)), "frameon": False, "fontsize": 9.5}
    figure.legend(*names, loc="outside upper left", **style)
    return figure


def metric_text(metric: str) -> str:
    """Write a metric's name."""
    kind, _, name = metric.partition("/")
    return f"Recall of {name}" if name else NAMES[kind]


def shift_sentences(result: dict[str, Any]) -> list[str]:
    """Say what was measured and what was found."""
    rows = f"{result['rows']:,} {SPLIT_NAMES.get(result['split'], 'labelled')} radiographs"
    patients = f" of {result['patients']:,} patients" if result["patients"] else ""
    settings = sum(len(s["cells"]) for s in result["stresses"])
    first = (
        f"The same {rows}{patients} were scored unchanged and under {len(result['stresses'])} "
        f"graded changes, {settings} settings in all, at the frozen operating point "
        f"“{result['operating_point']}”. Intervals: {interval_kind(result)}."
    )
    if result["operating_point"] == "steady" and result["split"] == "val":
        first += (
            " That point was fitted on validation rows under the same changes, at their middle "
            "severity, so the numbers of this card are optimistic."
        )
    out = [first]
    for metric in result["metrics"][:-2]:
        clean, mean, drop, worst = (result[k][metric] for k in ("clean", "mean", "drop", "worst"))
        if mean["value"] is not None and clean["value"] is not None:
            out.append(
                f"{metric_text(metric)}: {value_text(clean)} unchanged, {interval_text(mean)} on "
                f"average over the changes (drop {interval_text(drop)}); lowest under "
                f"{worst['stress']}, {value_text(worst)}."
            )
    return out


def shift_summary(result: dict[str, Any]) -> Table:
    """Return the summary table, (head, rows), one row a metric: clean, mean over the changes, drop,
    worst change.
    """
    rows = []
    for metric in result["metrics"]:
        worst = result["worst"][metric]
        numbers = [interval_text(result[k][metric]) for k in ("clean", "mean", "drop")]
        lowest = f"{value_text(worst)} ({worst['stress']})" if worst["stress"] else "–"
        rows.append([metric_text(metric), *numbers, lowest])
    head = "metric", "unchanged", "mean over the changes", "drop"
    return [*head, "worst change, mean of its severities"], rows


def shift_table(result: dict[str, Any]) -> Table:
    """Return the table of stresses, (head, rows), one row a stress: its severities, and each drawn
    metric at each of them.
    """
    metrics = [m for m, _, _ in _series(result)]
    rows = [["unchanged", "", "", *(value_text(result["clean"][m]) for m in metrics)]]
    for s in result["stresses"]:
        severities = f"{', '.join(f'{v:g}' for v in s['severities'])} {s['unit']}"
        values = [", ".join(value_text(c[m]) for c in s["cells"]) for m in metrics]
        rows.append([s["name"], s["what"], severities, *values])
    return ["change", "what it is", "severities", *(metric_text(m) for m in metrics)], rows


def shift_alt(result: dict[str, Any]) -> str:
    """Return the picture's text alternative."""
    names = ", ".join(metric_text(m) for m, _, _ in _series(result))
    return (
        f"{names} against the severity of each of {len(result['stresses'])} changes; the table "
        "below has the same numbers."
    )


def _series(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return (metric, colour, marker) of what is drawn: each recall in its class's colour, then
    AUROC.
    """
    metrics, count = result["metrics"][:-2], len(result["class_names"])
    colours = CLASS_COLOURS[1::-1] if count == 2 else CLASS_COLOURS[:count]
    return list(zip(metrics, [*colours, INK], [*"os^Dvp"[: len(metrics) - 1], "."], strict=True))


def _floor(result: dict[str, Any]) -> float:
    """Return where the axis that all panels share ends."""
    cells = [c for s in result["stresses"] for c in (result["clean"], *s["cells"])]
    drawn = [c[m]["value"] for c in cells for m, _, _ in _series(result)]
    values = [v for v in drawn if v is not None]
    if sum(v < 0.5 for v in values) > len(values) / 20:
        return 0.0
    return float(np.clip(np.floor(10 * min(values, default=0.9)) / 10, 0.5, 0.9))


def _draw_series(
    axes, cells: list[dict], shift: float, floor: float, metric: str, colour: str, marker: str
) -> None:
    """Draw one metric over the severities; what lies below the axis is written at its foot."""
    y, low, high = (
        np.array([np.nan if c[k] is None else c[k] for c in cells])
        for k in ("value", "low", "high")
    )
    x = np.arange(len(cells)) + shift
    style = {"color": colour, "linewidth": 1.5, "marker": marker, "markersize": 4}
    axes.vlines(x, low, high, color=colour, alpha=0.35, linewidth=1.6)
    axes.plot(x, y, label=metric_text(metric), clip_on=bool((y < floor).any()), **style)
    for i in np.flatnonzero(y < floor):
        where = {"color": colour, "fontsize": 8, "ha": "center", "va": "bottom"}
        axes.text(x[i], floor + 0.01, f"{y[i]:.2f}", **where)
