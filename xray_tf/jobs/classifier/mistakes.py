"""Show the surest mistakes of a classifier: small pictures of the radiographs, their heat maps, and
the nearest training radiographs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from xray_tf.artifact import write_json
from xray_tf.data.kin import kin_groups
from xray_tf.data.predictions import Predictions
from xray_tf.data.records import Record
from xray_tf.jobs.corpus import Corpus
from xray_tf.models.classifier import Classifier
from xray_tf.models.reference import NearestCase, Reference
from xray_tf.pages.classifier.mistakes import FILE, surest
from xray_tf.pages.kit.filters import jpeg_text
from xray_tf.pages.kit.overlays import overlay

SIDE, SMALL, QUALITY = 160, 72, 78  # pixels of a mistake and of a neighbour; of JPEG
NEAREST = 4
SAMPLE = 400  # training radiographs that are embedded where the model has no reference


def write_mistakes(
    folder: Path, classifier: Classifier, corpus: Corpus, rows: Predictions, most: int
) -> None:
    """Write mistakes.json into a folder, for the page that is written there; `most` of 0 writes
    nothing. The arguments are those of `draw_mistakes`.
    """
    if most:
        write_json(folder / FILE, draw_mistakes(classifier, corpus, rows, most))


def draw_mistakes(
    classifier: Classifier, corpus: Corpus, rows: Predictions, most: int
) -> dict[str, Any]:
    """Draw the surest mistakes.

    Args:
        classifier: the model, at the decisions of which `rows` were made.
        corpus: the radiographs, with pixels.
        rows: the scored rows, all of them in `corpus`.
        most: draw so many at most.

    Returns:
        The layout of mistakes.json: {"near" (what the neighbours were looked for in), "cells":
        [{"path", "picture", "heat", "empty", "near": [{"label", "distance", "picture"}]}]};
        pictures are JPEG in base64.
    """
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
    return told


def _picture(pixels: np.ndarray, side: int) -> str:
    small = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    return jpeg_text(small, QUALITY)


def _neighbors(
    classifier: Classifier, corpus: Corpus, pixels: np.ndarray, records: Sequence[Record]
) -> tuple[str, list[list[dict[str, Any]]]]:
    """Return what the neighbours were looked for in, and those of each record, with the pictures
    that the reference keeps or that are in the corpus.
    """
    try:
        where, reference = _reference(classifier, corpus)
        asked = classifier.forward(pixels, ("embedding",))["embedding"]
        table = reference.table(reference.ask(asked, records, NEAREST), records)
    except ValueError:  # too few training radiographs, or vectors that cannot be compared
        return "", [[] for _ in records]
    kept = reference.seen(table)
    here = {r.sha256: i for i, r in enumerate(corpus.records) if r.sha256}

    def case(row: NearestCase) -> dict[str, Any]:
        picture = kept.get(row.sha256)
        if picture is None and row.sha256 in here:
            picture = corpus.pixels[corpus.rows[here[row.sha256]]]
        shown = "" if picture is None else _picture(picture, SMALL)
        return {"label": row.subtype or row.label, "distance": row.distance, "picture": shown}

    return where, [[case(row) for row in table.of(record.path)] for record in records]


def _reference(classifier: Classifier, corpus: Corpus) -> tuple[str, Reference]:
    """Return the model's reference, or one of some training rows of the corpus, and its name.

    Raises:
        ValueError: the corpus has too few training rows for one.
    """
    from xray_tf.stats.neighbors.cases import NearestCases, Recipe

    if classifier.remembers:
        return "the training radiographs", classifier.finder.reference
    rows = corpus.of_split("train")
    if len(rows) <= NEAREST:
        raise ValueError(f"{NEAREST} neighbours need more training rows. Received: {len(rows)}")
    some = np.sort(np.random.default_rng(0).permutation(rows)[:SAMPLE])
    vectors = classifier.forward(corpus.pixels, ("embedding",), indices=corpus.rows[some])
    known = corpus.records.with_rows(corpus.records[int(i)] for i in some)
    names = corpus.task.class_names
    cases = NearestCases(Recipe(NEAREST, space="raw", components=0)).fit(
        vectors["embedding"],
        corpus.labels[some],
        len(names),
        kin_groups(known.column("patient"), known.column("sha256")),
    )
    what = "all" if len(some) == len(rows) else f"{len(some):,} of the {len(rows):,}"
    return f"{what} training radiographs", Reference(cases, known, {"class_names": names})
