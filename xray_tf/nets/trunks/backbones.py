"""Build a backbone, from grey pixels to `features`, as one flat graph of stock layers.

A backbone is a row of the registry or the name of a model in keras.applications.
"""

from __future__ import annotations

import keras
from keras import layers

from xray_tf.nets.trunks import weights as trunk_weights
from xray_tf.nets.trunks.architectures import efficientnet_lite, resnet
from xray_tf.options import is_pretrained
from xray_tf.registry import BACKBONES, Backbone
from xray_tf.spelling import did_you_mean

# Builders in keras.applications by the preprocessing that their weights expect (preprocess_input of
# each family); `none` scales inside its own graph. ConvNeXt, InceptionResNetV2 and MobileNetV3 are
# missing because they contain layers or operations that plain Keras would not open.
APPLICATIONS: dict[str, tuple[str, ...]] = {
    "caffe": ("ResNet50", "ResNet101", "ResNet152", "VGG16", "VGG19"),
    "tf": (
        *("ResNet50V2", "ResNet101V2", "ResNet152V2", "InceptionV3", "Xception"),
        *("MobileNet", "MobileNetV2", "NASNetMobile", "NASNetLarge"),
    ),
    "torch": ("DenseNet121", "DenseNet169", "DenseNet201"),
    "efficientnet": tuple(f"EfficientNetB{n}" for n in range(8)),
    "none": tuple(f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "S", "M", "L")),
}
# layers before the backbone
PREPARATION = (
    *("image", "standardize", "standardize_rescale"),
    *("grey_to_three", "adapter", "preprocess"),
)
Weights = str | trunk_weights.Donor | None
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
    if callable(getattr(keras.applications, backbone, None)):
        raise ValueError(
            f"backbone={backbone!r} contains layers that are not stock Keras layers, so a saved "
            "model would not open with plain Keras. Expected one of "
            f"{', '.join(BACKBONES)}, or {', '.join(known)}."
        )
    raise ValueError(
        f"Unknown backbone.{did_you_mean(backbone, [*BACKBONES, *known])} Expected a row of the "
        f"registry ({', '.join(BACKBONES)}) or a model in keras.applications, such as MobileNetV2, "
        f"DenseNet121 or EfficientNetB0. Received: backbone={backbone!r}"
    )


def build_features(
    image: keras.KerasTensor,
    backbone: str,
    weights: Weights = "imagenet",
    adapter: bool = False,
    standardize: bool = False,
    seed: int = 0,
) -> keras.KerasTensor:
    """Build the graph from raw grey pixels to the backbone's last feature map, named `features`.

    Args:
        image: (B, H, W, 1) float32 in [0, 255], a keras.Input named `image`; H and W may be None.
        backbone: a row of `registry.BACKBONES`, or the name of a model in keras.applications.
        weights: `imagenet`, None (random, by `seed`), the path of a weights file (see
            `weights.load_trunk`), or an opened model of this package.
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
    x = standardized(image) if standardize else image
    _, deep = build_trunk(x, backbone, weights, adapter, seed)
    # Grad-CAM and the head read this point, so it is float32 under every policy
    return layers.Identity(name="features", dtype="float32")(deep)


def build_trunk(
    grey: keras.KerasTensor,
    backbone: str,
    weights: Weights = "imagenet",
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
    trunk = [
        layer
        for layer in keras.Model(grey, deep).layers
        if layer.name not in PREPARATION and not isinstance(layer, layers.InputLayer)
    ]
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


def standardized(image: keras.KerasTensor) -> keras.KerasTensor:
    """Bring each image (B, S, S, 1) to mean 128 and standard deviation 50 grey levels."""
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
    return {"resnet": resnet, "efficientnet_lite": efficientnet_lite}[row.family](x, row.blocks)


def _donor(row: Backbone, include_top: bool = False, weights: str | None = None) -> keras.Model:
    """Build the backbone alone, as its weights files expect it, from preprocessed (B, H, W, 3)."""
    if row.family == "applications":
        shape = None if include_top else (224, 224, 3)
        return getattr(keras.applications, row.builder)(
            include_top=include_top, weights=weights, input_shape=shape
        )
    inputs = keras.Input((None, None, 3))
    return keras.Model(inputs, _trunk(inputs, row))


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
            variable, old = getattr(layer, kernel, None), getattr(layer, initializer, None)
            config = {} if variable is None or old is None else old.get_config()
            if "seed" in config:
                drawn += 1
                config["seed"] = (int(seed) * 100_003 + drawn) % 2**31
                fresh = type(old).from_config(config)
                variable.assign(fresh(variable.shape, dtype=variable.dtype))
