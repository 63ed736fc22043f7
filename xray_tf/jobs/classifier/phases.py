"""Prepare a training: build the network at the chosen precision, and plan its phases."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf.artifact import write_json
from xray_tf.jobs.corpus import Corpus
from xray_tf.jobs.run import Run
from xray_tf.models.lungs import lungs_for
from xray_tf.nets.classifier import build_classifier, head_of
from xray_tf.nets.images import batches, vector_batches
from xray_tf.nets.inference import forward, forward_vectors
from xray_tf.nets.training.devices import (
    choose_precision,
    compiled_for_timing,
    half_precision,
    policy,
)
from xray_tf.nets.training.loop import Optimisation, Phase
from xray_tf.nets.training.objective import (
    class_weights_of,
    loss_net,
    open_stages,
    stage_factors,
    targets_of,
    vector_loss_net,
)
from xray_tf.nets.training.together import process_count, share
from xray_tf.options import ModelOptions, TrainOptions, is_pretrained
from xray_tf.stats.metrics import epoch_scores
from xray_tf.stats.temperature import calibrated_probabilities

MEASURE_FROM_STEPS = 400  # with fewer steps a measurement costs more than it can save


def prepare_model(
    corpus: Corpus, model_options: ModelOptions, options: TrainOptions, workshop: Path, run: Run
) -> tuple[Any, str, str]:
    """Build the classifier at the requested precision, or at the one measured to be fastest.

    The measurement is kept in the workshop, so that a resumed run gets the same network.

    Returns:
        (the model, its precision, a note for the card).
    """
    precision, note, settled = options.precision, "", workshop / "precision.json"
    if precision == "auto":
        if settled.is_file():
            precision, note = json.loads(settled.read_text(encoding="utf-8"))
        else:
            precision, note = _measured_precision(corpus, model_options, options, run)
            if not run.process:
                write_json(settled, [precision, note])
    model = _build(corpus, model_options, options, precision)
    run.say(
        f"Built {model_options.backbone} ({model.count_params() / 1e6:.1f} million parameters, "
        f"{precision})"
    )
    return model, precision, note


def _build(corpus: Corpus, model_options: ModelOptions, options: TrainOptions, precision: str):
    names, lungs = corpus.task.class_names, lungs_for(model_options)
    with policy(precision):
        return build_classifier(model_options, names, options.seed, lungs)


def optimisation(options: TrainOptions, precision: str) -> Optimisation:
    """Return the optimiser settings of these options."""
    return Optimisation(
        options.weight_decay,
        options.schedule,
        options.warmup,
        options.ema,
        options.keep,
        scale_loss=precision == "mixed_float16",
    )


def _measured_precision(
    corpus: Corpus, model_options: ModelOptions, options: TrainOptions, run: Run
) -> tuple[str, str]:
    steps = len(corpus.of_split("train")) // options.batch_size
    opened = options.fine_tune_epochs * (options.fine_tune != "none")
    epochs = options.epochs * (options.method == "head") + opened
    lower = half_precision()
    if steps * epochs < MEASURE_FROM_STEPS or lower is None:
        return "float32", ""
    if process_count() > 1:
        return lower, f"Precision over several processes: {lower}, without a measurement."

    feed, _ = _image_feed(corpus, options)

    def candidate(name: str) -> tuple:
        model = _build(corpus, model_options, options, name)
        pretrained = is_pretrained(model_options.weights)
        open_stages(model, model_options.backbone, options.fine_tune, pretrained)
        return compiled_for_timing(model, options, feed)

    best, rates = choose_precision({name: partial(candidate, name) for name in ("float32", lower)})
    told = ", ".join(f"{name} {rate:.1f} images/s" for name, rate in rates.items())
    text = f"Precision by a short measurement: {told}; trained in {best}."
    run.say(text)
    return best, text


def plan_phases(
    model, corpus: Corpus, model_options: ModelOptions, options: TrainOptions, run: Run
) -> list[Phase]:
    """Return the phases of the options: warm or head, then fine-tuning."""
    if options.method == "none" and options.fine_tune == "none":
        raise ValueError(
            "There is nothing to train: with method='none', fine_tune must be all or a number of "
            "stages."
        )
    phases = []
    if options.method == "warm":
        phases.append(_warm_phase(model, corpus, options, run))
    elif options.method == "head":
        phases.append(_image_phase(model, corpus, model_options, options, "none"))
    if options.fine_tune != "none":
        phases.append(_image_phase(model, corpus, model_options, options, options.fine_tune))
    return phases


def _warm_phase(model, corpus: Corpus, options: TrainOptions, run: Run) -> Phase:
    """Train the last layer on stored embeddings: the backbone runs once, and epochs take
    seconds.
    """
    train, val = corpus.of_split("train"), corpus.of_split("val")
    head, classes, labels = head_of(model), len(corpus.task.class_names), corpus.labels[train]
    targets = targets_of(labels, classes)
    net = vector_loss_net(head, options, class_weights_of(labels, classes, options.class_weight))
    batch_size = min(options.batch_size, len(train))
    vectors: dict[str, np.ndarray] = {}

    # not earlier, because a run that is resumed after this phase needs no vectors
    def prepare() -> None:
        rows = corpus.rows[np.concatenate([train, val])]
        with run.line("Embedding", len(rows)) as line:
            points = forward(model, corpus.pixels, rows, ("embedding",), progress=line.step)
        both = points["embedding"]
        vectors.update(train=both[: len(train)], val=both[len(train) :])

    def validate() -> dict[str, float]:
        return _scores(forward_vectors(head, vectors["val"]), corpus.labels[val])

    def feed(epoch: int):
        key = (options.seed, epoch)
        return vector_batches(vectors["train"], targets, batch_size, key, share(batch_size))

    return Phase(
        "warm",
        net,
        feed,
        len(train) // batch_size,
        options.epochs,
        options.learning_rate,
        validate,
        prepare=prepare,
    )


def _image_phase(
    model, corpus: Corpus, model_options: ModelOptions, options: TrainOptions, stages: str
) -> Phase:
    """Train on augmented images the last `stages` of the network, or only the head if none."""
    val, classes = corpus.of_split("val"), len(corpus.task.class_names)
    labels = corpus.labels[corpus.of_split("train")]
    backbone, pretrained = model_options.backbone, is_pretrained(model_options.weights)
    prepare = partial(open_stages, model, backbone, stages, pretrained)
    prepare()  # reveals a bad value before hours are spent on the previous phase
    net = loss_net(model, options, class_weights_of(labels, classes, options.class_weight))
    feed, steps = _image_feed(corpus, options)

    def validate() -> dict[str, float]:
        logits = forward(model, corpus.pixels, corpus.rows[val])["logits"]
        return _scores(logits, corpus.labels[val])

    if stages == "none":
        name, epochs, rate, factors = "head", options.epochs, options.learning_rate, {}
    else:
        name, epochs, rate = "fine-tune", options.fine_tune_epochs, options.fine_tune_learning_rate
        factors = stage_factors(model, backbone, options.layer_decay)
    return Phase(name, net, feed, steps, epochs, rate, validate, factors, prepare)


def _image_feed(corpus: Corpus, options: TrainOptions) -> tuple[Callable, int]:
    train = corpus.of_split("train")
    targets = targets_of(corpus.labels[train], len(corpus.task.class_names))
    batch_size = min(options.batch_size, len(train))

    def feed(epoch: int):
        key = (options.seed, epoch)
        mine = share(batch_size)
        return batches(corpus.pixels, corpus.rows[train], targets, batch_size, key, True, mine)

    return feed, len(train) // batch_size


def _scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    scores = epoch_scores(calibrated_probabilities(logits, 1.0), labels)
    return {f"val_{name}": value for name, value in scores.items()}
