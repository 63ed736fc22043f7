"""Make the parts of an anomaly detector's pages: rule, metrics, scores, training."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from xray_tf.artifact import Card
from xray_tf.data.scores import Scores
from xray_tf.operating_point import DetectorPoint
from xray_tf.pages.classifier.credits import pictures_credit
from xray_tf.pages.detector import figures
from xray_tf.pages.kit.curves import roc
from xray_tf.pages.kit.render import Part, read_json
from xray_tf.pages.kit.words import NAMES, data_facts
from xray_tf.stats.detector.committee import DETECTORS
from xray_tf.stats.detector.statistics import Statistics
from xray_tf.stats.metric_rows import METRICS

STATISTICS, EXAMPLES = "statistics.csv", "examples.json"
Number = tuple[str, dict[str, Any], str]  # name, value with its interval, what chance would reach


@dataclass(frozen=True)
class RulePart(Part):
    """The rule of a detector's operating `point`, and the guarantee of its thresholds."""

    template = "detector/rule.html.jinja"
    point: DetectorPoint

    @property
    def promise(self) -> str:
        """The guarantee on the rate of false alarms."""
        if self.point.budget is None:
            return "The thresholds were set by hand, so no false-alarm rate is guaranteed."
        return (
            f"The thresholds come from {self.point.calibration_patients:,} held-out normal "
            "patients, one radiograph each, with one false-alarm budget for all scores: if these "
            "and a new normal patient are exchangeable, the new one is called anomalous with a "
            f"probability of at most {self.point.budget:.3g}, over the draw of both."
        )

    @property
    def committee(self) -> str:
        """What the score `features` is made of; empty where there is no such score."""
        told = [f"{n} ({DETECTORS[n].what})" for n in self.point.detectors if n in DETECTORS]
        said = (
            "The score features is the mean of these detectors, each on the scale of normals that"
        )
        return f"{said} it had not seen: {'; '.join(told)}." if told else ""

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """Score, the side on which it is anomalous, and the share of calibration normals there."""
        shares, p = self.point.calibration_false_alarms, self.point
        rows = [
            (n.replace("_", " "), f"{p.side(n)} {t:.5g}", f"{shares[n]:.2%}")
            for n, t in p.thresholds.items()
        ]
        return [*rows, ("any of them", "", f"{shares['any']:.2%}")]


@dataclass(frozen=True)
class MeasuredPart(Part):
    """What was measured: the layout of metrics.json."""

    template = "detector/measured.html.jinja"
    metrics: dict[str, Any]

    @classmethod
    def of(cls, metrics: dict[str, Any] | None) -> MeasuredPart | None:
        """Return the part; None if nothing is labelled."""
        return cls(metrics) if metrics else None

    @property
    def numbers(self) -> dict[str, Number]:
        """Every metric by its key: its name, its value, and what chance would reach."""
        chance = self.metrics["chance"]
        cells = {"false_alarms": self.metrics["false_alarms"], **self.metrics["metrics"]}
        return {key: (NAMES[key], cell, _chance(key, chance)) for key, cell in cells.items()}

    @property
    def headline(self) -> list[tuple[str, dict[str, Any]]]:
        """The metrics that matter most, each with its name."""
        return [n[:2] for key, n in self.numbers.items() if "detector" in METRICS[key].headline]


@dataclass(frozen=True)
class StatisticsPart(Part):
    """Scores of batches, and the pictures of all scores: each figure with what it shows."""

    template = "detector/statistics.html.jinja"
    batches: list[Any]
    histograms: Figure
    others: list[tuple[Figure, str]]

    @classmethod
    def of(
        cls, folder: Path, scores: Scores, thresholds: dict[str, float]
    ) -> StatisticsPart | None:
        """Return the part about the test rows, or about all where none is of that part; None where
        no file could be scored.
        """
        if not scores.read.any():
            return None
        test = scores.splits == "test"
        tested = scores.where(test) if test.any() else scores
        words = "The first two scores against each other, with both thresholds"
        others = [(figures.score_scatter(tested, thresholds), words)]
        labelled = figures.as_predictions(tested)
        if len(set(labelled.labels.tolist())) == 2:
            others.append((roc(labelled), "ROC curve of the anomaly score"))
        there = (folder / STATISTICS).is_file()
        batches = list(Statistics.read_csv(folder / STATISTICS)) if there else []
        return cls(batches, figures.score_histograms(tested, thresholds), others)


@dataclass(frozen=True)
class ExamplesPart(Part):
    """Radiographs of each outcome beside what the detector sees of them and their heat maps.

    Attributes:
        cells: those of examples.json, each with its `picture` as the bytes of a JPEG file.
        credit: whose radiographs they are; empty where that is not known.
        choice: the rule they were chosen by.
    """

    template = "detector/examples.html.jinja"
    cells: list[dict[str, Any]]
    credit: str
    choice: str = figures.CHOICE

    @classmethod
    def of(cls, folder: Path, card: Card, per_outcome: int | None = None) -> ExamplesPart | None:
        """Return the part, with at most `per_outcome` cells of each outcome; None where the folder
        has no examples.
        """
        told, cells = read_json(folder / EXAMPLES), []
        for cell in told["cells"] if told else ():
            if [c["outcome"] for c in cells].count(cell["outcome"]) != per_outcome:
                cells.append({**cell, "picture": base64.b64decode(cell["picture"])})
        return cls(cells, pictures_credit(card)) if cells else None


@dataclass(frozen=True)
class TrainingPart(Part):
    """What it was made of: facts on the data, radiographs of each part, the loss by epoch, None
    where there was no training.
    """

    template = "detector/training.html.jinja"
    facts: list[str]
    radiographs: dict[str, int]
    losses: Figure | None

    @classmethod
    def of(cls, card: Card, history: list[dict[str, str]]) -> TrainingPart:
        """Return the part from the card and the rows of history.csv."""
        radiographs = card.point().radiographs
        return cls(data_facts(card), radiographs, figures.loss_curves(history) if history else None)


def _chance(key: str, chance: dict[str, Any]) -> str:
    """Return what guessing would reach."""
    return {
        "f1": f"{chance['f1_always_pneumonia']:.3f} (always pneumonia)",
        "accuracy": f"{chance['accuracy']:.3f} (always {chance['class']})",
        "auroc": f"{chance['auroc']:.3f}",
        "auprc": f"{chance['auprc']:.3f}",
        "balanced_accuracy": "0.500",
    }.get(key, "")
