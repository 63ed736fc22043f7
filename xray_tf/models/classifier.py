"""Use a trained classifier: predictions, nearest cases, heat maps and evidence."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from xray_tf.data.predictions import Predictions
from xray_tf.data.records import Record, Records, common_part
from xray_tf.models.asked.pictures import columns_of_frame
from xray_tf.models.asked.queries import (
    batches,
    read_query,
    readable,
    readable_batches,
    record_batches,
)
from xray_tf.models.decided import SUBTYPE_LOGITS, chosen_point, predictions_of, warnings_of
from xray_tf.models.lungs import lung_warnings
from xray_tf.models.opened import Opened
from xray_tf.models.reference import PIECE
from xray_tf.operating_point import OperatingPoint
from xray_tf.plain.layers import Unsupported
from xray_tf.progress import LOG, ProgressLine, shown

if TYPE_CHECKING:
    from xray_tf.models.finder import NearestCaseFinder
    from xray_tf.models.reference import NearestTable
    from xray_tf.nets.heatmaps.gradcam import GradCAM
    from xray_tf.pages.evidence.page import Evidence
    from xray_tf.pages.heatmaps.explanations import Explanations


class Classifier(Opened):
    """A trained classifier with its card: from raw radiographs to calibrated probabilities and
    decisions.

    Attributes:
        folder: the artifact's folder.
        card: its description; see `xray_tf.artifact.Card`.
        model: the Keras model, image (B, S, S, 1) float32 in [0, 255] -> uncalibrated probability.
    """

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return self.card.class_names

    def predict(
        self,
        images: Any,
        batch_size: int = 64,
        operating_point: str | None = None,
        *,
        threshold: float | None = None,
        verbose: int = 0,
    ) -> Predictions:
        """Predict radiographs.

        Args:
            images: a path, folder or glob, or a list of them, or a data frame with the column
                `path`; an array or tensor (H, W), (H, W, 3), (N, H, W) or (N, H, W, 3) of
                pixels in [0, 255], uint8 or other numbers, of any size; the bytes of a file, a PIL
                image, a pydicom data set; a list of any of these; or a `tf.data.Dataset` of
                pictures, batches or pairs (image, label).
            batch_size: radiographs per forward pass.
            operating_point: a name on the card; its default if None.
            threshold: instead, the probability in [0, 1] of the last of two classes from which it
                is decided.
            verbose: 1 shows progress, 0 does not.

        Returns:
            One row per radiograph, in order. A file that cannot be read, or a file or array of one
            grey level or too few, gives a row with `error`. A row has a `warning` where no two
            upright lungs are found, where the probability is near the threshold, and where the
            artifact's reference knows the radiograph, finds it unlike all it knows, or decides
            otherwise.

        Raises:
            ValueError: pixels have another range or shape, no file was found, or the operating
                point is unknown.
        """
        point = chosen_point(self.card, operating_point, threshold)
        parts = []
        with ProgressLine("Predicting", None, bool(verbose)) as line:
            for records, results in batches(images, self.card, batch_size):
                few = self.is_few(len(records))
                parts.append(self.decided(records, results, point, few))
                line.step(len(records))
        return Predictions.joined(parts)

    def predict_proba(self, images: Any, batch_size: int = 64) -> np.ndarray:
        """Return calibrated probabilities (N, K) float64, as `predict` does; NaN where a file
        cannot be read.
        """
        return self.predict(images, batch_size).probabilities

    def embed(self, images: Any, batch_size: int = 64) -> np.ndarray:
        """Return the embeddings (N, D) float32 of radiographs, given as in `predict`.

        Raises:
            ValueError: one cannot be read, or as in `predict`.
        """
        return np.concatenate(
            [
                self.forward(pixels, ("embedding",), batch_size)["embedding"]
                for _, pixels in readable_batches(images, self.card, batch_size)
            ]
        )

    def explain(self, images: Any, batch_size: int = 16) -> Explanations:
        """Explain radiographs, given as in `predict`, by Grad-CAM of what is decided.

        Raises:
            ValueError: one cannot be read, or as in `predict`.
        """
        from xray_tf.pages.heatmaps.explanations import Explanations

        tables, seen, maps = [], [], []
        for records, pixels in readable_batches(images, self.card, batch_size):
            table = self.decided(records, list(pixels))
            maps.append(self.cam(pixels[..., None].astype(np.float32), table.predicted))
            tables.append(table)
            seen.append(pixels)
        return Explanations(Predictions.joined(tables), np.concatenate(seen), np.concatenate(maps))

    def evaluate(
        self,
        images: Any,
        labels: Any = None,
        patients: Sequence[str] | None = None,
        *,
        operating_point: str | None = None,
        threshold: float | None = None,
        replicates: int = 2000,
        batch_size: int = 64,
    ) -> dict[str, Any]:
        """Score labelled radiographs; nothing is fitted to them, and nothing is written (see
        `xray_tf.evaluate_model` for a page).

        Args:
            images: as in `predict`. A data frame's columns `label` and `patient` are used.
            labels: N class names or indices; None takes those of folders' names, or a data frame's.
            patients: N keys, whose radiographs are drawn together behind the intervals.
            replicates: of the bootstrap behind each 95 % interval; 0 leaves the intervals out.

        Returns:
            The layout of metrics.json: `metrics`, `per_class`, `confusion_matrix` and more.

        Raises:
            ValueError: no radiograph has a label of the task, or as in `predict`.
        """
        from xray_tf.stats.metrics import score

        table = self.predict(
            images, batch_size, operating_point=operating_point, threshold=threshold
        )
        labels, patients = columns_of_frame(images, labels, patients)
        table = table.relabelled(labels, patients)
        rows = table.where(table.scorable)
        if not len(rows):
            raise ValueError(
                f"no radiograph has a label of {self.class_names}. Give labels=, or folders named "
                "by the classes."
            )
        return score(
            rows.probabilities,
            rows.labels,
            rows.predicted,
            list(rows.patients),
            self.class_names,
            replicates,
            split=common_part(rows.splits),
            operating_point=chosen_point(self.card, operating_point, threshold).name,
            split_by=self.card.split_by,
        )

    def summary(self) -> None:
        """Print what it is, what it decides, and how well on held-out rows."""
        from xray_tf.pages.classifier.report import summary_text

        with shown():
            LOG.info(summary_text(self.card))

    def nearest(self, images: Any, k: int = 5) -> tuple[NearestTable, Predictions]:
        """Find the k nearest training radiographs of each image in the artifact's `reference/`.

        Args:
            images: as in `predict`.
            k: the number of neighbours to return; it does not affect the vote.

        Returns:
            (the neighbours, nearest first, query by query; the neighbours' votes).

        Raises:
            ArtifactError: the artifact has no reference.
            ValueError: no file was found, or one cannot be read.
        """
        return self.finder.nearest(images, k)

    @cached_property
    def finder(self) -> NearestCaseFinder:
        """The search for nearest cases, refitted from `reference/` on first use."""
        from xray_tf.models.finder import NearestCaseFinder

        return NearestCaseFinder(self)

    @cached_property
    def embedding_net(self):
        """The model with a layer named `embedding`, derived on first use."""
        from xray_tf.nets.embedding import with_embedding

        return with_embedding(self.model)

    @cached_property
    def cam(self) -> GradCAM:
        """Grad-CAM of its decisions, compiled on first use."""
        from xray_tf.nets.heatmaps.gradcam import GradCAM

        return GradCAM(self.model)

    def read(
        self,
        image: Any,
        *,
        data: str | os.PathLike | None = None,
        detector: Any = None,
        neighbors: int = 5,
        operating_point: str | None = None,
        threshold: float | None = None,
    ) -> Evidence:
        """Gather the evidence on one radiograph: probability, heat map, nearest cases, anomaly, and
        what to distrust.

        Args:
            image: one radiograph: a path, the bytes of a file, an array or tensor (H, W) or (H, W,
                3) of pixels in [0, 255], uint8 or other numbers, a PIL image or a pydicom data set.
            data: a folder with the training radiographs, for the neighbours' pictures where the
                reference keeps none.
            detector: an anomaly detector: its folder, its name or an opened one; None for the
                shipped one, `none` for none.
            neighbors: the number of nearest cases, if the artifact has a `reference/`.
            operating_point, threshold: as in `predict`.

        Returns:
            An object that a notebook displays, and that `save` writes as a page.

        Raises:
            ValueError: the radiograph cannot be read, or an argument does not fit.
        """
        from xray_tf.models.load import load_detector
        from xray_tf.models.reader import Reader

        detector = self._shipped_detector if detector is None else load_detector(detector)
        point = chosen_point(self.card, operating_point, threshold)
        how = {"neighbors": neighbors, "operating_point": point}
        reader = Reader(self, data=data, detector=detector, **how)
        query = read_query(image, self.card)
        if query.pixels is None:
            raise ValueError(f"{query.record.path} cannot be read ({query.error}).")
        return reader.read(query)

    @cached_property
    def _shipped_detector(self) -> Any:
        from xray_tf.models.load import load_detector

        return load_detector()

    def stream(
        self,
        records: Records,
        batch_size: int = 64,
        operating_point: str | None = None,
        total: int | None = None,
    ) -> Iterator[Predictions]:
        """Predict files batch by batch, in order and in constant memory; a file that cannot be read
        becomes a row with `error`. `total` counts those of the whole job, where some are done.
        """
        few = self.is_few(total or len(records))
        for batch, results in record_batches(records, self.card, batch_size):
            yield self.decided(batch, results, operating_point, few)

    @property
    def remembers(self) -> bool:
        """Whether the artifact has a reference of its training radiographs."""
        return (self.folder / PIECE).is_dir()

    @property
    def decision_points(self) -> tuple[str, ...]:
        """The points of the network that a decision is made of."""
        return ("logits", SUBTYPE_LOGITS) if self.card.subtypes else ("logits",)

    @property
    def answer_points(self) -> tuple[str, ...]:
        """The points of the network that an answer is made of: those of the decision and, with a
        reference, the embedding.
        """
        return (*self.decision_points, *(("embedding",) if self.remembers else ()))

    def probabilities_of(self, logits: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities (N, K) float64 of logits (N, L)."""
        from xray_tf.stats.temperature import calibrated_probabilities

        return calibrated_probabilities(logits, self.card.temperature)

    def forward(
        self,
        pixels: np.ndarray,
        points: tuple[str, ...] = ("logits",),
        batch_size: int = 64,
        few: bool = False,
        **more,
    ) -> dict[str, np.ndarray]:
        """Run the network on pixels (N, S, S) uint8, and return the named points, each (N, D)
        float32; a `few` are computed in NumPy, if it knows all layers.
        """
        if few and not more and (plain := self.plain):
            with suppress(Unsupported):
                return plain.forward(pixels, points)
        from xray_tf.nets.inference import forward

        net = self.embedding_net if "embedding" in points else self.model
        return forward(net, pixels, points=points, batch_size=batch_size, **more)

    def decided(
        self,
        records: Sequence[Record],
        results: Sequence,
        operating_point: str | OperatingPoint | None = None,
        few: bool = False,
    ) -> Predictions:
        """Predict one batch of what `data.cache.stream_pixels` gives for records: pixels (S, S)
        uint8, or a finding where a file cannot be read.
        """
        good, pixels, errors = readable(results, self.card)
        probabilities = np.full((len(records), len(self.card.class_names)), np.nan)
        warnings = np.full(len(records), "", object)
        subtype_logits = None
        if self.card.subtypes:
            subtype_logits = np.zeros((len(records), 1 + len(self.card.subtypes)))
        if len(pixels):
            points = self.forward(pixels, self.answer_points, len(pixels), few)
            probabilities[good] = self.probabilities_of(points["logits"])
            if subtype_logits is not None:
                subtype_logits[good] = points[SUBTYPE_LOGITS]
            warnings[good] = self._warnings(
                [r for r, ok in zip(records, good, strict=True) if ok],
                pixels,
                probabilities[good],
                points.get("embedding"),
                operating_point,
            )
        return predictions_of(
            self.card, records, probabilities, operating_point, errors, warnings, subtype_logits
        )

    def _warnings(
        self,
        records: Sequence[Record],
        pixels: np.ndarray,
        probabilities: np.ndarray,
        embeddings: np.ndarray | None,
        operating_point: str | OperatingPoint | None,
    ) -> list[str]:
        lungs, point = lung_warnings(pixels), self.card.point(operating_point)
        table = predictions_of(self.card, records, probabilities, point, warnings=lungs)
        if embeddings is None:
            return warnings_of(table, point)
        reference = self.finder.reference
        near = reference.ask(embeddings, records)
        votes = reference.predictions(near, records)
        return warnings_of(table, point, near.unusual, votes, reference.copies(pixels) >= 0)

    def __repr__(self) -> str:
        return (
            f"Classifier({self.card.name!r}, classes {self.card.class_names}, operating point "
            f"{self.card.default_operating_point!r})"
        )

    def _repr_html_(self) -> str:
        from xray_tf.pages.classifier.report import render_summary

        return render_summary(self.card)
