"""Derive a model image -> embedding from any classifier: flat, nested, or made elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import keras

POINT = "embedding"
_PASSED_OVER = (keras.layers.Dropout, keras.layers.Activation, keras.layers.Identity)


def embedding_model(model: keras.Model) -> keras.Model:
    """Return a model from the same input to the penultimate vector, sharing layers and weights.

    That vector is the output of the layer named `embedding`, at the top or inside a nested model.
    If there is none, it is the input of the last Dense layer (before its dropout).

    Returns:
        Model image -> (B, D).

    Raises:
        ValueError: there is neither such a layer nor a Dense head, or the output is not one vector
            per image.
    """
    tensor = _named(model)
    tensor = _before_head(model) if tensor is None else tensor
    if tensor is None or len(tensor.shape) != 2:
        found = "none" if tensor is None else f"a tensor of shape {tuple(tensor.shape)}"
        raise ValueError(
            f"an embedding is the output (B, D) of a layer named {POINT!r}, or the input of the "
            f"last Dense layer. Received: {found}. The model ends in: "
            f"{[layer.name for layer in model.layers[-5:]]}"
        )
    return keras.Model(model.inputs[0] if len(model.inputs) == 1 else model.inputs, tensor)


def with_embedding(model: keras.Model) -> keras.Model:
    """Return a model with the layers `embedding` and, if it has logits, `logits`, for
    `inference.forward`; the model itself if it has both.
    """
    if any(layer.name == POINT for layer in model.layers):
        return model
    inner = embedding_model(model)
    outputs = [keras.layers.Identity(name=POINT)(inner.output)]
    outputs += [layer.output for layer in model.layers if layer.name == "logits"]
    return keras.Model(inner.inputs, outputs)


def _steps(model: keras.Model) -> Iterator[tuple]:
    """Walk the graph backwards from the outputs, yielding (operation, its input tensors, its output
    tensor).
    """
    pending, seen = list(model.outputs), {id(t) for t in model.inputs}
    while pending:
        tensor = pending.pop(0)
        operation, given = _made_by(tensor)
        if id(tensor) not in seen and operation is not None:
            seen.add(id(tensor))
            yield operation, given, tensor
            pending += given


def _made_by(tensor) -> tuple:
    """Return (operation, the tensors it was called on) of the call that made a tensor."""
    operation, node, _ = tensor._keras_history  # the only record of it
    return operation, [] if operation is None else operation._inbound_nodes[node].input_tensors


def _named(model: keras.Model):
    for operation, given, tensor in _steps(model):
        if operation.name == POINT:
            return tensor
        if isinstance(operation, keras.Model) and (inner := _named(operation)) is not None:
            return keras.Model(operation.inputs[0], inner)(given[0])
    return None


def _before_head(model: keras.Model):
    tensor = model.outputs[0]
    ends = {id(t) for t in model.inputs}
    while id(tensor) not in ends:
        operation, given = _made_by(tensor)
        if isinstance(operation, keras.Model):
            inner = _before_head(operation)
            return None if inner is None else keras.Model(operation.inputs[0], inner)(given[0])
        tensor = given[0]
        if isinstance(operation, keras.layers.Dense):
            return _undropped(tensor)
        if operation.weights:
            return None
    return None


def _undropped(tensor):
    operation, given = _made_by(tensor)
    while isinstance(operation, _PASSED_OVER) and given:
        tensor = given[0]
        operation, given = _made_by(tensor)
    return tensor
