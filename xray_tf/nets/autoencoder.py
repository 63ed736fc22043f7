"""Build and train the autoencoder of lungs' features: zones -> embedding (the code) ->
reconstruction -> reconstruction_error. Each of these points is a stock Keras layer of that name.

Pixels are easy to reconstruct where lungs are white, so that their error ranks sick below normal
(AUROC 0.42); what a frozen trunk sees in each zone of the lungs is not. Noise and dropout on the
way in make it learn how the zones of a normal chest go together.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from xray_tf.nets.classifier import derive, seeded
from xray_tf.nets.images import vector_batches
from xray_tf.nets.training.loop import Phase
from xray_tf.nets.training.together import share
from xray_tf.options import DetectOptions

HIDDEN = 256
DROPOUT, NOISE = 0.2, 0.1  # share of the features, and a deviation of standardised ones
_ROWS = 512  # at a time


def build_autoencoder(zones: np.ndarray, options: DetectOptions) -> keras.Model:
    """Build an untrained autoencoder.

    Args:
        zones: (N, D) float32 of the normals it will learn from, which set its scale.
        options: length of the code, seed.

    Returns:
        Model from zones (B, D) float32 to a dict of `embedding` (B, K), the code; `reconstruction`
        (B, D) of the standardised features; and `reconstruction_error` (B, 1), their mean squared
        difference.
    """
    layers, width = keras.layers, zones.shape[1]
    with seeded(options.seed):
        image = keras.Input((width,), name="zones")
        variance = np.maximum(zones.var(axis=0, dtype=np.float64), 1e-6)
        scale = {"mean": zones.mean(axis=0, dtype=np.float64), "variance": variance}
        standard = layers.Normalization(name="standardised", dtype="float32", **scale)(image)
        x = layers.Dropout(DROPOUT, seed=options.seed, name="dropped")(standard)
        x = layers.GaussianNoise(NOISE, seed=options.seed, name="noisy")(x)
        x = layers.Dense(HIDDEN, "gelu", name="encoder")(x)
        code = layers.Dense(options.latent, name="embedding", dtype="float32")(x)
        x = layers.Dense(HIDDEN, "gelu", name="decoder")(code)
        drawn = layers.Dense(width, name="reconstruction", dtype="float32")(x)
        difference = layers.Subtract(name="difference", dtype="float32")([standard, drawn])
        square = layers.Multiply(name="squared_error", dtype="float32")([difference, difference])
        column = layers.Reshape((width, 1), name="column", dtype="float32")(square)
        error = layers.GlobalAveragePooling1D(name="reconstruction_error", dtype="float32")(column)
        points = {"embedding": code, "reconstruction": drawn, "reconstruction_error": error}
        return keras.Model(image, points, name="autoencoder")


def reconstruction_phase(
    model: keras.Model,
    zones: np.ndarray,
    train: Sequence[int],
    watched: Sequence[int],
    options: DetectOptions,
) -> Phase:
    """Return the phase that trains an autoencoder.

    Args:
        model: a model from `build_autoencoder`.
        zones: (N, D) float32.
        train: the rows to learn from.
        watched: rows of other patients, on which `val_loss` is measured after each epoch.
        options: batch size, epochs and rate.
    """
    net = keras.Model(model.inputs[0], ops.mean(derive(model, "squared_error").output, axis=1))
    batch_size = min(options.batch_size, len(train))
    learnt = np.ascontiguousarray(zones[np.asarray(train)], np.float32)
    # the network returns the loss itself, but `fit` needs a target
    targets = np.zeros((len(learnt), 1), np.float32)

    def feed(epoch: int):
        batches = vector_batches(
            learnt, targets, batch_size, (options.seed, epoch), share(batch_size)
        )
        return batches.map(lambda both, target: (both[0], target))

    def validate() -> dict[str, float]:
        return {"val_loss": float(codes_and_errors(model, zones[np.asarray(watched)])[1].mean())}

    steps, rate = len(learnt) // batch_size, options.learning_rate
    return Phase("autoencoder", net, feed, steps, options.epochs, rate, validate)


def codes_and_errors(model: keras.Model, zones: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes (N, K) float32 and the reconstruction errors (N,) float64 of zones (N, D)
    float32.
    """
    codes = [np.empty((0, *model.output["embedding"].shape[1:]), np.float32)]
    errors = [np.empty(0)]
    for start in range(0, len(zones), _ROWS):
        found = model(zones[start : start + _ROWS], training=False)
        codes.append(ops.convert_to_numpy(found["embedding"]))
        errors.append(ops.convert_to_numpy(found["reconstruction_error"])[:, 0].astype(np.float64))
    return np.concatenate(codes), np.concatenate(errors)
