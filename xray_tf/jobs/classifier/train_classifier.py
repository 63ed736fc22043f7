"""From a folder of radiographs to a finished classifier artifact."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from xray_tf.artifact import CHECKPOINT, Card, new_folder, refuse_existing, seal, write_text
from xray_tf.data.pixels.decoding import DECODING_RULE, describe_rule
from xray_tf.data.predictions import Predictions
from xray_tf.data.records import Findings
from xray_tf.data.split import known_to, write_split
from xray_tf.jobs.classifier.decisions import fit_decisions
from xray_tf.jobs.corpus import Corpus, divide, read_corpus
from xray_tf.jobs.provenance import fingerprint, provenance, started_from
from xray_tf.jobs.workshop import open_workshop, workshop_of, write_history
from xray_tf.models.classifier import Classifier
from xray_tf.models.load import load
from xray_tf.options import DataOptions, EvaluateOptions, ModelOptions, TrainOptions, weights_files
from xray_tf.registry import TASKS

HEADLINE = (
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "f1",
    "auroc",
    "auprc",
    "brier",
    "ece",
)


def train_classifier(
    data: str,
    out: str | os.PathLike,
    data_options: DataOptions = DataOptions(),
    model_options: ModelOptions = ModelOptions(),
    train_options: TrainOptions = TrainOptions(),
    evaluate_options: EvaluateOptions = EvaluateOptions(),
    *,
    resume: bool = False,
    tensorboard: str | None = None,
    command_line: str = "",
    progress: bool = True,
) -> Classifier:
    """Train, evaluate and save a classifier.

    While it trains, its checkpoint lies in a hidden sibling of `out`; `out` appears when all of it
    is there.

    Args:
        data: a folder, CSV manifest, MedMNIST file, `phantom` or `kaggle`.
        out: the folder to make.
        data_options, model_options, train_options, evaluate_options: see `xray_tf.options`.
        resume: go on with an unfinished run of the same options.
        tensorboard: a folder for TensorBoard's event files.
        command_line: kept on the card.
        progress: say what is going on.

    Returns:
        The finished artifact, opened.

    Raises:
        FileExistsError: `out` is there, or an unfinished run of it is and `resume` is false.
        ValueError: the data cannot be divided, or an option does not fit; the message says which.
    """
    say = partial(print, flush=True) if progress else (lambda *_: None)
    out = Path(out)
    refuse_existing(out)
    workshop = workshop_of(out, resume)
    corpus = divide(
        read_corpus(
            data,
            train_options.task,
            data_options,
            model_options.image_size,
            model_options.resize,
            progress,
        ),
        train_options.task,
        data_options,
        train_options.seed,
    )
    _announce(corpus, train_options.task, say)
    doubts = _refuse_unfit(corpus, train_options.task, model_options.weights)
    all_options = (data_options, model_options, train_options, evaluate_options)
    open_workshop(
        workshop,
        resume,
        {
            "data": fingerprint(corpus.records),
            **provenance("", corpus.records, *all_options)["options"],
        },
    )

    try:
        model, history, notes = _train(
            corpus, model_options, train_options, workshop, resume, tensorboard, say
        )
    except BaseException:
        # nothing was learnt yet, so there is nothing to go on with
        if not (workshop / CHECKPOINT).exists():
            shutil.rmtree(workshop)
        raise
    card = Card(
        kind="classifier",
        name=out.name,
        task=train_options.task,
        class_names=TASKS[train_options.task],
        split_by=corpus.records.split_by,
        preprocessing={
            "image_size": model_options.image_size,
            "resize": model_options.resize,
            "decoding": DECODING_RULE,
            "decoding_rule": describe_rule(),
            "channels": 1,
            "pixel_range": [0, 255],
        },
        provenance={
            **provenance(command_line, corpus.records, *all_options),
            "started_from": started_from(model_options.weights),
        },
        notes=(*doubts, *notes),
    )
    from xray_tf.nets.inference import forward
    from xray_tf.nets.keras_file import in_float32

    # as it is saved, so that the decisions are fitted to the net that will be opened
    model = in_float32(model)
    card, predictions = fit_decisions(
        partial(forward, model), corpus, card, train_options.steady_rows, train_options.seed, say
    )
    with new_folder(out) as draft:
        _write_artifact(draft, card, model, corpus, history, predictions, evaluate_options)
    shutil.rmtree(workshop)
    say(f"Finished: {out}/ holds the model, its predictions and report.html")
    return load(out)


def _announce(corpus: Corpus, task: str, say: Callable) -> None:
    for split in ("train", "val", "test"):
        rows = corpus.of_split(split)
        counts = np.bincount(corpus.labels[rows], minlength=len(TASKS[task]))
        patients = len({corpus.records[i].patient for i in rows} - {""})
        say(
            f"  {split:5} {len(rows):6} radiographs, {patients} patients: "
            + ", ".join(f"{n} {c}" for n, c in zip(TASKS[task], counts, strict=True))
        )
    if corpus.findings:
        say(f"  {len(corpus.findings)} findings, kept in audit.csv")


def _refuse_unfit(corpus: Corpus, task: str, weights: str | None) -> list[str]:
    """Meet before the training what would spoil it or its figures; return what may, for the card.

    Raises:
        ValueError: a class that training or validation rows lack, or held-out rows that the weights
            to start from were trained on.
    """
    for part in ("train", "val"):
        present = set(corpus.labels[corpus.of_split(part)].tolist())
        missing = [name for k, name in enumerate(TASKS[task]) if k not in present]
        if missing:
            raise ValueError(
                f"Task {task} needs training and validation rows of each class "
                f"{TASKS[task]}. Received none of {missing} in the part {part!r}. "
                "Give more data, another --validation share or --seed, or another "
                "--split."
            )
    held_out, doubts = np.array([r.split in ("val", "test") for r in corpus.records]), []
    for path in map(Path, weights_files(weights)):
        split = path.parent / "split.csv"
        if path.name != "model.keras" or not split.is_file():
            continue
        files, keys = known_to(corpus.records, split, "train")
        seen = int(((files | keys) & held_out).sum())
        if seen and not files.any():  # equal keys may be other patients
            doubts.append(
                f"{seen} of the {held_out.sum()} validation and test radiographs have "
                f"patient keys of training rows of {path}: if they are the same "
                "patients, thresholds and figures flatter."
            )
        elif seen:
            raise ValueError(
                f"{seen} of the {held_out.sum()} validation and test radiographs, or "
                f"others of the same patients, are training rows of {path}: "
                "thresholds and figures would flatter. Have its rows again with "
                f"--split {split}, or start from other weights."
            )
    return doubts


def _train(
    corpus: Corpus,
    model_options: ModelOptions,
    options: TrainOptions,
    workshop: Path,
    resume: bool,
    tensorboard: str | None,
    say: Callable,
) -> tuple:
    from xray_tf.jobs.classifier.phases import plan_phases, prepare_model
    from xray_tf.nets.training.devices import every_gpu
    from xray_tf.nets.training.loop import Training

    report = _reporter(say, tensorboard)
    with every_gpu():
        model, notes = prepare_model(
            corpus, model_options, options, workshop / "precision.json", say
        )
        phases = plan_phases(model, corpus, model_options, options, say)
        training = Training(model, options, workshop, report, resume)
        training.run(phases)
    if training.interrupted:
        notes.append(
            f"Training was interrupted by hand after {len(training.history)} epochs; the "
            f"{options.keep} of them was kept."
        )
    say(
        f"  kept: {training.kept['phase']} epoch {training.kept['epoch']}, validation loss "
        f"{training.kept['val_loss']:.4f}"
    )
    return model, training.history, notes


def _reporter(say: Callable, tensorboard: str | None) -> Callable[[dict], None]:
    from xray_tf.nets.training.loop import event_writer

    write = event_writer(tensorboard) if tensorboard else lambda row: None

    def report(row: dict) -> None:
        say(
            f"  {row['phase']:9} epoch {row['epoch']:3}  loss {row['loss']:.4f}  val loss "
            f"{row['val_loss']:.4f}  val accuracy {row['val_accuracy']:.4f}  "
            f"val AUROC {row['val_auroc']:.4f}  rate {row['learning_rate']:.1e}  "
            f"{row['seconds']:.1f} s"
        )
        write(row)

    return report


def _write_artifact(
    draft: Path,
    card: Card,
    model,
    corpus: Corpus,
    history: list[dict],
    predictions: Predictions,
    options: EvaluateOptions,
) -> None:
    from xray_tf.jobs.classifier.evaluate_model import score_predictions
    from xray_tf.nets.keras_file import save_model
    from xray_tf.pages.classifier.model_card import render_model_card
    from xray_tf.pages.classifier.report import write_report
    from xray_tf.pages.kit.words import WITHOUT_TEST

    save_model(model, draft / "model.keras")
    write_split(corpus.records, draft / "split.csv")
    predictions.write_csv(draft / "predictions.csv")
    write_history(history, draft / "history.csv")
    Findings(corpus.findings).write_csv(draft / "audit.csv")
    part = "test" if (predictions.splits == "test").any() else "val"
    metrics = score_predictions(predictions.of_split(part), card, options)
    write_text(draft / "metrics.json", json.dumps(metrics, indent=1, allow_nan=False) + "\n")
    notes = card.notes if part == "test" else (*card.notes, WITHOUT_TEST)
    card = replace(
        card,
        metrics={k: v for k, v in metrics["metrics"].items() if k in HEADLINE},
        metrics_split=part,
        notes=notes,
    )
    seal(draft, card)
    write_text(draft / "README.md", render_model_card(card, metrics))
    write_report(draft)
    seal(draft, card)
