"""A distilled trunk's README.md: what it is, who taught it, how much of the teacher it explains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from xray_tf.artifact import Card
from xray_tf.pages.classifier.credits import data_credit, teacher_credit
from xray_tf.pages.kit.render import Part
from xray_tf.pages.kit.words import options_of


@dataclass(frozen=True)
class TrunkCard(Part):
    """The card in Markdown.

    Attributes:
        card: of the artifact.
        metrics: the layout of its metrics.json.
    """

    template = "trunks/trunk_card.md.jinja"
    card: Card
    metrics: dict[str, Any]

    @property
    def options(self) -> dict[str, Any]:
        """The options it was made with."""
        return options_of(self.card, "DistilOptions")

    @property
    def credits(self) -> dict[str, str]:
        """Whose works the trunk is made of."""
        return {
            "Radiographs": Markup(data_credit(self.card)),
            "Weights": Markup(teacher_credit(self.options["teacher"])),
        }


def render_trunk_card(card: Card, metrics: dict[str, Any]) -> str:
    """Return the README.md of a distilled trunk."""
    return TrunkCard(card, metrics).render()
