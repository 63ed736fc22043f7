"""Find the training radiographs nearest to given ones."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from xray_tf.data.predictions import Predictions
from xray_tf.data.records import Record
from xray_tf.models.asked.queries import queries, unreadable
from xray_tf.models.reference import PIECE, NearestTable, Reference, check_count


class NearestCaseFinder:
    """Finds the nearest training cases of radiographs, with a classifier and its reference.

    Args:
        classifier: an opened classifier, see `xray_tf.models.load`.
        folder: the folder of the reference; the artifact's `reference/` if None.

    Raises:
        ArtifactError: there is no reference, or it belongs to another model.
    """

    def __init__(self, classifier: Any, folder: str | os.PathLike | None = None):
        self.classifier = classifier
        self.reference = Reference.read(
            folder or self.classifier.folder / PIECE, self.classifier.card
        )

    def embed(self, pixels: np.ndarray) -> np.ndarray:
        """Return the embeddings (N, D) float32 of pixels (N, S, S) uint8 at the model's size."""
        return self.classifier.forward(pixels, ("embedding",))["embedding"]

    def nearest(self, images: Any, k: int = 5) -> tuple[NearestTable, Predictions]:
        """Find the k nearest training radiographs of each image, as `Classifier.nearest` says."""
        check_count(k)
        records, pixels = self.read(images)
        found = self.reference.ask(self.embed(pixels), records, k)
        return self.reference.table(found, records), self.reference.predictions(found, records)

    def read(self, images: Any) -> tuple[list[Record], np.ndarray]:
        """Decode files, or take pixels; return records (with sha256, if they are files) and pixels
        (N, S, S) uint8.
        """
        asked = list(queries(images, self.classifier.card))
        for query in asked:
            if query.pixels is None:
                raise unreadable(query.record.path, query.error)
        return [query.record for query in asked], np.stack([query.pixels for query in asked])
