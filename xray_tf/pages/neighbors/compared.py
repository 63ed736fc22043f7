"""Make the part of a page that compares nearest neighbours with the network's head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from xray_tf.pages.kit.figures import confusion_matrix
from xray_tf.pages.kit.filters import capital
from xray_tf.pages.kit.render import Part
from xray_tf.stats.metric_rows import card_metrics

SIDES = {"knn": "nearest neighbours", "head": "the network's head"}


@dataclass(frozen=True)
class ComparedPart(Part):
    """Neighbours and head on the same rows.

    Attributes:
        sides: whose numbers they are -> the layout of metrics.json.
        notes: what to bear in mind.
    """

    template = "neighbors/compared.html.jinja"
    sides: dict[str, dict[str, Any]]
    notes: list[str]

    @classmethod
    def of(cls, metrics: dict[str, Any]) -> ComparedPart | None:
        """Return the part from the layout of `embed_radiographs`' metrics.json, None where neither
        was measured.
        """
        sides = {words: metrics[key] for key, words in SIDES.items() if metrics[key]}
        return cls(sides, metrics.get("notes", [])) if sides else None

    @property
    def shown(self) -> list[str]:
        """The metrics to show."""
        return list(card_metrics(self.first["metrics"]))

    @property
    def first(self) -> dict[str, Any]:
        """One side; the rows are those of both."""
        return next(iter(self.sides.values()))

    @property
    def matrices(self) -> dict[str, Figure]:
        """The confusion matrix of each side."""
        return {
            words: confusion_matrix(side["confusion_matrix"], side["class_names"], capital(words))
            for words, side in self.sides.items()
        }
