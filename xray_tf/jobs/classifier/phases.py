"""What a training run consists of: the net built at the precision chosen, and its phases in
order.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from xray_tf.artifact import write_text
from xray_tf.jobs.corpus import Corpus
from xray_tf.nets.classifier import build_classifier, head_of
from xray_tf.nets.images import batches, vector_batches
from xray_tf.nets.inference import forward
from xray_tf.nets.training.devices import (
    choose_precision,
    compiled_for_timing,
    half_precision,
    policy,
)
from xray_tf.nets.training.loop import Phase
from xray_tf.nets.training.objective import (
    class_weights_of,
    loss_net,
    open_stages,
    stage_factors,
    targets_of,
    vector_loss_net,
)
from xray_tf.options import ModelOptions, TrainOptions, is_pretrained
from xray_tf.registry import TASKS
from xray_tf.stats.metrics import epoch_scores
from xray_tf.stats.operating_points import calibrated_probabilities

MEASURE_FROM_STEPS = 400  # below so many steps a measurement costs more than it can save


def prepare_model(
    corpus: Corpus, model_options: ModelOptions, options: TrainOptions, settled: Path, say: Callable
) -> tuple:
    """Build the classifier at the precision asked for or measured to be fastest; return it with
    what the card should say.

    `settled` keeps what was measured, since a run that is resumed must not measure itself into
    another net.
    """
    precision, note = options.precision, ""
    if precision == "auto":
        if settled.is_file():
            precision, note = json.loads(settled.read_text(encoding="utf-8"))
        else:
            precision, note = _measured_precision(corpus, model_options, options, say)
            write_text(settled, json.dumps([precision, note]))
    with policy(precision):
        model = build_classifier(model_options, TASKS[options.task], options.seed)
    say(
        f"Built {model_options.backbone} ({model.count_params() / 1e6:.1f} million parameters, "
        f"{precision})"
    )
    return model, [note] if note else []


def _measured_precision(
    corpus: Corpus, model_options: ModelOptions, options: TrainOptions, say: Callable
) -> tuple[str, str]:
    steps = len(corpus.of_split("train")) // options.batch_size
    epochs = options.epochs * (options.method == "head") + options.fine_tune_epochs * (
        options.fine_tune != "none"
    )
    lower = half_precision()
    if steps * epochs < MEASURE_FROM_STEPS or lower is None:
        return "float32", ""

    feed, _ = _image_feed(corpus, options)

    def candidate(name: str) -> tuple:
        with policy(name):
            model = build_classifier(model_options, TASKS[options.task], options.seed)
        open_stages(
            model, model_options.backbone, options.fine_tune, is_pretrained(model_options.weights)
        )
        return compiled_for_timing(model, options, feed)

    best, rates = choose_precision(
        {name: lambda name=name: candidate(name) for name in ("float32", lower)}
    )
    text = (
        "Precision by a short measurement: "
        + ", ".join(f"{name} {rate:.1f} images/s" for name, rate in rates.items())
        + (f"; trained in {best}.")
    )
    say(text)
    return best, text


def plan_phases(
    model, corpus: Corpus, model_options: ModelOptions, options: TrainOptions, say: Callable
) -> list[Phase]:
    """Return the phases that the options name: warm or head, then fine-tuning."""
    phases = []
    pretrained = is_pretrained(model_options.weights)
    backbone = model_options.backbone
    if options.method == "none" and options.fine_tune == "none":
        raise ValueError(
            "There is nothing to train: method='none' needs fine_tune to be all or a "
            "number of stages."
        )
    if options.method == "warm":
        phases.append(_warm_phase(model, corpus, options, say))
    elif options.method == "head":
        phases.append(
            _image_phase(
                "head",
                model,
                corpus,
                options,
                options.epochs,
                options.learning_rate,
                {},
                lambda: open_stages(model, backbone, "none", pretrained),
            )
        )
    if options.fine_tune != "none":
        # a bad value is met before hours of the first phase
        open_stages(model, backbone, options.fine_tune, pretrained)
        phases.append(
            _image_phase(
                "fine-tune",
                model,
                corpus,
                options,
                options.fine_tune_epochs,
                options.fine_tune_learning_rate,
                stage_factors(model, backbone, options.layer_decay),
                lambda: open_stages(model, backbone, options.fine_tune, pretrained),
            )
        )
    return phases


def _warm_phase(model, corpus: Corpus, options: TrainOptions, say: Callable) -> Phase:
    """The last layer on stored embeddings: the trunk runs once, an epoch takes seconds."""
    train, val = corpus.of_split("train"), corpus.of_split("val")
    head, classes, labels = head_of(model), len(TASKS[options.task]), corpus.labels[train]
    targets = targets_of(labels, classes)
    net = vector_loss_net(head, options, class_weights_of(labels, classes, options.class_weight))
    batch_size = min(options.batch_size, len(train))
    vectors: dict[str, np.ndarray] = {}

    def prepare() -> None:  # not before: a run that is resumed past this phase needs no vectors
        say(f"Embedding {len(train) + len(val)} radiographs once")
        both = forward(
            model, corpus.pixels, corpus.rows[np.concatenate([train, val])], ("embedding",)
        )["embedding"]
        vectors.update(train=both[: len(train)], val=both[len(train) :])

    def validate() -> dict[str, float]:
        return _scores(head.predict(vectors["val"], batch_size=1024, verbose=0), corpus.labels[val])

    def feed(epoch: int):
        return vector_batches(vectors["train"], targets, batch_size, (options.seed, epoch))

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
    name: str,
    model,
    corpus: Corpus,
    options: TrainOptions,
    epochs: int,
    rate: float,
    factors: dict[str, float],
    prepare: Callable[[], None],
) -> Phase:
    val, classes = corpus.of_split("val"), len(TASKS[options.task])
    labels = corpus.labels[corpus.of_split("train")]
    prepare()
    net = loss_net(model, options, class_weights_of(labels, classes, options.class_weight))
    feed, steps = _image_feed(corpus, options)

    def validate() -> dict[str, float]:
        return _scores(
            forward(model, corpus.pixels, corpus.rows[val])["logits"], corpus.labels[val]
        )

    return Phase(name, net, feed, steps, epochs, rate, validate, factors, prepare)


def _image_feed(corpus: Corpus, options: TrainOptions) -> tuple[Callable, int]:
    train = corpus.of_split("train")
    targets = targets_of(corpus.labels[train], len(TASKS[options.task]))
    batch_size = min(options.batch_size, len(train))

    def feed(epoch: int):
        return batches(
            corpus.pixels,
            corpus.rows[train],
            targets,
            batch_size,
            (options.seed, epoch),
            drop_remainder=True,
        )

    return feed, len(train) // batch_size


def _scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return {
        f"val_{name}": value
        for name, value in epoch_scores(calibrated_probabilities(logits, 1.0), labels).items()
    }
