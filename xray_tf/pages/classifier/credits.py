"""Whose works a model is made of: the data sets and weights that are recognised, and the words for
those that are not.

A data set is recognised by the fingerprint of its files (`jobs.provenance.fingerprint`), never by a
path or a file name.
"""

from __future__ import annotations

from markupsafe import Markup

from xray_tf.artifact import Card
from xray_tf.pages.kit.words import options_of
from xray_tf.registry import BACKBONES, DATA_SETS


def data_credit(card: Card) -> str:
    """Say in Markdown whose radiographs a model was trained on, as far as the card knows."""
    data = card.provenance.get("data", {})
    known = DATA_SETS.get(str(data.get("source_fingerprint") or data.get("fingerprint", "")))
    if known:
        return Markup(known.sentence())
    if stated_attribution(card):
        return "As stated by whoever trained it, and checked by nobody else."
    return (
        "Not recorded: xray_tf does not recognise the data set. Whoever passes this model on must "
        "find out whose radiographs they are and under which licence (train --attribution writes "
        "it here)."
    )


def weights_credit(card: Card) -> str:
    """Say in Markdown whose weights a model started from, as far as the card knows."""
    model = options_of(card, "ModelOptions") or options_of(card, "DetectOptions")
    if model.get("detectors") == "none":
        return "Random: no one else's weights are in it."
    chain = card.provenance.get("started_from") or []
    weights, row = (
        (chain[-1] if chain else model).get("weights", ""),
        BACKBONES.get(model.get("backbone", "")),
    )
    if weights == "":
        return "Not recorded."
    if weights in (None, "none"):
        return "Random: no one else's weights are in it."
    if weights != "imagenet":
        return (
            "Those of a file, named under “Make it again”; its origin and its licence hold for "
            "this model too."
        )
    if row and row.credit:
        return Markup(row.credit.sentence())
    source = "the keras-hub preset" if row and row.hub_preset else "keras.applications"
    return f"ImageNet weights as {source} downloads them; their licence is the one stated there."


def stated_attribution(card: Card) -> str:
    """Return what `train --attribution` said; empty where it was not given."""
    return str(options_of(card, "DataOptions").get("attribution") or "")
