"""Take gradients, and trace functions, under each backend of Keras: the one place where heat maps
depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
from keras import ops


def gradient_of(function: Callable[[Any], tuple[Any, Any]], values: Any) -> tuple[Any, Any]:
    """Return the gradient of the sum of a function's scores, and what else it returns.

    Args:
        function: values -> (scores (B,), anything).
        values: a tensor of the backend, float.

    Returns:
        (the gradient, of the shape of `values`, zero where nothing depends on them; the second
        result of the function).
    """
    return _GRADIENTS[keras.backend.backend()](function, values)


def _under_tensorflow(function: Callable, values: Any) -> tuple[Any, Any]:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(values)
        scores, more = function(values)
    return tape.gradient(scores, values, unconnected_gradients="zero"), more


def _under_torch(function: Callable, values: Any) -> tuple[Any, Any]:
    import torch

    with torch.enable_grad():
        values = values.detach().requires_grad_(True)
        scores, more = function(values)
        if not scores.requires_grad:
            return torch.zeros_like(values), more
        (gradient,) = torch.autograd.grad(scores.sum(), values, allow_unused=True)
    return torch.zeros_like(values) if gradient is None else gradient, more


def _under_jax(function: Callable, values: Any) -> tuple[Any, Any]:
    import jax

    def summed(values: Any) -> tuple[Any, Any]:
        scores, more = function(values)
        return scores.sum(), more

    return jax.grad(summed, has_aux=True)(values)


_GRADIENTS = {"tensorflow": _under_tensorflow, "torch": _under_torch, "jax": _under_jax}


def resized(maps: Any, size: Any) -> Any:
    """Resize maps (B, h, w, 1) bilinearly to (B, H, W, 1); under TensorFlow the size (H, W) may be
    known only when the graph runs.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.image.resize(maps, size, "bilinear")
    how = {"interpolation": "bilinear", "data_format": "channels_last"}
    return ops.image.resize(maps, tuple(size), **how)


def largest(logits: Any) -> Any:
    """Return the place (B,) int32 of the largest of each row of (B, K)."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf  # fewer nodes in an exported graph than Keras's

        return tf.argmax(logits, -1, tf.int32)
    return ops.cast(ops.argmax(logits, -1), "int32")


def taken(logits: Any, classes: Any) -> Any:
    """Return the entry (B,) of each row of (B, K) at classes (B,)."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.gather(logits, classes, batch_dims=1)
    return ops.take_along_axis(logits, classes[:, None], axis=1)[:, 0]


def on_arrays(function: Callable, shapes: Sequence[tuple[tuple, str]]) -> Callable:
    """Return a function of arrays that calls one of tensors, and gives its results as arrays.

    Under TensorFlow it is traced here, once, for any number of rows: TensorFlow counts the traces
    of a line of code, and would warn a process that explains several models. Elsewhere it runs
    step by step, so that weights that change later are seen.

    Args:
        function: tensors -> a tensor or a tuple of tensors.
        shapes: (shape, dtype) of each tensor; None for an axis of any length.
    """
    call = function
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        signature = [tf.TensorSpec(shape, dtype) for shape, dtype in shapes]
        call = tf.function(function, input_signature=signature).get_concrete_function()

    def run(*arrays: np.ndarray) -> Any:
        tensors = [
            ops.convert_to_tensor(a, dtype) for a, (_, dtype) in zip(arrays, shapes, strict=True)
        ]
        with _without_gradients():
            found = call(*tensors)
        if isinstance(found, tuple | list):
            return tuple(ops.convert_to_numpy(value) for value in found)
        return ops.convert_to_numpy(found)

    return run


def _without_gradients():
    """Return a block in which PyTorch keeps no graph, except inside `gradient_of`."""
    if keras.backend.backend() != "torch":
        return nullcontext()
    import torch

    return torch.no_grad()
