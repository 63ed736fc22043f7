"""Make a self-contained HTML report from an artifact's folder, and the summary for a notebook."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xray_tf import artifact
from xray_tf.artifact import Card
from xray_tf.pages.classifier import parts
from xray_tf.pages.classifier.contents import read_contents
from xray_tf.pages.classifier.mistakes import MistakesPart
from xray_tf.pages.heatmaps.parts import examination_part
from xray_tf.pages.kit.parts import FindingsPart, ProvenancePart, Summary
from xray_tf.pages.kit.render import Page, Section, sections
from xray_tf.pages.kit.words import NAMES, SPLIT_NAMES, interval_text, rule_text

REPORT = "report.html"
BY_HAND = "interrupted by hand"


@dataclass(frozen=True)
class Report(Page):
    """The report on an artifact or an evaluation.

    Attributes:
        card: of the model.
        metrics: the layout of metrics.json, None where nothing was measured.
        sections: the parts whose files are there.
    """

    template = "classifier/report.html.jinja"
    styles = ("classifier/report.css",)
    card: Card
    metrics: dict[str, Any] | None
    sections: tuple[Section, ...]

    @property
    def stopped(self) -> list[str]:
        """The note on a training that Ctrl-C ended."""
        return [note for note in self.card.notes if BY_HAND in note]

    @property
    def notes(self) -> list[str]:
        """The other notes of the card."""
        return [note for note in self.card.notes if BY_HAND not in note]


def write_report(folder: str | os.PathLike, card: Card | None = None) -> Path:
    """Write `report.html` into the folder and return its path; see `render_report`.

    Raises:
        FileExistsError: there is a report already.
    """
    path = Path(folder) / REPORT
    artifact.refuse_existing(path)
    artifact.write_text(path, render_report(folder, card))
    return path


def render_report(folder: str | os.PathLike, card: Card | None = None) -> str:
    """Return a self-contained HTML page about an artifact or an evaluation; it loads nothing from
    elsewhere and runs no script.

    Args:
        folder: a folder with any of metrics.json, predictions.csv, history.csv, split.csv,
            audit.csv, mistakes.json, shift.json, shortcuts.json,
            faithfulness.json; a part without its file is left out.
        card: the model's card, for a folder without card.json.
    """
    contents = read_contents(folder, card)
    shown = (
        ("mistakes", "The surest mistakes", MistakesPart.of(contents)),
        ("data", "Data and split", parts.DataPart.of(contents)),
        ("training", "Training", parts.TrainingPart.of(contents)),
        ("metrics", "Metrics", parts.MetricsPart.of(contents)),
        ("decisions", "Decisions", parts.DecisionsPart.of(contents)),
        ("curves", "Ranking and calibration", parts.CurvesPart.of(contents)),
        ("shift", "Under changes", parts.ShiftPart.of(contents.shift)),
        ("examination", "What it looks at", examination_part(folder)),
        ("findings", "Findings", FindingsPart.of(contents.findings)),
        ("provenance", "Provenance", ProvenancePart.of(contents.card)),
    )
    return Report(contents.card, contents.metrics, sections(shown)).render()


def render_summary(card: Card) -> str:
    """Return a small HTML table about a model, for a notebook."""
    return Summary(card, _summary(card)).render()


def summary_text(card: Card) -> str:
    """Return the same as lines of text."""
    rows = _summary(card)
    width = max(len(name) for name, _ in rows)
    lines = [f"  {name:{width}}  {value}" for name, value in rows]
    return "\n".join([f"{card.name} ({card.kind})", *lines])


def _summary(card: Card) -> list[tuple[str, str]]:
    prep = card.preprocessing
    shown = [f"{k.replace('_', ' ')} {prep[k]}" for k in ("image_size", "resize") if k in prep]
    where = SPLIT_NAMES.get(card.metrics_split, card.metrics_split)
    return [
        ("task", f"{card.task}: {', '.join(card.class_names)}"),
        ("input", ", ".join(shown)),
        ("operating point", f"{card.default_operating_point}: {rule_text(card)}"),
        *((f"{NAMES.get(k, k)}, {where} rows", interval_text(v)) for k, v in card.metrics.items()),
    ]
