"""Make a self-contained page with a plot of embeddings, in which the mouse or the arrow keys show
the radiograph behind each dot.

Everything is in one file, without server, network or library; the page's policy names its only
script by hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from xray_tf.artifact import Card
from xray_tf.data.records import Record
from xray_tf.pages.kit.canvas import CLASS_COLOURS
from xray_tf.pages.kit.filters import jpeg
from xray_tf.pages.kit.render import Page
from xray_tf.pages.neighbors.compared import ComparedPart

# pixels; whole JPEG blocks of 8, so that neighbours on a sheet do not bleed into each other
THUMBNAIL = 72
SHEET = 20  # thumbnails per row and column: one JPEG header for 400 of them
JPEG_QUALITY = 72
PARTS = ("train", "val", "test", "")


@dataclass(frozen=True)
class Point:
    """One dot.

    Attributes:
        record: the radiograph.
        tsne, pca: (x, y) on the two maps.
        label, decided: class indices, -1 where not known.
        probabilities: calibrated, one a class, of whoever decided.
        votes: shares of its neighbours' vote, one a class.
        unusual: percentile in [0, 100] of its neighbour distance among training radiographs.
        neighbors: (path, class index, distance, position among the points or -1), nearest first.
    """

    record: Record
    tsne: tuple[float, float]
    pca: tuple[float, float]
    label: int
    decided: int
    probabilities: tuple[float, ...]
    votes: tuple[float, ...]
    unusual: float
    neighbors: tuple[tuple[str, int, float, int], ...]


@dataclass(frozen=True)
class AtlasPage(Page):
    """Where radiographs lie.

    Attributes:
        card: of the model.
        metrics: the layout of `embed_radiographs`' metrics.json.
        points: N, one or more.
        pixels: (N, S, S) uint8 radiographs, for the thumbnails.
        titles: how the maps `tsne` and `pca` were made.
        decided_by: whose decisions and probabilities the points carry.
    """

    template = "neighbors/atlas.html.jinja"
    styles = ("neighbors/atlas.css",)
    script = "neighbors/atlas.js"
    skip = "map"
    card: Card
    metrics: dict[str, Any]
    points: Sequence[Point]
    pixels: np.ndarray
    titles: dict[str, str]
    decided_by: str

    def __post_init__(self):
        count, shape = len(self.points), np.shape(self.pixels)
        if not count or len(shape) != 3 or shape[0] != count:
            raise ValueError(
                "pixels must be (N, S, S) with one radiograph a point, one or more. "
                f"Received: {count} points, pixels {shape}"
            )

    @property
    def data(self) -> dict[str, Any]:
        """What the script reads."""
        names = self.metrics["class_names"]
        return {
            "classes": names,
            "colours": CLASS_COLOURS[: len(names)],
            "by": self.decided_by,
            "size": THUMBNAIL,
            "per": SHEET,
            "titles": self.titles,
            "points": [_packed(p) for p in self.points],
        }

    @property
    def sheets(self) -> list[bytes]:
        """The thumbnails."""
        return thumbnail_sheets(self.pixels)

    @property
    def compared(self) -> ComparedPart | None:
        """Nearest neighbours beside the network's head."""
        return ComparedPart.of(self.metrics)


def thumbnail_sheets(pixels: np.ndarray) -> list[bytes]:
    """Return JPEG sheets of SHEET x SHEET thumbnails, row by row, in the order of `pixels` (N, S,
    S) uint8.
    """
    sheets = []
    for start in range(0, len(pixels), SHEET * SHEET):
        part = pixels[start : start + SHEET * SHEET]
        sheet = np.zeros((-(-len(part) // SHEET) * THUMBNAIL, SHEET * THUMBNAIL), np.uint8)
        for i, image in enumerate(part):
            top, left = THUMBNAIL * (i // SHEET), THUMBNAIL * (i % SHEET)
            sheet[top : top + THUMBNAIL, left : left + THUMBNAIL] = cv2.resize(
                np.asarray(image), (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA
            )
        sheets.append(jpeg(sheet, JPEG_QUALITY))
    return sheets


def _packed(p: Point) -> list:
    """The names of a neighbour that is a point itself need not be written twice."""
    near = [
        [place if place >= 0 else path, label, round(distance, 4)]
        for path, label, distance, place in p.neighbors
    ]
    return [
        *(round(v, 3) for v in (*p.tsne, *p.pca)),
        p.label,
        p.decided,
        PARTS.index(p.record.split),
        [round(v, 4) for v in p.probabilities],
        [round(v, 4) for v in p.votes],
        round(p.unusual, 1),
        p.record.path,
        p.record.patient,
        near,
    ]
