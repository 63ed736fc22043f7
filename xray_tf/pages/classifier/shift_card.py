"""The shift card: what the shift bench found, as a picture, sentences and tables, for the report,
the model card and a notebook.

Everything here takes the dict of shift.json (`jobs.shift_bench` holds its layout).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from xray_tf.pages.kit.figures import CLASS_COLOURS, FAINT, INK, MUTED, Picture
from xray_tf.pages.kit.words import NAMES, SPLIT_NAMES, interval_kind, interval_text, value_text

COLUMNS = 6


def shift_curves(result: dict[str, Any]) -> Figure:
    """Draw each stress in a panel of its own: the recalls at the frozen operating point and AUROC,
    from unchanged to the strongest.

    Bars are 95 % intervals bootstrapped by patient (or by image, where there are no patient keys).
    The panels share one axis, which ends at 0.5 so that small losses show; what lies below is
    written at its foot. Where more than a twentieth of the values lie there, it ends at 0.
    """
    stresses, series = result["stresses"], _series(result)
    columns = min(COLUMNS, len(stresses))
    lines = -(-len(stresses) // columns)
    figure = Picture(
        figsize=(max(2.15 * columns, 4.5), 2.05 * lines + 0.55),
        layout="constrained",
        facecolor="white",
    )
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True)
    values = [
        c[m]["value"]
        for s in stresses
        for c in [result["clean"], *s["cells"]]
        for m, _, _ in series
        if c[m]["value"] is not None
    ]
    many_below = sum(v < 0.5 for v in values) > len(values) / 20
    floor = 0.0 if many_below else np.clip(np.floor(10 * min(values, default=0.9)) / 10, 0.5, 0.9)
    for axes, stress in zip(panels.flat, stresses, strict=False):
        cells = [result["clean"], *stress["cells"]]
        for shift, (metric, colour, marker) in zip(
            np.linspace(-0.09, 0.09, len(series)), series, strict=True
        ):
            y, low, high = (
                np.array([np.nan if c[metric][k] is None else c[metric][k] for c in cells])
                for k in ("value", "low", "high")
            )
            x = np.arange(len(cells)) + shift
            axes.vlines(x, low, high, color=colour, alpha=0.35, linewidth=1.6)
            axes.plot(
                x,
                y,
                color=colour,
                linewidth=1.5,
                marker=marker,
                markersize=4,
                label=metric_text(metric),
                clip_on=bool((y < floor).any()),
            )
            for i in np.flatnonzero(y < floor):
                axes.text(
                    x[i],
                    floor + 0.01,
                    f"{y[i]:.2f}",
                    color=colour,
                    fontsize=8,
                    ha="center",
                    va="bottom",
                )
        axes.set_title(
            stress["name"], loc="left", fontsize=9.5, fontweight="bold", color=INK, pad=4
        )
        axes.set_xticks(range(len(cells)), ["clean", *(f"{v:g}" for v in stress["severities"])])
        axes.set_xlabel(stress["unit"], fontsize=7.5, color=MUTED, labelpad=1)
        axes.set_xlim(-0.3, len(cells) - 0.7)
        axes.set_ylim(floor, 1.003)
        axes.tick_params(labelsize=7.5, colors=INK, color=FAINT)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color("#aab4bc")
        axes.grid(axis="y", color=FAINT, linewidth=0.8)
        axes.set_axisbelow(True)
    for axes in list(panels.flat)[len(stresses) :]:
        axes.set_axis_off()
    handles, names = panels.flat[0].get_legend_handles_labels()
    figure.legend(
        handles,
        names,
        loc="outside upper left",
        ncols=min(4, len(names)),
        frameon=False,
        fontsize=9.5,
    )
    return figure


def metric_text(metric: str) -> str:
    """Write a metric's name."""
    kind, _, name = metric.partition("/")
    return f"Recall of {name}" if name else NAMES[kind]


def shift_sentences(result: dict[str, Any]) -> list[str]:
    """Say what was measured, and what came of it."""
    rows = f"{result['rows']:,} {SPLIT_NAMES.get(result['split'], 'labelled')} radiographs"
    patients = f" of {result['patients']:,} patients" if result["patients"] else ""
    cells = sum(len(s["cells"]) for s in result["stresses"])
    out = [
        f"The same {rows}{patients} were scored unchanged and under {len(result['stresses'])} "
        f"graded changes, {cells} settings in all, at the frozen "
        f"operating point “{result['operating_point']}”. Intervals: {interval_kind(result)}."
    ]
    if result["operating_point"] == "steady" and result["split"] == "val":
        out[0] += (
            " That point was fitted on validation rows under these very changes, at their "
            "middle severity, so this card flatters it."
        )
    for metric in result["metrics"][:-2]:
        clean, mean, drop, worst = (result[k][metric] for k in ("clean", "mean", "drop", "worst"))
        if mean["value"] is None or clean["value"] is None:
            continue
        text = (
            f"{metric_text(metric)}: {value_text(clean)} unchanged, {interval_text(mean)} on "
            f"average over the changes (drop {interval_text(drop)})"
        )
        out.append(f"{text}; lowest under {worst['stress']}, {value_text(worst)}.")
    return out


def shift_summary(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the summary table, (head, rows), one row a metric: clean, mean over the changes, drop,
    worst change.
    """
    rows = [
        [
            metric_text(m),
            interval_text(result["clean"][m]),
            interval_text(result["mean"][m]),
            interval_text(result["drop"][m]),
            f"{value_text(result['worst'][m])} ({result['worst'][m]['stress']})"
            if result["worst"][m]["stress"]
            else "–",
        ]
        for m in result["metrics"]
    ]
    return [
        "metric",
        "unchanged",
        "mean over the changes",
        "drop",
        "worst change, mean of its severities",
    ], rows


def shift_table(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the table of stresses, (head, rows), one row a stress: its severities, and each drawn
    metric at each of them.
    """
    metrics = [m for m, _, _ in _series(result)]
    rows = [["unchanged", "", "", *(value_text(result["clean"][m]) for m in metrics)]]
    rows += [
        [
            s["name"],
            s["what"],
            f"{', '.join(f'{v:g}' for v in s['severities'])} {s['unit']}",
            *(", ".join(value_text(c[m]) for c in s["cells"]) for m in metrics),
        ]
        for s in result["stresses"]
    ]
    return ["change", "what it is", "severities", *(metric_text(m) for m in metrics)], rows


def shift_markdown(result: dict[str, Any]) -> list[str]:
    """Return the shift card as lines of Markdown, for a model card."""
    lines = ["## Shift card", "", shift_sentences(result)[0], ""]
    for head, rows in (shift_summary(result), shift_table(result)):
        lines += [_line(head), "| --- " * len(head) + "|", *map(_line, rows), ""]
    return lines


def shift_alt(result: dict[str, Any]) -> str:
    """Return the picture's text alternative."""
    names = ", ".join(metric_text(m) for m, _, _ in _series(result))
    return (
        f"{names} against the severity of each of {len(result['stresses'])} changes; the table "
        "below holds the same numbers."
    )


def _series(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return (metric, colour, marker) of what is drawn: each recall in its class's colour, then
    AUROC.
    """
    metrics = result["metrics"][:-2]
    colours = (
        [CLASS_COLOURS[1], CLASS_COLOURS[0]]
        if len(result["class_names"]) == 2
        else CLASS_COLOURS[: len(result["class_names"])]
    )
    return list(zip(metrics, [*colours, INK], [*"os^Dvp"[: len(metrics) - 1], "."], strict=True))


def _line(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(str(c).replace("|", "\\|") for c in cells) + " |"
