"""Credit the data sets and weights that a model was made from, as far as they are recognised.

A data set is recognised by the fingerprint of its files (`jobs.provenance.fingerprint`), never by a
path or a file name.
"""

from __future__ import annotations

from markupsafe import Markup

from xray_tf.artifact import Card
from xray_tf.pages.kit.words import options_of
from xray_tf.registry import BACKBONES, DATA_SETS, DISTILLED, Credit

# the masks that the shipped segmenter learned from
MASKS = (
    "*COVID-19 X-ray dataset*, V7 Labs, 2020, <https://github.com/v7labs/covid-19-xray-dataset>; "
    "licence [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/). Drawn with a "
    "semi-automatic tool and reviewed by people. Changed: matched to the file names of the "
    "radiographs, reduced to 224 x 224."
)


def pictures_credit(card: Card) -> str:
    """State whose radiographs a model was trained on, as text; empty where that is not known."""
    known = _known(card)
    return known.plain() if known else stated_attribution(card)


def _known(card: Card) -> Credit | None:
    data = card.provenance.get("data", {})
    return DATA_SETS.get(str(data.get("source_fingerprint") or data.get("fingerprint", "")))


def data_credit(card: Card) -> str:
    """State in Markdown whose radiographs a model was trained on, as far as the card knows."""
    if known := _known(card):
        return Markup(known.sentence())
    if stated_attribution(card):
        return "As stated by the person who trained it; not verified."
    return (
        "Not recorded: xray_tf does not recognise the data set. Before you pass this model on, "
        "find out whose radiographs they are and under which licence (--attribution states it "
        "here)."
    )


def weights_credit(card: Card) -> str:
    """State in Markdown whose weights a model started from, as far as the card knows."""
    model = options_of(card, "ModelOptions") or options_of(card, "DetectOptions")
    chain = card.provenance.get("started_from") or []
    weights = (chain[-1] if chain else model).get("weights", "")
    row = BACKBONES.get(model.get("backbone", ""))
    if weights == "":
        return "Not recorded."
    if weights in (None, "none"):
        return "Random: it contains nobody else's weights."
    if weights.startswith(DISTILLED):
        return teacher_credit(weights.removeprefix(DISTILLED))
    if weights != "imagenet":
        return (
            "From a file, named under “Make it again”; its origin and licence apply to this model "
            "too."
        )
    if row and row.credit:
        return Markup(row.credit.sentence())
    source = "the keras-hub preset" if row and row.hub_preset else "keras.applications"
    return f"ImageNet weights downloaded by {source}; their licence is stated there."


def teacher_credit(teacher: str) -> str:
    """State in Markdown whose features a distilled trunk learned to give."""
    row = BACKBONES.get(teacher)
    whose = row.credit.sentence() if row and row.credit else f"{teacher}, with ImageNet weights"
    return Markup("Random ones, which learned to give the feature maps of: " + whose)


def stated_attribution(card: Card) -> str:
    """Return the text of `--attribution`; empty if it was not given."""
    return str(options_of(card, "DataOptions").get("attribution") or "")
