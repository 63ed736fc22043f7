"""Show the evidence on one radiograph: the decision and how close it was, where the score came
from, what the radiograph resembles, and what to distrust.

It is a self-contained page for one or several radiographs, and in a notebook a fragment whose
styles do not affect the rest.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from markupsafe import Markup

from xray_tf.artifact import Card, refuse_existing, write_text
from xray_tf.data.predictions import Prediction
from xray_tf.pages.classifier.credits import pictures_credit
from xray_tf.pages.kit.overlays import contour, heat_colours, lung_outline
from xray_tf.pages.kit.render import Page, Part, asset

STYLE = "evidence/evidence.css"
SMALL = 96  # pixels of a picture that leads to a case


@dataclass(frozen=True)
class Caveat:
    """One reason not to trust an answer: a short `kind`, a sentence, and whether it is
    `serious`.
    """

    kind: str
    text: str
    serious: bool = True


@dataclass(frozen=True)
class Neighbors:
    """The nearest training radiographs and their vote.

    Attributes:
        rows: nearest first, each with rank, label, subtype, distance, patient, path and sha256
            (`jobs.neighbors.NearestCase`).
        vote: their decision and shares, in the order of `class_names`.
        unusual: percentile in [0, 100] of the mean neighbour distance among training radiographs'
            own.
        recipe: how neighbours are found and vote, in words.
        pictures: sha256 -> (S, S) uint8, of those whose files were found.
        folder: whether a folder was named in which to look for them.
        known, same_patient: the same file, or radiographs with the same patient key, are among the
            training radiographs.
        copy: the path of a training radiograph that looks the same; empty for none.
    """

    rows: tuple[Any, ...]
    vote: Prediction
    class_names: tuple[str, ...]
    unusual: float
    recipe: str
    pictures: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    folder: bool = False
    known: bool = False
    same_patient: bool = False
    copy: str = ""


@dataclass(frozen=True)
class Anomaly:
    """A detector's verdict.

    Attributes:
        name: of the detector.
        flagged: whether it finds the radiograph unlike normal ones.
        score: in [0, 1]; flagged from 0.5 on.
        reason: which scores raise it, in words; empty where none does.
        scores: (name, value, percentile in [0, 100] among held-out normals) of each raw score.
        picture: (H, W, 3) uint8, the radiograph under a map of where it is unusual; None where
            there is none.
    """

    name: str
    flagged: bool
    score: float
    reason: str = ""
    scores: tuple[tuple[str, float, float], ...] = ()
    picture: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Evidence:
    """The evidence on one radiograph; a notebook shows it, and `save` writes it as a page.

    Attributes:
        name: the file, or the given name.
        card: the model's card.
        prediction: calibrated probabilities and the decision.
        operating_point: the name of the operating point.
        called_from: for each class, the probability from which it is decided, if the others keep
            their proportions.
        pixels: (S, S) uint8 in [0, 255], what the model saw.
        heatmap: (S, S) float32 in [0, 1] for the class decided; all zero without evidence, None
            where none was asked for.
        neighbors: the nearest training radiographs; None if the artifact has no reference.
        anomaly: the detector's verdict; None if there is no detector.
        caveats: reasons not to trust the answer, the serious ones first.
        size: (width, height) of the file in pixels; (0, 0) if unknown.
        mode, sha256: those of the file.
        lungs: (S, S) bool, where the lungs are; None where nothing is there to find them.
        embedding: (D,) float32, what the neighbours were found by; None if there is no reference.
    """

    name: str
    card: Card
    prediction: Prediction
    operating_point: str
    called_from: tuple[float, ...]
    pixels: np.ndarray = field(repr=False)
    heatmap: np.ndarray | None = field(repr=False)
    neighbors: Neighbors | None = None
    anomaly: Anomaly | None = None
    caveats: tuple[Caveat, ...] = ()
    size: tuple[int, int] = (0, 0)
    mode: str = ""
    sha256: str = ""
    lungs: np.ndarray | None = field(default=None, repr=False)
    embedding: np.ndarray | None = field(default=None, repr=False)

    @property
    def probability(self) -> float:
        """The calibrated probability of the class decided."""
        return self.prediction.probabilities[self.card.class_names.index(self.prediction.predicted)]

    def save(self, path: str | os.PathLike) -> Path:
        """Write it as a self-contained page, and return the path.

        Raises:
            FileExistsError: `path` exists; nothing is ever overwritten.
        """
        refuse_existing(path)
        write_text(path, EvidencePage([self]).render())
        return Path(path)

    def __repr__(self) -> str:
        serious = sum(c.serious for c in self.caveats)
        minor = len(self.caveats) - serious
        return (
            f"Evidence({self.name!r}: {self.prediction.predicted} {self.probability:.3f}; "
            f"caveats: {serious} serious, {minor} minor)"
        )

    def _repr_html_(self) -> str:
        # one notebook may have several
        name = self.name.encode("utf-8", "backslashreplace")
        return Cell(Article(self, 3, f"x{zlib.crc32(name):08x}")).render()


@dataclass(frozen=True)
class Article(Part):
    """One radiograph on a page: its evidence, the `level` of its headings, the id `key`, and
    whether its name is a heading of its own.
    """

    template = "evidence/article.html.jinja"
    evidence: Evidence
    level: int = 2
    key: str = "one"
    named: bool = True

    @property
    def layer(self) -> np.ndarray:
        """The heat map in colours (S, S, 3) uint8 RGB."""
        return heat_colours(self.evidence.heatmap)

    @property
    def outlined(self) -> np.ndarray:
        """The radiograph (S, S, 3) uint8 RGB with the hottest region and the lungs outlined."""
        drawn = lung_outline(self.evidence.pixels, self.evidence.lungs)
        return contour(drawn, self.evidence.heatmap)

    @property
    def small(self) -> np.ndarray:
        """The radiograph (96, 96) uint8."""
        return cv2.resize(self.evidence.pixels, (SMALL, SMALL), interpolation=cv2.INTER_AREA)

    @property
    def credit(self) -> str:
        """Whose radiographs the neighbours are; empty where that is not known."""
        return pictures_credit(self.evidence.card)

    @property
    def place(self) -> str:
        """Where the heat map has its maximum."""
        return place_text(self.evidence.heatmap)


@dataclass(frozen=True)
class Cell(Part):
    """An article in a notebook, whose styles apply to it alone."""

    template = "evidence/cell.html.jinja"
    article: Article

    @property
    def style(self) -> Markup:
        """The page's style sheets inside the cell."""
        return Markup(scoped(asset("kit/page.css") + asset(STYLE)))


@dataclass(frozen=True)
class EvidencePage(Page):
    """The evidence on one radiograph or several.

    Attributes:
        shown: one radiograph or more; none only where `unread` says why.
        unread: (path, why) of files that could not be read.
        total: how many files were asked about, where not all are here.
    """

    template = "evidence/page.html.jinja"
    styles = (STYLE,)
    script = "kit/layers.js"
    shown: Sequence[Evidence]
    unread: Sequence[tuple[str, str]] = ()
    total: int | None = None

    @property
    def count(self) -> int:
        """How many files the page is about."""
        return len(self.shown) + len(self.unread)

    @property
    def articles(self) -> list[Article]:
        """A part for each radiograph, in their order."""
        return [Article(e, 2, f"r{i}", self.count > 1) for i, e in enumerate(self.shown, 1)]


def scoped(style: str) -> str:
    """Return a style sheet that applies inside `.xray-evidence` only, by CSS nesting: its page-wide
    rules become that element's.
    """
    inner = re.sub(r"(?<![\w-])(?::root|body)(?=\s*\{)", "&", style)
    inner = re.sub(r"(?<![\w-])html\s*\{[^}]*\}", "", inner)
    return ".xray-evidence {" + inner + "padding: 1rem; border-radius: 0.6rem; }"


def place_text(heat: np.ndarray) -> str:
    """Describe where a heat map (H, W) has its maximum in the image."""
    row, column = np.unravel_index(int(np.argmax(heat)), heat.shape)
    down = ("upper", "middle", "lower")[min(2, 3 * int(row) // heat.shape[0])]
    across = ("left", "centre", "right")[min(2, 3 * int(column) // heat.shape[1])]
    return f"the maximum is in the {down} {across} of the image"
