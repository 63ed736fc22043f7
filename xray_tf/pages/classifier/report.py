"""Artifact folder in, HTML and Markdown out: one self-contained report page, the model card, and
the summary a notebook shows.
"""

from __future__ import annotations

import os
from pathlib import Path

from xray_tf import artifact
from xray_tf.artifact import Card
from xray_tf.pages.classifier import sections
from xray_tf.pages.classifier.model_card import render_model_card
from xray_tf.pages.classifier.sections import Contents, read_contents, tiles
from xray_tf.pages.heatmaps.measures import explanation_part
from xray_tf.pages.kit.html import escape, lay_out
from xray_tf.pages.kit.shell import html_page
from xray_tf.pages.kit.words import (
    IMAGE_SPLIT,
    NAMES,
    NOTICE,
    SPLIT_NAMES,
    enumerate_text,
    interval_kind,
    interval_text,
    rows_text,
    rule_text,
)

__all__ = [
    "Contents",
    "read_contents",
    "render_model_card",
    "render_report",
    "render_summary",
    "write_report",
]

REPORT = "report.html"


def write_report(folder: str | os.PathLike, card: Card | None = None) -> Path:
    """Write `report.html` into the folder and return its path; see `render_report`.

    Raises:
        FileExistsError: there is one already.
    """
    path = Path(folder) / REPORT
    artifact.refuse_existing(path)
    artifact.write_text(path, render_report(folder, card))
    return path


def render_report(folder: str | os.PathLike, card: Card | None = None) -> str:
    """Return a self-contained HTML page about an artifact or an evaluation: nothing is loaded from
    elsewhere, and no script runs.

    Args:
        folder: with any of metrics.json, predictions.csv, history.csv, split.csv, audit.csv,
            shift.json, shortcuts.json, faithfulness.json; a part without its file is left out.
        card: of the model, for a folder without card.json.
    """
    contents = read_contents(folder, card)
    parts = [
        ("data", "Data and split", sections.data_part(contents)),
        ("training", "Training", sections.training_part(contents)),
        ("metrics", "Metrics", sections.metrics_part(contents)),
        ("decisions", "Decisions", sections.decisions_part(contents)),
        ("curves", "Ranking and calibration", sections.curves_part(contents)),
        ("shift", "Under changes", sections.shift_part(contents.shift)),
        ("examination", "What it looks at", explanation_part(folder)),
        ("findings", "Findings", sections.findings_part(contents)),
        ("provenance", "Provenance", sections.provenance_part(contents.card)),
    ]
    title = f"{contents.card.name or 'model'}: {contents.card.task or contents.card.kind}"
    return html_page(title, f"{_summary(contents)}\n{lay_out(parts)}", NOTICE)


def render_summary(card: Card) -> str:
    """Return a small HTML table about a model, for a notebook."""
    rows = [
        ("task", f"{card.task}: {', '.join(card.class_names)}"),
        (
            "input",
            ", ".join(
                f"{k.replace('_', ' ')} {v}"
                for k, v in card.preprocessing.items()
                if k in ("image_size", "resize")
            ),
        ),
        (
            "operating point",
            f"{card.default_operating_point}: {rule_text(card)}",
        ),
        *(
            (
                f"{NAMES.get(k, k)}, {SPLIT_NAMES.get(card.metrics_split, card.metrics_split)} rows",
                interval_text(v),
            )
            for k, v in card.metrics.items()
        ),
    ]
    warning = (
        f"<p><strong>Warning.</strong> {escape(IMAGE_SPLIT)}</p>"
        if card.split_by == "image"
        else ""
    )
    body = "".join(
        f'<tr><th style="text-align:left">{escape(k)}</th><td '
        f'style="text-align:left">{escape(v)}</td></tr>'
        for k, v in rows
    )
    return (
        f"<div><p><strong>{escape(card.name)}</strong> "
        f"({escape(card.kind)})</p>{warning}<table>{body}</table><p><small>{escape(NOTICE)}</small></p></div>"
    )


def _summary(contents: Contents) -> str:
    card, metrics = contents.card, contents.metrics
    facts = (
        f"Tells {' from '.join(card.class_names)}."
        if len(card.class_names) == 2
        else (f"Tells apart {enumerate_text(card.class_names)}.")
    )
    out = [
        f'<header><p class="eyebrow">xray_tf {escape(card.kind)} '
        f"report</p><h1>{escape(card.name)}</h1>"
    ]
    if metrics:
        facts += (
            f" Measured on {rows_text(metrics)}, at the operating point "
            f"“{metrics.get('operating_point') or 'none named'}”."
        )
    out.append(f'<p class="lead">{escape(facts)}</p></header>')
    out.append(f'<p class="notice">{escape(NOTICE)}</p>')
    if "image" in (card.split_by, (metrics or {}).get("split_by")):
        out.append(
            f'<p class="warning" role="note"><strong>Warning.</strong> {escape(IMAGE_SPLIT)}</p>'
        )
    out += [
        f'<p class="warning" role="note">{escape(note)}</p>'
        for note in (metrics or {}).get("notes", ())
    ]
    if metrics:
        out.append(tiles(metrics))
        chance = metrics["chance"]
        out.append(
            f'<p class="small">In brackets: {escape(interval_kind(metrics))}, '
            f"{metrics['interval']['replicates']:,} replicates. "
            f"For comparison: always saying {escape(chance['class'])} has an accuracy of "
            f"{chance['accuracy']:.3f}.</p>"
        )
    if card.notes:
        out.append(
            '<ul class="small">' + "".join(f"<li>{escape(n)}</li>" for n in card.notes) + "</ul>"
        )
    return "\n".join(out)
