"""Cut a model at a feature map, image -> features -> logits, into derived models that share its
weights. Flat and nested models are supported.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

LAYER = "features"
SHOWN_LAYERS = 12
CONVOLUTIONS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    keras.layers.Conv2DTranspose,
)


@dataclass(frozen=True)
class Cut:
    """A model in two parts, each callable on tensors. Neither is trained, and both see weights
    that change later.

    Attributes:
        layer: the layer at which it is cut, `model/layer` if it is nested.
        usable_layers: every layer at which it could be cut, from input to output.
        units: the width of the logits (B, units).
        features: images (B, H, W, C) -> the layer's output (B, h, w, K).
        logits: (features, images) -> logits (B, units); the images are for paths that bypass the
            layer.
    """

    layer: str
    usable_layers: tuple[str, ...]
    units: int
    features: Callable[[Any], Any]
    logits: Callable[[Any, Any], Any]


def cut_at(model: keras.Model, layer: str | None = None) -> Cut:
    """Cut a functional or Sequential model at a feature map; arguments and errors are those of
    `GradCAM`.
    """
    _check_model(model)
    paths = _feature_maps(model)
    chosen = _chosen(paths, layer)
    features, logits = _split(model, paths[chosen], logits=True)
    return Cut(chosen, tuple(paths), _root(model).outputs[0].shape[-1], features, logits)


@dataclass(frozen=True)
class _Call:
    """One call of a layer inside a model's graph. The layer may be called in other graphs too, so
    its own `output` is not used.
    """

    layer: Any
    inputs: list
    outputs: list


def _check_model(model: keras.Model) -> None:
    if not _is_graph(model):
        advice = (
            "For an artifact use xray_tf.load(FOLDER).model, for a file "
            "keras.saving.load_model(FILE)."
        )
        if isinstance(model, keras.Model):
            advice = (
                "Build it first by calling it on keras.Input(...), or wrap it: keras.Model(x, "
                "model(x))."
            )
        raise ValueError(
            "GradCAM needs a functional or a built Sequential Keras model, whose layers can be "
            f"inspected. Received: {type(model).__name__}. {advice}"
        )
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        raise ValueError(
            "GradCAM needs a model with one image input (B, H, W, C). Received: inputs "
            f"{[tuple(t.shape) for t in model.inputs]}"
        )


def _is_graph(layer: Any) -> bool:
    inputs = isinstance(layer, keras.Model) and getattr(layer, "inputs", None)
    return bool(inputs) and hasattr(layer.outputs[0], "_keras_history")


def _calls(sources: list, output: Any) -> list[_Call]:
    """List the calls that lead from tensors to another one of their graph, each after its
    dependencies.
    """
    order, seen, pending = [], set(), [(output, False)]
    stops = {id(t) for t in sources}
    while pending:
        tensor, finished = pending.pop()
        history = tensor._keras_history
        node = history.operation._inbound_nodes[history.node_index]
        if finished:
            ends = list(node.input_tensors), list(node.output_tensors)
            order.append(_Call(history.operation, *ends))
        elif id(tensor) not in stops and id(node) not in seen:
            seen.add(id(node))
            pending.append((tensor, True))
            pending += [(t, False) for t in node.input_tensors]
    return order


def _root(model: keras.Model) -> _Call:
    """Return the call that computes the logits: that of the layer named `logits` if there is one,
    else of the last layer.
    """
    calls = [call for output in model.outputs for call in _calls(model.inputs, output)]
    named = [call for call in calls if call.layer.name == "logits"]
    if len(model.outputs) > 1 and not named:
        raise ValueError(
            f"The model has {len(model.outputs)} outputs and no layer named logits. Expected one "
            "output, or a layer of that name."
        )
    root = (named or calls or [None])[-1]
    if root is None or len(root.outputs[0].shape) != 2 or not root.outputs[0].shape[-1]:
        raise ValueError(
            "The model must end in logits or probabilities (B, classes). Received: "
            f"{[tuple(t.shape) for t in model.outputs]}"
        )
    return root


def _feature_maps(model: keras.Model) -> dict[str, tuple[_Call, ...]]:
    """Return every feature map on the way to the logits, from input to output: {name: the calls
    from the outermost model to it}.

    A feature map is an output (B, h, w, C) of a convolution, or computed from one.
    """
    found, _ = _maps_within(model, _root(model).outputs[0], False)
    if not found:
        raise ValueError(
            "The model has no convolution whose feature maps lead to the logits, so there is "
            "nothing for Grad-CAM to weight. Received layers: "
            f"{[type(layer).__name__ for layer in model.layers]}"
        )
    return found


def _maps_within(
    model: keras.Model, output: Any, convolved: bool, above: tuple[_Call, ...] = ()
) -> tuple[dict[str, tuple[_Call, ...]], bool]:
    found: dict[str, tuple[_Call, ...]] = {}
    comes_from_one = {id(t): convolved for t in model.inputs}
    made = convolved
    for call in _calls(model.inputs, output):
        made, path = any(comes_from_one[id(t)] for t in call.inputs), (*above, call)
        if _is_graph(call.layer):
            inner, made = _maps_within(call.layer, call.layer.outputs[0], made, path)
            found.update(inner)
        made = made or isinstance(call.layer, CONVOLUTIONS)
        comes_from_one.update((id(t), made) for t in call.outputs)
        if made and len(call.outputs[0].shape) == 4:
            name = "/".join(c.layer.name for c in path)
            found.pop(name, None)  # if a layer is called twice, the last call counts
            found[name] = path
    return found, made


def _chosen(paths: dict[str, tuple[_Call, ...]], layer: str | None) -> str:
    def ending_in(name: str) -> list[str]:
        found = (p for p in paths if p == name or p.endswith(f"/{name}"))
        return sorted(found, key=lambda p: p.count("/"))

    if layer is None:
        # a single position does not tell places apart
        sizes = {name: path[-1].outputs[0].shape[1:3] for name, path in paths.items()}
        places = [name for name, size in sizes.items() if tuple(size) != (1, 1)]
        return (ending_in(LAYER) or [(places or list(paths))[-1]])[0]
    if matches := ending_in(layer):
        return matches[0]
    close = difflib.get_close_matches(str(layer), paths, n=3)
    listed = ", ".join(list(paths)[-SHOWN_LAYERS:])
    meant = f" Did you mean {' or '.join(close)}?" if close else ""
    raise ValueError(
        f"layer={layer!r} is not a feature map of this model.{meant} Usable layers, the last "
        f"{min(SHOWN_LAYERS, len(paths))} of {len(paths)}: {listed}"
    )


def _split(model: keras.Model, path: tuple[_Call, ...], logits: bool) -> tuple[Callable, Callable]:
    """Cut a model at a layer into image -> features and (features, image) -> logits (or its own
    output); the image is for paths that bypass the layer.
    """
    call, inner, image = path[0], path[1:], model.inputs[0]
    before = _derived(image, call.inputs[0])
    if inner and logits and _root(model).layer is call.layer:
        front, back = _split(call.layer, inner, True)
        return lambda x: front(before(x)), lambda t, x: back(t, before(x))
    score, finish = _logits_at(_root(model)) if logits else (model.outputs[0], _same)
    after = _rest(call.outputs[0], image, score)
    if not inner:
        return _derived(image, call.outputs[0]), lambda t, x: finish(after(t, x))
    front, back = _split(call.layer, inner, False)
    return lambda x: front(before(x)), lambda t, x: finish(after(back(t, before(x)), x))


def _logits_at(root: _Call) -> tuple[Any, Callable]:
    """Return a tensor of the model's graph, and the function that turns it into logits."""
    layer = root.layer
    if _is_graph(layer):
        score, finish = _logits_at(_root(layer))
        inside = _derived(layer.inputs[0], score)
        return root.inputs[0], lambda x: finish(inside(x))
    activation = getattr(layer, "activation", None)
    bare = activation is None and not isinstance(layer, keras.layers.Softmax)
    if bare or activation is keras.activations.linear:
        return root.outputs[0], _same
    if activation not in (None, keras.activations.sigmoid, keras.activations.softmax):
        raise ValueError(
            f"The last layer {layer.name!r} has the activation "
            f"{getattr(activation, '__name__', activation)!r}. Expected sigmoid, softmax, or none "
            "(logits)."
        )
    if isinstance(layer, keras.layers.Activation | keras.layers.Softmax):
        return root.inputs[0], _same
    if not isinstance(layer, keras.layers.Dense):
        raise ValueError(
            f"The logits of the last layer {layer.name!r} ({type(layer).__name__}) cannot be read. "
            "Expected Dense, Activation or Softmax."
        )

    def again(x):
        """Compute the logits, which exist only inside the layer, from its own weights."""
        x = keras.ops.matmul(keras.ops.cast(x, "float32"), layer.kernel)
        return x + (layer.bias if layer.use_bias else 0.0)

    return root.inputs[0], again


def _derived(source: Any, target: Any) -> Callable:
    if source is target:
        return _same
    model = keras.Model(source, target)
    return lambda x: model(x, training=False)


def _rest(features: Any, image: Any, score: Any) -> Callable:
    """Derive (features, image) -> score; the image is used only if a path bypasses the
    features.
    """
    if features is score:
        return lambda t, x: t
    calls = _calls([features, image], score)
    if any(t is image for call in calls for t in call.inputs):
        model = keras.Model([features, image], score)
        return lambda t, x: model([t, x], training=False)
    model = keras.Model(features, score)
    return lambda t, x: model(t, training=False)


def _same(x: Any) -> Any:
    return x
