"""Make a function from encoded radiographs to answers, for any engine that calls functions on
batches: Ray, Spark, a message queue, a loop.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf.artifact import Card
from xray_tf.data.pixels.reading import each, read_data
from xray_tf.data.predictions import Predictions
from xray_tf.data.records import Finding, Record
from xray_tf.data.scores import Scores
from xray_tf.data.tables.columns import text_column
from xray_tf.models.asked.queries import readable
from xray_tf.models.load import load

PREDICTIONS, SCORES, EMBEDDINGS = "predictions", "scores", "embeddings"
KINDS = {PREDICTIONS: "classifier", SCORES: "detector", EMBEDDINGS: "classifier"}
OF_THE_RECORD = ("path", "patient", "split", "label", "acquisition")
BATCH = 64  # radiographs a forward pass


@dataclass(frozen=True)
class PredictFn:
    """A function from encoded radiographs to columns. It is pickled by its settings: each process
    that it reaches opens the model once, on first use.

    Attributes:
        model: the artifact's folder, or the name of a shipped model.
        answers: `predictions`, `scores` or `embeddings`.
        operating_point: that decides, of a classifier; its default if None.
        thresholds: `name=value,name=value` in place of a detector's own.
        opened: the model, where it is opened already.
    """

    model: str | None
    answers: str
    operating_point: str | None = None
    thresholds: str | None = None
    opened: Any = field(default=None, compare=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "opened"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, opened=None)

    def __call__(self, batch: Sequence[bytes]) -> dict[str, np.ndarray]:
        """Answer a batch of encoded radiographs: the bytes of DICOM, JPEG, PNG and other files.

        Args:
            batch: N x bytes; what cannot be read, None included, gives a row with `error`.

        Returns:
            The columns of `predictions.csv` or `scores.csv` that do not name the radiograph, by
            name, each (N,) float64, or objects str; of embeddings `embedding` (N, D) float32, NaN
            where there is none, `warning` and `error`.
        """
        batch, parts = list(batch), []
        for start in range(0, max(1, len(batch)), BATCH):
            results = list(each(self.read, batch[start : start + BATCH]))
            records = [Record(f"image {start + i}") for i in range(len(results))]
            parts.append(self.columns(records, results))
        names = [name for name in parts[0] if name not in OF_THE_RECORD]
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def read(self, data: bytes | None) -> np.ndarray | Finding:
        """Return the pixels (S, S) uint8 of encoded bytes, as the model sees them, or the finding
        that explains why there are none. Threads may call it side by side.
        """
        if data is None:
            return Finding("missing", "error", "", "There are no bytes. The row is set aside.")
        prep = self.card.preprocessing
        reading, pixels = read_data(bytes(data), prep["image_size"], prep["resize"])
        return reading.finding("") if pixels is None else pixels

    def columns(
        self, records: Sequence[Record], results: Sequence[np.ndarray | Finding]
    ) -> dict[str, np.ndarray]:
        """Answer N records with what `read` returned for each: the columns by name, in the order
        of the CSV file.
        """
        if self.answers == EMBEDDINGS:
            return self._embedded(records, results)
        if self.answers == SCORES:
            table = self._model.judged(records, results, self._rule, BATCH)[0]
        else:
            table = self._model.decided(records, results, self.operating_point)
        return {name: _column(values) for name, values in table.to_columns().items()}

    @property
    def card(self) -> Card:
        return self._model.card

    @property
    def folder(self) -> Path:
        """The artifact's folder on this machine."""
        return self._model.folder

    @property
    def header(self) -> list[str]:
        """The names of all columns."""
        if self.answers == EMBEDDINGS:
            return [*OF_THE_RECORD, "embedding", "warning", "error"]
        if self.answers == SCORES:
            return Scores.header(self._rule.names)
        return Predictions.header(self.card.class_names)

    @cached_property
    def _model(self) -> Any:
        return load(self.model if self.opened is None else self.opened, kind=KINDS[self.answers])

    @cached_property
    def _rule(self) -> Any:
        from xray_tf.stats.detector.or_rule import read_thresholds

        rule = self._model.rule
        if not self.thresholds:
            return rule
        return rule.with_thresholds(read_thresholds(self.thresholds, rule.names))

    def _embedded(self, records: Sequence[Record], results: Sequence) -> dict[str, np.ndarray]:
        from xray_tf.models.lungs import lung_warnings

        good, pixels, errors = readable(results, self.card)
        side = self._model.embedding_net.get_layer("embedding").output.shape[-1]
        vectors = np.full((len(results), side), np.nan, np.float32)
        warnings = np.full(len(results), "", object)
        if len(pixels):
            found = self._model.forward(pixels, ("embedding",), len(pixels))
            vectors[good], warnings[good] = found["embedding"], lung_warnings(pixels)
        named = {name: [getattr(r, name) for r in records] for name in OF_THE_RECORD}
        texts = {**named, "warning": list(warnings), "error": errors}
        columns = {name: text_column(values) for name, values in texts.items()}
        return {name: columns.get(name, vectors) for name in self.header}


def _column(values: Any) -> np.ndarray:
    """Return a table's column as an array: numbers as they are, texts as objects."""
    return values if isinstance(values, np.ndarray) else text_column(values)


def make_predict_fn(
    model: str | os.PathLike | Any | None = None,
    *,
    answers: str | None = None,
    operating_point: str | None = None,
    thresholds: str | None = None,
) -> PredictFn:
    """Make a function from a batch of encoded radiographs to arrays, for any engine.

    The function can be pickled: every process that it reaches opens the model once, from the same
    folder or by the same name.

    Args:
        model: an artifact's folder, the name of a shipped model, an opened classifier or detector,
            or None for the shipped binary classifier.
        answers: `predictions` (of a classifier, its default), `embeddings` (of a classifier) or
            `scores` (of a detector, its default).
        operating_point: a name on a classifier's card; its default if None.
        thresholds: `name=value,name=value` in place of a detector's own.

    Returns:
        A function: a sequence of N x bytes -> {column: array of N}.

    Raises:
        ArtifactError: the model is not an artifact, is damaged, or gives other answers.
        ValueError: the operating point or the answers are unknown, or thresholds do not fit.
    """
    opened = load(model)
    if answers is None:
        answers = SCORES if opened.card.kind == "detector" else PREDICTIONS
    if answers not in KINDS:
        raise ValueError(f"answers must be one of {tuple(KINDS)}. Received: answers={answers!r}")
    opened = load(opened, kind=KINDS[answers])
    by_name = model is None or isinstance(model, str | os.PathLike)
    named = model and os.fspath(model) if by_name else os.fspath(opened.folder)
    asked = PredictFn(named, answers, operating_point, thresholds, opened)
    if answers == PREDICTIONS:
        point = opened.card.point(operating_point).name
        return replace(asked, operating_point=point)
    if answers == SCORES and thresholds:
        _ = asked._rule  # told here, and not on another machine
    return asked
