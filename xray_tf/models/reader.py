"""Gather the evidence on one radiograph: what a model, its reference and a detector say, and what
to distrust.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf.artifact import refuse_existing, write_text
from xray_tf.data.chest.lung_table import NO_LUNGS
from xray_tf.data.sources.files import list_files
from xray_tf.data.sources.shareable import shareable_name
from xray_tf.models.asked.queries import Query, read_query
from xray_tf.models.caveats import caveats_of
from xray_tf.models.decided import SUBTYPE_LOGITS, predictions_of
from xray_tf.models.lungs import lung_fields
from xray_tf.models.reference import NearestTable, thumbnails
from xray_tf.operating_point import OperatingPoint
from xray_tf.pages.evidence.page import Anomaly, Evidence, EvidencePage, Neighbors
from xray_tf.pages.kit.overlays import overlay

PAGE = "evidence.html"
PAGE_ROWS = 60  # radiographs on one page


def write_evidence(
    reader: Reader,
    files: Iterable[str | os.PathLike],
    out: str | os.PathLike,
    rows: int = PAGE_ROWS,
    keep_identifiers: bool = False,
) -> Path:
    """Write the page of `gather_evidence` to `out`.

    Raises:
        FileExistsError: `out` exists.
        ValueError: no file was found.
    """
    refuse_existing(out)
    write_text(out, gather_evidence(reader, files, rows, keep_identifiers).render())
    return Path(out)


def gather_evidence(
    reader: Reader,
    files: Iterable[str | os.PathLike],
    rows: int = PAGE_ROWS,
    keep_identifiers: bool = False,
) -> EvidencePage:
    """Gather one self-contained page about files, in the order given; a file that cannot be read is
    listed with the reason.

    Args:
        reader: the model, with its reference and detector.
        files: files, folders or globs.
        rows: show only this many files.
        keep_identifiers: show the names of DICOM files; otherwise a part of their SHA-256.

    Raises:
        ValueError: no file was found.
    """
    found = list_files(files, reader.classifier.card.to_task())
    shown, unread = [], []
    for row in list(found)[:rows]:
        name = shareable_name(row.path, found.file(row), keep_identifiers)
        query = read_query(found.file(row), reader.classifier.card, name)
        if query.pixels is None:
            unread.append((name, query.error))
        else:
            shown.append(reader.read(query))
    return EvidencePage(shown, unread, len(found))


class Reader:
    """A classifier with its reference and a detector, opened once for many radiographs.

    Args:
        classifier: an opened classifier, see `xray_tf.models.load`.
        data, neighbors, operating_point: see `Classifier.read`.
        detector: an opened detector, or None.

    Raises:
        ArtifactError: the model, its reference or the detector cannot be opened.
        FileNotFoundError: `data` is not a folder.
        ValueError: the operating point is unknown, or `neighbors` is below 1.
    """

    def __init__(
        self,
        classifier: Any,
        *,
        data: str | os.PathLike | None = None,
        detector: Any = None,
        neighbors: int = 5,
        operating_point: str | OperatingPoint | None = None,
    ):
        if neighbors < 1:
            raise ValueError(
                f"neighbors must be an integer above 0. Received: neighbors={neighbors!r}"
            )
        if data is not None and not Path(data).is_dir():
            raise FileNotFoundError(
                f"{os.fspath(data)} is not a folder. Expected one with the "
                "radiographs the model was trained on."
            )
        self.classifier = classifier
        card = self.classifier.card
        self.point = card.point(operating_point)
        self.data, self.neighbors, self._pictures = data, neighbors, {}
        self.detector = detector

    def read(self, query: Query, explain: bool = True) -> Evidence:
        """Gather the evidence on a readable radiograph; without `explain` neither a heat map nor a
        detector's verdict, which take most of the time.
        """
        card, record, pixels = self.classifier.card, query.record, query.pixels
        points = self.classifier.forward(pixels[None], self.classifier.answer_points)
        lungs = lung_fields(pixels[None])
        table = predictions_of(
            card,
            [record],
            self.classifier.probabilities_of(points["logits"]),
            self.point,
            warnings=[NO_LUNGS if lungs and not lungs.sure[0] else ""],
            subtype_logits=points.get(SUBTYPE_LOGITS),
        )
        heat, prediction = None, table[0]
        if explain:
            image = pixels[None, :, :, None].astype(np.float32)
            heat = self.classifier.cam(image, table.predicted)[0]
        near = self._near(points["embedding"], query) if "embedding" in points else None
        anomaly = self._anomaly(query) if self.detector and explain else None
        return Evidence(
            name=record.path,
            card=card,
            prediction=prediction,
            operating_point=self.point.name,
            called_from=self.point.called_from(prediction.probabilities),
            pixels=pixels,
            heatmap=heat,
            lungs=lungs and lungs.masks[0],
            embedding=points["embedding"][0] if "embedding" in points else None,
            neighbors=near,
            anomaly=anomaly,
            size=(record.width, record.height),
            mode=record.mode,
            sha256=record.sha256,
            caveats=caveats_of(card, query, prediction, self.point, heat, near, anomaly),
        )

    def _near(self, embedding: np.ndarray, query: Query) -> Neighbors:
        reference = self.classifier.finder.reference
        found = reference.ask(embedding, [query.record], self.neighbors)
        rows = reference.table(found, [query.record])
        sha256, patient = query.record.sha256, query.record.patient
        copy = int(reference.copies(query.pixels[None])[0])
        return Neighbors(
            rows=tuple(rows),
            vote=reference.predictions(found, [query.record])[0],
            class_names=reference.class_names,
            unusual=float(found.unusual[0]),
            recipe=reference.cases.recipe.describe(),
            pictures=self._found(rows),
            folder=self.data is not None,
            known=bool(sha256) and sha256 in reference.rows.column("sha256"),
            copy=reference.rows[copy].path if copy >= 0 else "",
            same_patient=bool(patient) and patient in reference.rows.column("patient"),
        )

    def _found(self, rows: NearestTable) -> dict[str, np.ndarray]:
        """Return the neighbours' pictures by sha256: those that the reference keeps, or of the
        files in `data`, each of which is searched for once.
        """
        if self.data is None:
            return self.classifier.finder.reference.seen(rows)
        new = [r for r in rows if r.sha256 not in self._pictures]
        if new:
            self._pictures |= {r.sha256: None for r in new} | thumbnails(self.data, new)
        found = {r.sha256: self._pictures[r.sha256] for r in rows}
        return {sha256: picture for sha256, picture in found.items() if picture is not None}

    def _anomaly(self, query: Query) -> Anomaly | None:
        """Ask the detector, which may need other pixels than the classifier; return None if it
        cannot score the image.
        """
        pixels = read_query(query.source, self.detector.card).pixels
        scores = self.detector.score(pixels)
        if scores.errors[0]:
            return None
        numbers = scores.values[0].tolist(), scores.percentiles[0].tolist()
        return Anomaly(
            name=self.detector.card.name,
            flagged=scores.verdicts[0] != "normal",
            score=float(scores.anomaly[0]),
            reason=scores.reasons[0],
            scores=tuple(zip(scores.names, *numbers, strict=True)),
            picture=overlay(pixels, self.detector.maps(pixels[None])[0]),
        )
