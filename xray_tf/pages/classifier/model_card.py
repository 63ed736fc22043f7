"""Write the model card: an artifact's README.md, from the contents of its folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from xray_tf.artifact import Card, write_text
from xray_tf.options import LUNGS
from xray_tf.pages.classifier.credits import MASKS, data_credit, stated_attribution, weights_credit
from xray_tf.pages.classifier.recipe import recipe_lines
from xray_tf.pages.classifier.shift_card import shift_markdown
from xray_tf.pages.heatmaps.measures import faithfulness_markdown, shortcut_markdown
from xray_tf.pages.kit.render import Part, Table, read_json
from xray_tf.pages.kit.words import NAMES, options_of, value_text

README, METRICS = "README.md", "metrics.json"
# a file that may be in the folder -> the lines of Markdown about it; what is measured after
# training gets its part of the card here
SECTIONS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "shift.json": shift_markdown,
    "shortcuts.json": shortcut_markdown,
    "faithfulness.json": faithfulness_markdown,
}


@dataclass(frozen=True)
class ModelCard(Part):
    """The card in Markdown.

    Attributes:
        card: the artifact's card.
        metrics: the layout of metrics.json; None omits the numbers.
        points: the operating points, with what each reached on the rows it was fitted on.
        measured: what was measured after training, as Markdown.
    """

    template = "classifier/model_card.md.jinja"
    card: Card
    metrics: dict[str, Any] | None
    points: Table
    recipe: list[Markup]
    credits: dict[str, str]
    measured: Markup

    @property
    def by_class(self) -> Table:
        """Each class against the rest."""
        cells, counts = self.metrics["per_class"], self.metrics["class_counts"]
        head = ["class", "rows", *(NAMES[key] for key in next(iter(cells.values())))]
        return head, [[k, counts[k], *map(value_text, c.values())] for k, c in cells.items()]

    @property
    def matrix(self) -> Table:
        """The confusion matrix."""
        names, matrix = self.metrics["class_names"], self.metrics["confusion_matrix"]
        return ["", *names], [[n, *row] for n, row in zip(names, matrix, strict=True)]

    @property
    def commands(self) -> str:
        """The command lines that made it, the first one first."""
        before = reversed(self.card.provenance.get("started_from") or [])
        lines = [row.get("command_line", "") for row in (*before, self.card.provenance)]
        made = "\n".join(str(line).strip() for line in lines if line)
        return made or "# made from Python with the options in card.json"


def write_model_card(folder: str | os.PathLike, card: Card) -> Path:
    """Write README.md from the folder's card, metrics.json and the files named in `SECTIONS`, and
    return its path.
    """
    found = {name: read_json(Path(folder) / name) for name in (METRICS, *SECTIONS)}
    write_text(Path(folder) / README, render_model_card(card, found.pop(METRICS), found))
    return Path(folder) / README


def render_model_card(
    card: Card,
    metrics: dict[str, Any] | None = None,
    found: dict[str, dict[str, Any] | None] | None = None,
) -> str:
    """Return the artifact's README.md: what the model is, what it was made from, how it was
    measured, its limits, and how to make it again.

    Args:
        card: the artifact's card.
        metrics: the layout of metrics.json; None omits the numbers.
        found: file name -> content of the files in `SECTIONS` that exist.
    """
    there = {name: content for name, content in (found or {}).items() if content}
    lines = [line for name in SECTIONS if name in there for line in SECTIONS[name](there[name])]
    stated, measured = stated_attribution(card), Markup("\n".join(lines))
    credits = {
        "Radiographs": data_credit(card),
        **({"Stated in training": stated} if stated else {}),
        "Weights it started from": weights_credit(card),
    }
    if options_of(card, "ModelOptions").get("region") == LUNGS:
        credits["Masks that the segmenter inside it learned from"] = Markup(MASKS)
    return ModelCard(card, metrics, _points(card), recipe_lines(card), credits, measured).render()


def _points(card: Card) -> Table:
    """Lay out the operating points, the default first."""
    default, rows = card.default_operating_point, []
    for name, p in sorted(card.operating_points.items(), key=lambda p: (p[0] != default, p[0])):
        title = f"{name} (default)" if name == default else name
        rows.append([title, p.words(card.class_names), p.criterion, p.reached() or "–"])
    return ["name", "rule", "criterion", "reached on those rows"], rows
