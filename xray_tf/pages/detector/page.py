"""Make the pages of anomaly detection: a detector's report and README, from its folder alone, and
the page of scored radiographs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf.artifact import Card, refuse_existing, write_text
from xray_tf.data.records import Findings
from xray_tf.data.scores import Scores
from xray_tf.pages.classifier.contents import read_rows
from xray_tf.pages.classifier.credits import data_credit, weights_credit
from xray_tf.pages.detector import parts
from xray_tf.pages.kit.parts import FindingsPart, ProvenancePart, Summary
from xray_tf.pages.kit.render import Page, Part, Section, read_json, sections
from xray_tf.pages.kit.words import NAMES, interval_text

REPORT, PAGE = "report.html", "scores.html"


@dataclass(frozen=True)
class DetectorReport(Page):
    """The report on a detector: its card, and what was measured, None where nothing was."""

    template = "detector/report.html.jinja"
    card: Card
    measured: parts.MeasuredPart | None
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Shown:
    """One radiograph on the page of scores: its `row` in the table and its panel (H, W, 3) uint8
    RGB.
    """

    row: int
    picture: np.ndarray


@dataclass(frozen=True)
class ScoresPage(Page):
    """The page of scored radiographs.

    Attributes:
        card: of the detector.
        scores: all rows.
        shown: the radiographs with pictures, in the order of the page.
        measured: what was measured; None where nothing is labelled.
        statistics: scores of batches and their pictures; None where no file could be scored.
    """

    template = "detector/scores.html.jinja"
    card: Card
    scores: Scores
    shown: Sequence[Shown]
    measured: parts.MeasuredPart | None
    statistics: parts.StatisticsPart | None


@dataclass(frozen=True)
class DetectorCard(Part):
    """A detector's README.md: what it is, its rule, what was measured, its limits, and how to make
    it again.
    """

    template = "detector/model_card.md.jinja"
    card: Card
    rule: parts.RulePart
    measured: parts.MeasuredPart | None
    credits: dict[str, str]
    command: str


def write_detector_report(folder: str | os.PathLike, card: Card) -> Path:
    """Write `report.html` into a detector's folder, from what lies there, and return its path.

    Raises:
        FileExistsError: there is one already.
    """
    folder = Path(folder)
    refuse_existing(folder / REPORT)
    scores = Scores.read_csv(folder / "scores.csv")
    measured = parts.MeasuredPart.of(read_json(folder / "metrics.json"))
    thresholds = card.point().thresholds
    history, findings = read_rows(folder / "history.csv"), Findings.read_csv(folder / "audit.csv")
    shown = (
        ("examples", "Radiographs", parts.ExamplesPart.of(folder, card)),
        ("rule", "The rule", parts.RulePart(card.point())),
        ("measured", "What was measured", measured),
        ("statistics", "Scores of batches", parts.StatisticsPart.of(folder, scores, thresholds)),
        ("training", "Data and training", parts.TrainingPart.of(card, history)),
        ("findings", "Findings", FindingsPart.of(findings)),
        ("provenance", "Provenance", ProvenancePart.of(card)),
    )
    write_text(folder / REPORT, DetectorReport(card, measured, sections(shown)).render())
    return folder / REPORT


def render_detector_summary(card: Card) -> str:
    """Return a small HTML table about a detector, for a notebook."""
    numbers = (
        (f"{NAMES.get(k, k)}, {card.metrics_split} rows", interval_text(v))
        for k, v in card.metrics.items()
    )
    return Summary(card, [("rule", card.point().words()), *numbers]).render()


def render_detector_card(card: Card, metrics: dict[str, Any] | None) -> str:
    """Return a detector's README.md; `metrics` has the layout of metrics.json."""
    credits = {
        "Radiographs": data_credit(card),
        "Weights of the frozen trunk": weights_credit(card),
    }
    command = str(card.provenance.get("command_line", "")).strip()
    command = command or "# made from Python with the options in card.json"
    rule, measured = parts.RulePart(card.point()), parts.MeasuredPart.of(metrics)
    return DetectorCard(card, rule, measured, credits, command).render()
