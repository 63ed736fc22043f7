"""Compare ways to join the cells of a feature map that sees lungs into one answer.

python benchmarks/pooling.py [--data DIR] [--model NAME] [--epochs N] [--seeds 0,1]

`mean` gives every cell one weight; `lungs` weighs cells by the lungs; `attention` weighs them by
lungs times learned attention, as the shipped classifiers do; `cells` has logits of each cell and
joins them by a soft maximum weighted by the lungs (Pinheiro and Collobert 2015). Trunk and
segmenter are those of the shipped classifier, and frozen. The four heads have last convolutions of
their own, begin with the shipped weights as far as they have them, and learn side by side from the
same augmented radiographs. So this compares heads on a trunk that learned under attention, and not
trainings of the whole net.

Scores are of the validation rows, decided by the largest probability; differences from `attention`
are paired, with 95 % intervals by patient, over the mean of the seeds. A hit is the highest point
of the heat map (HiResCAM, for the lesion's kind) in the lesion of a phantom or beside it. Results
are in results/pooling.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import keras
import numpy as np
from gradcam_phantom import LOOK_SEED, NEAR, SHARPNESS, SICK, draw
from keras import layers, ops

from xray_tf.data.chest.regions import SURROUNDINGS, MaskedGrid
from xray_tf.jobs.corpus import choose_part, read_for
from xray_tf.models.classifier import Classifier
from xray_tf.models.load import load
from xray_tf.models.lungs import find_fields
from xray_tf.nets.classifier import derive
from xray_tf.nets.heatmaps.attribution import hires_cam
from xray_tf.nets.images import batches
from xray_tf.nets.inference import forward
from xray_tf.nets.training.augment import RandomAugment
from xray_tf.nets.training.objective import (
    Objective,
    class_weights_of,
    mean_of_output,
    targets_of,
)
from xray_tf.nets.training.surroundings import OtherSurroundings
from xray_tf.nets.trunks.lung_view import merge_scales, take_learned, weigh_by_lungs
from xray_tf.options import DataOptions, TrainOptions
from xray_tf.stats.heatmaps.localisation import localisation
from xray_tf.stats.metrics import auroc
from xray_tf.stats.paired import Conditions, mean_interval, paired_draws, with_interval
from xray_tf.stats.temperature import calibrated_probabilities

RESULTS = Path(__file__).parent / "results" / "pooling.json"
WAYS = ("attention", "lungs", "mean", "cells")
RATE, BATCH, REPLICATES, PHANTOMS = 4e-4, 32, 2000, 60


def main() -> None:
    """Train the heads with each seed, score them, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="../shared/data/chest_xray")
    parser.add_argument("--model", default="pneumonia-three-class")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", default="0")
    given = parser.parse_args()
    classifier = load(given.model, kind="classifier")
    split = classifier.folder / "split.csv"
    corpus = read_for(classifier, given.data, DataOptions(split=str(split)))
    train, rows = (choose_part(corpus, split, part) for part in ("train", "val"))
    seeds = [int(s) for s in given.seeds.split(",")]
    trained = [trained_heads(classifier.model, train, given.epochs, s) for s in seeds]
    found = {
        "epochs": given.epochs,
        "seeds": seeds,
        "rows": len(rows.labels),
        "ways": scored(trained, rows),
    }
    for way in WAYS:
        hits = [pointing(models[way], classifier) for models in trained]
        found["ways"][way]["pointing"] = float(np.mean(hits))
    text = json.dumps(found, indent=1) + "\n"
    print(text)
    RESULTS.write_text(text, encoding="utf-8")


def join(way: str, fine, deep, lungs) -> keras.KerasTensor:
    """Return logits (B, 3) named `logits` from maps of a trunk; what a heat map is made of is named
    `features`.
    """
    x = merge_scales(fine, deep)
    if way == "cells":
        cells = layers.Conv2D(3, 1, name="features")(x)
        here = layers.Resizing(*x.shape[1:3], antialias=True)(lungs)
        prior = ops.log_softmax(ops.reshape(ops.log_sigmoid(here), (-1, x.shape[1] * x.shape[2])))
        flat = ops.reshape(cells, (-1, x.shape[1] * x.shape[2], 3)) * SHARPNESS
        soft = ops.logsumexp(flat + prior[..., None], axis=1) / SHARPNESS
        return layers.Activation("linear", name="logits")(soft)
    if way == "mean":
        x = layers.Activation("linear", name="features")(x)
    else:
        x = weigh_by_lungs(x, lungs)
    x = layers.GlobalAveragePooling2D(name="embedding")(x)
    return layers.Dense(3, name="logits")(x)


def trained_heads(shipped: keras.Model, corpus, epochs: int, seed: int) -> dict[str, keras.Model]:
    """Train one head of each way on the frozen trunk; return way -> image to logits."""
    keras.utils.set_random_seed(seed)
    inner = [shipped.get_layer(n).input for n in ("fine_conv", "deep_conv", "prior_logits")]
    trunk = keras.Model(shipped.inputs[0], inner)
    trunk.trainable = False
    heads = {}
    for way in WAYS:
        points = [keras.Input(x.shape[1:]) for x in inner]
        heads[way] = keras.Model(points, join(way, *points))
        _begin(heads[way], shipped, way)
    options = TrainOptions(seed=seed)
    image, target = keras.Input(shipped.inputs[0].shape[1:]), keras.Input((3,))
    around = OtherSurroundings(options.swapped, options.emptied, seed + 2, dtype="float32")
    x, y = around(image, *derive(shipped, "window", "lungs")(image), target)
    maps = trunk(RandomAugment(options.augment, seed)(x), training=False)
    weights = class_weights_of(corpus.labels, 3, options.class_weight)
    losses = [Objective(weights, options.label_smoothing)(h(maps), y) for h in heads.values()]
    net = keras.Model([image, target], ops.sum(ops.concatenate(losses, -1), -1, keepdims=True))
    steps = len(corpus.labels) // BATCH
    rate = keras.optimizers.schedules.CosineDecay(RATE, epochs * steps)
    net.compile(keras.optimizers.AdamW(rate, weight_decay=options.weight_decay), mean_of_output)
    targets = targets_of(corpus.labels, 3)
    for epoch in range(epochs):
        given = (corpus.pixels, corpus.rows, targets, BATCH, (seed, epoch), True)
        net.fit(batches(*given), verbose=2, shuffle=False)
    flat = {way: keras.Model(shipped.inputs[0], join(way, *inner)) for way in WAYS}
    for way, model in flat.items():
        for layer in heads[way].layers:
            if layer.weights:
                model.get_layer(layer.name).set_weights(layer.get_weights())
    return flat


def _begin(head: keras.Model, shipped: keras.Model, way: str) -> None:
    if way == "attention":
        take_learned(head, shipped)
        return
    for name in ("fine_conv", "deep_conv"):
        head.get_layer(name).set_weights(shipped.get_layer(name).get_weights())
    kernel, bias = shipped.get_layer("logits").get_weights()
    if way == "cells":
        head.get_layer("features").set_weights([kernel[None, None], bias])
    else:
        head.get_layer("logits").set_weights([kernel, bias])
    if way == "lungs":
        head.get_layer("attention").trainable = False  # zero, so that the lungs alone weigh


def scored(trained: list[dict[str, keras.Model]], rows) -> dict[str, dict]:
    """Return each way's figures on validation rows, and their differences from `attention`."""
    images, labels = np.asarray(rows.pixels)[rows.rows], rows.labels
    patients = [r.patient for r in rows.records]
    keys = [r.sha256 for r in rows.records]
    masks = find_fields(images).masks
    grid = MaskedGrid(images, range(len(images)), masks, keys, [None, SURROUNDINGS], 0)
    by_seed, changed, sick = [], [], []
    for models in trained:
        answers = np.stack([forward(models[way], grid)["logits"] for way in WAYS])
        p = calibrated_probabilities(answers.reshape(-1, 3), 1.0)
        p = p.reshape(len(WAYS), 2, len(images), 3)
        decided = p.argmax(-1)
        plain = Conditions(p[:, 0], decided[:, 0], labels, patients, rows.task.class_names)
        by_seed.append(paired_draws(plain, REPLICATES, 0, ("auroc", "accuracy")))
        changed.append(decided[:, 0] != decided[:, 1])
        sick.append([auroc(1 - p[w, 0, :, 0], labels > 0) for w in range(len(WAYS))])
    told = {}
    for number, way in enumerate(WAYS):
        told[way] = {"sick_auroc": float(np.mean(sick, axis=0)[number])}
        for metric in ("auroc", "accuracy"):
            mine, first = (
                np.mean([draws[i][metric] for draws in by_seed], axis=0) for i in (number, 0)
            )
            told[way][metric] = with_interval(mine)
            told[way][f"{metric}_change"] = with_interval(mine - first)
        share = np.mean(changed, axis=0)[number]
        told[way]["other_surroundings"] = mean_interval(share, np.array(patients), REPLICATES, 0)
    return told


def pointing(model: keras.Model, classifier: Classifier) -> float:
    """Return the share of phantom lesions that hold a heat map's highest point, with the tolerance
    of the pointing game.
    """
    card = classifier.card
    how = PHANTOMS, card.preprocessing["image_size"], card.preprocessing["resize"]
    hits = []
    for kind in SICK:
        images, masks, _ = draw(kind, LOOK_SEED, *how)
        kept = masks.any(axis=(1, 2))
        maps = hires_cam(model, images[kept], card.class_names.index(kind), "features")
        near = round(NEAR * maps.shape[1])
        hits.append(localisation(maps, masks[kept], tolerance=near)["hit"])
    return float(np.concatenate(hits).mean())


if __name__ == "__main__":
    main()
