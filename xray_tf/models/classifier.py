"""Use a trained classifier: predictions, nearest cases, heat maps and evidence."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from xray_tf.data.predictions import Predictions
from xray_tf.data.records import Record, Records
from xray_tf.data.sources.files import list_files
from xray_tf.models.decided import SUBTYPE_LOGITS, predictions_of
from xray_tf.models.lungs import lung_warnings
from xray_tf.models.opened import Opened
from xray_tf.models.queries import array_batches, read_query, readable, record_batches

if TYPE_CHECKING:
    from xray_tf.models.finder import NearestCaseFinder
    from xray_tf.models.reference import NearestTable
    from xray_tf.nets.heatmaps.gradcam import GradCAM
    from xray_tf.pages.evidence.page import Evidence


class Classifier(Opened):
    """A trained classifier with its card: from raw radiographs to calibrated probabilities and
    decisions.

    Attributes:
        folder: the artifact's folder.
        card: its description; see `xray_tf.artifact.Card`.
        model: the Keras model, image (B, S, S, 1) float32 in [0, 255] -> uncalibrated probability.
    """

    def predict(
        self, images: Any, batch_size: int = 64, operating_point: str | None = None
    ) -> Predictions:
        """Predict radiographs.

        Args:
            images: a path, folder or glob, or a list of them; or an array (H, W) or (N, H, W)
                uint8 of grey pixels in [0, 255] of any size.
            batch_size: radiographs per forward pass.
            operating_point: a name on the card; its default if None.

        Returns:
            One row per radiograph, in order. A file that cannot be read, or a file or array of one
            grey level or too few, gives a row with `error`. Where no two upright lungs are found,
            the row has a `warning`.

        Raises:
            ValueError: pixels have another type, range or shape, no file was found, or the
                operating point is unknown.
        """
        if isinstance(images, np.ndarray):
            batches = array_batches(images, self.card, batch_size)
            return Predictions.joined([self.decided(r, p, operating_point) for r, p in batches])
        return Predictions.joined(
            list(self.stream(list_files(images, self.card.to_task()), batch_size, operating_point))
        )

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
    ) -> Evidence:
        """Gather the evidence on one radiograph: probability, heat map, nearest cases, anomaly, and
        what to distrust.

        Args:
            image: a path, the bytes of a file, or an array (H, W) uint8 of grey pixels in [0, 255].
            data: a folder with the training radiographs, for the neighbours' pictures; artifacts
                contain none.
            detector: an anomaly detector: its folder, its name or an opened one; None for none.
            neighbors: the number of nearest cases, if the artifact has a `reference/`.
            operating_point: a name on the card; its default if None.

        Returns:
            An object that a notebook displays, and that `save` writes as a page.

        Raises:
            ValueError: the radiograph cannot be read, or an argument does not fit.
        """
        from xray_tf.models.load import load
        from xray_tf.models.reader import Reader

        if detector is not None:
            detector = load(detector, kind="detector")
        how = {"neighbors": neighbors, "operating_point": operating_point}
        reader = Reader(self, data=data, detector=detector, **how)
        query = read_query(image, self.card)
        if query.pixels is None:
            raise ValueError(f"{query.record.path} cannot be read ({query.error}).")
        return reader.read(query)

    def stream(
        self, records: Records, batch_size: int = 64, operating_point: str | None = None
    ) -> Iterator[Predictions]:
        """Predict files batch by batch, in order and in constant memory; a file that cannot be read
        becomes a row with `error`.
        """
        for batch, results in record_batches(records, self.card, batch_size):
            yield self.decided(batch, results, operating_point)

    @property
    def decision_points(self) -> tuple[str, ...]:
        """The points of the network that a decision is made of."""
        return ("logits", SUBTYPE_LOGITS) if self.card.subtypes else ("logits",)

    def probabilities_of(self, logits: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities (N, K) float64 of logits (N, L)."""
        from xray_tf.stats.temperature import calibrated_probabilities

        return calibrated_probabilities(logits, self.card.temperature)

    def forward(
        self,
        pixels: np.ndarray,
        points: tuple[str, ...] = ("logits",),
        batch_size: int = 64,
        **more,
    ) -> dict[str, np.ndarray]:
        """Run the network on pixels (N, S, S) uint8, and return the named points, each (N, D)
        float32.
        """
        from xray_tf.nets.inference import forward

        return forward(self.model, pixels, points=points, batch_size=batch_size, **more)

    def decided(
        self, records: Sequence[Record], results: Sequence, operating_point: str | None = None
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
            points = self.forward(pixels, self.decision_points, batch_size=len(pixels))
            probabilities[good] = self.probabilities_of(points["logits"])
            if subtype_logits is not None:
                subtype_logits[good] = points[SUBTYPE_LOGITS]
            warnings[good] = lung_warnings(pixels)
        return predictions_of(
            self.card, records, probabilities, operating_point, errors, warnings, subtype_logits
        )

    def __repr__(self) -> str:
        return (
            f"Classifier({self.card.name!r}, classes {self.card.class_names}, operating point "
            f"{self.card.default_operating_point!r})"
        )

    def _repr_html_(self) -> str:
        from xray_tf.pages.classifier.report import render_summary

        return render_summary(self.card)
