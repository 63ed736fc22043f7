"""Copy weights from layer to layer."""

from __future__ import annotations

import keras
import numpy as np


def copy_layers(trunk: list[keras.Layer], donors: list[keras.Layer], source: str) -> None:
    """Copy weights one to one, in order, between two graphs made by the same builder; a top after
    the trunk is left over.

    Raises:
        ValueError: other layers or other shapes.
    """
    ours, theirs = weighted(trunk), weighted(donors)
    if len(theirs) < len(ours):
        raise ValueError(
            f"{source} holds {len(theirs)} layers with weights where the trunk has "
            f"{len(ours)}: another architecture."
        )
    for layer, other in zip(ours, theirs, strict=False):
        fill(layer, other.get_weights(), source)


def copy_by_name(trunk: list[keras.Layer], theirs: dict[str, keras.Layer], source: str) -> None:
    """Copy the weights of every trunk layer from the layer of its name.

    Raises:
        ValueError: a name is missing, or a shape differs.
    """
    missing = [layer.name for layer in weighted(trunk) if layer.name not in theirs]
    if missing:
        raise ValueError(
            f"{source} has another architecture: {len(missing)} layers of the trunk "
            f"are not in it, such as {missing[0]!r}."
        )
    for layer in weighted(trunk):
        fill(layer, theirs[layer.name].get_weights(), source)


def weighted(layers: list[keras.Layer]) -> list[keras.Layer]:
    """Return the layers that have weights."""
    return [layer for layer in layers if layer.weights]


def fill(layer: keras.Layer, values: list[np.ndarray], source: str) -> None:
    """Give a layer its weights; raise ValueError if their shapes are not those of the layer."""
    ours, theirs = [tuple(w.shape) for w in layer.weights], [tuple(np.shape(v)) for v in values]
    if ours != theirs:
        raise ValueError(
            f"{source} has another architecture: layer {layer.name!r} expects "
            f"weights of shapes {ours}. Received: {theirs}"
        )
    layer.set_weights(values)
    if isinstance(layer, keras.layers.Normalization):
        layer.finalize_state()  # it computes with copies of its weights
