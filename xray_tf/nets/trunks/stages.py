"""Group a trunk's layers into stages, from input to output."""

from __future__ import annotations

import math
from collections.abc import Callable

import keras

from xray_tf.nets.trunks.backbones import PREPARATION, describe


def trunk_layers(model: keras.Model, backbone: str) -> list[list[keras.Layer]]:
    """Group the layers from `image` to `features` into stages, from input to output, so that
    fine-tuning can thaw the last ones.

    A row of the registry names its stages by the prefix of their layers. Any other backbone is
    divided where it halves the feature map: a layer's stage is the product of all strides up to it.
    A layer without a stage joins the one before it, and the layers before the backbone (scaling,
    adapter) join the first. A stage without weights joins its neighbour towards the input, or the
    next one if it is the first.

    Args:
        model: a model with the layer `features`, new or reloaded.
        backbone: the name it was built from.
    """
    chain = _trunk_of(model).layers
    prefixes = describe(backbone).stages
    key = _prefix_stage(prefixes) if prefixes else _stride_stage()
    groups: dict[int, list[keras.Layer]] = {}
    for layer in chain:
        groups.setdefault(key(layer), []).append(layer)
    stages: list[list[keras.Layer]] = []
    for _, group in sorted(groups.items()):
        if stages and not (_learns(group) and _learns(stages[-1])):
            stages[-1] += group
        else:
            stages.append(group)
    return stages


def _trunk_of(model: keras.Model) -> keras.Model:
    """Return the part from what the trunk sees to its last map, without what is around it in a
    model that looks at lungs (`nets.trunks.lung_view`).
    """
    names = {layer.name for layer in model.layers}
    start = model.get_layer("seen").output if "seen" in names else model.inputs
    end = model.get_layer("deep_conv").input if "deep_conv" in names else None
    return keras.Model(start, model.get_layer("features").output if end is None else end)


def _learns(group: list[keras.Layer]) -> bool:
    return any(
        layer.weights
        and layer.name not in PREPARATION
        and not isinstance(layer, keras.layers.Normalization)
        for layer in group
    )


def _prefix_stage(prefixes: tuple[str, ...]) -> Callable[[keras.Layer], int]:
    current = 0

    def stage(layer: keras.Layer) -> int:
        nonlocal current
        current = next(
            (i for i, prefix in enumerate(prefixes) if layer.name.startswith(prefix + "_")), current
        )
        return current

    return stage


def _stride_stage() -> Callable[[keras.Layer], int]:
    scales: dict[str, int] = {}

    def stage(layer: keras.Layer) -> int:
        parents = [
            scales.get(node.operation.name, 1) for node in layer._inbound_nodes[0].parent_nodes
        ]
        strides = getattr(layer, "strides", 1)
        scales[layer.name] = max(parents, default=1) * (
            strides[0] if isinstance(strides, tuple | list) else strides
        )
        return int(math.log2(scales[layer.name]))

    return stage
