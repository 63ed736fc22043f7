"""Decide calibrated probabilities at an operating point and join them with their records."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xray_tf.artifact import Card
from xray_tf.data.predictions import Predictions
from xray_tf.data.records import Record, class_index

SUBTYPE_LOGITS = "subtype_logits"  # the layer, see `nets.classifier.sum_of_sick`


def predictions_of(
    card: Card,
    records: Sequence[Record],
    probabilities: np.ndarray,
    operating_point: str | None = None,
    errors: Sequence[str] | None = None,
    warnings: Sequence[str] | None = None,
    subtype_logits: np.ndarray | None = None,
) -> Predictions:
    """Decide calibrated probabilities (N, K) at an operating point of the card (its default if
    None), and join them with their records, with errors and warnings if there are any, and with the
    likelier sub-type of what is not decided as the first class, from logits (N, 1 + sub-types).
    """
    task, decided = card.to_task(), card.point(operating_point).decide(probabilities)
    subtypes = None
    if subtype_logits is not None:
        likelier = np.argmax(subtype_logits[:, 1:], axis=1)
        subtypes = [
            card.subtypes[k] if d > 0 else "" for k, d in zip(likelier, decided, strict=True)
        ]
    return Predictions(
        card.class_names,
        [r.path for r in records],
        probabilities,
        decided,
        patients=[r.patient for r in records],
        splits=[r.split for r in records],
        labels=[class_index(r, task) for r in records],
        acquisitions=[r.acquisition for r in records],
        errors=errors,
        warnings=warnings,
        subtypes=subtypes,
    )
