"""Predict files, folders and globs, and stream the answers to CSV in constant memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from itertools import chain
from pathlib import Path

from xray_tf.card import CHECKSUM
from xray_tf.data.predictions import Predictions
from xray_tf.data.sources.files import find_files
from xray_tf.data.tables.table import TableWriter
from xray_tf.jobs.run import Options, Run, names_of, takes
from xray_tf.models.classifier import Classifier
from xray_tf.models.load import load
from xray_tf.options import PredictOptions

TABLE = "predictions.csv"


@takes(PredictOptions)
def predict_files(
    model: str | os.PathLike | Classifier | None,
    files: Iterable[str | os.PathLike],
    out: str | os.PathLike | None = None,
    *,
    options: Options,
    report: Callable[[Predictions], None] = lambda batch: None,
    finish: Callable[[Path], None] = lambda folder: None,
) -> tuple[int, int]:
    """Predict radiographs, labelled or not, in the order given.

    Answers are on the disk after each batch, in the folder `OUT.partial`. They stay there if the
    run is interrupted, and the same call goes on after them.

    Args:
        model: an artifact's folder, the name of a shipped model, an opened artifact, or None for
            the shipped binary classifier.
        files: files, folders or globs.
        out: the folder to create, for `predictions.csv`; None writes nothing.
        options: `PredictOptions`, or single options by name.
        report: called with each batch of answers.
        finish: called with the folder after the last one, before it gets its name; what it writes
            belongs to the result, and a run that was stopped in it starts it again.

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
    plan = {
        "card": classifier.card.to_dict()[CHECKSUM],
        "operating_point": classifier.card.point(how.operating_point).name,
        **names_of(records),
    }
    names = classifier.card.class_names
    with run.answers(plan) if run.out else nullcontext() as folder:
        with (
            TableWriter(folder and folder / TABLE, Predictions, names, reopen=True) as writer,
            run.line("predicting", len(records)) as line,
        ):
            left = records.with_rows(records.rows[writer.rows :])
            for batch in chain(
                [writer.before] if writer.rows else [],
                classifier.stream(left, how.batch_size, how.operating_point, len(records)),
            ):
                if how.strict:
                    refuse_unread(batch)
                if batch is not writer.before:
                    writer.append(batch)
                failed += int((batch.errors != "").sum())
                line.step(len(batch))
                report(batch)
        if folder:
            finish(folder)
    return writer.rows, failed


def refuse_unread(batch: Predictions) -> None:
    """Raise ValueError for the first row of a batch that could not be read, if there is one."""
    bad = batch.errors != ""
    if bad.any():
        path, error = batch.paths[bad][0], batch.errors[bad][0]
        raise ValueError(
            f"{path} cannot be read ({error}). Leave out --strict to go on with the others."
        )
