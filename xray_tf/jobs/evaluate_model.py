"""Score any labelled radiographs with a finished classifier, at the operating point frozen in it."""

from __future__ import annotations

import json
import os
from functools import partial
from typing import Any

import numpy as np

from xray_tf.artifact import Card, new_folder, write_text
from xray_tf.data.predictions import Predictions
from xray_tf.jobs.corpus import read_corpus
from xray_tf.jobs.loaded import Classifier, load, predictions_of
from xray_tf.options import DataOptions, EvaluateOptions


def evaluate_model(model: str | os.PathLike | Classifier, data: str, out: str | os.PathLike | None = None,
                   data_options: DataOptions = DataOptions(), options: EvaluateOptions = EvaluateOptions(), *,  # noqa: B008
                   operating_point: str | None = None, progress: bool = True) -> tuple[dict[str, Any], Predictions]:
    """Predict and score labelled radiographs; nothing is fitted to them.

    Args:
        model: an artifact folder, or one already opened.
        data: as in training; a folder that holds only a test part will do.
        out: where `metrics.json`, `predictions.csv`, `audit.csv` and `report.html` are written; nothing is when None.
        data_options, options: see `xray_tf.options`; the share options are not used: every row is scored.
        operating_point: a name on the card; its default when None.
        progress: say what is going on.

    Returns:
        (the layout of metrics.json, the predictions).

    Raises:
        FileExistsError: `out` is there.
        ValueError: no labelled radiograph.
    """
    from xray_tf.pages.document import write_report

    say = partial(print, flush=True) if progress else (lambda *_: None)
    classifier = model if isinstance(model, Classifier) else load(model)
    card = classifier.card
    prep = card.preprocessing
    corpus = read_corpus(data, card.task, data_options, prep["image_size"], prep["resize"], progress)
    say(f"Scoring {len(corpus.records)} radiographs with {card.name}")
    probabilities = np.empty((0, len(card.class_names)))
    if len(corpus.records):
        logits = classifier.forward(corpus.pixels, batch_size=options.forward_batch_size)["logits"]
        probabilities = classifier.probabilities_of(logits)
    predictions = predictions_of(card, list(corpus.records), probabilities, operating_point)
    metrics = score_predictions(predictions, card, options, operating_point)
    if out is not None:
        with new_folder(out) as draft:
            predictions.write_csv(draft / "predictions.csv")
            corpus.findings.write_csv(draft / "audit.csv")
            write_text(draft / "metrics.json", json.dumps(metrics, indent=1, allow_nan=False) + "\n")
            write_report(draft, card)
    return metrics, predictions


def score_predictions(predictions: Predictions, card: Card, options: EvaluateOptions, operating_point: str | None = None) -> dict[str, Any]:
    """Return the layout of metrics.json for the rows whose class is known.

    Raises:
        ValueError: there is none.
    """
    from xray_tf.stats.metrics import score

    rows = predictions.where(predictions.scorable)
    if not len(rows):
        raise ValueError(f"There is no labelled radiograph to score among {len(predictions)}. Expected classes {card.class_names}, from folder names, "
                         "file names or a manifest. To predict without labels use python -m xray_tf.predict.")
    splits = sorted(set(rows.splits) - {""})
    return score(rows.probabilities, rows.labels, rows.predicted, list(rows.patients), card.class_names, options.bootstrap, options.bootstrap_seed,
                 split=splits[0] if len(splits) == 1 else "all rows", operating_point=operating_point or card.default_operating_point,
                 split_by=card.split_by)
