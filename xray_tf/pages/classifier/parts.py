"""Make the parts of a classifier's report from the contents of its folder."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from xray_tf.artifact import Card
from xray_tf.data.predictions import Prediction
from xray_tf.data.records import SPLITS, Record, class_index
from xray_tf.pages.classifier import shift_card
from xray_tf.pages.classifier.contents import Contents
from xray_tf.pages.classifier.mistakes import surest
from xray_tf.pages.kit import figures
from xray_tf.pages.kit.render import Part, Table
from xray_tf.pages.kit.words import (
    NAMES,
    SPLIT_NAMES,
    data_facts,
    options_of,
    worst_acquisition,
)

UNKNOWN_CLASS = "class unknown"
MISTAKES = 15  # rows shown; the files have the rest
_CHIPS = (
    "backbone weights method fine_tune augment batch_size schedule precision seed"
).split()  # options shown beside the curves


@dataclass(frozen=True)
class DataPart(Part):
    """Radiographs and patients by part and class.

    Attributes:
        head, rows: the table, by part where a split.csv is there; None is a count not known.
        split_by: `patient` or `image`; None where there is no split.csv.
        shared: how many patient keys lie in two parts; None where the source has no keys.
        facts: what the card says of the data.
    """

    template = "classifier/data.html.jinja"
    head: list[str]
    rows: list[list[Any]]
    split_by: str | None
    shared: int | None
    facts: list[str]

    @classmethod
    def of(cls, contents: Contents) -> DataPart | None:
        """Return the part, None where nothing tells of the data."""
        card, metrics = contents.card, contents.metrics
        if contents.split is not None:
            return cls._by_part(card, contents.split)
        if not metrics:
            return None
        counts = metrics["class_counts"]
        row = [*counts.values(), metrics["rows"], metrics["patients"]]
        return cls([*counts, "radiographs", "patients"], [row], None, None, data_facts(card))

    @classmethod
    def _by_part(cls, card: Card, split: list[dict[str, str]]) -> DataPart:
        counts = Counter((r.get("split", ""), _class_of(r, card)) for r in split)
        unknown = any(name == UNKNOWN_CLASS for _, name in counts)
        names = [*card.class_names, *([UNKNOWN_CLASS] if unknown else [])]
        keys = {
            s: {r["patient"] for r in split if r.get("split") == s and r.get("patient")}
            for s in SPLITS
        }
        lines = {SPLIT_NAMES[s]: [s] for s in SPLITS if any(part == s for part, _ in counts)}
        rows = []
        for title, parts in {**lines, "all": SPLITS}.items():
            of_class = [sum(counts[s, n] for s in parts) for n in names]
            patients = set().union(*(keys[s] for s in parts))
            rows.append([title, *of_class, sum(of_class), len(patients) or None])
        shared = sum(len(keys[a] & keys[b]) for a, b in combinations(SPLITS, 2))
        return cls(
            ["part", *names, "radiographs", "patients"],
            rows,
            card.split_by,
            shared if any(keys.values()) else None,
            data_facts(card),
        )


@dataclass(frozen=True)
class TrainingPart(Part):
    """How the training went: its epochs and minutes, the epoch of the lowest validation loss, the
    options recorded, and the curves.
    """

    template = "classifier/training.html.jinja"
    epochs: int
    minutes: float
    best: dict[str, Any]
    options: dict[str, Any]
    curves: Figure

    @classmethod
    def of(cls, contents: Contents) -> TrainingPart | None:
        """Return the part, None where there is no history."""
        rows = contents.history
        if not rows:
            return None
        card = contents.card
        options = options_of(card, "ModelOptions") | options_of(card, "TrainOptions")
        best = min(rows, key=lambda r: float(r["val_loss"]))
        return cls(
            epochs=len(rows),
            minutes=sum(float(r["seconds"]) for r in rows) / 60,
            best={k: float(v) if k.startswith("val_") else v for k, v in best.items()},
            options={k: options[k] for k in _CHIPS if k in options},
            curves=figures.training_curves(rows),
        )


@dataclass(frozen=True)
class MetricsPart(Part):
    """Every metric with its interval, and by class under a heading of the `level`."""

    template = "classifier/metrics.html.jinja"
    metrics: dict[str, Any]
    level: int = 3

    @classmethod
    def of(cls, contents: Contents, level: int = 3) -> MetricsPart | None:
        """Return the part, None where nothing was measured."""
        return cls(contents.metrics, level) if contents.metrics else None

    @property
    def columns(self) -> dict[str, str]:
        """The metrics of each class, {key: name}."""
        return {key: NAMES[key] for key in next(iter(self.metrics["per_class"].values()))}

    @property
    def recalls(self) -> list[str]:
        """The heads of the recalls by acquisition group."""
        return [f"recall of {name}" for name in self.metrics["class_names"]]

    @property
    def worst(self) -> str:
        """The acquisition group and class of the lowest recall."""
        return worst_acquisition(self.metrics)


@dataclass(frozen=True)
class DecisionsPart(Part):
    """What was decided, and by which rule.

    Attributes:
        points: name, rule, criterion and what was reached of each operating point, the used one
            first.
        metrics: the layout of metrics.json, None where nothing was measured.
        matrix: the confusion matrix, if there is one.
        histograms: the probabilities by true class, where rows are labelled.
        wrong: how many decisions are wrong.
        mistakes: the wrong decisions of the highest probability, with it.
    """

    template = "classifier/decisions.html.jinja"
    points: list[tuple[str, str, str, str]]
    metrics: dict[str, Any] | None
    matrix: Figure | None
    histograms: Figure | None
    wrong: int
    mistakes: list[tuple[Prediction, float]]

    @classmethod
    def of(cls, contents: Contents, listed: bool = True) -> DecisionsPart | None:
        """Return the part, with the files of the surest mistakes if they are to be `listed`; None
        where there is nothing to show.
        """
        card, metrics, rows = contents.card, contents.metrics, contents.scored
        names = card.class_names
        used = (metrics or {}).get("operating_point") or card.default_operating_point
        wrong = [] if rows is None else np.flatnonzero(rows.labels != rows.predicted)
        matrix = histograms = None
        if metrics:
            matrix = figures.confusion_matrix(metrics["confusion_matrix"], metrics["class_names"])
        if rows is not None:
            histograms = figures.probability_histograms(rows, card.operating_points.get(used))
        points = sorted(card.operating_points.items(), key=lambda item: item[0] != used)
        if not points and matrix is None and histograms is None:
            return None
        return cls(
            points=[
                (f"{n} (used here)" if n == used else n, p.words(names), p.criterion, p.reached())
                for n, p in points
            ],
            metrics=metrics,
            matrix=matrix,
            histograms=histograms,
            wrong=len(wrong),
            mistakes=surest(rows, MISTAKES) if len(wrong) and listed else [],
        )


@dataclass(frozen=True)
class CurvesPart(Part):
    """ROC, precision and recall, and calibration.

    Attributes:
        by: what the bands were bootstrapped by, `patient` or `image`.
        pictures: each figure, what it shows, and the metric that sums it up, None where there is
            none, after its name.
    """

    template = "classifier/curves.html.jinja"
    by: str
    pictures: list[tuple[Figure, str, str, dict[str, Any] | None]]

    @classmethod
    def of(cls, contents: Contents) -> CurvesPart | None:
        """Return the part, None where no row is labelled."""
        rows, metrics = contents.scored, (contents.metrics or {}).get("metrics", {})
        if rows is None:
            return None
        drawn = (
            (figures.roc, "ROC curve with its band", "auroc"),
            (figures.precision_recall, "Precision-recall curve with its band", "auprc"),
            (
                figures.calibration,
                "Reliability diagram: predicted against observed frequency, with bin counts",
                "ece",
            ),
        )
        pictures = [(draw(rows), alt, NAMES[name], metrics.get(name)) for draw, alt, name in drawn]
        return cls("patient" if any(rows.patients) else "image", pictures)


@dataclass(frozen=True)
class ShiftPart(Part):
    """The shift card: a sentence, two tables (head, rows), and the curves with their text; see
    `pages.classifier.shift_card`.
    """

    template = "classifier/shift.html.jinja"
    said: str
    summary: Table
    changes: Table
    curves: Figure
    alt: str

    @classmethod
    def of(cls, shift: dict[str, Any] | None) -> ShiftPart | None:
        """Return the part from the layout of shift.json, None where there is none."""
        if not shift:
            return None
        return cls(
            shift_card.shift_sentences(shift)[0],
            shift_card.shift_summary(shift),
            shift_card.shift_table(shift),
            shift_card.shift_curves(shift),
            shift_card.shift_alt(shift),
        )


def _class_of(row: dict[str, str], card: Card) -> str:
    record = Record(row.get("path", ""), row.get("label", ""), row.get("subtype", ""))
    try:
        index = class_index(record, card.to_task())
    except ValueError:
        index = -1
    return card.class_names[index] if index >= 0 else UNKNOWN_CLASS
