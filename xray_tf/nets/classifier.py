"""Build the classifier: image -> features -> embedding -> logits -> probability. Each of these
points is a stock Keras layer of that name.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np

from xray_tf.nets.trunks.backbones import build_features
from xray_tf.options import ModelOptions

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
    options: ModelOptions, class_names: tuple[str, ...], seed: int = 0
) -> keras.Model:
    """Build an untrained classifier around a trunk.

    Args:
        options: the trunk, its weights, the image size, adapter, standardisation and dropout.
        class_names: two names give a sigmoid head with one logit, more give a softmax head.
        seed: seed of the initial weights and of dropout.

    Returns:
        Model from image (B, S, S, 1) float32 in [0, 255] to probability: (B, 1), of the last class,
        or (B, K).

    Raises:
        ValueError: an unknown trunk, or fewer than two classes.
    """
    if len(class_names) < 2:
        raise ValueError(
            f"class_names must have at least two entries. Received: class_names={class_names!r}"
        )
    one_logit = len(class_names) == 2
    with seeded(seed):
        image = keras.Input((options.image_size, options.image_size, 1), name="image")
        features = build_features(
            image, options.backbone, options.weights, options.adapter, options.standardize, seed
        )
        x = keras.layers.GlobalAveragePooling2D(name="embedding", dtype="float32")(features)
        x = keras.layers.Dropout(options.dropout, name="dropout", dtype="float32")(x)
        units, activation = (1, "sigmoid") if one_logit else (len(class_names), "softmax")
        x = keras.layers.Dense(units, name="logits", dtype="float32")(x)
        x = keras.layers.Activation(activation, name="probability", dtype="float32")(x)
        return keras.Model(image, x, name="classifier")


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
    return keras.Model(model.input, outputs if len(outputs) > 1 else outputs[0])


def head_of(model: keras.Model) -> keras.Model:
    """Return the model's head, embedding (B, D) -> logits (B, L), sharing layers and weights."""
    embedding = keras.Input(model.get_layer("embedding").output.shape[1:], name="stored_embedding")
    return keras.Model(embedding, model.get_layer("logits")(model.get_layer("dropout")(embedding)))
