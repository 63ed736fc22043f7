"""Make the parts of a page about what heat maps are worth and what decisions need."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from xray_tf.pages.heatmaps import figures, measures
from xray_tf.pages.kit.parts import Several
from xray_tf.pages.kit.render import Part, Table


@dataclass(frozen=True)
class ShortcutPart(Part):
    """How decisions change when regions are removed, and where the heat maps are.

    Attributes:
        sentences: what was found.
        figure: what survives each region.
        survives, where: tables, (head, rows).
        lungs: radiographs with the lungs estimated on them, a picture file, None where it is not
            there.
    """

    template = "heatmaps/shortcuts.html.jinja"
    sentences: list[str]
    figure: Figure
    survives: Table
    where: Table
    lungs: bytes | None
    caveat: str = measures.CAVEAT

    @classmethod
    def of(cls, folder: Path, result: dict[str, Any] | None) -> ShortcutPart | None:
        """Return the part from the layout of shortcuts.json, None where there is none."""
        if not result:
            return None
        sheet = folder / "lungs.png"
        return cls(
            measures.shortcut_sentences(result),
            figures.shortcut_figure(result),
            measures.shortcut_rows(result),
            measures.map_rows(result),
            sheet.read_bytes() if sheet.is_file() else None,
        )


@dataclass(frozen=True)
class FaithfulnessPart(Part):
    """How the score changes when a heat map's pixels are removed, compared with controls that do
    not use the network.

    Attributes:
        sentences: what was found.
        figure: the score while pixels are removed.
        table: the figures, (head, rows); a `star` marks those better than every control.
        meanings: {figure: {`better`: high or low, `what`: in words}}.
    """

    template = "heatmaps/faithfulness.html.jinja"
    sentences: list[str]
    figure: Figure
    table: Table
    meanings: dict[str, dict[str, str]]
    star: str = measures.STAR

    @classmethod
    def of(cls, result: dict[str, Any] | None) -> FaithfulnessPart | None:
        """Return the part from the layout of faithfulness.json, None where there is none."""
        if not result or "maps" not in result:
            return None
        return cls(
            measures.faithfulness_sentences({**result, "randomisation": None}),
            figures.removal_figure(result),
            measures.faithfulness_rows(result),
            result["figures"],
        )


@dataclass(frozen=True)
class RandomisationPart(Part):
    """What remains of the heat maps with shuffled weights: `what` was shuffled, sentences, the
    figure and the table (head, rows).
    """

    template = "heatmaps/randomisation.html.jinja"
    what: str
    sentences: list[str]
    figure: Figure
    table: Table
    caveat: str = measures.RANDOM_CAVEAT

    @classmethod
    def of(cls, result: dict[str, Any] | None) -> RandomisationPart | None:
        """Return the part from the layout of faithfulness.json, None where it was not measured."""
        if not result or not result.get("randomisation"):
            return None
        shuffled = {"randomisation": result["randomisation"]}
        return cls(
            result["randomisation"]["what"],
            measures.faithfulness_sentences(shuffled),
            figures.randomisation_figure(result),
            measures.random_rows(result),
        )


def examination_parts(folder: str | os.PathLike) -> dict[str, Part | None]:
    """Return what an examination's folder, or an artifact's, has to show; None where it was not
    measured.
    """
    found = measures.shortcut_summary(folder)
    return {
        "shortcuts": ShortcutPart.of(Path(folder), found["shortcuts"]),
        "faithfulness": FaithfulnessPart.of(found["faithfulness"]),
        "randomisation": RandomisationPart.of(found["faithfulness"]),
    }


def examination_part(folder: str | os.PathLike) -> Several | None:
    """Return the same as one part of another page, such as an artifact's report; None where nothing
    was measured.
    """
    there = [part for part in examination_parts(folder).values() if part is not None]
    return Several(there) if there else None
