"""Make the parts that only a study's page has: audit, comparison with published numbers,
neighbours, anomalies, heat maps.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xray_tf.artifact import Card, read_card
from xray_tf.data.records import Findings
from xray_tf.pages.detector.parts import ExamplesPart, MeasuredPart, RulePart
from xray_tf.pages.kit.render import Part, read_json
from xray_tf.pages.neighbors.compared import ComparedPart

Links = list[tuple[str, str]]  # title and place of pages beside this one
PER_OUTCOME = 1  # pictures of each outcome
_READERS = {
    "head": "{task}, classifier",
    "knn": "{task}, nearest neighbours",
    "detector": "anomaly detector",
    "maps": "heat maps",
}


@dataclass(frozen=True)
class ResultsPart(Part):
    """The rows of results.json next to the report's and the best published numbers; what has not
    run stays empty.
    """

    template = "study/results.html.jinja"
    results: list[dict[str, Any]]

    @property
    def sources(self) -> list[str]:
        """The sources of the best published numbers, each once."""
        found = (f"{r['by']}; {r['protocol']}." for r in self.results if r["best"] is not None)
        return list(dict.fromkeys(found))

    def reader(self, row: dict[str, Any]) -> str:
        """Name the task of a row."""
        return _READERS[row["reader"]].format(task=row["task"])


@dataclass(frozen=True)
class Model:
    """A classifier of the study: its title, notes to be warned of, the layout of metrics.json (None
    where nothing was measured), what was found in a sentence each, and the pages with the rest.
    """

    title: str
    notes: list[str]
    metrics: dict[str, Any] | None
    said: list[str]
    links: Links


@dataclass(frozen=True)
class ModelsPart(Part):
    """The classifiers, one below the other."""

    template = "study/models.html.jinja"
    models: list[Model]


@dataclass(frozen=True)
class AuditPart(Part):
    """The layout of an audit's summary.json, and how many findings there are of each (severity,
    kind).
    """

    template = "study/audit.html.jinja"
    summary: dict[str, Any]
    findings: Counter

    @classmethod
    def of(cls, folder: Path) -> AuditPart:
        """Return the part from an audit's folder."""
        findings = Findings.read_csv(folder / "audit.csv")
        kinds = Counter((f.severity, f.kind) for f in findings)
        return cls(read_json(folder / "summary.json"), kinds)


@dataclass(frozen=True)
class NeighboursPart(Part):
    """Nearest neighbours beside the network's head.

    Attributes:
        metrics: the layout of `embed_radiographs`' metrics.json.
        compared: both on the same rows, None where neither was measured.
        picture: the t-SNE plot, a file; None where there is none.
        links: the pages with every radiograph.
    """

    template = "study/neighbours.html.jinja"
    metrics: dict[str, Any]
    compared: ComparedPart | None
    picture: bytes | None
    links: Links

    @classmethod
    def of(cls, folder: Path, links: Links) -> NeighboursPart:
        """Return the part from the folder that `embed_radiographs` wrote."""
        metrics, plot = read_json(folder / "metrics.json"), folder / "tsne.png"
        picture = plot.read_bytes() if plot.is_file() else None
        return cls(metrics, ComparedPart.of(metrics), picture, links)


@dataclass(frozen=True)
class GalleryPart(Part):
    """The most typical radiographs of each outcome, each with its heat map.

    Attributes:
        about: the layout of gallery.json.
        cells: those of its cells that are shown, the most typical of each outcome.
        pictures: the files that the cells name.
        title: the classifier's.
        links: the pages with every heat map.
    """

    template = "study/gallery.html.jinja"
    about: dict[str, Any]
    cells: list[dict[str, Any]]
    pictures: dict[str, bytes]
    title: str
    links: Links

    @classmethod
    def of(cls, folder: Path, title: str, links: Links) -> GalleryPart:
        """Return the part from the folder with the gallery."""
        about, cells = read_json(folder / "gallery.json"), []
        for cell in about["cells"]:
            if [c["outcome"] for c in cells].count(cell["outcome"]) < PER_OUTCOME:
                cells.append(cell)
        pictures = {c["picture"]: (folder / c["picture"]).read_bytes() for c in cells}
        return cls(about, cells, pictures, title, links)


@dataclass(frozen=True)
class DetectorPart(Part):
    """What a detector found: its card, rule and figures, radiographs of each outcome, and its
    report.
    """

    template = "study/detector.html.jinja"
    card: Card
    rule: RulePart
    measured: MeasuredPart | None
    examples: ExamplesPart | None
    links: Links

    @classmethod
    def of(cls, folder: Path, links: Links) -> DetectorPart:
        """Return the part from a detector's folder."""
        card = read_card(folder, kind="detector")
        measured = MeasuredPart.of(read_json(folder / "metrics.json"))
        examples = ExamplesPart.of(folder, card, PER_OUTCOME)
        return cls(card, RulePart(card.point()), measured, examples, links)
