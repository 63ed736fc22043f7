"""Keep an artifact's training radiographs as embeddings, for votes, nearest cases, and a measure of
how unusual a new radiograph is.

On disk, in the sub-folder `reference/` of an artifact or among the results of `embed`:
    reference.npz   the arrays of `stats.neighbors.cases.NearestCases` and, aligned with them, path,
                    patient, sha256, label and subtype; nothing is pickled
    reference.json  task, classes, operating point, the choice of k, and the sha256 of the model
    thumbnails.npz  where they were asked for: small JPEG pictures of the rows, one after the other,
                    and where each of them starts
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from xray_tf.artifact import CARD, MANIFEST, ArtifactError, Card, read_manifest
from xray_tf.card import MODEL
from xray_tf.data.duplicates import look_alikes, looks_of
from xray_tf.data.kin import kin_groups
from xray_tf.data.pixels.reading import read_file
from xray_tf.data.predictions import Predictions
from xray_tf.data.records import Record, Records
from xray_tf.data.sources.by_content import find_by_sha256
from xray_tf.data.tables.arrays import read_arrays, write_arrays
from xray_tf.data.tables.table import Table
from xray_tf.models.decided import decided_at
from xray_tf.operating_point import OperatingPoint
from xray_tf.registry import Task
from xray_tf.untrusted import MAX_JSON, anything, fields, items, mapping, read_json, text
from xray_tf.writing import write_json

PIECE, ARRAYS, ABOUT = "reference", "reference.npz", "reference.json"
PICTURES = "thumbnails.npz"
THUMBNAIL = 160  # pixels, of those made from the files
QUALITY = 60  # of JPEG
LOOKS, LOOK = "row_look", 143  # the array of perceptual hashes, and their width
COLUMNS = ("path", "patient", "sha256", "label", "subtype")
_CHECK = fields(
    {
        "task": text(),
        "class_names": items(text(), 1000),
        "operating_point": mapping(anything),
        "model_sha256": text(64),
    },
    ("task", "class_names", "operating_point", "model_sha256"),
    others=True,
)


@dataclass(frozen=True)
class NearestCase:
    """One neighbour of one radiograph.

    Attributes:
        query: the radiograph that was asked about.
        rank: 1 for the nearest.
        label, subtype: those of the neighbour.
        distance: distance in embedding space, see `Recipe`.
        patient: the neighbour's key.
        path: the neighbour's file, relative to its data set.
        sha256: the sha256 of the file.
        unusual: percentile in [0, 100] of the query's mean neighbour distance among those of the
            training radiographs; high is unusual.
    """

    query: str
    rank: int
    label: str
    subtype: str
    distance: float
    patient: str
    path: str
    sha256: str
    unusual: float


class NearestTable(Table[NearestCase]):
    """Neighbours, nearest first, query by query."""

    row_type = NearestCase

    def of(self, query: str) -> NearestTable:
        """Return the rows of one query."""
        return NearestTable(row for row in self.rows if row.query == query)


@dataclass(frozen=True)
class Neighborhood:
    """The neighbours of M radiographs and their votes.

    Attributes:
        probabilities: (M, K) float64, shares of the votes.
        distances, indices: (M, k), the reference rows that voted, nearest first; infinity and -1 if
            there are fewer.
        unusual: (M,) percentile in [0, 100].
    """

    probabilities: np.ndarray
    distances: np.ndarray
    indices: np.ndarray
    unusual: np.ndarray


class Thumbnails:
    """Small grey pictures of a reference's rows, kept as JPEG.

    Args:
        head: (H,) uint8, what all JPEGs begin with: their tables are longer than what follows.
        data: (B,) uint8, what follows it, one after the other.
        starts: (N + 1,) int64, where each starts, and where the last one ends.
    """

    def __init__(self, head: np.ndarray, data: np.ndarray, starts: np.ndarray):
        bytes_only = all(a.dtype == np.uint8 and a.ndim == 1 for a in (head, data))
        fits = bytes_only and starts.ndim == 1 and len(starts)
        if not fits or starts[0] or starts[-1] != len(data) or (np.diff(starts) < 0).any():
            raise ValueError(f"{PICTURES} must be JPEG pictures and where each of them starts.")
        self.head, self.data, self.starts = head, data, starts

    @classmethod
    def of(cls, pictures: Iterable[np.ndarray], side: int) -> Thumbnails:
        """Make them of N pictures (S, S) uint8, `side` pixels wide."""
        quality, files = [cv2.IMWRITE_JPEG_QUALITY, QUALITY], []
        for picture in pictures:
            small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
            files.append(cv2.imencode(".jpg", small, quality)[1].tobytes())
        head = os.path.commonprefix(files) or b""
        starts = np.cumsum([0, *(len(file) - len(head) for file in files)]).astype(np.int64)
        data = b"".join(file[len(head) :] for file in files)
        return cls(np.frombuffer(head, np.uint8), np.frombuffer(data, np.uint8), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> np.ndarray | None:
        """Return the picture (s, s) uint8 of a row; None if it is damaged."""
        data = [self.head, self.data[self.starts[index] : self.starts[index + 1]]]
        data = np.concatenate(data)
        return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if len(data) else None


class Reference:
    """Training radiographs as embeddings, ready to be searched.

    Attributes:
        looks: (N, 143) int8, perceptual hashes of its radiographs (`data.duplicates.looks_of`); (0,
            143) in older references.
        cases: the fitted `stats.neighbors.cases.NearestCases`.
        rows: its training radiographs, `Records` in the same order.
        about: the contents of reference.json.
        pictures: the rows' `Thumbnails`, or None.
    """

    def __init__(
        self,
        cases,
        rows: Records,
        about: dict[str, Any],
        pictures: Thumbnails | None = None,
        looks: np.ndarray | None = None,
    ):
        self.cases, self.rows, self.about, self.pictures = cases, rows, about, pictures
        self.looks = np.zeros((0, LOOK), np.int8) if looks is None else looks

    def copies(self, pixels: np.ndarray) -> np.ndarray:
        """Return which training radiograph each of the pixels (M, S, S) uint8, as the model sees
        them, is a copy of, in whatever bytes: (M,) int64, -1 for none.
        """
        return look_alikes(looks_of(pixels), self.looks)

    @property
    def task(self) -> Task:
        """The task of its labels."""
        return Task(self.about["task"], self.class_names)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return tuple(self.about["class_names"])

    def ask(
        self, embeddings: np.ndarray, records: Sequence[Record], k: int | None = None
    ) -> Neighborhood:
        """Find the neighbours of embeddings (M, D) and count their votes; rows of a record's own
        patient or file never vote on it.

        Args:
            embeddings: (M, D) float32.
            records: M records, for their patient keys and sha256.
            k: the number of neighbours to return, by default those that vote; it does not affect
                the vote.

        Raises:
            ValueError: k is below 1, or shapes do not fit.
        """
        groups = kin_groups(
            [*self.rows.column("patient"), *(r.patient for r in records)],
            [*self.rows.column("sha256"), *(r.sha256 for r in records)],
        )
        cases, voters = self.cases.with_kin(groups[: len(self.rows)]), self.cases.recipe.k
        check_count(k)
        distances, indices = cases.kneighbors(
            embeddings, max(k or 1, voters), groups[len(self.rows) :]
        )
        near = distances[:, :voters]
        return Neighborhood(
            cases.vote(near, indices[:, :voters]),
            distances[:, : k or voters],
            indices[:, : k or voters],
            cases.unusualness(near),
        )

    @property
    def point(self) -> OperatingPoint:
        """The operating point that was fitted on the votes of validation rows."""
        return OperatingPoint.from_dict("balanced", self.about["operating_point"])

    def predictions(self, found: Neighborhood, records: Sequence[Record]) -> Predictions:
        """Return the votes as a table of predictions."""
        return decided_at(self.point, self.task, records, found.probabilities)

    def table(self, found: Neighborhood, records: Sequence[Record]) -> NearestTable:
        """Return the neighbours as a table."""
        rows = []
        for i, query in enumerate(records):
            near = zip(found.distances[i], found.indices[i], strict=True)
            for rank, (distance, index) in enumerate(near, 1):
                if index >= 0:
                    numbers = {"distance": float(distance), "unusual": float(found.unusual[i])}
                    whose = {column: getattr(self.rows[index], column) for column in COLUMNS}
                    rows.append(NearestCase(query.path, rank, **numbers, **whose))
        return NearestTable(rows)

    def write(self, folder: str | os.PathLike) -> None:
        """Write reference.npz, reference.json and any thumbnails into a folder."""
        folder = Path(folder)
        columns = {
            c: np.array(
                [v.encode("utf-8", "surrogateescape") for v in self.rows.column(c)], np.bytes_
            )
            for c in COLUMNS
        }
        arrays = self.cases.to_arrays() | {f"row_{c}": v for c, v in columns.items()}
        arrays |= {LOOKS: self.looks} if len(self.looks) else {}
        write_arrays(folder / ARRAYS, arrays, packed=True)
        write_json(folder / ABOUT, self.about)
        if self.pictures is not None:
            kept = self.pictures
            arrays = {"head": kept.head, "jpeg": kept.data, "starts": kept.starts}
            write_arrays(folder / PICTURES, arrays)

    def seen(self, rows: Iterable[NearestCase]) -> dict[str, np.ndarray]:
        """Return {sha256: (s, s) uint8} of the thumbnails that it has of neighbours."""
        wanted = {r.sha256 for r in rows} - {""} if self.pictures is not None else set()
        found = {}
        for index, row in enumerate(self.rows if wanted else ()):
            if row.sha256 in wanted and (picture := self.pictures[index]) is not None:
                found[row.sha256] = picture
        return found

    @classmethod
    def read(cls, folder: str | os.PathLike, card: Card | None = None) -> Reference:
        """Read what `write` wrote and refit the estimator; nothing is unpickled.

        Args:
            folder: the folder with reference.npz and reference.json.
            card: the card of the artifact that will use it, whose model must have computed the
                embeddings.

        Raises:
            ArtifactError: the reference is missing or damaged, or was made with another model.
        """
        folder = Path(folder)
        if not (folder / ARRAYS).is_file() or not (folder / ABOUT).is_file():
            raise ArtifactError(
                f"{folder} has no reference: {ARRAYS} and {ABOUT} are expected. Create it with "
                "`xray-tf embed --model DIR --data DIR --out DIR --add-reference`."
            )
        try:
            cases, rows, about, pictures, looks = _read_files(folder)
            made_with = about["model_sha256"]
        except ArtifactError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(
                f"{folder} cannot be read as a reference: {error} Create it again with "
                "`xray-tf embed`."
            ) from error
        counts = {len(rows), len(cases.labels_), len(rows if pictures is None else pictures)}
        if len(counts) > 1:
            raise ArtifactError(
                f"{folder} is damaged: it has {len(rows)} rows, {len(cases.labels_)} vectors and "
                f"{'no' if pictures is None else len(pictures)} thumbnails. Create it again with "
                "`xray-tf embed`."
            )
        if card is not None and made_with != card.files.get(MODEL):
            raise ArtifactError(
                f"{folder} was made with another model than {card.name}, so their embeddings "
                "cannot be compared. Create it again with `xray-tf embed --add-reference`."
            )
        return cls(cases, rows, about, pictures, looks)


def _read_files(
    folder: Path,
) -> tuple[Any, Records, dict[str, Any], Thumbnails | None, np.ndarray | None]:
    from xray_tf.stats.neighbors.cases import NearestCases

    if (folder / MANIFEST).is_file() or (folder.parent / CARD).is_file():
        read_manifest(folder)
    about = read_json(folder / ABOUT, 64 * MAX_JSON)
    _CHECK(about, ABOUT)
    arrays = read_arrays(folder / ARRAYS)
    columns = [
        [v.decode("utf-8", "surrogateescape") for v in arrays.pop(f"row_{c}").tolist()]
        for c in COLUMNS
    ]
    rows = Records(
        Record(**dict(zip(COLUMNS, values, strict=True)), split="train")
        for values in zip(*columns, strict=True)
    )
    pictures = None
    if (folder / PICTURES).is_file():
        kept = read_arrays(folder / PICTURES)
        pictures = Thumbnails(kept["head"], kept["jpeg"], kept["starts"])
    looks = arrays.pop(LOOKS, None)
    if looks is not None and (looks.shape != (len(rows), LOOK) or looks.dtype != np.int8):
        raise ValueError(f"{LOOKS} must be ({len(rows)}, {LOOK}) int8. Received: {looks.shape}.")
    return NearestCases.from_arrays(arrays), rows, about, pictures, looks


def check_count(k: int | None) -> None:
    """Raise ValueError unless one neighbour is asked for at least; None asks for all that vote."""
    if k is not None and k < 1:
        raise ValueError(
            f"k, the number of neighbours, must be an integer above 0. Received: k={k!r}"
        )


def thumbnails(folder: str | os.PathLike, rows: Sequence[NearestCase]) -> dict[str, np.ndarray]:
    """Return {sha256: (160, 160) uint8} of the neighbours whose files are in a folder."""
    files = find_by_sha256(folder, {(r.sha256, r.path) for r in rows})
    pictures = {sha256: read_file(path, THUMBNAIL, "pad")[1] for sha256, path in files.items()}
    return {sha256: image for sha256, image in pictures.items() if image is not None}
