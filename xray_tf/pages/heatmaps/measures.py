"""What an examination found, to read: pictures, a page, and the lines of a model card, from
faithfulness.json and shortcuts.json alone.

`jobs.faithfulness_report` and `jobs.shortcut_report` hold the two layouts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from xray_tf.pages.classifier.shift_card import metric_text
from xray_tf.pages.kit.figures import CLASS_COLOURS, FAINT, INK, MUTED, Picture, to_png_bytes
from xray_tf.pages.kit.html import escape, lay_out, picture, table
from xray_tf.pages.kit.shell import html_page
from xray_tf.pages.kit.words import NOTICE, SPLIT_NAMES, interval_text, value_text

FAITHFULNESS, SHORTCUTS = "faithfulness.json", "shortcuts.json"
REGION_NAMES = {
    "lungs": "lungs",
    "usual_lungs": "where lungs usually are",
    "lungs_box": "box around the lungs",
    "outside": "all but the lungs",
    "border": "border",
    "inside_border": "all but the border",
    "markers": "markers",
    "displaced": "as much elsewhere",
}
CAVEAT = (
    "A region that can be taken away without loss was not needed; that is no proof that it "
    "was not used. What is left of a picture without its lungs is "
    "unlike any radiograph, so a fall can also come from the fill; compare the fills, and "
    "the row that loses as much elsewhere."
)
RANDOM_CAVEAT = (
    "Maps that stay as they were when the weights are shuffled do not come from what "
    "was learnt (Adebayo et al. 2018). All maps are of chests, so "
    "compare with how alike maps of different radiographs are."
)
STAR = "* Better than every control: the interval of the difference lies beyond 0."
_FILL_MARKS = {"mean": "o", "smooth": "s", "noise": "^"}


def shortcut_summary(folder: str | os.PathLike) -> dict[str, Any]:
    """Read what an artifact's folder, or an examination's, knows of shortcuts and of its maps.

    Returns:
        {`shortcuts`: the layout of shortcuts.json, `faithfulness`: that of faithfulness.json}, None
        where the file is not there, and `markdown`: lines for a model card, empty where neither is.
    """
    found = {
        name: _read(Path(folder) / file)
        for name, file in (("shortcuts", SHORTCUTS), ("faithfulness", FAITHFULNESS))
    }
    lines = [
        line
        for result, markdown in (
            (found["shortcuts"], shortcut_markdown),
            (found["faithfulness"], faithfulness_markdown),
        )
        if result
        for line in markdown(result)
    ]
    return {**found, "markdown": lines}


def shortcut_markdown(result: dict[str, Any]) -> list[str]:
    """Return a model card's lines about shortcuts.json."""
    return [
        "## Shortcuts",
        "",
        *(f"* {s}" for s in shortcut_sentences(result)),
        "",
        *_markdown(*shortcut_rows(result)),
        "",
        *_markdown(*map_rows(result)),
        "",
        CAVEAT,
        "",
    ]


def faithfulness_markdown(result: dict[str, Any]) -> list[str]:
    """Return a model card's lines about faithfulness.json."""
    lines = ["## Heat maps, measured", "", *(f"* {s}" for s in faithfulness_sentences(result)), ""]
    return lines + ([*_markdown(*faithfulness_rows(result)), ""] if "maps" in result else [])


def shortcut_sentences(result: dict[str, Any]) -> list[str]:
    """Say on what shortcuts were looked for, and what survives."""
    flags, method = result["lungs"]["flags"], result["maps"]["method"]
    lead = result["unchanged"]
    first = (
        f"{_rows(result)}, operating point “{result['operating_point']}”; "
        f"{result['interval']['kind']}. Lung fields are estimated ("
        + ", ".join(f"{n:,} {flag}" for flag, n in flags.items())
        + "; "
        f"{result['lungs']['share']:.0%} of the image). {result['lungs']['limits']}"
    )
    out = [first]
    for region in ("lungs", "usual_lungs", "lungs_box", "outside", "inside_border", "displaced"):
        cells = [c for c in result["cells"] if c["region"] == region]
        out.append(
            f"{_taken(region)}: "
            + "; ".join(
                f"{metric_text(m)} "
                f"{_range([c[m] for c in cells])} over the fills, {value_text(lead[m])} unchanged"
                for m in _drawn(result)
            )
            + "."
        )
    lungs = result["maps"]["of"][method]["regions"]["lungs"]
    if lungs["energy"]:
        centre = result["maps"]["of"].get("centre", {}).get("regions", {}).get("lungs", {})
        more = (
            (
                f"; a map of the image's centre would have {centre['energy']['value']:.0%} and "
                f"{centre['hit']['value']:.0%}"
            )
            if centre.get("energy")
            else ""
        )
        out.append(
            f"Of {method}'s maps {lungs['energy']['value']:.0%} lies inside the lungs, by "
            f"chance {lungs['chance']:.0%} (above chance "
            f"{lungs['energy']['over_chance']:+.3f} [{lungs['energy']['low']:+.3f}, "
            f"{lungs['energy']['high']:+.3f}]); their highest point in "
            f"{lungs['hit']['value']:.0%} of radiographs{more}."
        )
    return out


def shortcut_rows(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the table of what survives, (head, rows), one row a region and fill."""
    metrics = _drawn(result)
    rows = [["nothing", "", "", *(interval_text(result["unchanged"][m]) for m in metrics)]]
    for cell in result["cells"]:
        share = result["regions"][cell["region"]]["share"]
        rows.append(
            [
                REGION_NAMES[cell["region"]],
                f"{share:.0%}",
                cell["fill"],
                *(f"{interval_text(cell[m])}, {_change(cell[m])}" for m in metrics),
            ]
        )
    return [
        "taken away",
        "share of the image",
        "filled by",
        *(f"{metric_text(m)}, change" for m in metrics),
    ], rows


def map_rows(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the table of where maps lie, (head, rows), one row a map and region."""
    rows = []
    for name, one in result["maps"]["of"].items():
        for region, cell in one["regions"].items():
            if cell["energy"]:
                shown = [
                    f"{cell[k]['value']:.3f}, {cell[k]['over_chance']:+.3f} "
                    f"[{cell[k]['low']:+.3f}, {cell[k]['high']:+.3f}]"
                    for k in ("energy", "hit")
                ]
                rows.append(
                    [
                        name,
                        REGION_NAMES[region],
                        f"{cell['rows']:,}",
                        f"{cell['chance']:.3f}",
                        *shown,
                    ]
                )
    return [
        "map",
        "region",
        "radiographs",
        "chance (area)",
        "energy inside, above chance",
        "highest point inside, above chance",
    ], rows


def faithfulness_sentences(result: dict[str, Any]) -> list[str]:
    """Say on what maps were measured, and how they stand against the controls."""
    out = []
    if "maps" in result:
        out.append(
            f"{_rows(result)}, layer {result['layer']}, operating point "
            f"“{result['operating_point']}”; {result['interval']['kind']}. "
            f"Score: {result['score']}."
        )
        for name, one in result["maps"].items():
            for control, figures in one["against"].items():
                better, worse = (_beyond(figures, result["figures"], sign) for sign in (1, -1))
                out.append(
                    f"{name} against the {control} control: better in {len(better)} of "
                    f"{len(figures)} figures"
                    + (f", worse in {', '.join(worse)}" if worse else "")
                    + " (interval beyond "
                    "0)."
                )
    shuffled = result.get("randomisation")
    for name, one in (shuffled or {}).get("methods", {}).items():
        first, last, other = one["depths"][0], one["depths"][-1], one["between_radiographs"]
        out.append(
            f"Weights shuffled ({shuffled['rows']} radiographs), {name}: rank correlation "
            "with the trained maps "
            f"{interval_text(first['rank_correlation'])} after the top layer, "
            f"{interval_text(last['rank_correlation'])} after all "
            f"({last['empty']:,} maps are empty then and count as 0); "
            f"between different radiographs {interval_text(other['rank_correlation'])}."
        )
    return out


def faithfulness_rows(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the table of figures, (head, rows), one row a figure, one column a map; `*` where the
    interval against every control is on the better side.
    """
    names = list(result["maps"])
    rows = []
    for figure, about in result["figures"].items():
        cells = []
        for name in names:
            against = result["maps"][name]["against"]
            star = bool(against) and all(
                figure in _beyond(a, result["figures"], 1) for a in against.values()
            )
            cells.append(
                f"{interval_text(result['maps'][name]['figures'][figure])}{' *' if star else ''}"
            )
        rows.append([figure.replace("_", " "), about["better"], *cells])
    return ["figure", "better", *names], rows


def removal_figure(result: dict[str, Any]) -> Figure:
    """Draw the mean score against the share removed, most and least important first, a panel a
    baseline.
    """
    curves = result["curves"]
    names = list(result["maps"])
    baselines = list(dict.fromkeys(k.rsplit("_", 1)[0] for k in curves[names[0]]))
    figure = Picture(figsize=(3.4 * len(baselines), 3.3), layout="constrained", facecolor="white")
    panels = figure.subplots(1, len(baselines), squeeze=False, sharey=True)[0]
    for axes, baseline in zip(panels, baselines, strict=True):
        for name, colour in zip(names, [*CLASS_COLOURS, MUTED, INK], strict=False):
            for order, style in (("most", "-"), ("least", ":")):
                axes.plot(
                    curves["shares"],
                    curves[name][f"{baseline}_{order}"],
                    style,
                    color=colour,
                    linewidth=1.6,
                    label=f"{name}, {order} first",
                )
        _dress(axes, f"{baseline.replace('_', ' ')} in their place", "share of the pixels removed")
    panels[0].set_ylabel("mean score", color=MUTED, fontsize=9)
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=min(4, len(names)),
        frameon=False,
        fontsize=8,
    )
    return figure


def randomisation_figure(result: dict[str, Any]) -> Figure:
    """Draw how alike maps stay while weights are shuffled from the top; dashed: maps of different
    radiographs.
    """
    shuffled = result["randomisation"]
    figure = Picture(figsize=(7.6, 3.2), layout="constrained", facecolor="white")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (key, title) in zip(
        panels,
        (("rank_correlation", "rank correlation"), ("ssim", "structural similarity")),
        strict=True,
    ):
        for (name, one), colour in zip(
            shuffled["methods"].items(), CLASS_COLOURS * 2, strict=False
        ):
            x = [0, *(d["share"] for d in one["depths"])]
            y, low, high = (
                [1.0, *(d[key][k] for d in one["depths"])] for k in ("value", "low", "high")
            )
            axes.plot(x, y, marker="o", markersize=4, color=colour, linewidth=1.6, label=name)
            axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.axhline(
                one["between_radiographs"][key]["value"],
                color=colour,
                linestyle="--",
                linewidth=1,
                label="maps of different radiographs",
            )
        _dress(axes, title, "share of the layers shuffled, from the top")
    panels[0].legend(frameon=False, fontsize=8.5)
    return figure


def shortcut_figure(result: dict[str, Any]) -> Figure:
    """Draw what survives each region, a panel a metric, a mark a fill, with 95 % intervals; the
    line is the value unchanged.
    """
    metrics, regions = _drawn(result), list(result["regions"])
    figure = Picture(
        figsize=(1.9 + 2.5 * len(metrics), 0.5 * len(regions) + 1.3),
        layout="constrained",
        facecolor="white",
    )
    panels = figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        whole = result["unchanged"][metric]["value"]
        if whole is not None:
            axes.axvline(whole, color=MUTED, linewidth=1)
        for cell in result["cells"]:
            fills = list(result["fills"])
            y = regions.index(cell["region"]) + 0.22 * (
                fills.index(cell["fill"]) - (len(fills) - 1) / 2
            )
            one, colour = cell[metric], CLASS_COLOURS[fills.index(cell["fill"])]
            if one["value"] is None:
                continue
            if one["low"] is not None:
                axes.plot([one["low"], one["high"]], [y, y], color=colour, linewidth=1.6, alpha=0.5)
            axes.plot(
                one["value"],
                y,
                _FILL_MARKS[cell["fill"]],
                color=colour,
                markersize=5,
                label=cell["fill"] if cell["region"] == regions[0] else None,
            )
        axes.set_xlim(-0.02, 1.02)
        _dress(axes, metric_text(metric), "")
    panels[0].set_yticks(range(len(regions)), [REGION_NAMES[r] for r in regions])
    panels[0].invert_yaxis()
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=9,
        title="taken away, filled by",
    )
    return figure


def write_pictures(folder: str | os.PathLike) -> None:
    """Draw what the folder's JSON files hold into faithfulness.png, randomisation.png and
    shortcuts.png beside them.
    """
    folder = Path(folder)
    faithful, shortcuts = _read(folder / FAITHFULNESS), _read(folder / SHORTCUTS)
    if faithful and "maps" in faithful:
        (folder / "faithfulness.png").write_bytes(to_png_bytes(removal_figure(faithful)))
    if faithful and faithful.get("randomisation"):
        (folder / "randomisation.png").write_bytes(to_png_bytes(randomisation_figure(faithful)))
    if shortcuts:
        (folder / "shortcuts.png").write_bytes(to_png_bytes(shortcut_figure(shortcuts)))


def render_examination(folder: str | os.PathLike, name: str) -> str:
    """Return the page of an examination's folder, self-contained."""
    folder, found = Path(folder), shortcut_summary(folder)
    head = (
        f'<header><p class="eyebrow">xray_tf examination</p><h1>{escape(name)}</h1><p '
        'class="lead">Does it need the lungs, and are its heat maps '
        f'faithful to it?</p></header><p class="notice">{escape(NOTICE)}</p>'
    )
    parts = [
        ("shortcuts", "Shortcuts", _shortcut_part(folder, found["shortcuts"])),
        (
            "faithfulness",
            "Faithfulness of the heat maps",
            _faithfulness_part(folder, found["faithfulness"]),
        ),
        ("randomisation", "Weights shuffled", _randomisation_part(folder, found["faithfulness"])),
    ]
    return html_page(f"{name}: examination", f"{head}\n{lay_out(parts)}", NOTICE)


def explanation_part(folder: str | os.PathLike) -> str:
    """Return the same as one part of another page, such as an artifact's report: HTML, empty where
    the folder holds neither file.
    """
    folder, found = Path(folder), shortcut_summary(folder)
    return "\n".join(
        filter(
            None,
            (
                _shortcut_part(folder, found["shortcuts"]),
                _faithfulness_part(folder, found["faithfulness"]),
                _randomisation_part(folder, found["faithfulness"]),
            ),
        )
    )


def _shortcut_part(folder: Path, result: dict[str, Any] | None) -> str:
    if not result:
        return ""
    sheet = folder / "lungs.png"
    shown = (
        picture(
            sheet.read_bytes(),
            "Radiographs with the outlines of the estimated lungs in yellow and of markers in red.",
            "wide",
            "<figcaption>The estimate, to judge by eye: lungs in yellow, markers in "
            "red.</figcaption>",
        )
        if sheet.is_file()
        else ""
    )
    return "\n".join(
        [
            _list(shortcut_sentences(result)),
            f'<p class="warning" role="note">{escape(CAVEAT)}</p>',
            picture(
                to_png_bytes(shortcut_figure(result)),
                "Metrics without each region; the table holds the same numbers.",
                "wide",
            ),
            table(*shortcut_rows(result), "What survives", wide=True),
            table(*map_rows(result), "Where the maps lie", wide=True),
            shown,
        ]
    )


def _faithfulness_part(folder: Path, result: dict[str, Any] | None) -> str:
    if not result or "maps" not in result:
        return ""
    what = "".join(
        f"<li><strong>{escape(k.replace('_', ' '))}</strong> ({escape(v['better'])} is "
        f"better): {escape(v['what'])}</li>"
        for k, v in result["figures"].items()
    )
    return "\n".join(
        [
            _list(faithfulness_sentences({**result, "randomisation": None})),
            picture(
                to_png_bytes(removal_figure(result)),
                "Mean score while pixels are removed; the table holds the areas.",
                "wide",
            ),
            table(*faithfulness_rows(result), "Figures of the maps", wide=True),
            f'<p class="small">{escape(STAR)}</p>',
            f"<details><summary>What the figures are</summary><ul>{what}</ul></details>",
        ]
    )


def _randomisation_part(folder: Path, result: dict[str, Any] | None) -> str:
    if not result or not result.get("randomisation"):
        return ""
    rows = [
        [
            m,
            d["layer"],
            f"{d['share']:.0%}",
            interval_text(d["rank_correlation"]),
            interval_text(d["ssim"]),
            f"{d['empty']:,}",
        ]
        for m, one in result["randomisation"]["methods"].items()
        for d in one["depths"]
    ]
    return "\n".join(
        [
            f"<p>{escape(RANDOM_CAVEAT)} "
            f"{escape(result['randomisation']['what'].capitalize())}.</p>",
            _list(faithfulness_sentences({"randomisation": result["randomisation"]})),
            picture(
                to_png_bytes(randomisation_figure(result)),
                "Likeness of maps against the share of layers shuffled.",
                "wide",
            ),
            table(
                [
                    "method",
                    "last layer shuffled",
                    "layers",
                    "rank correlation",
                    "structural similarity",
                    "empty maps",
                ],
                rows,
                "By depth",
                wide=True,
            ),
        ]
    )


def _beyond(compared: dict[str, dict[str, float]], figures: dict[str, Any], sign: int) -> list[str]:
    """Name the figures whose interval of differences lies on the better (sign 1) or worse (-1) side
    of 0.
    """
    direction = {f: sign * (1 if figures[f]["better"] == "high" else -1) for f in compared}
    return [f for f, c in compared.items() if (c["low"] > 0 if direction[f] > 0 else c["high"] < 0)]


def _drawn(result: dict[str, Any]) -> list[str]:
    recalls = [m for m in result["metrics"] if m.startswith("recall/")]
    return ["auroc", *(recalls or ["sensitivity", "specificity"])]


def _rows(result: dict[str, Any]) -> str:
    patients = f" of {result['patients']:,} patients" if result["patients"] else ""
    return (
        f"{result['rows']:,} {SPLIT_NAMES.get(result['split'], 'labelled')} radiographs{patients}"
    )


def _taken(region: str) -> str:
    words = {
        "displaced": "Without as many pixels elsewhere",
        "usual_lungs": "Without the place where lungs usually are",
        "outside": "With nothing but the lungs",
        "inside_border": "With nothing but the border",
    }
    return words.get(region, f"Without the {REGION_NAMES[region]}")


def _range(cells: Sequence[dict[str, Any]]) -> str:
    values = sorted(c["value"] for c in cells if c["value"] is not None)
    return f"{values[0]:.3f} to {values[-1]:.3f}" if values else "–"


def _change(cell: dict[str, Any]) -> str:
    if cell["change"] is None:
        return "–"
    return f"{cell['change']:+.3f}" + (
        ""
        if cell["change_low"] is None
        else f" [{cell['change_low']:+.3f}, {cell['change_high']:+.3f}]"
    )


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _list(sentences: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(s)}</li>" for s in sentences) + "</ul>"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    return [
        "| " + " | ".join(str(c).replace("|", "\\|") for c in line) + " |"
        for line in (head, ["---"] * len(head), *rows)
    ]


def _dress(axes, title: str, x_label: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=INK)
    axes.set_xlabel(x_label, color=MUTED, fontsize=9)
    axes.tick_params(labelsize=8.5, colors=INK, color=FAINT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
