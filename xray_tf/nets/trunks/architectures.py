"""Build the trunks that are rows of numbers: EfficientNet-Lite, and ResNets of basic blocks."""

from __future__ import annotations

import keras
from keras import layers


def efficientnet_lite(
    x: keras.KerasTensor, blocks: tuple[tuple[int, ...], ...]
) -> keras.KerasTensor:
    """Build EfficientNet (Tan & Le 2019) without squeeze-and-excitation and with ReLU6; the stem
    has 32 and the top 1280 filters.
    """
    x = _relu6(_lite_conv(x, "stem", 32, kernel=3, stride=2), "stem")
    for stage, row in enumerate(blocks, start=1):
        kernel, repeats, filters_in, filters_out, expansion, stride = row
        for block in range(1, repeats + 1):
            name, entry = f"stage{stage}_block{block}", x
            if expansion > 1:
                wide = f"{name}_expand"
                x = _relu6(_lite_conv(x, wide, filters_in * expansion), wide)
            deep = f"{name}_depthwise"
            how = {"use_bias": False, "depthwise_initializer": _fan_out(), "name": f"{deep}_conv"}
            x = layers.DepthwiseConv2D(kernel, stride, "same", **how)(x)
            x = layers.BatchNormalization(epsilon=1e-3, name=f"{deep}_bn")(x)
            x = _lite_conv(_relu6(x, deep), f"{name}_project", filters_out)
            if stride == 1 and filters_in == filters_out:
                x = layers.Add(name=f"{name}_add")([entry, x])
            filters_in, stride = filters_out, 1
    return _relu6(_lite_conv(x, "top", 1280), "top")


def _lite_conv(
    x: keras.KerasTensor, name: str, filters: int, kernel: int = 1, stride: int = 1
) -> keras.KerasTensor:
    how = {"use_bias": False, "kernel_initializer": _fan_out(), "name": f"{name}_conv"}
    x = layers.Conv2D(filters, kernel, stride, "same", **how)(x)
    return layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)


def _relu6(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.ReLU(max_value=6.0, name=f"{name}_relu6")(x)


def _fan_out() -> keras.initializers.Initializer:
    return keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="truncated_normal")


def resnet(x: keras.KerasTensor, blocks: tuple[tuple[int, ...], ...]) -> keras.KerasTensor:
    """Build a ResNet of basic blocks (He et al. 2016), padded and normalised as in PyTorch and
    keras-hub, whose weights fit it.
    """
    x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = _conv_bn(x, "conv1", 64, kernel=7, stride=2)
    x = layers.ReLU(name="conv1_relu")(x)
    x = layers.ZeroPadding2D(1, name="conv1_pool_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="conv1_pool")(x)
    for stage, (filters, repeats, stride) in enumerate(blocks, start=2):
        for block in range(1, repeats + 1):
            name, shortcut = f"conv{stage}_block{block}", x
            if stride > 1 or shortcut.shape[-1] != filters:
                shortcut = _conv_bn(x, f"{name}_0", filters, kernel=1, stride=stride)
            if stride > 1:
                x = layers.ZeroPadding2D(1, name=f"{name}_1_pad")(x)
            x = _conv_bn(x, f"{name}_1", filters, kernel=3, stride=stride)
            x = layers.ReLU(name=f"{name}_1_relu")(x)
            x = _conv_bn(x, f"{name}_2", filters, kernel=3)
            x = layers.Add(name=f"{name}_add")([x, shortcut])
            x = layers.ReLU(name=f"{name}_out")(x)
            stride = 1
    return x


def _conv_bn(
    x: keras.KerasTensor, name: str, filters: int, kernel: int, stride: int = 1
) -> keras.KerasTensor:
    # With a stride, "same" would pad more at the end; the caller has padded both sides equally.
    padding = "same" if stride == 1 else "valid"
    how = {"use_bias": False, "kernel_initializer": "he_normal", "name": f"{name}_conv"}
    x = layers.Conv2D(filters, kernel, stride, padding, **how)(x)
    return layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name=f"{name}_bn")(x)
