"""Build the classifier: image -> features -> embedding -> logits -> probability. Each of these
points is a stock Keras layer of that name.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np

from xray_tf.nets.lungs import copy_weights
from xray_tf.nets.trunks.backbones import Weights, build_features, build_trunk
from xray_tf.nets.trunks.lung_view import (
    PREFIX,
    find_lungs,
    merge_scales,
    show_lungs,
    take_learned,
    weigh_by_lungs,
)
from xray_tf.nets.trunks.weights import Donor, open_donor
from xray_tf.options import LUNGS, ModelOptions

POINTS = ("image", "features", "embedding", "logits", "probability")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw initial weights and dropout seeds from `seed`, and restore Python's and NumPy's random
    states afterwards.
    """
    python, numpy = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def build_classifier(
    options: ModelOptions,
    class_names: tuple[str, ...],
    seed: int = 0,
    lungs: keras.Model | None = None,
) -> keras.Model:
    """Build an untrained classifier around a trunk.

    Args:
        options: the trunk, its weights, the image size, adapter, standardisation and dropout.
        class_names: two names give a sigmoid head with one logit, more give a softmax head.
        seed: seed of the initial weights and of dropout.
        lungs: the segmenter, such as `load("lungs").model`, where `options.region` is `lungs`.

    Returns:
        Model from image (B, S, S, 1) float32 in [0, 255] to probability: (B, 1), of the last class,
        or (B, K).

    Raises:
        ValueError: an unknown trunk, or fewer than two classes.
    """
    if options.region == LUNGS and lungs is None:
        raise ValueError(f"region={LUNGS!r} needs the lung segmenter. Received: lungs=None")
    if len(class_names) < 2:
        raise ValueError(
            f"class_names must have at least two entries. Received: class_names={class_names!r}"
        )
    one_logit = len(class_names) == 2
    with seeded(seed):
        image = keras.Input((options.image_size, options.image_size, 1), name="image")
        weights = options.weights
        if str(weights).endswith(".keras"):
            weights = open_donor(Path(weights))
        features = _features(image, options, weights, seed)
        x = keras.layers.GlobalAveragePooling2D(name="embedding", dtype="float32")(features)
        # Drawn here as Keras draws it: without a seed PyTorch drops by its global state, which no
        # checkpoint holds.
        drawn = random.randint(1, int(1e9)) if options.dropout else None
        x = keras.layers.Dropout(options.dropout, name="dropout", seed=drawn, dtype="float32")(x)
        units, activation = (1, "sigmoid") if one_logit else (len(class_names), "softmax")
        x = keras.layers.Dense(units, name="logits", dtype="float32")(x)
        x = keras.layers.Activation(activation, name="probability", dtype="float32")(x)
        model = keras.Model(image, x, name="classifier")
        if options.region == LUNGS:
            copy_weights(lungs, model, PREFIX)
            if isinstance(weights, Donor):
                take_learned(model, weights.model)
        return model


def _features(
    image: keras.KerasTensor, options: ModelOptions, weights: Weights, seed: int
) -> keras.KerasTensor:
    net = options.backbone, weights, options.adapter
    if options.region != LUNGS:
        return build_features(image, *net, options.standardize, seed)
    logits = find_lungs(image)
    fine, deep = build_trunk(show_lungs(image, logits), *net, seed)
    if fine is None:
        raise ValueError(
            f"region={LUNGS!r} joins the backbone's last map with one of twice its side, and "
            f"backbone={options.backbone!r} at image_size={options.image_size} has none. Expected "
            "another image size, such as 224, or region='whole'."
        )
    return weigh_by_lungs(merge_scales(fine, deep), logits)


def derive(model: keras.Model, *points: str) -> keras.Model:
    """Return a model from the same input to the output of a named layer, or to a list of them; the
    given model is not changed.

    Raises:
        ValueError: there is no layer of that name; the message lists the points that exist.
    """
    known = {layer.name for layer in model.layers}
    missing = [p for p in points if p not in known]
    if missing:
        raise ValueError(
            f"The model has no layer named {missing}. Its points: "
            f"{[p for p in POINTS if p in known]}."
        )
    outputs = [model.get_layer(p).output for p in points]
    return keras.Model(model.inputs[0], outputs if len(outputs) > 1 else outputs[0])


def head_of(model: keras.Model) -> keras.Model:
    """Return the model's head, embedding (B, D) -> logits (B, L), sharing layers and weights."""
    return keras.Model(model.get_layer("embedding").output, model.get_layer("logits").output)


def sum_of_sick(model: keras.Model) -> keras.Model:
    """Return a classifier with one logit that answers "any but the first class" from a classifier
    of three or more: the same net and weights, with the log of the odds of all other classes
    together against the first. Its layer `subtype_logits` has what the given model says.

    Raises:
        ValueError: the model has fewer than three classes.
    """
    count = model.get_layer("logits").output.shape[-1]
    if count < 3:
        raise ValueError(
            f"There is nothing to add up in a classifier of {max(2, count)} classes. Expected one "
            "that tells the sick classes apart, such as pneumonia-three-class."
        )
    layers = keras.layers
    dense = layers.Dense(count, name="subtype_logits", dtype="float32")
    x = dense(model.get_layer("dropout").output)
    dense.set_weights(model.get_layer("logits").get_weights())
    rows = layers.Reshape((count, 1), name="one_by_one")(x)

    def one(k):
        kept = layers.Cropping1D((k, count - 1 - k), name=f"only_{k}")(rows)
        return layers.Reshape((1,), name=f"logit_{k}")(kept)

    sick = one(1)
    for k in range(2, count):  # log(exp(a) + exp(b)) = a + softplus(b - a)
        more = layers.Subtract(name=f"more_{k}")([one(k), sick])
        sick = layers.Add(name=f"sum_{k}")(
            [sick, layers.Activation("softplus", name=f"softplus_{k}")(more)]
        )
    x = layers.Subtract(name="logits", dtype="float32")([sick, one(0)])
    x = layers.Activation("sigmoid", name="probability", dtype="float32")(x)
    return keras.Model(model.inputs[0], x, name="classifier")


def add_to_logits(model: keras.Model, amounts: np.ndarray) -> None:
    """Add to the logits of a classifier, in its biases: everything that opens the model has them.

    Args:
        model: changed in place.
        amounts: (L,) float, one a logit.

    Raises:
        ValueError: the logits do not come from a Dense layer.
    """
    amounts = np.asarray(amounts, np.float32)
    layer, known = model.get_layer("logits"), {each.name for each in model.layers}
    if not layer.weights and "subtype_logits" in known:  # made by `sum_of_sick`
        layer = model.get_layer("subtype_logits")
        amounts = np.repeat(np.append(0, amounts), (1, layer.units - 1)).astype(np.float32)
    if not isinstance(layer, keras.layers.Dense) or not layer.use_bias:
        raise ValueError(
            "only the logits of a Dense layer with a bias can be moved. Received: "
            f"{type(layer).__name__} {layer.name!r}"
        )
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel, bias + amounts])
