"""Parts that several pages share: findings, provenance, and a summary for a notebook."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xray_tf.artifact import Card
from xray_tf.data.records import Finding, Findings
from xray_tf.pages.kit.render import Part, Table
from xray_tf.pages.kit.words import origin

FINDINGS = 50  # rows shown; audit.csv has the rest


@dataclass(frozen=True)
class FindingsPart(Part):
    """What was found while files were read and split: the number of each (severity, kind), and the
    first of `count` findings, the most severe first.
    """

    template = "kit/findings.html.jinja"
    kinds: dict[tuple[str, str], int]
    shown: list[Finding]
    count: int

    @classmethod
    def of(cls, findings: Findings | None) -> FindingsPart | None:
        """Return the part; None if nobody looked."""
        if findings is None:
            return None
        ranked = list(findings.worst_first())
        kinds = Counter((f.severity, f.kind) for f in ranked)
        return cls(dict(kinds), ranked[:FINDINGS], len(ranked))


@dataclass(frozen=True)
class ProvenancePart(Part):
    """Where something comes from: the command, a sentence, and collapsible tables (caption, head,
    rows) under a title.
    """

    template = "kit/provenance.html.jinja"
    command: str
    said: str
    title: str
    tables: list[tuple[str, Table]]

    @classmethod
    def of(cls, card: Card) -> ProvenancePart:
        """Return the part about an artifact."""
        command, rows = without_command(card.provenance)
        rows += [[f"preprocessing.{k}", v] for k, v in flat(card.preprocessing)]
        rows.append(["temperature", f"{card.temperature:.6g}"])
        tables = [("Provenance", (["what", "value"], rows))]
        if card.files:
            files = [[k, v] for k, v in card.files.items()]
            tables.append(("Checksums", (["file", "sha256"], files)))
        return cls(command, origin(card), "Every option, version and checksum", tables)


@dataclass(frozen=True)
class Several(Part):
    """Parts one below the other."""

    template = "kit/several.html.jinja"
    parts: Sequence[Part]


@dataclass(frozen=True)
class Summary(Part):
    """A small table about an artifact, for a notebook: its card and (name, value) rows."""

    template = "kit/summary.html.jinja"
    card: Card
    rows: list[tuple[str, str]]


def without_command(provenance: dict[str, Any]) -> tuple[str, list[list[str]]]:
    """Return the command line of a provenance (empty if there is none), and the rest as rows."""
    rest = {k: v for k, v in provenance.items() if k != "command_line"}
    return str(provenance.get("command_line", "")).strip(), [[k, v] for k, v in flat(rest)]


def flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Return nested values as (dotted name, text)."""
    if isinstance(value, dict):
        return [row for k, v in value.items() for row in flat(v, f"{name}.{k}" if name else str(k))]
    return [(name, json.dumps(value) if isinstance(value, list | tuple) else str(value))]
