"""Make the page of the demo: the shipped models on the examples first, then the study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xray_tf.pages.classifier.credits import pictures_credit
from xray_tf.pages.evidence.page import Evidence, EvidencePage
from xray_tf.pages.kit.overlays import beside, overlay
from xray_tf.pages.kit.render import Page
from xray_tf.pages.study.page import StudyPage


@dataclass(frozen=True)
class DemoPage(Page):
    """The page of the demo.

    Attributes:
        readings: for each model (the place of the page with its evidence, that page), all about the
            same radiographs.
        study: the page of the study, whose sections are shown; None if there is none.
    """

    template = "study/demo.html.jinja"
    styles = ("study/study.css",)
    readings: Sequence[tuple[str, EvidencePage]]
    study: StudyPage | None = None

    @property
    def cases(self) -> list[tuple[Evidence, ...]]:
        """The evidence on each radiograph, one a model."""
        return list(zip(*(page.shown for _, page in self.readings), strict=True))

    @property
    def credit(self) -> str:
        """Whose radiographs they are; empty where that is not known."""
        return pictures_credit(self.cases[0][0].card) if self.cases else ""

    @staticmethod
    def pair(evidence: Evidence) -> np.ndarray:
        """Set the radiograph and its heat map side by side: (S, 8 + 2 S, 3) uint8 RGB."""
        nothing = np.zeros_like(evidence.heatmap)
        return beside([overlay(evidence.pixels, heat) for heat in (nothing, evidence.heatmap)])
