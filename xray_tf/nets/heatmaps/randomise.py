"""Shuffle the weights of a copy of a model layer by layer from the top (cascading randomisation),
to test whether heat maps depend on what was learned.
"""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np

# the weights of one channel stay together, so that a shuffled layer still normalises
JOINT = ("gamma", "beta", "moving_mean", "moving_variance")


def copy_model(model: keras.Model) -> keras.Model:
    """Return a model with the same layers and the same weights, sharing none."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def layers_from_the_top(model: keras.Model) -> list[keras.Layer]:
    """List the layers with weights of their own, including nested ones, from the output to the
    input.
    """
    found: list[keras.Layer] = []
    for layer in reversed(model.layers):
        if isinstance(layer, keras.Model):
            found += layers_from_the_top(layer)
        elif layer.weights:
            found.append(layer)
    return found


def shuffle_layer(layer: keras.Layer, rng: np.random.Generator) -> None:
    """Permute the entries of each of a layer's weights; those that belong to channels (`JOINT`)
    move together.

    Shuffling keeps the values of each tensor, so activations keep about their size. Drawing new
    values (Adebayo et al. 2018) may change it.
    """
    channels: dict[int, np.ndarray] = {}
    for variable in layer.weights:
        values = keras.ops.convert_to_numpy(variable.value)
        if variable.name in JOINT and values.ndim == 1:
            order = channels.setdefault(len(values), rng.permutation(len(values)))
            variable.assign(values[order])
        elif values.dtype.kind == "f":  # counters and seeds are not learned
            variable.assign(rng.permutation(values.ravel()).reshape(values.shape))


def cascade(copy: keras.Model, steps: int = 8, seed: int = 0) -> Iterator[tuple[str, float]]:
    """Shuffle a model from the top down, and stop `steps` times on the way for inspection (Adebayo
    et al. 2018, "Sanity checks", section 3.1).

    Args:
        copy: a model from `copy_model`; it is changed.
        steps: the number of stops: the first after the top layer, the last after all layers, the
            others evenly spaced.
        seed: seed of the permutations.

    Yields:
        (name of the last layer shuffled, share of the layers with weights that are shuffled).
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1. Received: steps={steps!r}")
    layers, rng = layers_from_the_top(copy), np.random.default_rng(seed)
    if not layers:
        raise ValueError(f"The model {copy.name!r} has no layer with weights to shuffle.")
    evenly = np.linspace(1, len(layers), steps) if steps > 1 else [len(layers)]
    stops = set(np.rint(evenly).astype(int).tolist())
    for number, layer in enumerate(layers, 1):
        shuffle_layer(layer, rng)
        if number in stops:
            yield layer.name, number / len(layers)
