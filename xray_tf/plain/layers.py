"""Compute what stock Keras layers compute at inference, channels last, in float32.

A function takes the layer's configuration, its weights and its inputs; `LAYERS` is the table of
them. What a function does not know it refuses, so that TensorFlow is asked instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

Config = dict[str, Any]
Arrays = Sequence[np.ndarray]


class Unsupported(ValueError):
    """A network has a layer, or an option of one, that is not computed here."""


def only(config: Config, **wanted: Any) -> None:
    """Raise Unsupported where an option has another value than the one that is computed."""
    for name, value in wanted.items():
        found = config.get(name, value)
        found = tuple(found) if isinstance(found, list) else found
        if found != value and found is not None:
            raise Unsupported(f"{name}={found!r}")


def _same(config: Config, weights: Arrays, x: np.ndarray) -> np.ndarray:
    return x


def _rescaling(config: Config, weights: Arrays, x: np.ndarray) -> np.ndarray:
    scale, offset = (np.asarray(config[n], np.float32) for n in ("scale", "offset"))
    return x * scale + offset


def _conv(config: Config, weights: Arrays, x: np.ndarray) -> np.ndarray:
    only(config, data_format="channels_last", dilation_rate=(1, 1), groups=1)
    kernel = weights[0]
    high, wide, channels, filters = kernel.shape
    if (high, wide) == (1, 1):
        down, along = config["strides"]
        rows = x[:, ::down, ::along]
    else:
        rows = _windows(config, x, (high, wide))
        rows = rows.reshape(*rows.shape[:3], high * wide * channels)
    return _finished(config, weights, rows @ kernel.reshape(-1, filters))


def _depthwise(config: Config, weights: Arrays, x: np.ndarray) -> np.ndarray:
    only(config, data_format="channels_last", dilation_rate=(1, 1), depth_multiplier=1)
    kernel = weights[0][..., 0]
    windows = _windows(config, x, kernel.shape[:2])
    total = np.zeros((*windows.shape[:3], x.shape[-1]), np.float32)
    for row in range(kernel.shape[0]):
        for column in range(kernel.shape[1]):
            total += windows[:, :, :, row, column] * kernel[row, column]
    return _finished(config, weights, total)


def _windows(config: Config, x: np.ndarray, size: tuple[int, int], fill: float = 0) -> np.ndarray:
    """Return a view (B, h, w, kh, kw, C) of what the kernel sees at each place."""
    strides = tuple(config["strides"])
    if config["padding"] == "same":
        around = [(0, 0), *map(_around, x.shape[1:3], size, strides), (0, 0)]
        x = np.pad(x, around, constant_values=fill)
    view = np.lib.stride_tricks.sliding_window_view(x, size, axis=(1, 2))
    return view[:, :: strides[0], :: strides[1]].transpose(0, 1, 2, 4, 5, 3)


def _around(length: int, size: int, stride: int) -> tuple[int, int]:
    missing = max(0, (-(-length // stride) - 1) * stride + size - length)
    return missing // 2, missing - missing // 2


def _dense(config: Config, weights: Arrays, x: np.ndarray) -> np.ndarray:
    return _finished(config, weights, x @ weights[0])


def _finished(config: Config, weights: Arrays, x: np.ndarray) -> np.ndarray:
    x = x + weights[1] if config["use_bias"] else x
    return activated(config["activation"], x)


def _batch_norm(config: Config, weights: Arrays, x: np.ndarray) -> np.ndarray:
    if config["axis"] not in (-1, 3):
        raise Unsupported(f"axis={config['axis']!r}")
    left = list(weights)
    gamma = left.pop(0) if config["scale"] else np.float32(1)
    beta = left.pop(0) if config["center"] else np.float32(0)
    mean, variance = left
    scale = gamma / np.sqrt(variance + np.float32(config["epsilon"]))
    return x * scale + (beta - mean * scale)


def _layer_norm(config: Config, weights: Arrays, x: np.ndarray) -> np.ndarray:
    only(config, rms_scaling=False, scale=False, center=False)
    axes = config["axis"]
    axes = tuple(axes) if isinstance(axes, list) else axes
    mean = x.mean(axes, keepdims=True, dtype=np.float64)
    variance = ((x - mean) ** 2).mean(axes, keepdims=True)
    return ((x - mean) / np.sqrt(variance + config["epsilon"])).astype(np.float32)


def _relu(config: Config, weights: Arrays, x: np.ndarray) -> np.ndarray:
    only(config, negative_slope=0.0, threshold=0.0)
    return np.clip(x, 0, config.get("max_value"))


def _leaky_relu(config: Config, weights: Arrays, x: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, x, np.float32(config["negative_slope"]) * x)


def _activation(config: Config, weights: Arrays, x: np.ndarray) -> np.ndarray:
    return activated(config["activation"], x)


def activated(name: Any, x: np.ndarray) -> np.ndarray:
    """Apply an activation by its name."""
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise Unsupported(f"activation={name!r}")
    return _ACTIVATIONS[name](x)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -x))


def _softmax(x: np.ndarray) -> np.ndarray:
    raised = np.exp(x - x.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "sigmoid": _sigmoid,
    "log_sigmoid": lambda x: -np.logaddexp(0, -x),
    "softplus": lambda x: np.logaddexp(0, x),
    "exponential": np.exp,
    "tanh": np.tanh,
    "silu": lambda x: x * _sigmoid(x),
    "softmax": _softmax,
}


def _softmax_layer(config: Config, weights: Arrays, x: np.ndarray) -> np.ndarray:
    only(config, axis=-1)
    return _softmax(x)


def _add(config: Config, weights: Arrays, *inputs: np.ndarray) -> np.ndarray:
    return sum(inputs[1:], start=inputs[0])


def _subtract(config: Config, weights: Arrays, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a - b


def _multiply(config: Config, weights: Arrays, *inputs: np.ndarray) -> np.ndarray:
    product = inputs[0]
    for other in inputs[1:]:
        product = product * other
    return product


def _concatenate(config: Config, weights: Arrays, *inputs: np.ndarray) -> np.ndarray:
    return np.concatenate(inputs, config["axis"])


def _reshape(config: Config, weights: Arrays, x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), *config["target_shape"])


def _flatten(config: Config, weights: Arrays, x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)


def _cropping_1d(config: Config, weights: Arrays, x: np.ndarray) -> np.ndarray:
    before, after = config["cropping"]
    return x[:, before : x.shape[1] - after]


def _zero_padding_2d(config: Config, weights: Arrays, x: np.ndarray) -> np.ndarray:
    return np.pad(x, [(0, 0), *map(tuple, config["padding"]), (0, 0)])


def _global_average(config: Config, weights: Arrays, x: np.ndarray) -> np.ndarray:
    axes = tuple(range(1, x.ndim - 1))
    return x.mean(axes, keepdims=bool(config.get("keepdims")), dtype=np.float32)


def _max_pooling(config: Config, weights: Arrays, x: np.ndarray) -> np.ndarray:
    return _windows(config, x, tuple(config["pool_size"]), -np.inf).max((3, 4))


def _average_pooling(config: Config, weights: Arrays, x: np.ndarray) -> np.ndarray:
    size = tuple(config["pool_size"])
    inside = _windows(config, np.ones((1, *x.shape[1:3], 1), np.float32), size).sum((3, 4))
    return _windows(config, x, size).sum((3, 4)) / inside


def _up_sampling(config: Config, weights: Arrays, x: np.ndarray) -> np.ndarray:
    down, along = config["size"]
    if config["interpolation"] == "nearest":
        return x.repeat(down, 1).repeat(along, 2)
    only(config, interpolation="bilinear")
    return resized(x, x.shape[1] * down, x.shape[2] * along, False)


def _resizing(config: Config, weights: Arrays, x: np.ndarray) -> np.ndarray:
    only(config, interpolation="bilinear", crop_to_aspect_ratio=False, pad_to_aspect_ratio=False)
    return resized(x, config["height"], config["width"], bool(config.get("antialias")))


def resized(x: np.ndarray, height: int, width: int, antialias: bool) -> np.ndarray:
    """Resize (B, H, W, C) bilinearly, with half-pixel centres, as `tf.image.resize` does."""
    rows = _weights(x.shape[1], height, antialias)
    columns = _weights(x.shape[2], width, antialias)
    return np.einsum("hH,wW,bHWc->bhwc", rows, columns, x, optimize=True)


@cache
def _weights(old: int, new: int, antialias: bool) -> np.ndarray:
    """Return the share (new, old) float32 of each old pixel in each new one: a triangle, as wide as
    the larger of two pixels where it antialiases.
    """
    scale = old / new
    radius = max(scale, 1.0) if antialias else 1.0
    centres = (np.arange(new) + 0.5) * scale - 0.5
    if not antialias:
        centres = np.clip(centres, 0, old - 1)
    shares = np.maximum(0, 1 - np.abs(np.arange(old) - centres[:, None]) / radius)
    return (shares / shares.sum(1, keepdims=True)).astype(np.float32)


def _unit_norm(config: Config, weights: Arrays, x: np.ndarray) -> np.ndarray:
    only(config, axis=-1)
    return x / np.sqrt(np.maximum((x * x).sum(-1, keepdims=True), 1e-12))


LAYERS: dict[str, Callable[..., np.ndarray]] = {
    "Identity": _same,
    "Dropout": _same,
    "SpatialDropout2D": _same,
    "Rescaling": _rescaling,
    "Conv2D": _conv,
    "DepthwiseConv2D": _depthwise,
    "Dense": _dense,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "UnitNormalization": _unit_norm,
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "Activation": _activation,
    "Softmax": _softmax_layer,
    "Add": _add,
    "Subtract": _subtract,
    "Multiply": _multiply,
    "Concatenate": _concatenate,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Cropping1D": _cropping_1d,
    "ZeroPadding2D": _zero_padding_2d,
    "GlobalAveragePooling1D": _global_average,
    "GlobalAveragePooling2D": _global_average,
    "MaxPooling2D": _max_pooling,
    "AveragePooling2D": _average_pooling,
    "UpSampling2D": _up_sampling,
    "Resizing": _resizing,
}
