"""Put an audit into words."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from xray_tf.data.records import Finding, Findings
from xray_tf.pages.kit.render import Part, Table

_COPIES = {"exact": "byte for byte", "near": "same picture, other bytes"}


@dataclass(frozen=True)
class AuditText(Part):
    """An audit in plain words: Markdown that also reads well as plain text.

    Attributes:
        summary: the layout of summary.json.
        findings: all of them.
    """

    template = "kit/audit.md.jinja"
    summary: dict[str, Any]
    findings: Findings

    def groups(self, *severities: str) -> list[list[Finding]]:
        """Return findings of some severities; those of a kind that name a file are one group."""
        kinds = defaultdict(list)
        for i, f in enumerate(self.findings):
            if f.severity in severities:
                kinds[f.severity, f.kind, "" if f.path else i].append(f)
        return list(kinds.values())

    @property
    def classes(self) -> Table:
        """Radiographs by part and class."""
        counts = self.summary["classes"]
        rows = [[part, *row.values(), sum(row.values())] for part, row in counts.items()]
        return ["part", *next(iter(counts.values()), {}), "all"], rows

    @property
    def duplicates(self) -> Table:
        """Copies among the radiographs."""
        found = self.summary["duplicates"]
        head = ["copies", "groups", "files", "with different labels", "different patients"]
        rows = [[words, *found[kind].values()] for kind, words in _COPIES.items()]
        return [*head, "different parts"], rows

    @property
    def patients(self) -> Table:
        """What each patient key says."""
        columns = {
            "patients": "patients",
            "with_several": "with several images",
            "images_of_those": "images of those",
            "most_images": "most of one",
            "without_key": "images without key",
        }
        keys = self.summary["patients"].items()
        rows = [[name, *(key[c] for c in columns)] for name, key in keys]
        return ["key", *columns.values()], rows

    @property
    def overlaps(self) -> Table | None:
        """Patients on both sides of the parts as they were given; None where there are no parts."""
        rows = [
            [name, parts, *both.values()]
            for name, key in self.summary["patients"].items()
            for parts, both in key["overlaps"].items()
        ]
        head = ["key", "parts", "patients in both", "their images in the first", "in the second"]
        return (head, rows) if rows else None

    @property
    def modes(self) -> Table:
        """Radiographs by colour mode and class."""
        modes = self.summary["modes"]
        rows = [[mode, *counts.values()] for mode, counts in modes.items()]
        return ["colour mode", *next(iter(modes.values()), {})], rows

    @property
    def sizes(self) -> Table | None:
        """What sizes say of the class; None where there is one class only."""
        rows = [
            [name, f"{v['normal']:.4g}", f"{v['pneumonia']:.4g}", f"{v['auroc']:.3f}"]
            for name, v in self.summary["sizes"].items()
            if v["auroc"] is not None
        ]
        return (["size", "median normal", "median pneumonia", "AUROC"], rows) if rows else None

    @property
    def one_size(self) -> bool:
        """Whether all files seem to have one size."""
        sizes = [v for v in self.summary["sizes"].values() if v["auroc"] is not None]
        return all(v["normal"] == v["pneumonia"] and v["auroc"] == 0.5 for v in sizes)


def describe(summary: dict[str, Any], findings: Findings) -> str:
    """Put an audit into plain words: Markdown that also reads well as plain text."""
    return AuditText(summary, findings).render()
