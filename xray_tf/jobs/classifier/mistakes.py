"""Show the surest mistakes of a classifier: small pictures of the radiographs, their heat maps, and
the nearest training radiographs.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from xray_tf.artifact import write_json
from xray_tf.data.predictions import Predictions
from xray_tf.data.records import Record
from xray_tf.jobs.corpus import Corpus
from xray_tf.models.classifier import Classifier
from xray_tf.pages.classifier.mistakes import FILE, surest
from xray_tf.pages.kit.filters import jpeg
from xray_tf.pages.kit.overlays import overlay

SIDE, SMALL, QUALITY = 160, 72, 78  # pixels of a mistake and of a neighbour; of JPEG
NEAREST = 4
SAMPLE = 400  # training radiographs that are embedded where the model has no reference


def write_mistakes(
    folder: Path, classifier: Classifier, corpus: Corpus, rows: Predictions, most: int
) -> None:
    """Write the pictures of the surest mistakes into a folder, for the page that is written there.

    mistakes.json: {"near" (what the neighbours were looked for in), "cells": [{"path", "picture",
    "heat", "empty", "near": [{"label", "distance", "picture"}]}]}; pictures are JPEG in base64.

    Args:
        folder: the folder of the page.
        classifier: the model, at the decisions of which `rows` were made.
        corpus: the radiographs, with pixels.
        rows: the scored rows, all of them in `corpus`.
        most: write so many at most; 0 writes nothing.
    """
    if not most:
        return
    at = {r.path: i for i, r in enumerate(corpus.records)}
    wrong = [row for row, _ in surest(rows, most)]
    positions = np.array([at[row.path] for row in wrong], np.int64)
    told: dict[str, Any] = {"near": "", "cells": []}
    if wrong:
        pixels = np.stack([corpus.pixels[i] for i in corpus.rows[positions]])
        names = list(classifier.card.class_names)
        decided = [names.index(row.predicted) for row in wrong]
        maps = classifier.cam(pixels[..., None].astype(np.float32), decided)
        records = [corpus.records[int(i)] for i in positions]
        told["near"], near = _neighbors(classifier, corpus, pixels, records)
        told["cells"] = [
            {
                "path": row.path,
                "picture": _picture(image, SIDE),
                "heat": _picture(overlay(image, heat), SIDE),
                "empty": not heat.any(),
                "near": cases,
            }
            for row, image, heat, cases in zip(wrong, pixels, maps, near, strict=True)
        ]
    write_json(folder / FILE, told)


def _picture(pixels: np.ndarray, side: int) -> str:
    small = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    return base64.b64encode(jpeg(small, QUALITY)).decode("ascii")


def _neighbors(
    classifier: Classifier, corpus: Corpus, pixels: np.ndarray, records: Sequence[Record]
) -> tuple[str, list[list[dict[str, Any]]]]:
    """Return what the neighbours were looked for in, and those of each record."""
    if classifier.remembers:
        return "the training radiographs", _remembered(classifier, corpus, pixels, records)
    rows = corpus.of_split("train")
    if not len(rows):
        return "", [[] for _ in records]
    some = np.sort(np.random.default_rng(0).permutation(rows)[:SAMPLE])
    vectors = classifier.forward(corpus.pixels, ("embedding",), indices=corpus.rows[some])
    known = _unit(vectors["embedding"])
    asked = _unit(classifier.forward(pixels, ("embedding",))["embedding"])
    found = []
    for record, distances in zip(records, 1 - asked @ known.T, strict=True):
        patients = [corpus.records[int(i)].patient for i in some]
        kin = np.array([bool(p) and p == record.patient for p in patients])
        order = np.argsort(np.where(kin, np.inf, distances), kind="stable")[:NEAREST]
        found.append([_case(corpus, int(some[i]), float(distances[i])) for i in order])
    what = "all" if len(some) == len(rows) else f"{len(some):,} of the {len(rows):,}"
    return f"{what} training radiographs", found


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _case(corpus: Corpus, position: int, distance: float) -> dict[str, Any]:
    record = corpus.records[position]
    picture = _picture(corpus.pixels[corpus.rows[position]], SMALL)
    label = corpus.task.class_names[corpus.labels[position]]
    return {"label": record.subtype or label, "distance": distance, "picture": picture}


def _remembered(
    classifier: Classifier, corpus: Corpus, pixels: np.ndarray, records: Sequence[Record]
) -> list[list[dict[str, Any]]]:
    """Return the neighbours in the model's reference, with the pictures that it keeps or that are
    in the corpus.
    """
    reference = classifier.finder.reference
    table = reference.table(
        reference.ask(classifier.finder.embed(pixels), records, NEAREST), records
    )
    kept = reference.seen(table)
    here = {r.sha256: i for i, r in enumerate(corpus.records) if r.sha256}
    found = []
    for record in records:
        cases = []
        for row in table.of(record.path):
            picture = kept.get(row.sha256)
            if picture is None and row.sha256 in here:
                picture = corpus.pixels[corpus.rows[here[row.sha256]]]
            shown = "" if picture is None else _picture(picture, SMALL)
            case = {"label": row.subtype or row.label, "distance": row.distance, "picture": shown}
            cases.append(case)
        found.append(cases)
    return found
