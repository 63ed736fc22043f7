"""Decide calibrated probabilities at an operating point and join them with their records."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xray_tf.artifact import Card
from xray_tf.data.predictions import Predictions
from xray_tf.data.records import Record, class_index, common_part
from xray_tf.operating_point import OperatingPoint
from xray_tf.registry import Task

SUBTYPE_LOGITS = "subtype_logits"  # the layer, see `nets.classifier.sum_of_sick`


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
    columns["acquisitions"] = [r.acquisition for r in records]
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
        **more,
    )


def measured_at(card: Card, point: OperatingPoint, records: Sequence[Record]) -> dict[str, str]:
    """Return what every measurement of a classifier records of its rows and of its decisions."""
    split = common_part(r.split for r in records)
    return {"split": split, "operating_point": point.name, "split_by": card.split_by}
