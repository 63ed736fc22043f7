"""Make the page of a site acceptance."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from xray_tf.artifact import write_text
from xray_tf.data.predictions import Predictions
from xray_tf.data.records import Findings
from xray_tf.pages.acceptance import figures, words
from xray_tf.pages.kit.figures import (
    calibration,
    confusion_matrix,
    probability_histograms,
    roc,
)
from xray_tf.pages.kit.parts import FindingsPart, ProvenancePart, without_command
from xray_tf.pages.kit.render import Page, Part, Section, sections
from xray_tf.pages.kit.words import matrix_text

PAGE = "report.html"


@dataclass(frozen=True)
class AcceptancePart(Part):
    """One section: what acceptance.json says of it, and its pictures."""

    said: Any
    pictures: tuple[tuple[Figure, str], ...] = ()
    words = words


class LimitsPart(AcceptancePart):
    """The verdict, limit by limit."""

    template = "acceptance/limits.html.jinja"


class SharesPart(AcceptancePart):
    """What the frozen operating point does here."""

    template = "acceptance/shares.html.jinja"


class GroupsPart(AcceptancePart):
    """The figures group by group."""

    template = "acceptance/groups.html.jinja"


class CalibrationPart(AcceptancePart):
    """Whether probabilities mean what they say."""

    template = "acceptance/calibration.html.jinja"


class WorthPart(AcceptancePart):
    """What acting on the probabilities is worth."""

    template = "acceptance/worth.html.jinja"


class FamiliarityPart(AcceptancePart):
    """How far the radiographs are from what the model knows."""

    template = "acceptance/familiarity.html.jinja"


class SizePart(AcceptancePart):
    """How many radiographs are enough."""

    template = "acceptance/size.html.jinja"


class ComparisonPart(AcceptancePart):
    """Two models on the same radiographs."""

    template = "acceptance/comparison.html.jinja"


class RecalibrationPart(AcceptancePart):
    """The recalibrated model."""

    template = "acceptance/recalibration.html.jinja"


class PriorShiftPart(AcceptancePart):
    """The model for another prevalence."""

    template = "acceptance/prior_shift.html.jinja"


@dataclass(frozen=True)
class AcceptancePage(Page):
    """One page about a classifier at a site.

    Attributes:
        told: the layout of acceptance.json.
        sections: the parts that were measured.
    """

    template = "acceptance/page.html.jinja"
    styles = ("acceptance/acceptance.css",)
    told: dict[str, Any]
    sections: tuple[Section, ...]

    @property
    def verdict(self) -> str:
        """The verdict and the chance that it is wrong."""
        return words.verdict_text(self.told["verdict"])

    @property
    def tiles(self) -> list[tuple[str, dict[str, Any]]]:
        """The shares, named."""
        return [(words.share_name(n), cell) for n, cell in (self.told["shares"] or {}).items()]


def write_acceptance(
    folder: str | os.PathLike,
    told: dict[str, Any],
    predictions: Predictions,
    findings: Findings | None = None,
) -> Path:
    """Write `report.html` into a folder and return its path; see `render_acceptance`."""
    path = Path(folder) / PAGE
    write_text(path, render_acceptance(told, predictions, findings))
    return path


def render_acceptance(
    told: dict[str, Any], predictions: Predictions, findings: Findings | None = None
) -> str:
    """Return the page of a site acceptance.

    Args:
        told: the layout of acceptance.json.
        predictions: of the model, on the radiographs of the site.
        findings: what was left out, and other findings.
    """
    origin = told["provenance"]
    command, rows = without_command(origin)
    made = [("Provenance", (["what", "value"], rows))]
    shown = (
        ("limits", "Against your limits", _of(LimitsPart, told["verdict"])),
        ("point", "At the frozen operating point", _shares(told, predictions)),
        ("groups", "Group by group", _of(GroupsPart, told["groups"])),
        ("calibration", "Do probabilities mean what they say?", _calibration(told, predictions)),
        ("distance", "How far are these radiographs from what it knows?", _familiarity(told)),
        ("size", "How many radiographs are enough?", _of(SizePart, told["sample_size"])),
        ("worth", "What is acting on it worth?", _worth(told)),
        ("comparison", "Beside another model", _comparison(told["comparison"])),
        ("recalibrated", "Recalibrated here", _of(RecalibrationPart, told["recalibration"])),
        ("prevalence", "At another prevalence", _of(PriorShiftPart, told["prior_shift"])),
        ("findings", "Findings", FindingsPart.of(findings)),
        (
            "provenance",
            "Provenance",
            ProvenancePart(command, f"Made {origin['time']}.", "Every option and version", made),
        ),
    )
    return AcceptancePage(told, sections(shown)).render()


def _of(kind: type[AcceptancePart], said: Any) -> AcceptancePart | None:
    return None if said is None else kind(said)


def _shares(told: dict[str, Any], predictions: Predictions) -> SharesPart | None:
    metrics = told["metrics"]
    if metrics is None:
        return None
    matrix = confusion_matrix(metrics["confusion_matrix"], metrics["class_names"])
    said = "Confusion matrix. " + matrix_text(metrics["confusion_matrix"], metrics["class_names"])
    curve = (roc(predictions), "ROC curve with its band, the decisions marked.")
    return SharesPart(told, ((matrix, said), curve))


def _calibration(told: dict[str, Any], predictions: Predictions) -> CalibrationPart | None:
    if told["calibration"] is None:
        return None
    alt = "Reliability diagram: predicted against observed frequency, with bin counts."
    spread = "Histogram of the calibrated probabilities, coloured by true class."
    drawn = (calibration(predictions, bins=5), alt), (probability_histograms(predictions), spread)
    return CalibrationPart(told["calibration"], drawn)


def _familiarity(told: dict[str, Any]) -> FamiliarityPart:
    said, pictures = told["familiarity"], ()
    if said["percentiles"]:
        alt = "Histogram of how unusual the radiographs are among the training radiographs."
        pictures = ((figures.unusual(said["percentiles"]), alt),)
    return FamiliarityPart(said, pictures)


def _worth(told: dict[str, Any]) -> WorthPart | None:
    curve = told["decision_curve"]
    if curve is None:
        return None
    alt = "Decision curve: net benefit against the probability from which one acts."
    return WorthPart(curve, ((figures.decision_curve(curve, [told["model"]["name"]]), alt),))


def _comparison(said: dict[str, Any] | None) -> ComparisonPart | None:
    if said is None:
        return None
    pictures, curve = (), said["net_benefit"]
    if curve:
        drawn = figures.decision_curve(curve, [said["one"], said["other"]])
        pictures = ((drawn, "Decision curves of both models."),)
    return ComparisonPart(said, pictures)
