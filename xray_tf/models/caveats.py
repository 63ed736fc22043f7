"""List reasons not to trust an answer about one radiograph: rules with stated limits, each in one
sentence that a reader can check.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from xray_tf.artifact import Card
from xray_tf.data.chest.lung_table import NO_LUNGS
from xray_tf.data.predictions import Prediction
from xray_tf.models.asked.queries import Query
from xray_tf.models.decided import CLOSE, differ
from xray_tf.operating_point import OperatingPoint
from xray_tf.pages.evidence.page import Anomaly, Caveat, Neighbors
from xray_tf.registry import NORMAL

UNUSUAL = 95  # percentile of the neighbour distance among the training radiographs
DIVIDED = 0.75  # the neighbours are called divided if their largest vote is smaller
# Limits of the image. None of 1,304 public radiographs (every fourth) exceeds the first three;
# 0.2 % are called inverted, and so are all of their negatives.
CONTRAST = 90  # grey levels from the 1st to the 99th percentile
WHITE, BLACK = 0.07, 0.35  # shares of the image that are plain white or black
CUT = 0.25  # share of the longer side cut away by a square crop
EDGE, EDGE_HEAT = 0.10, 0.50  # the outer tenth on all sides is 36 % of the image


def caveats_of(
    card: Card,
    query: Query,
    prediction: Prediction,
    point: OperatingPoint,
    heat: np.ndarray | None,
    near: Neighbors | None,
    anomaly: Anomaly | None,
) -> tuple[Caveat, ...]:
    """List reasons not to trust an answer, the serious ones first.

    Args:
        card: the model's card.
        query: the radiograph.
        prediction: the prediction of the head.
        point: the operating point of the decision.
        heat: (S, S) float32 in [0, 1], the heat map of the class decided; None if there is none.
        near: the nearest training radiographs; None if the artifact has no reference.
        anomaly: the detector's verdict; None if there is no detector.
    """
    found = [
        *_doubts(card, prediction, point),
        *(_of_the_map(heat) if heat is not None else ()),
        *_of_the_neighbors(near, prediction),
        *_of_the_lungs(prediction),
        *_of_the_detector(anomaly, prediction, card),
        *_of_the_picture(card, query),
        *(Caveat("model", note, serious=False) for note in card.notes),
    ]
    return tuple(sorted(found, key=lambda c: not c.serious))


def _doubts(card: Card, prediction: Prediction, point: OperatingPoint) -> Iterator[Caveat]:
    change = point.margin(prediction.probabilities)
    if change < CLOSE:
        yield Caveat(
            "close call",
            "The probability is close to where the decision changes: a change of "
            f"{change:.2f} in the logit would flip it.",
        )
    if card.split_by == "image":
        yield Caveat(
            "split by image",
            "The model was measured on radiographs of children it was trained on; its numbers are "
            "optimistic.",
        )


def _of_the_map(heat: np.ndarray) -> Iterator[Caveat]:
    if not heat.any():
        yield Caveat(
            "empty map",
            "Nothing in the feature map supports the class decided, so the heat map is empty: the "
            "decision rests on the absence of evidence, or on a constant.",
        )
    elif (share := edge_share(heat)) >= EDGE_HEAT:
        yield Caveat(
            "map on the border",
            f"{100 * share:.0f} % of the heat is in the outer tenth of the image, where there are "
            "markers and borders, but no lungs.",
        )


def edge_share(heat: np.ndarray) -> float:
    """Return the share of a heat map (H, W) >= 0, not all zero, that is in the outer tenth on all
    sides.
    """
    height, width = heat.shape
    top, left = round(EDGE * height), round(EDGE * width)
    inner = heat[top : height - top, left : width - left]
    return float(1 - inner.sum(dtype=np.float64) / heat.sum(dtype=np.float64))


def _of_the_neighbors(near: Neighbors | None, prediction: Prediction) -> Iterator[Caveat]:
    if near is None:
        yield Caveat(
            "not compared",
            "The artifact has no reference, so it is not known how unusual this radiograph is, or "
            "what it resembles. `xray-tf embed --add-reference` adds one.",
            serious=False,
        )
        return
    if not near.rows:
        yield Caveat(
            "no neighbours",
            "Every training radiograph is of this patient, so there is nothing to compare with.",
        )
        return
    if near.unusual >= UNUSUAL:
        yield Caveat(
            "unusual",
            "It is unlike the training radiographs: its neighbours are "
            f"farther away than those of {near.unusual:.0f} % of them.",
        )
    if differ(near.vote.predicted, prediction.predicted, near.class_names):
        yield Caveat(
            "head and neighbours disagree",
            f"The network's head says {prediction.predicted}, the nearest training radiographs say "
            f"{near.vote.predicted}.",
        )
    elif max(near.vote.probabilities) < DIVIDED:
        yield Caveat(
            "divided neighbours",
            "The neighbours are divided: the class with the most votes has "
            f"{100 * max(near.vote.probabilities):.0f} %.",
            serious=False,
        )
    if near.copy and not near.known:
        yield Caveat(
            "copy",
            f"It looks like the training radiograph {near.copy}, in other bytes, so the answer "
            "says nothing about new patients.",
        )
    if near.known or near.same_patient:
        what = "This very file is" if near.known else "Radiographs with its patient key are"
        yield Caveat(
            "known",
            f"{what} among the training radiographs, so the answer says nothing about new "
            "patients. (That patient's radiographs are left out of the neighbours.)",
        )


def _of_the_lungs(prediction: Prediction) -> Iterator[Caveat]:
    if NO_LUNGS in prediction.warning:
        yield Caveat(
            "no lungs",
            "The lung segmenter finds no two upright lungs in it. Is it an upright frontal chest "
            "radiograph? The answer means nothing if it is not.",
        )


def _of_the_detector(
    anomaly: Anomaly | None, prediction: Prediction, card: Card
) -> Iterator[Caveat]:
    if anomaly is None or NORMAL not in card.class_names:
        return
    if anomaly.flagged == (prediction.predicted == NORMAL):
        said = "unlike normal radiographs" if anomaly.flagged else "like a normal radiograph"
        yield Caveat(
            "head and detector disagree",
            f"The network's head says {prediction.predicted}, the detector finds it {said}.",
        )


def _of_the_picture(card: Card, query: Query) -> Iterator[Caveat]:
    record, pixels, side = query.record, query.pixels, card.preprocessing["image_size"]
    width, height = record.width, record.height
    if 0 < min(width, height) < side:
        yield Caveat(
            "small",
            f"It has {width} x {height} pixels and was enlarged to {side} x {side}: detail that "
            "the model uses is missing.",
        )
    cut = 1 - min(width, height) / max(width, height, 1)
    if card.preprocessing["resize"] == "crop" and min(width, height) > 0 and cut > CUT:
        yield Caveat(
            "cropped",
            f"{100 * cut:.0f} % of its longer side was cut away to make it a square.",
            serious=False,
        )
    if looks_inverted(pixels):
        yield Caveat(
            "inverted",
            "It looks like a negative: the air beside the shoulders is brighter than the middle of "
            "the chest. The model was trained on radiographs with white bones.",
        )
    low, high = np.percentile(pixels, [1, 99])
    if high - low < CONTRAST:
        yield Caveat(
            "flat",
            f"It has little contrast: its darkest and its brightest percent are {high - low:.0f} "
            "of 255 grey levels apart.",
        )
    for name, share, limit in (
        ("white", float((pixels >= 252).mean()), WHITE),
        ("black", float((pixels <= 3).mean()), BLACK),
    ):
        if share > limit:
            yield Caveat(
                f"mostly {name}" if share > 0.5 else f"much {name}",
                f"{100 * share:.0f} % of it is plain {name}, without any detail.",
                serious=False,
            )
    if record.mode[:1] not in ("L", ""):
        yield Caveat(
            "colour",
            f"The file is in colour ({record.mode}); the model sees it in grey.",
            serious=False,
        )


def looks_inverted(pixels: np.ndarray) -> bool:
    """Tell whether the upper corners of a square radiograph (S, S) uint8, mostly air, are brighter
    than the middle of the chest.
    """
    side = len(pixels)
    at = [round(share * side) for share in (0.08, 0.24, 0.27, 0.45, 0.55, 0.71)]
    upper = np.concatenate([pixels[: at[1], : at[0]], pixels[: at[1], side - at[0] :]])
    return bool(upper.mean() > pixels[at[2] : at[5], at[3] : at[4]].mean())
