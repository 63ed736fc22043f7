"""Make the page of nearest cases: each radiograph with its nearest training radiographs, and how
unusual it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from xray_tf.artifact import Card
from xray_tf.data.predictions import Prediction
from xray_tf.pages.kit.render import Page

UNUSUAL = 95  # percentile from which a warning is shown


@dataclass(frozen=True)
class Query:
    """One radiograph asked about.

    Attributes:
        prediction: the neighbours' vote on it.
        near: its neighbours, nearest first: rows with rank, label, subtype, distance, patient, path
            and unusual.
        panel: the radiographs side by side.
        known: the same file is among the training radiographs; it and its patient's were passed
            over.
        same_patient: its patient key is among theirs; those were passed over.
    """

    prediction: Prediction
    near: Sequence[Any]
    panel: Figure
    known: bool
    same_patient: bool


@dataclass(frozen=True)
class NearestPage(Page):
    """The training radiographs nearest to some others.

    Attributes:
        card: of the model.
        class_names: in the order of the votes.
        recipe: how neighbours vote, in words.
        queries: what was asked.
        folder: where the neighbours' files were looked for; empty where nobody named one.
        missing: how many neighbours have no picture: neither kept by the model nor found there.
    """

    template = "neighbors/nearest.html.jinja"
    card: Card
    class_names: Sequence[str]
    recipe: str
    queries: Sequence[Query]
    folder: str
    missing: int
    limit: float = UNUSUAL
