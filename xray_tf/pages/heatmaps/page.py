"""Make the page of heat maps, radiograph by radiograph, and the page of an examination."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xray_tf.artifact import Card
from xray_tf.pages.heatmaps.parts import examination_parts
from xray_tf.pages.kit.render import Page, Section, sections

_TITLES = {
    "shortcuts": "Shortcuts",
    "faithfulness": "Faithfulness of the heat maps",
    "randomisation": "Weights shuffled",
}


@dataclass(frozen=True)
class Shown:
    """One radiograph on the page.

    Attributes:
        path: the file as it was asked for.
        decided: the class name decided, and its calibrated `probability`.
        explained: the class name the heat map is for.
        empty: whether the heat map holds no evidence.
        label: the true class name, empty where it is not known.
        picture: (H, W, 3) uint8 RGB.
    """

    path: str
    decided: str
    probability: float
    explained: str
    empty: bool
    label: str
    picture: np.ndarray


@dataclass(frozen=True)
class ExplanationsPage(Page):
    """Heat maps of a classifier's decisions.

    Attributes:
        card: of the model.
        facts: sentences on the method, the layer and the class explained.
        shown: the radiographs to show, of `total`.
        errors: (path, why) of files that could not be read.
        grid: (H, W, 3) uint8 RGB, hits and misses chosen by `rule`; None where no label is known.
    """

    template = "heatmaps/explanations.html.jinja"
    card: Card
    facts: Sequence[str]
    shown: Sequence[Shown]
    total: int
    errors: Sequence[tuple[str, str]] = ()
    grid: np.ndarray | None = None
    rule: str = ""


@dataclass(frozen=True)
class ExaminationPage(Page):
    """What an examination found about the model of a `name`."""

    template = "heatmaps/examination.html.jinja"
    name: str
    sections: tuple[Section, ...]


def render_examination(folder: str | os.PathLike, name: str) -> str:
    """Return the page of an examination's folder, self-contained."""
    parts = examination_parts(folder)
    shown = sections((key, _TITLES[key], part) for key, part in parts.items())
    return ExaminationPage(name, shown).render()
