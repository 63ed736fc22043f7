"""Describe an audit in Markdown."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from xray_tf.data.records import Finding, Findings
from xray_tf.pages.kit.render import Part, Table

_COPIES = {"exact": "byte for byte", "near": "same picture, other bytes"}


@dataclass(frozen=True)
class AuditText(Part):
    """An audit in Markdown that also reads well as plain text.

    Attributes:
        summary: the layout of summary.json.
        findings: all findings.
    """

    template = "kit/audit.md.jinja"
    summary: dict[str, Any]
    findings: Findings

    def groups(self, *severities: str) -> list[list[Finding]]:
        """Return the findings of these severities, with those of a kind that name a file as one
        group.
        """
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
        """The patients under each key."""
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
        """Patients in two of the given parts; None if there are no parts."""
        rows = [
            [name, parts, *both.values()]
            for name, key in self.summary["patients"].items()
            for parts, both in key["overlaps"].items()
        ]
        head = ["key", "parts", "patients in both", "their images in the first", "in the second"]
        return (head, rows) if rows else None

    @property
    def acquisitions(self) -> Table | None:
        """Radiographs by acquisition group and class; None where groups were not asked for."""
        groups = self.summary.get("acquisitions", {}).get("groups")
        if not groups:
            return None
        rows = [[name, *row.values(), sum(row.values())] for name, row in groups.items()]
        return ["group", *next(iter(groups.values())), "all"], rows

    @property
    def modes(self) -> Table:
        """Radiographs by colour mode and class."""
        modes = self.summary["modes"]
        rows = [[mode, *counts.values()] for mode, counts in modes.items()]
        return ["colour mode", *next(iter(modes.values()), {})], rows

    @property
    def sizes(self) -> Table | None:
        """What sizes reveal about the class; None if there is only one class."""
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
    """Describe an audit in Markdown that also reads well as plain text."""
    return AuditText(summary, findings).render()
