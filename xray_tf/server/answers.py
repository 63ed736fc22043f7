"""What the API answers, as JSON: each field is declared once, here."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from pydantic import BaseModel, Field

from xray_tf.data.pixels.decoding import whole_picture
from xray_tf.data.pixels.dicom_tags import is_dicom
from xray_tf.data.pixels.square import unsquare
from xray_tf.data.sources.shareable import DIGITS
from xray_tf.pages.evidence.page import Anomaly, Article, Evidence, Neighbors, place_text
from xray_tf.pages.kit.filters import data_uri, png
from xray_tf.pages.kit.overlays import outlines

# what is answered on request, and what it is
PARTS = {
    "heatmap": "where in the radiograph the evidence for the decision lies",
    "lungs": "outlines of the lungs",
    "neighbors": "the nearest training radiographs, and their vote",
    "detector": "an anomaly detector's verdict",
    "embedding": "the vector by which neighbours are found",
    "picture": "the radiograph with all its pixels, grey and upright",
    "html": "all of the evidence as a piece of a page",
}
EXPLAINED = ("heatmap", "detector", "html")  # what takes most of the time


class HeatMap(BaseModel):
    """Grad-CAM for the class decided."""

    class_name: str = Field(description="the class whose evidence it shows")
    empty: bool = Field(description="nothing in the feature map supports the class")
    place: str = Field(description="where its maximum is, in words; empty where it is empty")
    png: str = Field(
        description="grey PNG as a data URI, white = 1, to be stretched over the picture"
    )


class Neighbor(BaseModel):
    """One of the nearest training radiographs."""

    rank: int
    label: str
    subtype: str
    distance: float
    patient: str
    path: str
    sha256: str
    picture: str | None = Field(None, description="a small JPEG as a data URI, where there is one")


class Near(BaseModel):
    """The nearest training radiographs and their vote."""

    vote: str
    probability: dict[str, float]
    unusual: float = Field(
        description="share of the training radiographs, in percent, with nearer neighbours"
    )
    cases: list[Neighbor]


class Verdict(BaseModel):
    """An anomaly detector's verdict."""

    model: str
    anomalous: bool
    score: float = Field(description="in [0, 1]; anomalous from 0.5 on")
    reason: str


class Answer(BaseModel):
    """What is said of one radiograph."""

    name: str
    sha256: str
    width: int
    height: int
    mode: str
    model: str
    operating_point: str
    decision: str
    subtype: str = Field(
        "", description="the likelier kind of what was decided, if the model knows kinds"
    )
    probability: dict[str, float] = Field(description="calibrated, by class")
    called_from: dict[str, float] = Field(
        description="by class, from which probability it is decided (others in proportion)"
    )
    warnings: list[str] = Field(description="reasons not to trust the answer")
    notes: list[str] = Field(description="what else to know of the picture and of the model")
    seconds: float = Field(0.0, description="computing time, without the wait in the queue")
    heatmap: HeatMap | None = None
    lungs: list[list[tuple[float, float]]] | None = Field(
        None, description="closed lines of (x, y), shares of the picture's width and height"
    )
    neighbors: Near | None = None
    detector: Verdict | None = None
    embedding: list[float] | None = None
    picture: str | None = Field(None, description="grey PNG as a data URI")
    html: str | None = None


class Failure(BaseModel):
    """Why something is refused."""

    error: str
    kind: str
    name: str | None = None


class Several(BaseModel):
    """What is said of each radiograph in a ZIP."""

    cases: list[Answer | Failure]


class Packed(BaseModel):
    """One file of a ZIP."""

    name: str
    data: str = Field(description="its bytes in base64")


class Unpacked(BaseModel):
    """The files of a ZIP."""

    files: list[Packed]


class Health(BaseModel):
    """How the server is."""

    status: str = Field(
        description="`ok`, or `starting` until the networks are in memory; both answer"
    )
    model: str
    version: str
    waiting: int = Field(description="radiographs in the queue")


def answer_of(evidence: Evidence, data: bytes, parts: Collection[str]) -> Answer:
    """Put the evidence on a radiograph, whose file is `data`, and the wanted `PARTS` into JSON."""
    e, names = evidence, evidence.card.class_names
    answer = Answer(
        name=e.name,
        sha256=e.sha256,
        width=e.size[0],
        height=e.size[1],
        mode=e.mode,
        model=e.card.name,
        operating_point=e.operating_point,
        decision=e.prediction.predicted,
        subtype=e.prediction.subtype,
        probability=dict(zip(names, e.prediction.probabilities, strict=True)),
        called_from=dict(zip(names, e.called_from, strict=True)),
        warnings=[f"{c.kind}: {c.text}" for c in e.caveats if c.serious],
        notes=[f"{c.kind}: {c.text}" for c in e.caveats if not c.serious],
    )
    if "heatmap" in parts:
        answer.heatmap = _heatmap(e)
    if "lungs" in parts and e.lungs is not None:
        answer.lungs = outlines(_over_picture(e, e.lungs))
    if "neighbors" in parts and e.neighbors is not None:
        answer.neighbors = _near(e.neighbors)
    if "detector" in parts and e.anomaly is not None:
        answer.detector = _verdict(e.anomaly)
    if "embedding" in parts and e.embedding is not None:
        answer.embedding = e.embedding.tolist()
    if "picture" in parts:
        answer.picture = data_uri(png(whole_picture(data)))
    if "html" in parts:  # what is exported, and so passed on
        name = f"dicom-{e.sha256[:DIGITS]}" if is_dicom(data) else e.name
        answer.html = Article(replace(e, name=name), 2, f"r{e.sha256[:12]}").render()
    return answer


def _over_picture(evidence: Evidence, square: np.ndarray) -> np.ndarray:
    return unsquare(square, *evidence.size, evidence.card.preprocessing["resize"])


def _heatmap(evidence: Evidence) -> HeatMap:
    heat = evidence.heatmap
    levels = np.rint(_over_picture(evidence, heat) * 255).astype(np.uint8)
    return HeatMap(
        class_name=evidence.prediction.predicted,
        empty=not heat.any(),
        place=place_text(heat) if heat.any() else "",
        png=data_uri(png(levels)),
    )


def _near(near: Neighbors) -> Near:
    cases = []
    for row in near.rows:
        shown = near.pictures.get(row.sha256)
        told = {name: getattr(row, name) for name in Neighbor.model_fields if name != "picture"}
        cases.append(Neighbor(**told, picture=None if shown is None else data_uri(shown)))
    vote = dict(zip(near.class_names, near.vote.probabilities, strict=True))
    return Near(vote=near.vote.predicted, probability=vote, unusual=near.unusual, cases=cases)


def _verdict(anomaly: Anomaly) -> Verdict:
    return Verdict(
        model=anomaly.name,
        anomalous=anomaly.flagged,
        score=anomaly.score,
        reason=anomaly.reason,
    )
