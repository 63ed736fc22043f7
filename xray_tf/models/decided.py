"""Decide calibrated probabilities at an operating point, join them with their records, and say
which of the answers are doubtful.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xray_tf.artifact import Card
from xray_tf.data.chest.lung_table import NO_LUNGS
from xray_tf.data.predictions import Prediction, Predictions
from xray_tf.data.records import Record, class_index, common_part
from xray_tf.operating_point import OperatingPoint
from xray_tf.registry import NORMAL, Task

SUBTYPE_LOGITS = "subtype_logits"  # the layer, see `nets.classifier.sum_of_sick`
# change of the logit that would flip the decision: a typical difference between two trainings
CLOSE = 0.5
FARTHEST = 100  # percentile of the neighbour distance among the training radiographs
BEYOND, NEAR, KNOWN, DIFFER = (
    "unlike any training radiograph",
    "near the threshold",
    "copy of a training radiograph",
    "head and neighbours disagree",
)
# what a warning is called where there is room for a word
WORDS = {
    NO_LUNGS: "no lungs",
    BEYOND: "unusual",
    NEAR: "close call",
    KNOWN: "known",
    DIFFER: "disagreement",
}


def predictions_of(
    card: Card,
    records: Sequence[Record],
    probabilities: np.ndarray,
    operating_point: str | OperatingPoint | None = None,
    errors: Sequence[str] | None = None,
    warnings: Sequence[str] | None = None,
    subtype_logits: np.ndarray | None = None,
) -> Predictions:
    """Decide calibrated probabilities (N, K) at an operating point of the card (its default if
    None), and join them with their records, with errors and warnings if there are any, and with the
    likelier sub-type of what is not decided as the first class, from logits (N, 1 + sub-types).
    """
    point, columns = card.point(operating_point), {"errors": errors, "warnings": warnings}
    if subtype_logits is not None:
        likelier = zip(
            np.argmax(subtype_logits[:, 1:], axis=1), point.decide(probabilities), strict=True
        )
        columns["subtypes"] = [card.subtypes[k] if d > 0 else "" for k, d in likelier]
    return decided_at(point, card.to_task(), records, probabilities, **columns)


def chosen_point(
    card: Card, operating_point: str | None, threshold: float | None
) -> OperatingPoint:
    """Return the operating point that a person asks for, by name or by a threshold of the last of
    two classes.

    Raises:
        ValueError: both are given, the name is unknown, the threshold is no probability, or the
            classifier has more than two classes.
    """
    if threshold is None:
        return card.point(operating_point)
    if operating_point is not None:
        raise ValueError(
            "give operating_point or threshold, not both. Received: "
            f"operating_point={operating_point!r}, threshold={threshold!r}"
        )
    if len(card.class_names) != 2:
        raise ValueError(
            f"threshold decides between two classes. {card.name} has {card.class_names}; its "
            f"operating points: {sorted(card.operating_points)}"
        )
    return OperatingPoint("threshold", criterion="given by the caller", threshold=float(threshold))


def decided_at(
    point: OperatingPoint, task: Task, records: Sequence[Record], probabilities: np.ndarray, **more
) -> Predictions:
    """Decide probabilities (N, K) of the classes of a task, and join them with their records and
    `more` columns.
    """
    return Predictions(
        task.class_names,
        [r.path for r in records],
        probabilities,
        point.decide(probabilities),
        patients=[r.patient for r in records],
        splits=[r.split for r in records],
        labels=[class_index(r, task) for r in records],
        acquisitions=[r.acquisition for r in records],
        **more,
    )


def warnings_of(
    table: Predictions,
    point: OperatingPoint,
    unusual: np.ndarray | None = None,
    votes: Predictions | None = None,
    known: np.ndarray | None = None,
) -> list[str]:
    """Return what speaks against each answer, several separated by `; `: the table's own warnings,
    and what is known without a heat map or a detector.

    Args:
        table: N answers that were read.
        point: what decided them.
        unusual: (N,) percentiles in [0, 100] of their neighbours' distances; None if not known.
        votes: what their neighbours decide; None if there are none.
        known: (N,) bool, they are copies of training radiographs; None if not known.
    """
    found = []
    for i, row in enumerate(table):
        told = {
            row.warning: bool(row.warning),
            BEYOND: unusual is not None and unusual[i] >= FARTHEST,
            NEAR: point.margin(row.probabilities) < CLOSE,
            KNOWN: known is not None and known[i],
            DIFFER: votes is not None
            and differ(votes[i].predicted, row.predicted, votes.class_names),
        }
        found.append("; ".join(text for text, holds in told.items() if holds))
    return found


def words_of(warning: str) -> str:
    """Return the words for the warnings in one cell, separated by commas."""
    return ", ".join(WORDS.get(text, text) for text in warning.split("; "))


def answer_text(row: Prediction, class_names: Sequence[str]) -> str:
    """Return an answer in words: what is decided, the probabilities, and what speaks against it."""
    shown = ", ".join(
        f"{name} {p:.3f}" for name, p in zip(class_names, row.probabilities, strict=True)
    )
    likelier = f", likelier {row.subtype}" if row.subtype else ""
    doubt = f"; warning: {words_of(row.warning)}" if row.warning else ""
    return f"{row.predicted}{likelier} ({shown}){doubt}"


def differ(one: str, other: str, names: tuple[str, ...]) -> bool:
    """Tell whether two decisions contradict each other; if one has fewer classes, only normal
    against not normal counts.
    """
    if one in names and other in names:
        return one != other
    return (one == NORMAL) != (other == NORMAL)


def measured_at(card: Card, point: OperatingPoint, records: Sequence[Record]) -> dict[str, str]:
    """Return what every measurement of a classifier records of its rows and of its decisions."""
    split = common_part(r.split for r in records)
    return {"split": split, "operating_point": point.name, "split_by": card.split_by}
