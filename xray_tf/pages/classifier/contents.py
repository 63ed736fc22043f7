"""Read what an artifact's or an evaluation's folder contains for a report."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xray_tf import artifact
from xray_tf.artifact import Card
from xray_tf.data.predictions import Predictions
from xray_tf.data.records import SPLITS, Findings
from xray_tf.pages.kit.render import read_json


@dataclass(frozen=True)
class Contents:
    """The contents of a folder: card, metrics, tables of rows, epochs and findings, the shift
    bench, and pictures of mistakes; each is None if its file is missing.
    """

    card: Card
    metrics: dict[str, Any] | None
    predictions: Predictions | None
    history: list[dict[str, str]] | None
    split: list[dict[str, str]] | None
    findings: Findings | None
    shift: dict[str, Any] | None = None
    mistakes: dict[str, Any] | None = None

    @property
    def scored(self) -> Predictions | None:
        """The labelled rows on which the metrics were measured; None if there are none."""
        table = self.predictions
        if table is None:
            return None
        split, keep = (self.metrics or {}).get("split"), table.scorable
        if split in SPLITS and (table.splits == split).any():
            keep = keep & (table.splits == split)
        return table.where(keep) if keep.any() else None


def read_contents(folder: str | os.PathLike, card: Card | None = None) -> Contents:
    """Read a folder's tables.

    Args:
        folder: an artifact, or the folder of an evaluation.
        card: the model's card, for a folder without one.

    Raises:
        ArtifactError: no card is given, and the folder has no valid one.
    """
    folder = Path(folder)

    def found(name: str, read):
        return read(folder / name) if (folder / name).is_file() else None

    return Contents(
        card or artifact.read_card(folder),
        read_json(folder / "metrics.json"),
        found("predictions.csv", Predictions.read_csv),
        found("history.csv", read_rows),
        found("split.csv", read_rows),
        found("audit.csv", Findings.read_csv),
        read_json(folder / "shift.json"),
        read_json(folder / "mistakes.json"),
    )


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV with a header."""
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        return list(csv.DictReader(stream))
