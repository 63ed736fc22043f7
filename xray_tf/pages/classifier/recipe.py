"""Describe in words how a model was trained, from the options on its card; an option without words
of its own is listed by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from xray_tf.artifact import Card
from xray_tf.pages.kit.render import Part
from xray_tf.pages.kit.words import options_of

# the options that the template has words for
_SAID = frozenset(
    "backbone weights image_size resize region adapter standardize dropout task method epochs "
    "fine_tune fine_tune_epochs batch_size learning_rate fine_tune_learning_rate layer_decay "
    "weight_decay label_smoothing class_weight schedule warmup augment swapped emptied ema "
    "keep steady_rows precision seed".split()
)


@dataclass(frozen=True)
class Recipe(Part):
    """How a model was trained, one sentence per subject, in Markdown.

    Attributes:
        net, how: the recorded options of the network and of the training; empty if there are none.
    """

    template = "classifier/recipe.md.jinja"
    net: dict[str, Any]
    how: dict[str, Any]

    @property
    def more(self) -> list[str]:
        """Options that the template has no words for."""
        return [
            f"{k.replace('_', ' ')} {v}"
            for k, v in sorted({**self.net, **self.how}.items())
            if k not in _SAID and v not in (None, False)
        ]


def recipe_lines(card: Card) -> list[Markup]:
    """Return one sentence per subject, in Markdown; a single one if the card has no options."""
    recipe = Recipe(options_of(card, "ModelOptions"), options_of(card, "TrainOptions"))
    return [Markup(line) for line in recipe.render().splitlines() if line]
