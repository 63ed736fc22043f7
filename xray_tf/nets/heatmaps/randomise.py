"""Cascading randomisation: a copy of a model whose weights are shuffled layer by layer from the
top, to see whether maps depend on what was learnt.
"""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np

# of one channel, kept together: a shuffled layer still normalises
JOINT = ("gamma", "beta", "moving_mean", "moving_variance")


def copy_model(model: keras.Model) -> keras.Model:
    """Return a model of the same layers and the same weights, with none shared."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def layers_from_the_top(model: keras.Model) -> list[keras.Layer]:
    """List the layers that hold weights of their own, nested ones too, from the one nearest the
    output to the one nearest the input.
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

    Shuffling keeps each tensor's values, so activations stay of about the size they had; drawing
    them anew (Adebayo et al. 2018) need not.
    """
    channels: dict[int, np.ndarray] = {}
    for variable in layer.weights:
        values = keras.ops.convert_to_numpy(variable.value)
        if variable.name in JOINT and values.ndim == 1:
            order = channels.setdefault(len(values), rng.permutation(len(values)))
            variable.assign(values[order])
        elif values.dtype.kind == "f":  # counters and seeds are not learnt
            variable.assign(rng.permutation(values.ravel()).reshape(values.shape))


def cascade(copy: keras.Model, steps: int = 8, seed: int = 0) -> Iterator[tuple[str, float]]:
    """Shuffle a model from the top down, and stop `steps` times on the way to let it be looked at
    (Adebayo et al. 2018, "Sanity checks", section 3.1).

    Args:
        copy: made by `copy_model`; it is changed.
        steps: the first stop is after the top layer, the last after all; the others share the
            layers between them evenly.
        seed: of the permutations.

    Yields:
        (name of the last layer shuffled, share of the layers with weights that are shuffled).
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1. Received: steps={steps!r}")
    layers, rng = layers_from_the_top(copy), np.random.default_rng(seed)
    if not layers:
        raise ValueError(f"The model {copy.name!r} has no layer with weights to shuffle.")
    stops = (
        set(np.unique(np.rint(np.linspace(1, len(layers), steps)).astype(int)).tolist())
        if steps > 1
        else {len(layers)}
    )
    for number, layer in enumerate(layers, 1):
        shuffle_layer(layer, rng)
        if number in stops:
            yield layer.name, number / len(layers)
