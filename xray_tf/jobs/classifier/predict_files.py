"""Predict files, folders and globs, and stream the answers to CSV in constant memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import contextmanager

from xray_tf.data.predictions import Predictions
from xray_tf.data.sources.files import find_files
from xray_tf.data.tables.table import TableWriter
from xray_tf.jobs.run import Options, Run, takes
from xray_tf.models.classifier import Classifier
from xray_tf.models.load import load
from xray_tf.options import PredictOptions


@takes(PredictOptions)
def predict_files(
    model: str | os.PathLike | Classifier | None,
    files: Iterable[str | os.PathLike],
    out: str | os.PathLike | None = None,
    *,
    options: Options,
    report: Callable[[Predictions], None] = lambda batch: None,
) -> tuple[int, int]:
    """Predict radiographs, labelled or not, in the order given.

    Args:
        model: an artifact's folder, the name of a shipped model, an opened artifact, or None for
            the shipped binary classifier.
        files: files, folders or globs.
        out: the folder to create, for `predictions.csv`; None writes nothing.
        options: `PredictOptions`, or single options by name.
        report: called with each batch of answers.

    Returns:
        (rows answered, rows that could not be read).

    Raises:
        ArtifactError: the model is not an artifact or is damaged, or no model is shipped.
        FileExistsError: there is a result already.
        ValueError: no file was found or, with `strict`, one could not be read.
    """
    run, how = options[Run].at(out), options[PredictOptions]
    classifier, failed = load(model, kind="classifier"), 0
    records, notes = find_files(files, classifier.card.to_task())
    for note in notes:
        run.say(f"{note.kind}: {note.detail}")
    with (
        _folder_of(run) as path,
        TableWriter(path, Predictions, classifier.card.class_names) as writer,
        run.line("predicting", len(records)) as line,
    ):
        for batch in classifier.stream(records, how.batch_size, how.operating_point):
            if how.strict:
                refuse_unread(batch)
            writer.append(batch)
            failed += int((batch.errors != "").sum())
            line.step(len(batch))
            report(batch)
    return writer.rows, failed


def refuse_unread(batch: Predictions) -> None:
    """Raise ValueError for the first row of a batch that could not be read, if there is one."""
    bad = batch.errors != ""
    if bad.any():
        path, error = batch.paths[bad][0], batch.errors[bad][0]
        raise ValueError(
            f"{path} cannot be read ({error}). Leave out --strict to go on with the others."
        )


@contextmanager
def _folder_of(run: Run):
    """Create the folder and yield the table's path; it is removed again if nothing was written."""
    if run.out is None:
        yield None
        return
    run.out.mkdir(parents=True, exist_ok=True)
    try:
        yield run.out / "predictions.csv"
    finally:
        if not any(run.out.iterdir()):
            run.out.rmdir()
