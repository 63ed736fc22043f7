"""Predictions for files, folders and globs, streamed to CSV and JSON lines in constant memory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from xray_tf.artifact import refuse_existing
from xray_tf.data.predictions import PredictionWriter
from xray_tf.data.sources import list_files
from xray_tf.jobs.loaded import Classifier, load


def predict_files(model: str | os.PathLike | Classifier, files: Iterable[str | os.PathLike], out: str | os.PathLike, *, batch_size: int = 64,
                  operating_point: str | None = None, strict: bool = False, progress: bool = True) -> tuple[int, int]:
    """Predict radiographs, labelled or not, in the order given.

    Args:
        model: an artifact folder, or one already opened.
        files: files, folders and globs.
        out: a folder to make, for `predictions.csv` and `predictions.jsonl`.
        batch_size: radiographs a forward pass.
        operating_point: a name on the card; its default when None.
        strict: stop at the first file that cannot be read.
        progress: show a line.

    Returns:
        (rows written, rows that could not be read).

    Raises:
        FileExistsError: a result is there already.
        ValueError: no file was found, or, with `strict`, one could not be read.
    """
    from xray_tf.data.cache import ProgressLine

    out = Path(out)
    refuse_existing(out)
    classifier = model if isinstance(model, Classifier) else load(model)
    records = list_files(files)
    out.mkdir(parents=True, exist_ok=True)
    writer = PredictionWriter(out / "predictions.csv", out / "predictions.jsonl", classifier.card.class_names)
    try:
        with writer, ProgressLine("predicting", len(records), progress) as line:
            for batch in classifier.stream(records, batch_size, operating_point):
                bad = batch.errors != ""
                if strict and bad.any():
                    path, error = batch.paths[bad][0], batch.errors[bad][0]
                    raise ValueError(f"{path} cannot be read ({error}). Leave out --strict to go on with the others.")
                writer.append(batch)
                line.step(len(batch))
    except BaseException:
        if not any(out.iterdir()):
            out.rmdir()
        raise
    return writer.rows, writer.failed
