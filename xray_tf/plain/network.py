"""Open a `.keras` file as a graph of layers, and compute named points of it in NumPy."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf.plain.layers import LAYERS, Config, Unsupported
from xray_tf.untrusted import parse_json, refuse_bomb

MAX_CONFIG, MAX_DEPTH = 16 << 20, 200  # bytes, and objects in one another
INPUT = "InputLayer"


@dataclass(frozen=True)
class Layer:
    """One layer: its kind, options, weights, and the names of the layers before it."""

    kind: str
    config: Config
    weights: tuple[np.ndarray, ...]
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Network:
    """A functional model with one input, image (B, S, S, 1) float32 in [0, 255].

    Attributes:
        layers: by name, in an order in which each comes after those before it.
        outputs: the names of the model's outputs -> the layers that compute them.
        side: S.
    """

    layers: dict[str, Layer]
    outputs: dict[str, str]
    side: int

    def forward(self, pixels: np.ndarray, points: Iterable[str]) -> dict[str, np.ndarray]:
        """Compute named points, layers or outputs, one radiograph at a time.

        Args:
            pixels: (N, S, S) uint8.
            points: names.

        Returns:
            {point: (N, ...) float32}.

        Raises:
            Unsupported: there is no such point, or a layer before it is not computed here.
        """
        points = tuple(points)
        found = [self._one(image[None, :, :, None].astype(np.float32), points) for image in pixels]
        return {p: np.concatenate([one[p] for one in found]).astype(np.float32) for p in points}

    def _one(self, image: np.ndarray, points: tuple[str, ...]) -> dict[str, np.ndarray]:
        wanted = {point: self.outputs.get(point, point) for point in points}
        values, needed = {}, self._needed(wanted.values())
        for name, layer in self.layers.items():
            if name not in needed:
                continue
            if layer.kind == INPUT:
                values[name] = image
            else:
                given = (values[n] for n in layer.inputs)
                values[name] = LAYERS[layer.kind](layer.config, layer.weights, *given)
        return {point: values[name] for point, name in wanted.items()}

    def _needed(self, names: Iterable[str]) -> set[str]:
        pending, needed = list(names), set()
        while pending:
            name = pending.pop()
            if name not in self.layers:
                raise Unsupported(f"there is no layer {name!r}")
            if name not in needed:
                needed.add(name)
                pending += self.layers[name].inputs
        return needed


def open_network(path: str | os.PathLike) -> Network:
    """Open a `.keras` file.

    Raises:
        Unsupported: it has a layer that is not computed here, or is of another form.
        OSError, ValueError, KeyError, zipfile.BadZipFile: it is damaged.
    """
    import h5py

    with zipfile.ZipFile(path) as archive:
        refuse_bomb(archive, Path(path))
        if archive.getinfo("config.json").file_size > MAX_CONFIG:
            raise Unsupported("its config.json is too long")
        config = parse_json(archive.read("config.json"), MAX_DEPTH)
        weights = archive.read("model.weights.h5")
    if config.get("class_name") != "Functional":
        raise Unsupported(f"a {config.get('class_name')} model")
    config = config["config"]
    with h5py.File(io.BytesIO(weights)) as file:
        kept = {
            str(group["vars"].attrs["name"]): tuple(
                group["vars"][str(i)][()] for i in range(len(group["vars"]))
            )
            for group in file["layers"].values()
            if "name" in group["vars"].attrs
        }
    layers = {raw["name"]: _layer(raw, kept) for raw in config["layers"]}
    image = [layer for layer in layers.values() if layer.kind == INPUT]
    if len(image) != 1:
        raise Unsupported(f"{len(image)} inputs")
    shape = image[0].config["batch_shape"]
    if len(shape) != 4 or shape[1] != shape[2] or shape[3] != 1 or not isinstance(shape[1], int):
        raise Unsupported(f"images of shape {shape}")
    return Network(_sorted(layers), _outputs(config["output_layers"]), shape[1])


def _layer(raw: dict[str, Any], weights: dict[str, tuple[np.ndarray, ...]]) -> Layer:
    kind, config, nodes = raw["class_name"], raw["config"], raw["inbound_nodes"]
    if kind != INPUT and kind not in LAYERS:
        raise Unsupported(f"a layer {kind}")
    policy = config.get("dtype", "float32")
    name = policy["config"]["name"] if isinstance(policy, dict) else policy
    if name != "float32" or len(nodes) > 1:
        raise Unsupported(f"a layer in {name}, or used {len(nodes)} times")
    inputs = []
    for item in nodes[0]["args"] if nodes else ():
        for tensor in item if isinstance(item, list) else [item]:
            history = tensor["config"]["keras_history"]
            if history[1:] != [0, 0]:
                raise Unsupported("a layer that is used several times")
            inputs.append(history[0])
    return Layer(kind, config, weights.get(raw["name"], ()), tuple(inputs))


def _outputs(raw: Any) -> dict[str, str]:
    """Return the outputs by name; a single one has the name of its layer."""
    if isinstance(raw, dict):
        return {name: layer for name, (layer, *_) in raw.items()}
    several = raw if raw and isinstance(raw[0], list) else [raw]
    return {layer: layer for layer, *_ in several}


def _sorted(layers: dict[str, Layer]) -> dict[str, Layer]:
    """Return layers in an order in which each comes after those before it."""
    done: dict[str, Layer] = {}
    left = dict(layers)
    while left:
        ready = [n for n, layer in left.items() if all(i in done for i in layer.inputs)]
        if not ready:
            raise Unsupported("a graph with a circle, or with a missing layer")
        for name in ready:
            done[name] = left.pop(name)
    return done
