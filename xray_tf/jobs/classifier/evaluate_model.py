"""Score any labelled radiographs with a finished classifier, at the operating point frozen in
it.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from xray_tf.artifact import Card, new_folder, write_text
from xray_tf.data.predictions import Predictions
from xray_tf.data.records import common_part
from xray_tf.jobs.corpus import choose_part, known_notes, read_corpus
from xray_tf.models.classifier import Classifier
from xray_tf.models.decided import predictions_of
from xray_tf.models.load import load
from xray_tf.options import DataOptions, EvaluateOptions, ShiftOptions


def evaluate_model(
    model: str | os.PathLike | Classifier,
    data: str,
    out: str | os.PathLike | None = None,
    data_options: DataOptions = DataOptions(),
    options: EvaluateOptions = EvaluateOptions(),
    shift_options: ShiftOptions = ShiftOptions(),
    *,
    part: str = "all",
    operating_point: str | None = None,
    progress: bool = True,
) -> tuple[dict[str, Any], Predictions]:
    """Predict and score labelled radiographs; nothing is fitted to them.

    Args:
        model: an artifact folder, or one already opened.
        data: as in training; a folder that holds only a test part will do.
        out: where `metrics.json`, `predictions.csv`, `audit.csv` and `report.html` are written (and
            `shift.json`, `shift.csv` and `shift.png`, when asked for); nothing is when None.
        data_options, options, shift_options: see `xray_tf.options`. The shares are not used: rows
            have the split that `data_options.split` (an earlier run's split.csv) names, or the one
            their source gives.
        part: which rows to score: `all`, or those of the split `train`, `val` or `test`.
        operating_point: a name on the card; its default when None.
        progress: say what is going on.

    Returns:
        (the layout of metrics.json, the predictions).

    Raises:
        FileExistsError: `out` is there.
        ValueError: no labelled radiograph, or none of the part; a shift bench without `out`.
    """
    from xray_tf.jobs.classifier.shift_bench import measure_shift, write_shift
    from xray_tf.pages.classifier.report import write_report
    from xray_tf.pages.classifier.shift_card import shift_sentences
    from xray_tf.pages.kit.words import WITHOUT_TEST

    if shift_options.shift and out is None:
        raise ValueError(
            "What --shift finds is written to files, and out is None. Name a folder, "
            "or call xray_tf.jobs.shift_bench.measure_shift."
        )
    say = partial(print, flush=True) if progress else (lambda *_: None)
    classifier = load(model, kind="classifier")
    card = classifier.card
    prep = card.preprocessing
    corpus = choose_part(
        read_corpus(data, card.task, data_options, prep["image_size"], prep["resize"], progress),
        data_options.split,
        part,
    )
    corpus = replace(
        corpus, findings=corpus.findings + corpus.nameless(card.task, "predicted, not scored")
    )
    for kind, count in Counter(
        f.kind for f in corpus.findings if f.severity == "error" or f.kind == "no-class"
    ).items():
        say(
            f"  {count} {'not scored' if kind == 'no-class' else 'set aside'}: {kind}; see "
            "audit.csv"
        )
    say(f"Scoring {len(corpus.records)} radiographs with {card.name}")
    probabilities = np.empty((0, len(card.class_names)))
    if len(corpus.records):
        logits = classifier.forward(
            corpus.pixels, indices=corpus.rows, batch_size=options.forward_batch_size
        )["logits"]
        probabilities = classifier.probabilities_of(logits)
    predictions = predictions_of(card, list(corpus.records), probabilities, operating_point)
    metrics = score_predictions(predictions, card, options, operating_point)
    metrics["notes"] = [
        *known_notes(corpus.records, classifier.folder / "split.csv", card),
        *_notes(metrics),
    ]
    for note in metrics["notes"]:
        say(f"  Note: {note}")
    shift = None
    if shift_options.shift:
        shift = measure_shift(
            classifier,
            corpus.pixels,
            corpus.rows,
            list(corpus.records),
            shift_options,
            operating_point=operating_point,
            batch_size=options.forward_batch_size,
            progress=progress,
        )
        say("\n".join(shift_sentences(shift)))
    if out is not None:
        with new_folder(out) as draft:
            predictions.write_csv(draft / "predictions.csv")
            corpus.findings.write_csv(draft / "audit.csv")
            write_text(
                draft / "metrics.json", json.dumps(metrics, indent=1, allow_nan=False) + "\n"
            )
            if shift:
                write_shift(shift, draft)
            write_report(
                draft, replace(card, notes=tuple(n for n in card.notes if n != WITHOUT_TEST))
            )
    return metrics, predictions


def _notes(metrics: dict[str, Any]) -> list[str]:
    missing = [name for name, count in metrics["class_counts"].items() if not count]
    notes = (
        [
            f"There is no radiograph of {' and '.join(missing)}: what compares classes is not "
            "defined, and accuracy is a recall."
        ]
        if missing
        else []
    )
    if metrics["patients"] is None:
        notes.append(
            "No patient keys are known: where a patient has several radiographs, the "
            "intervals are too narrow."
        )
    return notes


def score_predictions(
    predictions: Predictions,
    card: Card,
    options: EvaluateOptions,
    operating_point: str | None = None,
) -> dict[str, Any]:
    """Return the layout of metrics.json for the rows whose class is known.

    Raises:
        ValueError: there is none.
    """
    from xray_tf.stats.metrics import score

    rows = predictions.where(predictions.scorable)
    if not len(rows):
        raise ValueError(
            f"There is no labelled radiograph to score among {len(predictions)}. "
            f"Expected classes {card.class_names}, from folder names, "
            "file names or a manifest. To predict without labels use python -m "
            "xray_tf.predict."
        )
    return score(
        rows.probabilities,
        rows.labels,
        rows.predicted,
        list(rows.patients),
        card.class_names,
        options.bootstrap,
        options.bootstrap_seed,
        split=common_part(rows.splits),
        operating_point=operating_point or card.default_operating_point,
        split_by=card.split_by,
    )
