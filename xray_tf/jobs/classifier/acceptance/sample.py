"""Read a site's radiographs through a classifier, and count what it decided rightly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from xray_tf.data.predictions import Predictions
from xray_tf.jobs.corpus import Corpus
from xray_tf.jobs.run import Run
from xray_tf.models.classifier import Classifier
from xray_tf.models.decided import SUBTYPE_LOGITS, predictions_of
from xray_tf.operating_point import OperatingPoint
from xray_tf.stats.acceptance.shares import Share


@dataclass(frozen=True)
class Sample:
    """Radiographs of a site, and what a classifier makes of them.

    Attributes:
        classifier: the model.
        corpus: N radiographs; some or all may be without a class.
        point: the operating point that decides.
        logits: (N, L) float32.
        predictions: N rows.
        embeddings: (N, D) float32 where the model has a reference to compare them with, else None.
    """

    classifier: Classifier
    corpus: Corpus
    point: OperatingPoint
    logits: np.ndarray
    predictions: Predictions
    embeddings: np.ndarray | None

    @cached_property
    def labelled(self) -> np.ndarray:
        """(n,) positions of the rows whose class is known."""
        return np.flatnonzero(self.predictions.scorable)

    @property
    def known(self) -> Predictions:
        """The rows whose class is known."""
        return self.predictions.where(self.labelled)

    @property
    def temperature(self) -> float:
        """By which the model divides its logits."""
        return self.classifier.card.temperature


def read_sample(
    classifier: Classifier,
    corpus: Corpus,
    operating_point: str | None,
    batch_size: int,
    run: Run,
) -> Sample:
    """Run a classifier over the radiographs of a corpus, in one pass."""
    with run.line(f"Asking {classifier.card.name}", len(corpus.records)) as line:
        found = classifier.forward(
            corpus.pixels,
            classifier.answer_points,
            batch_size,
            indices=corpus.rows,
            progress=line.step,
        )
    point = classifier.card.point(operating_point)
    predictions = predictions_of(
        classifier.card,
        list(corpus.records),
        classifier.probabilities_of(found["logits"]),
        point.name,
        subtype_logits=found.get(SUBTYPE_LOGITS),
    )
    embeddings = found.get("embedding")
    return Sample(classifier, corpus, point, found["logits"], predictions, embeddings)


def shares_of(rows: Predictions) -> dict[str, Share]:
    """Count what was decided rightly among rows whose class is known.

    Returns:
        Of two classes `sensitivity`, `specificity`, `ppv`, `npv` and `accuracy`; of more the
        recall of each, `recall/NAME`, and `accuracy`.
    """
    names, right = rows.class_names, rows.labels == rows.predicted
    if len(names) == 2:
        of = {
            "sensitivity": rows.labels == 1,
            "specificity": rows.labels == 0,
            "ppv": rows.predicted == 1,
            "npv": rows.predicted == 0,
        }
    else:
        of = {f"recall/{name}": rows.labels == k for k, name in enumerate(names)}
    of["accuracy"] = np.ones(len(rows), bool)
    return {name: Share.of(right[keep], rows.patients[keep]) for name, keep in of.items()}


def recalls(class_names: tuple[str, ...]) -> dict[str, int]:
    """Return the shares that do not depend on how many are sick, each with the class it is of."""
    if len(class_names) == 2:
        return {"sensitivity": 1, "specificity": 0}
    return {f"recall/{name}": k for k, name in enumerate(class_names)}
