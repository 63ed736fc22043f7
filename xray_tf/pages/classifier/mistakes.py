"""Show the surest mistakes first: what was decided wrongly with the highest probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xray_tf.data.predictions import Prediction, Predictions
from xray_tf.pages.classifier.contents import Contents
from xray_tf.pages.classifier.credits import pictures_credit
from xray_tf.pages.kit.render import Part

FILE = "mistakes.json"


def surest(rows: Predictions, most: int) -> list[tuple[Prediction, float]]:
    """Return the first wrong decisions by the probability of the class decided, with it."""
    wrong = np.flatnonzero(rows.labels != rows.predicted)
    sure = rows.probabilities[wrong, rows.predicted[wrong]]
    order = np.argsort(-sure, kind="stable")[:most]
    return [(rows[int(wrong[i])], float(sure[i])) for i in order]


@dataclass(frozen=True)
class MistakesPart(Part):
    """The gallery of the surest mistakes.

    Attributes:
        wrong, scored: how many decisions are wrong, and of how many.
        shown: the mistakes that have pictures, each with its probability and its cell of
            mistakes.json.
        near: what the neighbours were looked for in; empty where there are none.
        pictured: whether somebody looked for pictures.
        own: whether the mistakes are of the data set that the model was trained on.
        credit: whose that data set is; empty where that is not known.
    """

    template = "classifier/mistakes.html.jinja"
    wrong: int
    scored: int
    shown: list[tuple[Prediction, float, dict[str, Any]]]
    near: str
    pictured: bool
    own: bool
    credit: str

    @classmethod
    def of(cls, contents: Contents) -> MistakesPart | None:
        """Return the part, None where no row is labelled."""
        rows, told = contents.scored, contents.mistakes
        if rows is None:
            return None
        cells = {cell["path"]: cell for cell in (told or {}).get("cells", ())}
        known = surest(rows, len(rows)) if cells else []
        return cls(
            wrong=int((rows.labels != rows.predicted).sum()),
            scored=len(rows),
            shown=[(row, p, cells[row.path]) for row, p in known if row.path in cells],
            near=(told or {}).get("near", ""),
            pictured=told is not None,
            own=contents.split is not None,  # only an artifact has a split.csv
            credit=pictures_credit(contents.card),
        )
