"""Make the parts that only a study's page has: audit, comparison with published numbers,
neighbours, anomalies, heat maps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xray_tf.artifact import Card, read_card
from xray_tf.data.records import Findings
from xray_tf.data.scores import Scores
from xray_tf.pages.detector.parts import MeasuredPart, RulePart, StatisticsPart
from xray_tf.pages.kit.render import Part, read_json
from xray_tf.pages.neighbors.compared import ComparedPart

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
class ModelsPart(Part):
    """A part for each classifier that has one, {title: part}, and the titles of those that lack
    it.
    """

    template = "study/models.html.jinja"
    parts: dict[str, Part]
    lacking: Sequence[str]


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
        pictures: how each map was made -> its file.
        page: where the page with every radiograph lies.
    """

    template = "study/neighbours.html.jinja"
    metrics: dict[str, Any]
    compared: ComparedPart | None
    pictures: dict[str, bytes]
    page: str

    @classmethod
    def of(cls, folder: Path) -> NeighboursPart:
        """Return the part from the folder that `embed_radiographs` wrote."""
        metrics = read_json(folder / "metrics.json")
        words = {"tsne": "t-SNE", "pca": "Principal components"}
        files = {title: folder / f"{name}.png" for name, title in words.items()}
        pictures = {title: path.read_bytes() for title, path in files.items() if path.is_file()}
        place = "/".join([*folder.parts[-2:], "page.html"])
        return cls(metrics, ComparedPart.of(metrics), pictures, place)


@dataclass(frozen=True)
class GalleryPart(Part):
    """The most typical radiographs of each outcome, each with its heat map: the layout of
    gallery.json, and the files it names.
    """

    template = "study/gallery.html.jinja"
    about: dict[str, Any]
    pictures: dict[str, bytes]

    @classmethod
    def of(cls, folder: Path) -> GalleryPart:
        """Return the part from the folder with the gallery."""
        about = read_json(folder / "gallery.json")
        names = [cell["picture"] for cell in about["cells"]]
        return cls(about, {name: (folder / name).read_bytes() for name in names})


@dataclass(frozen=True)
class DetectorPart(Part):
    """What a detector found: its card, and the parts of its own report."""

    template = "study/detector.html.jinja"
    card: Card
    rule: RulePart
    measured: MeasuredPart | None
    statistics: StatisticsPart | None

    @classmethod
    def of(cls, folder: Path) -> DetectorPart:
        """Return the part from a detector's folder."""
        card, scores = read_card(folder, kind="detector"), Scores.read_csv(folder / "scores.csv")
        statistics = StatisticsPart.of(folder, scores, card.point().thresholds)
        rule = RulePart(card.point())
        return cls(card, rule, MeasuredPart.of(read_json(folder / "metrics.json")), statistics)
