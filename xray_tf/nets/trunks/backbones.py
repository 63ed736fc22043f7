"""Build a backbone, from grey pixels to `features`, as one flat graph of stock layers.

A backbone is a row of the registry or the name of a model in keras.applications.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable

import keras
from keras import layers

from xray_tf.nets.trunks import weights as trunk_weights
from xray_tf.options import is_pretrained
from xray_tf.registry import BACKBONES, Backbone

# Builders in keras.applications by the preprocessing that their weights expect (preprocess_input of
# each family); `none` scales inside its own graph. ConvNeXt, InceptionResNetV2 and MobileNetV3 are
# missing because they contain layers or operations that plain Keras would not open.
APPLICATIONS: dict[str, tuple[str, ...]] = {
    "caffe": ("ResNet50", "ResNet101", "ResNet152", "VGG16", "VGG19"),
    "tf": (
        "ResNet50V2",
        "ResNet101V2",
        "ResNet152V2",
        "InceptionV3",
        "Xception",
        "MobileNet",
        "MobileNetV2",
        "NASNetMobile",
        "NASNetLarge",
    ),
    "torch": ("DenseNet121", "DenseNet169", "DenseNet201"),
    "efficientnet": tuple(f"EfficientNetB{n}" for n in range(8)),
    "none": (
        "EfficientNetV2B0",
        "EfficientNetV2B1",
        "EfficientNetV2B2",
        "EfficientNetV2B3",
        "EfficientNetV2S",
        "EfficientNetV2M",
        "EfficientNetV2L",
    ),
}
# layers before the backbone
PREPARATION = (
    "image",
    "standardize",
    "standardize_rescale",
    "grey_to_three",
    "adapter",
    "preprocess",
)
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, RGB in [0, 1]
# from standardised grey back to the range that a backbone's own scaling expects
_STANDARD_SCALE, _STANDARD_OFFSET = 50.0, 128.0


def describe(backbone: str) -> Backbone:
    """Return a backbone's row of the registry, or make one for another model in keras.applications
    (with `embedding` 0 and no `stages`).

    Raises:
        ValueError: there is no such backbone, or it needs layers that are not stock Keras.
    """
    if backbone in BACKBONES:
        return BACKBONES[backbone]
    for preprocessing, names in APPLICATIONS.items():
        if backbone in names:
            return Backbone("applications", preprocessing, 0, (), builder=backbone)
    known = sorted(name for names in APPLICATIONS.values() for name in names)
    if isinstance(getattr(keras.applications, backbone, None), Callable):
        raise ValueError(
            f"backbone={backbone!r} contains layers that are not stock Keras layers, "
            "so a saved model would not open with plain Keras. "
            f"Expected one of {', '.join(BACKBONES)}, or {', '.join(known)}."
        )
    close = difflib.get_close_matches(backbone, [*BACKBONES, *known], n=4, cutoff=0.4) or [
        "MobileNetV2",
        "DenseNet121",
        "EfficientNetB0",
    ]
    raise ValueError(
        f"Unknown backbone. Expected a row of the registry ({', '.join(BACKBONES)}) or a model in "
        f"keras.applications such as {', '.join(close)}. Received: backbone={backbone!r}"
    )


def build_features(
    image: keras.KerasTensor,
    backbone: str,
    weights: str | None = "imagenet",
    adapter: bool = False,
    standardize: bool = False,
    seed: int = 0,
) -> keras.KerasTensor:
    """Build the graph from raw grey pixels to the backbone's last feature map, named `features`.

    Args:
        image: (B, H, W, 1) float32 in [0, 255], a keras.Input named `image`; H and W may be None.
        backbone: a row of `registry.BACKBONES`, or the name of a model in keras.applications.
        weights: `imagenet`, None (random, by `seed`), or the path of a weights file (see
            `weights.load_trunk`).
        adapter: make three channels from the grey one by a learnable 3 x 3 convolution, which is
            initialised to copy it exactly.
        standardize: first bring every image to mean 128 and standard deviation 50.
        seed: seed of the random weights.

    Returns:
        (B, h, w, C) float32, also under mixed precision.

    Raises:
        ValueError: the backbone is unknown, or the weights file is of another architecture.
        WeightsUnavailable: the ImageNet weights are neither in a file nor can they be downloaded.
    """
    x = _standardized(image) if standardize else image
    _, deep = build_trunk(x, backbone, weights, adapter, seed)
    # Grad-CAM and the head read this point, so it is float32 under every policy
    return layers.Identity(name="features", dtype="float32")(deep)


def build_trunk(
    grey: keras.KerasTensor,
    backbone: str,
    weights: str | None = "imagenet",
    adapter: bool = False,
    seed: int = 0,
) -> tuple[keras.KerasTensor | None, keras.KerasTensor]:
    """Build the trunk over grey pixels (B, H, W, 1) float32, about in [0, 255].

    Args and errors as in `build_features`.

    Returns:
        (its last map of twice the final side, or None where it has none, its last map).
    """
    row = describe(backbone)
    deep = _trunk(_preprocess(_three_channels(grey, adapter), row.preprocessing), row)
    trunk = [layer for layer in keras.Model(grey, deep).layers if layer.name not in PREPARATION]
    trunk = [layer for layer in trunk if not isinstance(layer, layers.InputLayer)]
    if is_pretrained(weights):
        trunk_weights.load_trunk(
            trunk, backbone, row, weights, donor=lambda **kwargs: _donor(row, **kwargs)
        )
    else:
        _draw_weights(trunk, seed)
    sides = deep.shape[1:3]
    fine = [
        layer.output
        for layer in trunk
        if _halves(layer.output.shape) == sides != layer.output.shape[1:3]
    ]
    return (fine[-1] if fine else None), deep


def _halves(shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """Return the sides after one more stride of 2."""
    return tuple(n and -(-n // 2) for n in shape[1:3]) if len(shape) == 4 else ()


def _standardized(image: keras.KerasTensor) -> keras.KerasTensor:
    x = layers.LayerNormalization(
        axis=[1, 2, 3], center=False, scale=False, name="standardize", dtype="float32"
    )(image)
    return layers.Rescaling(
        _STANDARD_SCALE, offset=_STANDARD_OFFSET, name="standardize_rescale", dtype="float32"
    )(x)


def _three_channels(x: keras.KerasTensor, adapter: bool) -> keras.KerasTensor:
    if not adapter:
        return layers.Concatenate(name="grey_to_three", dtype="float32")([x, x, x])
    convolution = layers.Conv2D(
        3, 3, padding="same", kernel_initializer="zeros", name="adapter", dtype="float32"
    )
    x = convolution(x)
    kernel, bias = convolution.get_weights()  # (3, 3, 1, 3), (3,)
    kernel[1, 1] = 1.0
    convolution.set_weights([kernel, bias])
    return x


def _preprocess(x: keras.KerasTensor, mode: str) -> keras.KerasTensor:
    """Scale (B, H, W, 3) pixels in [0, 255] as the backbone's weights expect. All channels are
    equal, so BGR only affects the order of the offsets.
    """
    if mode == "none":
        return x
    scale, offset = {
        "caffe": (1.0, [-103.939, -116.779, -123.68]),
        "torch": (
            [1 / (255 * s) for s in _DEVIATION],
            [-m / s for m, s in zip(_MEAN, _DEVIATION, strict=True)],
        ),
        "tf": (1 / 127.5, -1.0),
        "lite": (1 / 128, -127 / 128),
        # EfficientNetB0-B7 lack a division by the deviation (tensorflow issue 49930). With
        # weights="imagenet" Keras adds a layer for it inside the graph. The same correction before
        # the backbone gives one graph for all weights:
        # (kx + 255m(1-k)) / 255 - m = k (x / 255 - m).
        "efficientnet": (
            [s**-0.5 for s in _DEVIATION],
            [255 * m * (1 - s**-0.5) for m, s in zip(_MEAN, _DEVIATION, strict=True)],
        ),
    }[mode]
    return layers.Rescaling(scale, offset=offset, name="preprocess", dtype="float32")(x)


def _trunk(x: keras.KerasTensor, row: Backbone) -> keras.KerasTensor:
    if row.family == "applications":
        return getattr(keras.applications, row.builder)(
            include_top=False, weights=None, input_tensor=x
        ).output
    return {"resnet": _resnet, "efficientnet_lite": _efficientnet_lite}[row.family](x, row.blocks)


def _donor(row: Backbone, include_top: bool = False, weights: str | None = None) -> keras.Model:
    """Build the backbone alone, as its weights files expect it, from preprocessed (B, H, W, 3)."""
    if row.family == "applications":
        shape = None if include_top else (224, 224, 3)
        return getattr(keras.applications, row.builder)(
            include_top=include_top, weights=weights, input_shape=shape
        )
    inputs = keras.Input((None, None, 3))
    return keras.Model(inputs, _trunk(inputs, row))


def _efficientnet_lite(
    x: keras.KerasTensor, blocks: tuple[tuple[int, ...], ...]
) -> keras.KerasTensor:
    """Build EfficientNet (Tan & Le 2019) without squeeze-and-excitation and with ReLU6; the stem
    has 32 and the top 1280 filters.
    """
    x = _conv_bn_relu6(x, "stem", 32, kernel=3, stride=2)
    for stage, (kernel, repeats, filters_in, filters_out, expansion, stride) in enumerate(
        blocks, start=1
    ):
        for block in range(1, repeats + 1):
            name, entry = f"stage{stage}_block{block}", x
            if expansion > 1:
                x = _conv_bn_relu6(x, f"{name}_expand", filters_in * expansion)
            x = layers.DepthwiseConv2D(
                kernel,
                strides=stride,
                padding="same",
                use_bias=False,
                depthwise_initializer=_fan_out(),
                name=f"{name}_depthwise_conv",
            )(x)
            x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_depthwise_bn")(x)
            x = layers.ReLU(max_value=6.0, name=f"{name}_depthwise_relu6")(x)
            x = layers.Conv2D(
                filters_out,
                1,
                use_bias=False,
                kernel_initializer=_fan_out(),
                name=f"{name}_project_conv",
            )(x)
            x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_project_bn")(x)
            if stride == 1 and filters_in == filters_out:
                x = layers.Add(name=f"{name}_add")([entry, x])
            filters_in, stride = filters_out, 1
    return _conv_bn_relu6(x, "top", 1280)


def _conv_bn_relu6(
    x: keras.KerasTensor, name: str, filters: int, kernel: int = 1, stride: int = 1
) -> keras.KerasTensor:
    x = layers.Conv2D(
        filters,
        kernel,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer=_fan_out(),
        name=f"{name}_conv",
    )(x)
    x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(max_value=6.0, name=f"{name}_relu6")(x)


def _fan_out() -> keras.initializers.Initializer:
    return keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="truncated_normal")


def _resnet(x: keras.KerasTensor, blocks: tuple[tuple[int, ...], ...]) -> keras.KerasTensor:
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
    x = layers.Conv2D(
        filters,
        kernel,
        strides=stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name=f"{name}_bn")(x)


def _draw_weights(trunk: list[keras.Layer], seed: int) -> None:
    """Draw the random kernels again from `seed`: builders take no seed, and the global generator
    must not be set here.
    """
    kernels = (
        ("kernel", "kernel_initializer"),
        ("kernel", "depthwise_initializer"),
        ("depthwise_kernel", "depthwise_initializer"),
        ("pointwise_kernel", "pointwise_initializer"),
    )
    drawn = 0
    for layer in trunk:
        for kernel, initializer in kernels:
            if getattr(layer, kernel, None) is None or "seed" not in (
                config := _config(getattr(layer, initializer, None))
            ):
                continue
            drawn += 1
            fresh = type(getattr(layer, initializer)).from_config(
                {**config, "seed": (int(seed) * 100_003 + drawn) % 2**31}
            )
            variable = getattr(layer, kernel)
            variable.assign(fresh(variable.shape, dtype=variable.dtype))


def _config(initializer: keras.initializers.Initializer | None) -> dict:
    return initializer.get_config() if initializer is not None else {}


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
        and not isinstance(layer, layers.Normalization)
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
