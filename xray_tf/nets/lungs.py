"""Find the lungs in a frontal chest radiograph: a small U-Net of stock layers (Ronneberger et al.
2015), and its use on images of any size.

The points, each a layer of that name (after `prefix`, where one is given):
    image               (B, S, S, 1) float32 in [0, 255]
    lung_logits_coarse  (B, 56, 56, 1), what the net itself computes
    lung_logits         (B, S, S, 1), the same interpolated
    lungs               (B, S, S, 1) float32 in [0, 1], the sigmoid of `lung_logits`
    chest_logit         (B, 1)
    chest               (B, 1) float32 in [0, 1], its sigmoid: how sure the net is that two upright
                        lungs are in the picture

The net works at `SIDE` = 112 pixels whatever S is: the image is averaged down, the logits are
interpolated up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import keras
import numpy as np
from keras import layers

from xray_tf.data.chest.lung_masks import fit_to, resize_lungs

SIDE = 112  # pixels: what the net works at
COARSE = 56  # pixels: side of the logits before they are interpolated
POINTS = ("lung_logits_coarse", "lung_logits", "lungs", "chest_logit", "chest")


@dataclass(frozen=True)
class LungNetShape:
    """The shape of the net.

    Attributes:
        widths: channels at 1/2, 1/4, 1/8 and 1/16 of the working side.
        depths: residual blocks at each of them on the way down.
        expansion: of the inverted residual blocks of the two coarse levels.
        kernel: side of the depthwise kernels of the coarsest level.
    """

    widths: tuple[int, ...] = (16, 32, 64, 80)
    depths: tuple[int, ...] = (1, 1, 2, 2)
    expansion: int = 2
    kernel: int = 5


def build_lung_net(
    image_size: int = 224,
    shape: LungNetShape | None = None,
    seed: int = 0,
    norm: Callable[..., layers.Layer] | None = None,
) -> keras.Model:
    """Build an untrained segmenter.

    Args:
        image_size: S, a multiple of `SIDE`.
        shape: the shipped one when None.
        seed: of the initial weights.
        norm: makes the batch normalisation, given its name; None for a net without, whose
            convolutions have a bias (see `fold_norms`).

    Returns:
        Model from image (B, S, S, 1) float32 in [0, 255] to a dict of float32 in [0, 1]: `lungs`
        (B, S, S, 1) and `chest` (B, 1).
    """
    image = keras.Input((image_size, image_size, 1), name="image")
    points = lung_points(image, shape, seed, norm)
    return keras.Model(image, {name: points[name] for name in ("lungs", "chest")}, name="lungs")


def lung_points(
    image,
    shape: LungNetShape | None = None,
    seed: int = 0,
    norm: Callable[..., layers.Layer] | None = None,
    prefix: str = "",
) -> dict[str, keras.KerasTensor]:
    """Lay the segmenter over an image inside a functional graph.

    A classifier that looks at lungs lays it over its own image, makes its model, and then gives
    the layers their weights with `copy_weights`.

    Args:
        image: (B, S, S, 1) float32 in [0, 255], S a multiple of `SIDE`.
        shape, seed, norm: as in `build_lung_net`.
        prefix: before the name of every layer.

    Returns:
        The points by name, `POINTS`.

    Raises:
        ValueError: S is not a multiple of `SIDE`.
    """
    side = image.shape[1]
    if side != image.shape[2] or side < SIDE or side % SIDE:
        raise ValueError(f"image_size must be a multiple of {SIDE}. Received: image_size={side}")
    shape = shape or LungNetShape()
    unit = _Units(seed, norm, prefix)
    x = image
    if side != SIDE:
        x = layers.AveragePooling2D(side // SIDE, name=f"{prefix}to_working_side")(x)
    # Every image gets mean 0 and deviation 1: exposure and contrast then say nothing.
    x = layers.LayerNormalization(
        axis=(1, 2, 3), epsilon=1.0, center=False, scale=False, name=f"{prefix}standardize_lungs"
    )(x)
    skips = _encode(unit, x, shape)
    chest = _chest_logit(unit, skips[-1])
    x = _decode(unit, skips, shape)
    how = {"padding": "same", "kernel_initializer": unit.draw()}
    coarse = layers.Conv2D(1, 3, name=f"{prefix}lung_logits_coarse", **how)(x)
    logits = layers.UpSampling2D(
        side // COARSE, interpolation="bilinear", name=f"{prefix}lung_logits"
    )(coarse)
    lungs = layers.Activation("sigmoid", name=f"{prefix}lungs")(logits)
    sure = layers.Activation("sigmoid", name=f"{prefix}chest")(chest)
    return dict(zip(POINTS, (coarse, logits, lungs, chest, sure), strict=True))


def copy_weights(net: keras.Model, model: keras.Model, prefix: str = "") -> None:
    """Give the layers that `lung_points` laid into `model` the weights of a finished segmenter.

    Args:
        net: a segmenter without batch normalisation, such as `load("lungs").model`.
        model: its layers whose names begin with `prefix` are filled.
    """
    for layer in model.layers:
        if layer.weights and layer.name.startswith(prefix):
            layer.set_weights(net.get_layer(layer.name.removeprefix(prefix)).get_weights())


class _Units:
    """Makes the numbered convolutional units of one net, with batch normalisation or a bias."""

    def __init__(self, seed: int, norm: Callable[..., layers.Layer] | None, prefix: str):
        self.seed, self.norm, self.prefix, self.number = seed * 1000, norm, prefix, 0

    def draw(self) -> keras.initializers.Initializer:
        self.seed += 1
        return keras.initializers.HeNormal(seed=self.seed)

    def name(self, what: str) -> str:
        return f"{self.prefix}unit{self.number}_{what}"

    def conv(self, x, filters: int, kernel: int = 3, strides: int = 1, relu: bool = True):
        how = self._next("kernel_initializer")
        return self._finish(layers.Conv2D(filters, kernel, strides, "same", **how)(x), relu)

    def depthwise(self, x, kernel: int):
        how = self._next("depthwise_initializer")
        return self._finish(layers.DepthwiseConv2D(kernel, 1, "same", **how)(x), True)

    def _next(self, initializer: str) -> dict[str, object]:
        self.number += 1
        drawn = {"use_bias": self.norm is None, initializer: self.draw()}
        return {**drawn, "name": self.name("conv")}

    def _finish(self, x, relu: bool):
        if self.norm is not None:
            x = self.norm(name=self.name("norm"))(x)
        return self.relu(x) if relu else x

    def relu(self, x, what: str = "relu"):
        return layers.ReLU(name=self.name(what))(x)

    def add(self, x, y):
        return layers.Add(name=self.name("add"))([x, y])

    def enlarge(self, x):
        return layers.UpSampling2D(2, interpolation="bilinear", name=self.name("enlarge"))(x)

    def residual(self, x):
        """Two 3 x 3 convolutions around a shortcut."""
        y = self.conv(self.conv(x, x.shape[-1]), x.shape[-1], relu=False)
        return self.relu(self.add(x, y))

    def inverted(self, x, expansion: int, kernel: int):
        """Inverted residual (Sandler et al. 2018): a wide depthwise convolution inside."""
        y = self.conv(x, expansion * x.shape[-1], 1)
        return self.add(x, self.conv(self.depthwise(y, kernel), x.shape[-1], 1, relu=False))


def _encode(unit: _Units, x, shape: LungNetShape) -> list:
    """Return the features of every level, the coarsest last."""
    found = []
    for level, (width, depth) in enumerate(zip(shape.widths, shape.depths, strict=True)):
        x = unit.conv(x, width, strides=2)
        for _ in range(depth):
            if level < 2:
                x = unit.residual(x)
            else:
                x = unit.inverted(x, shape.expansion, shape.kernel if level == 3 else 3)
        found.append(x)
    return found


def _decode(unit: _Units, found: Sequence, shape: LungNetShape):
    x = found[-1]
    for level in reversed(range(len(found) - 1)):
        width = shape.widths[level]
        x = unit.enlarge(unit.conv(x, width, 1, relu=False))
        x = unit.add(x, unit.conv(found[level], width, 1, relu=False))
        x = unit.relu(x, "joined")
        x = unit.inverted(x, shape.expansion, 3) if level == 2 else unit.conv(x, width)
    return x


def _chest_logit(unit: _Units, x):
    """What and where at the coarsest level, flattened: upright or not is a matter of place."""
    x = layers.Flatten(name=f"{unit.prefix}places")(unit.conv(x, 8, 1))
    return layers.Dense(1, kernel_initializer=unit.draw(), name=f"{unit.prefix}chest_logit")(x)


def fold_norms(
    net: keras.Model, image_size: int = 224, shape: LungNetShape | None = None
) -> keras.Model:
    """Return a net of stock layers with the same answers: its batch normalisations are folded into
    its convolutions.

    Args:
        net: a trained net of `build_lung_net`, at any image size.
        image_size: of the net returned.
        shape: what `net` was built from.
    """
    folded = build_lung_net(image_size, shape)
    for layer in folded.layers:
        if not layer.weights:
            continue
        weights = net.get_layer(layer.name).get_weights()
        if layer.name.startswith("unit"):
            norm = net.get_layer(layer.name.replace("_conv", "_norm"))
            gamma, beta, mean, variance = (np.asarray(w, np.float64) for w in norm.get_weights())
            scale = gamma / np.sqrt(variance + norm.epsilon)
            # A depthwise kernel is (h, w, C, 1), a full one (h, w, C_in, C_out)
            wide = scale[:, None] if isinstance(layer, layers.DepthwiseConv2D) else scale
            weights = [weights[0] * wide, beta - mean * scale]
        layer.set_weights([np.asarray(w, np.float32) for w in weights])
    return folded


def segment(
    net: keras.Model, images: Iterable[np.ndarray], batch_size: int = 32
) -> Iterator[tuple[np.ndarray, float]]:
    """Yield the lungs of one image after another, in memory for one batch.

    Args:
        net: finished, image (B, S, S, 1) -> {"lungs", "chest"}.
        images: arrays (H, W) uint8, each of any size.
        batch_size: images a forward pass.

    Yields:
        ((H, W) float32 in [0, 1], how sure the net is that two upright lungs are there, in [0, 1]).
    """
    side, images = net.inputs[0].shape[1], iter(images)
    while part := list(islice(images, batch_size)):
        answers = net.predict_on_batch(np.stack([fit_to(image, side) for image in part])[..., None])
        found = (np.asarray(answers[name]) for name in ("lungs", "chest"))
        for image, lungs, chest in zip(part, *found, strict=True):
            yield resize_lungs(lungs[..., 0], image.shape), float(chest[0])
