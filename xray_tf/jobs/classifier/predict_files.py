"""Predictions for files, folders and globs, streamed to CSV and JSON lines in constant memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path

from xray_tf.artifact import refuse_existing
from xray_tf.data.predictions import Predictions, PredictionWriter
from xray_tf.data.sources.files import list_files
from xray_tf.models.classifier import Classifier
from xray_tf.models.load import load


def predict_files(
    model: str | os.PathLike | Classifier | None,
    files: Iterable[str | os.PathLike],
    out: str | os.PathLike | None = None,
    *,
    batch_size: int = 64,
    operating_point: str | None = None,
    strict: bool = False,
    progress: bool = True,
    report: Callable[[Predictions], None] = lambda batch: None,
) -> tuple[int, int]:
    """Predict radiographs, labelled or not, in the order given.

    Args:
        model: an artifact folder, the name of a shipped model, None for the shipped binary one, or
            one already opened.
        files: files, folders and globs.
        out: a folder to make, for `predictions.csv` and `predictions.jsonl`; nothing is written
            when None.
        batch_size: radiographs a forward pass.
        operating_point: a name on the card; its default when None.
        strict: stop at the first file that cannot be read.
        progress: show a line.
        report: called with each batch of answers.

    Returns:
        (rows answered, rows that could not be read).

    Raises:
        ArtifactError: not an artifact, damaged, or no model shipped.
        FileExistsError: a result is there already.
        ValueError: no file was found, or, with `strict`, one could not be read.
    """
    from xray_tf.progress import ProgressLine

    if out is not None:
        refuse_existing(out)
    classifier = load(model, kind="classifier")
    records = list_files(files)
    with (
        _folder_for(out) as paths,
        PredictionWriter(*paths, classifier.card.class_names) as writer,
        ProgressLine("predicting", len(records), progress) as line,
    ):
        for batch in classifier.stream(records, batch_size, operating_point):
            bad = batch.errors != ""
            if strict and bad.any():
                path, error = batch.paths[bad][0], batch.errors[bad][0]
                raise ValueError(
                    f"{path} cannot be read ({error}). Leave out --strict to go on with the others."
                )
            writer.append(batch)
            line.step(len(batch))
            report(batch)
    return writer.rows, writer.failed


@contextmanager
def _folder_for(out: str | os.PathLike | None):
    """Make the folder and give its two paths; it goes again when nothing came to lie in it."""
    if out is None:
        yield None, None
        return
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder / "predictions.csv", folder / "predictions.jsonl"
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()
