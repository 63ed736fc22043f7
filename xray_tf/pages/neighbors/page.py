"""A self-contained page on which every dot of a map is a radiograph: point at it, or walk to it
with the arrow keys, and it is shown.

Everything is in the one file: no server, no network, no library; the one script in it is named by
its hash in the page's policy.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from xray_tf.artifact import Card
from xray_tf.data.records import Record
from xray_tf.pages.kit.figures import CLASS_COLOURS, confusion_matrix, to_png_bytes
from xray_tf.pages.kit.shell import html_page
from xray_tf.pages.kit.words import IMAGE_SPLIT, NAMES, NOTICE, range_text, rows_text, value_text
from xray_tf.pages.neighbors.script import SCRIPT, STYLE

# pixels; whole JPEG blocks of 8, so that neighbours on a sheet do not bleed into each other
THUMBNAIL = 72
SHEET = 20  # thumbnails a row and a column: one JPEG header for 400 of them
JPEG_QUALITY = 72
PARTS = ("train", "val", "test", "")
_SHOWN = ("accuracy", "balanced_accuracy", "f1", "auroc", "auprc", "ece")


@dataclass(frozen=True)
class Point:
    """One dot.

    Attributes:
        record: the radiograph.
        tsne, pca: (x, y) on the two maps.
        label, decided: class indices, -1 where not known.
        probabilities: calibrated, one a class, of whoever decided.
        votes: shares of its neighbours' vote, one a class.
        unusual: percentile in [0, 100] of its neighbour distance among training radiographs.
        neighbors: (path, class index, distance, position among the points or -1), nearest first.
    """

    record: Record
    tsne: tuple[float, float]
    pca: tuple[float, float]
    label: int
    decided: int
    probabilities: tuple[float, ...]
    votes: tuple[float, ...]
    unusual: float
    neighbors: tuple[tuple[str, int, float, int], ...]


def render_page(
    card: Card,
    metrics: dict[str, Any],
    points: Sequence[Point],
    pixels: np.ndarray,
    titles: dict[str, str],
    decided_by: str,
) -> str:
    """Return the page.

    Args:
        card: of the model.
        metrics: the layout of `embed_radiographs`' metrics.json.
        points: N, one or more.
        pixels: (N, S, S) uint8 radiographs, for the thumbnails.
        titles: how the maps `tsne` and `pca` were made.
        decided_by: whose decisions and probabilities the points carry.
    """
    if not len(points) or np.asarray(pixels[:1]).ndim != 3 or len(pixels) != len(points):
        raise ValueError(
            "pixels must be (N, S, S) with one radiograph a point, one or more. "
            f"Received: {len(points)} points, pixels {np.shape(pixels)}"
        )
    names = metrics["class_names"]
    data = {
        "classes": names,
        "colours": CLASS_COLOURS[: len(names)],
        "by": decided_by,
        "size": THUMBNAIL,
        "per": SHEET,
        "titles": titles,
        "points": [_packed(p) for p in points],
    }
    # ASCII with < and & escaped: no text in it can end the element it lies in, and undecodable
    # bytes of a path stay what they are
    stored = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c").replace("&", "\\u0026")
    sheets = "".join(
        '<img class="sheet" alt="" hidden '
        f'src="data:image/jpeg;base64,{base64.b64encode(s).decode()}">'
        for s in thumbnail_sheets(pixels)
    )
    warning = (
        f'<p class="warning" role="note"><strong>Warning.</strong> {_e(IMAGE_SPLIT)}</p>'
        if card.split_by == "image"
        else ""
    )
    title = f"{card.name}: where {len(points):,} radiographs lie"
    content = f"""<header><p class="eyebrow">xray_tf embeddings</p><h1>{_e(title)}</h1>
<p class="lead">Each dot is a radiograph, placed by the network's penultimate vector ({metrics["dimensions"]:,} numbers): alike to the network lies together.
Votes come from the {_e(metrics["recipe_text"])}; no patient votes on its own radiographs.</p></header>
<p class="notice">{_e(NOTICE)}</p>
{warning}
<noscript><p class="warning">The map needs JavaScript, which is switched off. tsne.png and pca.png beside this page show the maps without it.</p></noscript>
{_atlas(names)}
{_comparison(metrics)}"""
    footer = (
        f"{NOTICE} Distances between clusters, and their sizes, mean little on a t-SNE map; "
        "who lies beside whom means more."
    )
    return html_page(
        title, content, footer, STYLE, SCRIPT, stored, f"<div>{sheets}</div>\n", skip="map"
    )


def thumbnail_sheets(pixels: np.ndarray) -> list[bytes]:
    """Return JPEG sheets of SHEET x SHEET thumbnails, row by row, in the order of `pixels` (N, S,
    S) uint8.
    """
    sheets, each = [], SHEET * SHEET
    for start in range(0, len(pixels), each):
        part = pixels[start : start + each]
        rows = -(-len(part) // SHEET)
        sheet = np.zeros((rows * THUMBNAIL, SHEET * THUMBNAIL), np.uint8)
        for i, image in enumerate(part):
            top, left = THUMBNAIL * (i // SHEET), THUMBNAIL * (i % SHEET)
            sheet[top : top + THUMBNAIL, left : left + THUMBNAIL] = cv2.resize(
                np.asarray(image), (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA
            )
        sheets.append(
            cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
        )
    return sheets


def _packed(p: Point) -> list:
    """The names of a neighbour that is a point itself need not be written twice."""
    near = [
        [place if place >= 0 else path, label, round(distance, 4)]
        for path, label, distance, place in p.neighbors
    ]
    return [
        *(round(v, 3) for v in (*p.tsne, *p.pca)),
        p.label,
        p.decided,
        PARTS.index(p.record.split),
        [round(v, 4) for v in p.probabilities],
        [round(v, 4) for v in p.votes],
        round(p.unusual, 1),
        p.record.path,
        p.record.patient,
        near,
    ]


def _atlas(names: Sequence[str]) -> str:
    def choices(name: str, legend: str, options: Sequence[tuple[str, str]]) -> str:
        inputs = "".join(
            f'<label><input type="radio" name="{name}" '
            f'value="{v}"{" checked" if not i else ""}> {_e(t)}</label>'
            for i, (v, t) in enumerate(options)
        )
        return f"<fieldset><legend>{legend}</legend>{inputs}</fieldset>"

    parts = "".join(
        f'<label><input type="checkbox" name="part" value="{i}" checked> {t}</label>'
        for i, t in enumerate(("training", "validation", "test", "new"))
    )
    return f"""<section aria-labelledby="map-title">
<h2 id="map-title">The map</h2>
<form id="controls" aria-label="What the map shows">
{choices("map", "Map", (("tsne", "t-SNE"), ("pca", "PCA")))}
{choices("colour", "Colour", (("label", "true class"), ("decided", "decision"), ("error", "errors")))}
<fieldset id="parts"><legend>Show</legend>{parts}</fieldset>
<label class="find">Find a file or patient <input type="search" id="find" list="none" autocomplete="off" placeholder="part of a name, then Enter"></label>
</form>
<p class="small" id="how"></p>
<div class="atlas">
<div class="plane"><canvas id="map" tabindex="0" role="application" aria-label="Map of radiographs. Arrow keys go to the next dot in that direction, N to the
 nearest neighbour, Page Up and Page Down through the errors, Enter holds the dot." aria-describedby="keys"></canvas>
<p id="legend" class="legend"></p>
<p class="small" id="keys">Point at a dot, or: arrow keys to the next dot, N to its nearest neighbour, Page Up / Page Down through the errors.
A click or Enter holds a dot, Escape lets it go.</p></div>
<div id="card" class="dot" role="region" aria-live="polite" aria-label="The radiograph"></div>
</div>
</section>"""


def _comparison(metrics: dict[str, Any]) -> str:
    sides = [
        (k, t)
        for k, t in (("knn", "nearest neighbours"), ("head", "the network's head"))
        if metrics[k]
    ]
    if not sides:
        return ""
    body = ""
    for name in _SHOWN:
        cells = [metrics[k]["metrics"][name] for k, _ in sides]
        macro = "Macro " if len(metrics["class_names"]) > 2 and name in ("auroc", "f1") else ""
        body += (
            f'<tr><th scope="row">{macro}{NAMES[name]}</th>'
            + "".join(
                f'<td><span class="number">{value_text(c)}</span> <span class="small '
                f'whole">{_e(range_text(c))}</span></td>'
                for c in cells
            )
            + "</tr>"
        )
    head = "".join(f'<th scope="col">{_e(t)}</th>' for _, t in sides)
    matrices = "".join(
        _matrix(metrics[k]["confusion_matrix"], metrics["class_names"], t) for k, t in sides
    )
    first = metrics[sides[0][0]]
    notes = "".join(f'<p class="warning" role="note">{_e(note)}</p>' for note in metrics["notes"])
    return f"""<section aria-labelledby="compare-title"><h2 id="compare-title">The same rows, two readers</h2>
<p>On {_e(rows_text(first))}. In brackets: {_e(first["interval"]["kind"])}. Operating points are fitted on validation rows.</p>
{notes}
<div class="scroll" tabindex="0" role="region" aria-label="Metrics"><table><caption>Metrics of both</caption>
<thead><tr><th scope="col">metric</th>{head}</tr></thead><tbody>{body}</tbody></table></div>
<div class="figures">{matrices}</div></section>"""


def _matrix(matrix: Sequence[Sequence[int]], names: Sequence[str], whose: str) -> str:
    """The picture, with the counts as its text."""
    picture = base64.b64encode(
        to_png_bytes(confusion_matrix(matrix, names, whose[0].upper() + whose[1:]), 110)
    ).decode()
    said = "; ".join(
        f"{n}: " + ", ".join(f"{v} called {m}" for v, m in zip(row, names, strict=True))
        for n, row in zip(names, matrix, strict=True)
    )
    return (
        f'<figure><img alt="Confusion matrix of {_e(whose)}. {_e(said)}" '
        f'src="data:image/png;base64,{picture}"></figure>'
    )


def _e(value: Any) -> str:
    return html.escape(str(value).encode("utf-8", "backslashreplace").decode("utf-8"), quote=True)
