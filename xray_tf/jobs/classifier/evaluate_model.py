"""Score labelled radiographs with a finished classifier at its frozen operating point."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf.artifact import Card, write_json
from xray_tf.data.predictions import Predictions
from xray_tf.data.records import common_part
from xray_tf.jobs.classifier.mistakes import write_mistakes
from xray_tf.jobs.classifier.shift_bench import measure_shift, write_shift
from xray_tf.jobs.corpus import Corpus, choose_part, read_for
from xray_tf.jobs.known_rows import known_notes
from xray_tf.jobs.run import Options, Run, takes
from xray_tf.models.classifier import Classifier
from xray_tf.models.decided import SUBTYPE_LOGITS, predictions_of
from xray_tf.models.load import load
from xray_tf.options import DataOptions, EvaluateOptions, PageOptions, ShiftOptions


@takes(DataOptions, EvaluateOptions, ShiftOptions, PageOptions)
def evaluate_model(
    model: str | os.PathLike | Classifier,
    data: Any,
    out: str | os.PathLike | None = None,
    *,
    options: Options,
    part: str = "all",
    operating_point: str | None = None,
) -> tuple[dict[str, Any], Predictions]:
    """Predict and score labelled radiographs; nothing is fitted to them.

    Args:
        model: an artifact's folder, or an opened artifact.
        data: as `train_classifier` takes it; a folder with only a test part is enough.
        out: the folder for `metrics.json`, `predictions.csv`, `audit.csv`, `mistakes.json` and
            `report.html` (and for `shift.json`, `shift.csv` and `shift.png`, if requested); None
            writes nothing.
        options: `DataOptions`, `EvaluateOptions`, `ShiftOptions` and `PageOptions` in any order, or
            single options by name. The shares are ignored: rows have the split in
            `DataOptions.split` (the split.csv of an earlier run), or that of their source.
        part: the rows to score: `all`, `train`, `val` or `test`.
        operating_point: a name on the card; its default if None.

    Returns:
        (the layout of metrics.json, the predictions).

    Raises:
        FileExistsError: `out` exists.
        ValueError: there is no labelled radiograph, or none in the part; or a shift bench without
            `out`.
    """
    from xray_tf.pages.classifier.shift_card import shift_sentences
    from xray_tf.pages.kit.words import worst_acquisition

    run, numbers, bench = options[Run].at(out), options[EvaluateOptions], options[ShiftOptions]
    if bench.shift and out is None:
        raise ValueError(
            "--shift writes files, but out is None. Name a folder, or call "
            "xray_tf.jobs.classifier.shift_bench.measure_shift."
        )
    classifier, where = load(model, kind="classifier"), options[DataOptions]
    card = classifier.card
    corpus = choose_part(read_for(classifier, data, where, run.progress), where.split, part)
    fate = corpus.nameless("predicted, not scored")
    corpus = replace(corpus, findings=corpus.findings + fate)
    tell_set_aside(corpus, run)
    points = _points(classifier, corpus, numbers, run)
    predictions = predictions_of(
        card,
        list(corpus.records),
        classifier.probabilities_of(points["logits"]),
        operating_point,
        subtype_logits=points.get(SUBTYPE_LOGITS),
    )
    metrics = score_predictions(predictions, card, numbers, operating_point)
    metrics["notes"] = [*known_notes(corpus.records, classifier), *sample_notes(metrics)]
    for note in metrics["notes"]:
        run.say(f"  Note: {note}")
    if said := worst_acquisition(metrics):
        run.say(f"  {said}")
    shift = None
    if bench.shift:
        shift = measure_shift(
            classifier, corpus, bench, operating_point, numbers.forward_batch_size, run
        )
        run.say("\n".join(shift_sentences(shift)))
    if out is not None:
        with run.folder() as draft:
            if shift:
                write_shift(shift, draft)
            scored = predictions.where(predictions.scorable)
            most = options[PageOptions].mistakes
            write_mistakes(draft, classifier, corpus, scored, most)
            _write(draft, corpus, predictions, metrics, card)
    return metrics, predictions


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
    rows = predictions.where(predictions.scorable)
    if not len(rows):
        raise ValueError(
            f"There is no labelled radiograph to score among {len(predictions)}. "
            f"Expected classes {card.class_names}, from folder names, file names or a manifest. "
            "To predict without labels use `xray-tf predict`."
        )
    point = operating_point or card.default_operating_point
    metrics = score_rows(rows, options, point, card.split_by)
    groups = _by_acquisition(rows, options, point, card.split_by)
    return {**metrics, "acquisitions": groups} if groups else metrics


def score_rows(
    rows: Predictions, options: EvaluateOptions, operating_point: str, split_by: str
) -> dict[str, Any]:
    """Return the layout of metrics.json for one or more rows whose class is known."""
    from xray_tf.stats.metrics import score

    return score(
        rows.probabilities,
        rows.labels,
        rows.predicted,
        list(rows.patients),
        rows.class_names,
        options.bootstrap,
        options.bootstrap_seed,
        split=common_part(rows.splits),
        operating_point=operating_point,
        split_by=split_by,
    )


def _by_acquisition(
    rows: Predictions, options: EvaluateOptions, point: str, split_by: str
) -> list[dict[str, Any]]:
    """Score the rows of each acquisition group on their own, the largest group first; rows without
    a group are left out. For two classes the recalls are specificity and sensitivity.
    """
    out = []
    for name, _ in Counter(a for a in rows.acquisitions if a).most_common():
        told = score_rows(rows.where(rows.acquisitions == name), options, point, split_by)
        out.append(
            {
                "group": name,
                **{k: told[k] for k in ("rows", "patients", "class_counts")},
                "accuracy": told["metrics"]["accuracy"],
                "recall": {k: cells["recall"] for k, cells in told["per_class"].items()},
            }
        )
    return out


def tell_set_aside(corpus: Corpus, run: Run) -> None:
    """Say how many radiographs are not scored, and why."""
    told = [f.kind for f in corpus.findings if f.severity == "error" or f.kind == "no-class"]
    for kind, count in Counter(told).items():
        fate = "not scored" if kind == "no-class" else "set aside"
        run.say(f"  {count} {fate}: {kind}; see audit.csv")


def _points(
    classifier: Classifier, corpus: Corpus, options: EvaluateOptions, run: Run
) -> dict[str, np.ndarray]:
    with run.line("Scoring", len(corpus.records)) as line:
        return classifier.forward(
            corpus.pixels,
            classifier.decision_points,
            indices=corpus.rows,
            batch_size=options.forward_batch_size,
            progress=line.step,
        )


def sample_notes(metrics: dict[str, Any]) -> list[str]:
    """Say what the scored rows lack: classes, or patient keys."""
    notes = []
    missing = [name for name, count in metrics["class_counts"].items() if not count]
    if missing:
        notes.append(
            f"There is no radiograph of {' and '.join(missing)}: metrics that compare classes are "
            "undefined, and accuracy is a recall."
        )
    if metrics["patients"] is None:
        notes.append(
            "There are no patient keys: if a patient has several radiographs, the intervals are "
            "too narrow."
        )
    return notes


def _write(
    draft: Path, corpus: Corpus, predictions: Predictions, metrics: dict[str, Any], card: Card
) -> None:
    from xray_tf.pages.classifier.report import write_report
    from xray_tf.pages.kit.words import WITHOUT_TEST

    predictions.write_csv(draft / "predictions.csv")
    corpus.findings.write_csv(draft / "audit.csv")
    write_json(draft / "metrics.json", metrics)
    write_report(draft, replace(card, notes=tuple(n for n in card.notes if n != WITHOUT_TEST)))
