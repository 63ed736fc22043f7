"""Find the training radiographs nearest to new ones; write a table and a page with thumbnails."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from xray_tf.artifact import new_folder, write_text
from xray_tf.data.pixels.reading import read_file
from xray_tf.data.pixels.square import resize_pixels
from xray_tf.data.predictions import Predictions
from xray_tf.data.sources.by_content import find_by_sha256
from xray_tf.models.classifier import Classifier
from xray_tf.models.finder import NearestCaseFinder
from xray_tf.models.load import load
from xray_tf.models.reference import NearestTable
from xray_tf.pages.neighbors.figures import draw_nearest
from xray_tf.pages.neighbors.nearest import NearestPage, Query

SIDE = 224  # side of a thumbnail in pixels
PICTURED = 23  # neighbours with a picture on the page; the table lists all


def nearest_cases(
    model: str | os.PathLike | Classifier,
    images: Any,
    out: str | os.PathLike | None = None,
    *,
    k: int = 5,
    data: str | os.PathLike | None = None,
) -> tuple[NearestTable, Predictions]:
    """Find the training radiographs whose embeddings are nearest to those of new ones.

    Args:
        model: an artifact's folder with `reference/`, or an opened artifact.
        images: a path, folder or glob, or a list of them.
        out: the folder to create, for nearest.csv, predictions.csv and nearest.html; None writes
            nothing.
        k: the number of neighbours per image.
        data: a folder with the training radiographs, for the pictures; they are found by their
            bytes, because artifacts contain none.

    Returns:
        (the neighbours, nearest first, query by query; the neighbours' votes).

    Raises:
        ArtifactError: the artifact has no reference.
        ValueError: k is below 1, no file was found, or one cannot be read.
        FileNotFoundError: `data` is not a folder.
    """
    finder = load(model, kind="classifier").finder
    table, predictions = finder.nearest(images, k)
    if out is not None:
        with new_folder(out) as draft:
            table.write_csv(draft / "nearest.csv")
            predictions.write_csv(draft / "predictions.csv")
            write_text(draft / "nearest.html", _page(finder, table, predictions, images, data))
    return table, predictions


def _page(
    finder: NearestCaseFinder,
    table: NearestTable,
    predictions: Predictions,
    images: Any,
    data: str | os.PathLike | None,
) -> str:
    pictured = [r for r in table if r.rank <= PICTURED]
    files = {} if data is None else find_by_sha256(data, {(r.sha256, r.path) for r in pictured})
    kept = finder.reference.seen(pictured) if data is None else {}
    # kept pictures are as the model sees them, and what lies beside them is drawn so too
    resize = finder.classifier.card.preprocessing["resize"] if kept else "pad"
    rows = finder.reference.rows
    files_known, patients_known = set(rows.column("sha256")), set(rows.column("patient")) - {""}
    queries = []
    records, _ = finder.read(images)
    for record, row in zip(records, predictions, strict=True):
        known = record.sha256 in files_known, record.patient in patients_known
        near = table.of(record.path)
        figure = _figure(record.path, near, files, kept, resize)
        queries.append(Query(row, list(near), figure, *known))
    return NearestPage(
        finder.classifier.card,
        finder.reference.class_names,
        finder.reference.cases.recipe.describe(),
        queries,
        "" if data is None else os.fspath(data),
        len({r.sha256 for r in pictured} - set(files) - set(kept)),
    ).render()


def _figure(
    path: str, near: NearestTable, files: dict[str, Path], kept: dict[str, Any], resize: str
) -> Any:
    """Draw a radiograph next to its nearest ones."""
    shown = [r for r in near if r.rank <= PICTURED]
    titles = [
        f"{r.rank}. {r.subtype or r.label}, {r.distance:.3f}\n{r.patient or 'patient not known'}"
        for r in shown
    ]
    pictures = [
        resize_pixels(kept[r.sha256], SIDE, resize)
        if r.sha256 in kept
        else _picture(files.get(r.sha256), resize)
        for r in shown
    ]
    asked = f"asked about\n{Path(path).stem[:26]}"
    return draw_nearest(_picture(path, resize), asked, pictures, titles)


def _picture(path: str | os.PathLike | None, resize: str):
    return None if path is None else read_file(path, SIDE, resize)[1]
