"""Describe the results of an examination in sentences and tables, from faithfulness.json and
shortcuts.json alone.

`jobs.heatmaps.faithfulness_report` and `jobs.heatmaps.shortcut_report` document the two layouts.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xray_tf.pages.classifier.shift_card import metric_text
from xray_tf.pages.kit.render import Part, Table, read_json
from xray_tf.pages.kit.words import SPLIT_NAMES, interval_text, range_text, value_text

FAITHFULNESS, SHORTCUTS = "faithfulness.json", "shortcuts.json"
REGION_NAMES = {
    "lungs": "lungs",
    "usual_lungs": "where lungs usually are",
    "lungs_box": "box around the lungs",
    "outside": "all except the lungs",
    "border": "border",
    "inside_border": "all except the border",
    "markers": "markers",
    "displaced": "the same area elsewhere",
}
CAVEAT = (
    "A region that can be removed without loss was not needed; this does not prove that it was not "
    "used. An image without lungs is unlike any radiograph, so a drop can also come from the fill: "
    "compare the fills, and the row that loses the same area elsewhere."
)
RANDOM_CAVEAT = (
    "Heat maps that do not change when the weights are shuffled do not come from what was learned "
    "(Adebayo et al. 2018). All images are of chests, so compare with the similarity between heat "
    "maps of different radiographs."
)
STAR = "* Better than every control: the interval of the difference excludes 0."
_TAKEN = {
    "lungs": "Without the lungs",
    "usual_lungs": "Without the usual place of the lungs",
    "lungs_box": "Without the box around the lungs",
    "outside": "With the lungs alone",
    "inside_border": "With the border alone",
    "displaced": "Without the same area elsewhere",
}


@dataclass(frozen=True)
class Measured(Part):
    """A part of a model card in Markdown: its heading, sentences, tables (head, rows), and what to
    bear in mind.
    """

    template = "heatmaps/measured.md.jinja"
    heading: str
    sentences: list[str]
    tables: list[Table]
    caveat: str = ""


def shortcut_summary(folder: str | os.PathLike) -> dict[str, Any]:
    """Read what an artifact's folder, or an examination's, knows of shortcuts and of its heat maps.

    Returns:
        {`shortcuts`: the layout of shortcuts.json, `faithfulness`: that of faithfulness.json}, None
        where the file is not there, and `markdown`: lines for a model card, empty where neither is.
    """
    shortcuts, faithful = (read_json(Path(folder) / name) for name in (SHORTCUTS, FAITHFULNESS))
    lines = shortcut_markdown(shortcuts) if shortcuts else []
    lines += faithfulness_markdown(faithful) if faithful else []
    return {"shortcuts": shortcuts, "faithfulness": faithful, "markdown": lines}


def shortcut_markdown(result: dict[str, Any]) -> list[str]:
    """Return a model card's lines about shortcuts.json."""
    tables = [shortcut_rows(result), map_rows(result)]
    part = Measured("Shortcuts", shortcut_sentences(result), tables, CAVEAT)
    return part.render().splitlines()


def faithfulness_markdown(result: dict[str, Any]) -> list[str]:
    """Return a model card's lines about faithfulness.json."""
    tables = [faithfulness_rows(result)] if "maps" in result else []
    part = Measured("Heat maps, measured", faithfulness_sentences(result), tables)
    return part.render().splitlines()


def shortcut_sentences(result: dict[str, Any]) -> list[str]:
    """Say on which rows shortcuts were looked for, and what survives."""
    out = [
        f"{_rows(result)}, operating point “{result['operating_point']}”; "
        f"{result['interval']['kind']}. {_how_lungs_were_found(result['lungs'])}"
    ]
    for region, words in _TAKEN.items():
        cells = [c for c in result["cells"] if c["region"] == region]
        kept = (
            f"{metric_text(m)} {_range([c[m] for c in cells])} over the fills, "
            f"{value_text(result['unchanged'][m])} unchanged"
            for m in drawn_metrics(result)
        )
        out.append(f"{words}: {'; '.join(kept)}.")
    if swapped := result.get("surroundings"):
        out.append(
            f"In the surroundings of another radiograph {swapped['decisions']['value']:.1%} of "
            f"decisions change {range_text(swapped['decisions'])}."
        )
    return out + _lungs_sentence(result["maps"])


def _how_lungs_were_found(lungs: dict[str, Any]) -> str:
    share = f"{lungs['share']:.0%} of the image"
    if "flags" in lungs:  # measured before there was a segmenter
        flags = ", ".join(f"{n:,} {flag}" for flag, n in lungs["flags"].items())
        return f"Lung fields are estimated ({flags}; {share}). {lungs['limits']}"
    return f"Lungs are segmented ({share}; {lungs['unsure']:,} without two upright lungs)."


def _lungs_sentence(maps: dict[str, Any]) -> list[str]:
    """Say how much of the heat maps is inside the lungs; nothing if it was not measured."""
    lungs = maps["of"][maps["method"]]["regions"]["lungs"]
    energy, hit = lungs["energy"], lungs["hit"]
    if not energy:
        return []
    centre = maps["of"].get("centre", {}).get("regions", {}).get("lungs", {})
    compared = ""
    if centre.get("energy"):
        compared = (
            f"; a heat map of the image's centre would have {centre['energy']['value']:.0%} and "
            f"{centre['hit']['value']:.0%}"
        )
    return [
        f"Of the {maps['method']} heat maps {energy['value']:.0%} is inside the lungs, against "
        f"{lungs['chance']:.0%} by chance (excess {_signed(energy)}), and so is their highest "
        f"point in {hit['value']:.0%} of radiographs{compared}."
    ]


def shortcut_rows(result: dict[str, Any]) -> Table:
    """Return the table of what survives, (head, rows), one row a region and fill."""
    metrics = drawn_metrics(result)
    rows = [["nothing", "", "", *(interval_text(result["unchanged"][m]) for m in metrics)]]
    for cell in result["cells"]:
        share = result["regions"][cell["region"]]["share"]
        kept = (f"{interval_text(cell[m])}, {_change(cell[m])}" for m in metrics)
        rows.append([REGION_NAMES[cell["region"]], f"{share:.0%}", cell["fill"], *kept])
    head = ["removed", "share of the image", "filled with"]
    return [*head, *(f"{metric_text(m)}, change" for m in metrics)], rows


def map_rows(result: dict[str, Any]) -> Table:
    """Return the table of where heat maps lie, (head, rows), one row a map and region."""
    rows = []
    for name, one in result["maps"]["of"].items():
        for region, cell in one["regions"].items():
            if cell["energy"]:
                area = f"{cell['rows']:,}", f"{cell['chance']:.3f}"
                inside = (f"{c['value']:.3f}, {_signed(c)}" for c in (cell["energy"], cell["hit"]))
                rows.append([name, REGION_NAMES[region], *area, *inside])
    head = ["heat map", "region", "radiographs", "chance (area)"]
    return [*head, "energy inside, above chance", "highest point inside, above chance"], rows


def faithfulness_sentences(result: dict[str, Any]) -> list[str]:
    """Say on which rows heat maps were measured, and how they compare with the controls."""
    out = []
    if "maps" in result:
        out.append(
            f"{_rows(result)}, layer {result['layer']}, operating point "
            f"“{result['operating_point']}”; {result['interval']['kind']}. "
            f"Score: {result['score']}."
        )
    for name, one in result.get("maps", {}).items():
        for control, figures in one["against"].items():
            better, worse = (_beyond(figures, result["figures"], sign) for sign in (1, -1))
            out.append(
                f"{name} against the {control} control: better in {len(better)} of "
                f"{len(figures)} measures{', worse in ' if worse else ''}{', '.join(worse)} "
                "(the interval excludes 0)."
            )
    shuffled = result.get("randomisation") or {"methods": {}}
    for name, one in shuffled["methods"].items():
        key, depths = "rank_correlation", one["depths"]
        first, last, empty = depths[0][key], depths[-1][key], depths[-1]["empty"]
        other = one["between_radiographs"][key]
        out.append(
            f"Weights shuffled ({shuffled['rows']} radiographs), {name}: rank correlation with "
            f"the trained heat maps {interval_text(first)} after the top layer, "
            f"{interval_text(last)} after all ({empty:,} heat maps are then empty and count as 0); "
            f"between different radiographs {interval_text(other)}."
        )
    return out


def faithfulness_rows(result: dict[str, Any]) -> Table:
    """Return the table of figures, (head, rows), one row a figure, one column a heat map; `*` where
    the interval against every control is on the better side.
    """
    maps, rows = result["maps"], []
    for figure, about in result["figures"].items():
        cells = []
        for one in maps.values():
            against = [_beyond(a, result["figures"], 1) for a in one["against"].values()]
            star = " *" if against and all(figure in better for better in against) else ""
            cells.append(f"{interval_text(one['figures'][figure])}{star}")
        rows.append([figure.replace("_", " "), about["better"], *cells])
    return ["figure", "better", *maps], rows


def random_rows(result: dict[str, Any]) -> Table:
    """Return the table of shuffled weights, (head, rows), one row a method and depth."""
    rows = []
    for method, one in result["randomisation"]["methods"].items():
        for depth in one["depths"]:
            alike = (interval_text(depth[k]) for k in ("rank_correlation", "ssim"))
            layer = depth["layer"], f"{depth['share']:.0%}"
            rows.append([method, *layer, *alike, f"{depth['empty']:,}"])
    head = ["method", "last layer shuffled", "layers", "rank correlation"]
    return [*head, "structural similarity", "empty maps"], rows


def _beyond(compared: dict[str, dict[str, float]], figures: dict[str, Any], sign: int) -> list[str]:
    """Name the figures whose interval of differences lies on the better (sign 1) or worse (-1) side
    of 0.
    """
    direction = {f: sign * (1 if figures[f]["better"] == "high" else -1) for f in compared}
    return [f for f, c in compared.items() if (c["low"] > 0 if direction[f] > 0 else c["high"] < 0)]


def drawn_metrics(result: dict[str, Any]) -> list[str]:
    """Return the metrics that tables and figures show."""
    recalls = [m for m in result["metrics"] if m.startswith("recall/")]
    return ["auroc", *(recalls or ["sensitivity", "specificity"])]


def _rows(result: dict[str, Any]) -> str:
    patients = f" of {result['patients']:,} patients" if result["patients"] else ""
    split = SPLIT_NAMES.get(result["split"], "labelled")
    return f"{result['rows']:,} {split} radiographs{patients}"


def _range(cells: Sequence[dict[str, Any]]) -> str:
    values = sorted(c["value"] for c in cells if c["value"] is not None)
    return f"{values[0]:.3f} to {values[-1]:.3f}" if values else "–"


def _signed(cell: dict[str, float]) -> str:
    return f"{cell['over_chance']:+.3f} [{cell['low']:+.3f}, {cell['high']:+.3f}]"


def _change(cell: dict[str, Any]) -> str:
    if cell["change"] is None:
        return "–"
    if cell["change_low"] is None:
        return f"{cell['change']:+.3f}"
    return f"{cell['change']:+.3f} [{cell['change_low']:+.3f}, {cell['change_high']:+.3f}]"
