"""Train a classifier on a folder of radiographs, and save it as an artifact."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf.artifact import ArtifactError, Card, read_card, seal, write_json, write_text
from xray_tf.card import MODEL
from xray_tf.data.predictions import Predictions
from xray_tf.data.tables.split_file import SPLIT, write_split
from xray_tf.jobs.classifier.decisions import fit_decisions
from xray_tf.jobs.classifier.evaluate_model import score_predictions
from xray_tf.jobs.classifier.mistakes import write_mistakes
from xray_tf.jobs.corpus import Corpus, divide, read_corpus
from xray_tf.jobs.known_rows import refuse_seen
from xray_tf.jobs.provenance import preprocessing, provenance, started_from
from xray_tf.jobs.run import Options, Run, recorded, takes
from xray_tf.jobs.training import Trained, train, write_history
from xray_tf.models.classifier import Classifier
from xray_tf.models.load import load
from xray_tf.options import (
    SUM,
    DataOptions,
    EvaluateOptions,
    ModelOptions,
    PageOptions,
    TrainOptions,
)
from xray_tf.stats.metric_rows import card_metrics


@takes(DataOptions, ModelOptions, TrainOptions, EvaluateOptions, PageOptions)
def train_classifier(data: Any, out: str | os.PathLike, *, options: Options) -> Classifier | None:
    """Train, evaluate and save a classifier; several processes may train it together, see
    `xray_tf.nets.training.together.join`.

    During training the checkpoint is in a hidden folder beside `out`; `out` appears when it is
    complete.

    Args:
        data: a folder, CSV manifest, MedMNIST file, `phantom` or `kaggle`; a data frame with the
            columns path and label; (images, labels) or (images, labels, patients); or a
            `tf.data.Dataset` of (image, label). Without patients, only `split_by="image"` works.
        out: the folder to create.
        options: `DataOptions`, `ModelOptions`, `TrainOptions`, `EvaluateOptions`, `PageOptions` and
            `xray_tf.jobs.run.Run` in any order, or single options by name, such as `epochs=5`,
            `backbone="resnet50"`, `resume=True` or `progress=False`.

    Returns:
        The finished artifact, opened; None in a process other than 0 of several.

    Raises:
        FileExistsError: `out` exists, or has an unfinished run and `resume` is false.
        ValueError: the data cannot be split, or an option does not fit; the message says which.
        ArtifactError: the weights are an artifact's, and that is damaged.
    """
    from xray_tf.nets.inference import forward
    from xray_tf.nets.trunks.backbones import describe
    from xray_tf.pages.kit.words import metrics_text

    run, how = options[Run].at(out), options[TrainOptions]
    describe(options[ModelOptions].backbone)  # an unknown one is told before anything is read,
    ancestors = started_from(options[ModelOptions].weights)  # and so is a damaged donor
    corpus = _read(data, options, run)
    doubts = _refuse_unfit(corpus, options)
    with run.training(corpus.records, options) as workshop:
        trained = _train(corpus, options, run, workshop)
        if run.process:
            return None
        notes = (*run.notes, *doubts, *trained.notes)
        card = _card(run, corpus, options, ancestors, notes)
        card, predictions = fit_decisions(
            partial(forward, trained.model), corpus, card, how.steady_rows, how.seed, run
        )
        with run.folder() as draft:
            _write(draft, trained, corpus, predictions)
            opened = Classifier(draft, card)
            opened.model = trained.model
            metrics = _write_pages(draft, opened, corpus, predictions, options)
    run.say(f"  {metrics_text(metrics)}")
    run.say(f"Finished: {run.out}/ has the model, its predictions and report.html")
    return load(run.out)


def _read(data: Any, options: Options, run: Run) -> Corpus:
    """Read and split the radiographs, and report their numbers."""
    where, net, how = options[DataOptions], options[ModelOptions], options[TrainOptions]
    corpus = read_corpus(data, how.task, where, net.image_size, net.resize, run.progress)
    corpus = divide(corpus, where, how.seed)
    names = corpus.task.class_names
    for split in ("train", "val", "test"):
        rows = corpus.of_split(split)
        counts = np.bincount(corpus.labels[rows], minlength=len(names))
        patients = len({corpus.records[i].patient for i in rows} - {""})
        classes = ", ".join(f"{n} {c}" for n, c in zip(names, counts, strict=True))
        run.say(f"  {split:5} {len(rows):6} radiographs, {patients} patients: {classes}")
    if corpus.findings:
        run.say(f"  findings: {len(corpus.findings)}, kept in audit.csv")
    return corpus


def _refuse_unfit(corpus: Corpus, options: Options) -> list[str]:
    """Refuse, before training, what would spoil its numbers; return notes for the card on what
    might.

    Raises:
        ValueError: training or validation rows lack a class, or the initial weights were trained on
            held-out rows.
    """
    task = corpus.task
    for part in ("train", "val"):
        present = set(corpus.labels[corpus.of_split(part)].tolist())
        missing = [name for k, name in enumerate(task.class_names) if k not in present]
        if missing:
            raise ValueError(
                f"Task {task.name} needs training and validation rows of each class "
                f"{task.class_names}. Received none of {missing} in the part {part!r}. "
                "Use more data, another --validation share or --seed, or another --split."
            )
    return refuse_seen(corpus.records, options[ModelOptions].weights)


def _train(corpus: Corpus, options: Options, run: Run, workshop: Path) -> Trained:
    from xray_tf.jobs.classifier.phases import optimisation, plan_phases, prepare_model
    from xray_tf.nets.keras_file import in_float32

    net, how, notes = options[ModelOptions], options[TrainOptions], []
    if how.method == SUM:
        return _added_up(corpus, net, run)

    def build() -> tuple:
        _refuse_unlike(corpus, how)
        model, precision, note = prepare_model(corpus, net, how, workshop, run)
        notes.extend([note] if note else [])
        return model, plan_phases(model, corpus, net, how, run), optimisation(how, precision)

    trained = train(run, workshop, build)
    # as it is saved, so that decisions are fitted to the network that will be opened
    model = in_float32(trained.model)
    return replace(trained, model=model, notes=(*notes, *trained.notes))


def _refuse_unlike(corpus: Corpus, how: TrainOptions) -> None:
    """Refuse to train with processes that read other radiographs or have other options."""
    from xray_tf.nets.training.together import process_count, refuse_unlike

    if process_count() > 1:
        rows = [(r.sha256, r.split, r.label, r.subtype) for r in corpus.records]
        sha256 = hashlib.sha256(repr(rows).encode()).hexdigest()
        refuse_unlike(f"radiographs {sha256[:12]}, {how}", "What is trained, and how,")


def _added_up(corpus: Corpus, net: ModelOptions, run: Run) -> Trained:
    """Make a classifier of two classes from one that tells the sick classes apart.

    Raises:
        ValueError: the weights are no classifier's, or it does not fit the options.
    """
    from xray_tf.nets.classifier import sum_of_sick
    from xray_tf.nets.keras_file import load_model

    if len(corpus.task.class_names) != 2 or not str(net.weights).endswith(".keras"):
        raise ValueError(
            f"method={SUM!r} makes a classifier of two classes from the one in weights. Received: "
            f"classes {corpus.task.class_names} and weights={net.weights!r}"
        )
    model = load_model(net.weights)
    if model.inputs[0].shape[1] != net.image_size:
        raise ValueError(
            f"{net.weights} sees {model.inputs[0].shape[1]} pixels. Received: "
            f"image_size={net.image_size}"
        )
    run.say(f"Added up the sick classes of {net.weights}; nothing is trained")
    return Trained(sum_of_sick(model), [], ())


def _subtypes(weights: str) -> tuple[str, ...]:
    """Return the sick classes of the classifier whose file is given, empty without its card."""
    try:
        return read_card(Path(weights).parent).class_names[1:]
    except ArtifactError:
        return ()


def _card(
    run: Run, corpus: Corpus, options: Options, ancestors: list[dict], notes: tuple[str, ...]
) -> Card:
    task, net = corpus.task, options[ModelOptions]
    origin = provenance(run.command_line, corpus.records, *recorded(options))
    return Card(
        kind="classifier",
        name=run.out.name,
        task=task.name,
        class_names=task.class_names,
        class_words=dict(task.words),
        subtypes=_subtypes(net.weights) if options[TrainOptions].method == SUM else (),
        split_by=corpus.records.split_by,
        preprocessing=preprocessing(net.image_size, net.resize),
        provenance={**origin, "started_from": ancestors},
        notes=notes,
    )


def _write(draft: Path, trained: Trained, corpus: Corpus, predictions: Predictions) -> None:
    from xray_tf.nets.keras_file import save_model

    save_model(trained.model, draft / MODEL)
    write_split(corpus.records, draft / SPLIT)
    predictions.write_csv(draft / "predictions.csv")
    if trained.history:
        write_history(trained.history, draft / "history.csv")
    corpus.findings.write_csv(draft / "audit.csv")


def _write_pages(
    draft: Path, opened: Classifier, corpus: Corpus, predictions: Predictions, options: Options
) -> dict[str, Any]:
    """Score the test rows (or validation rows if there are none), write card and pages, and return
    the scores.
    """
    from xray_tf.pages.classifier.model_card import render_model_card
    from xray_tf.pages.classifier.report import write_report
    from xray_tf.pages.kit.words import WITHOUT_TEST

    part = "test" if (predictions.splits == "test").any() else "val"
    card, scored = opened.card, predictions.of_split(part)
    metrics = score_predictions(scored, card, options[EvaluateOptions])
    write_json(draft / "metrics.json", metrics)
    write_mistakes(draft, opened, corpus, scored, options[PageOptions].mistakes)
    card = replace(
        card,
        metrics=card_metrics(metrics["metrics"]),
        metrics_split=part,
        notes=card.notes if part == "test" else (*card.notes, WITHOUT_TEST),
    )
    seal(draft, card)
    write_text(draft / "README.md", render_model_card(card, metrics))
    write_report(draft)
    seal(draft, card)
    return metrics
