"""Find the lungs in a frontal chest radiograph: a small U-Net of stock layers, its loss, its use.

The points, each a layer of that name:
    image   (B, S, S, 1) float32 in [0, 255]
    lungs   (B, S, S, 1) float32 in [0, 1], the sigmoid of `lung_logits`
    chest   (B, 1) float32 in [0, 1], the sigmoid of `chest_logit`: how sure the net is that two
            upright lungs are in the picture

The net works at `SIDE` = 112 pixels whatever S is: the image is averaged down, the logits are
interpolated up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import keras
import numpy as np
from keras import layers, ops

SIDE = 112  # pixels: what the net works at
POINTS = ("image", "lung_logits", "chest_logit", "lungs", "chest")
IGNORE = 127  # grey of a mask's pixels that are neither lung nor not
LUNG = 255
DICE_SMOOTHING = 20.0  # pixels
CHEST_WEIGHT = 0.2


@dataclass(frozen=True)
class LungNetOptions:
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
    options: LungNetOptions | None = None,
    seed: int = 0,
    folded: bool = False,
) -> keras.Model:
    """Build an untrained segmenter.

    Args:
        image_size: S, a multiple of `SIDE`.
        options: the shape; the shipped one when None.
        seed: of the initial weights.
        folded: convolutions have a bias and no batch normalisation (see `fold_batch_norms`).

    Returns:
        Model from image (B, S, S, 1) float32 in [0, 255] to a dict of float32 in [0, 1]: `lungs`
        (B, S, S, 1) and `chest` (B, 1).

    Raises:
        ValueError: S is not a multiple of `SIDE`.
    """
    if image_size < SIDE or image_size % SIDE:
        raise ValueError(
            f"image_size must be a multiple of {SIDE}. Received: image_size={image_size}"
        )
    options = options or LungNetOptions()
    unit = _Units(seed, folded)
    image = keras.Input((image_size, image_size, 1), name="image")
    x = (
        image
        if image_size == SIDE
        else layers.AveragePooling2D(image_size // SIDE, name="to_working_side")(image)
    )
    # Every image gets mean 0 and deviation 1: exposure and contrast then say nothing.
    x = layers.LayerNormalization(
        axis=(1, 2, 3), epsilon=1.0, center=False, scale=False, name="standardize"
    )(x)
    coarse, skips = _encode(unit, x, options)
    chest = _chest_logit(unit, coarse)
    x = _decode(unit, coarse, skips, options)
    x = layers.Conv2D(
        1, 3, padding="same", kernel_initializer=unit.draw(), name="lung_logits_coarse"
    )(x)
    x = layers.UpSampling2D(image_size * 2 // SIDE, interpolation="bilinear", name="lung_logits")(x)
    lungs = layers.Activation("sigmoid", name="lungs")(x)
    return keras.Model(
        image,
        {"lungs": lungs, "chest": layers.Activation("sigmoid", name="chest")(chest)},
        name="lungs",
    )


class BatchNorm(layers.BatchNormalization):
    """Batch normalisation that trains with TensorFlow's fused kernel.

    Keras's chain of operations takes four times as long on a CPU: half of this net's training step.
    Only nets in training hold this layer; a finished one is folded.
    """

    def call(self, inputs, training=None, mask=None):
        if not training or keras.backend.backend() != "tensorflow":
            return super().call(inputs, training=training, mask=mask)
        from tensorflow.compat.v1.nn import fused_batch_norm

        outputs, mean, variance = fused_batch_norm(
            inputs, self.gamma, self.beta, epsilon=self.epsilon, is_training=True
        )
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + now * (1 - self.momentum))
        return outputs


class _Units:
    """Makes the numbered convolutional units of one net, with batch normalisation or a bias."""

    def __init__(self, seed: int, folded: bool):
        self.seed, self.folded, self.number = seed * 1000, folded, 0

    def draw(self) -> keras.initializers.Initializer:
        self.seed += 1
        return keras.initializers.HeNormal(seed=self.seed)

    def conv(self, x, filters: int, kernel: int = 3, strides: int = 1, relu: bool = True):
        self.number += 1
        how = {
            "use_bias": self.folded,
            "kernel_initializer": self.draw(),
            "name": f"unit{self.number}_conv",
        }
        return self._finish(layers.Conv2D(filters, kernel, strides, "same", **how)(x), relu)

    def depthwise(self, x, kernel: int):
        self.number += 1
        how = {
            "use_bias": self.folded,
            "depthwise_initializer": self.draw(),
            "name": f"unit{self.number}_conv",
        }
        return self._finish(layers.DepthwiseConv2D(kernel, 1, "same", **how)(x), True)

    def _finish(self, x, relu: bool):
        if not self.folded:
            x = BatchNorm(momentum=0.98, name=f"unit{self.number}_norm")(x)
        return layers.ReLU(name=f"unit{self.number}_relu")(x) if relu else x

    def residual(self, x):
        """Two 3 x 3 convolutions around a shortcut."""
        y = self.conv(self.conv(x, x.shape[-1]), x.shape[-1], relu=False)
        return layers.ReLU()(layers.Add()([x, y]))

    def inverted(self, x, expansion: int, kernel: int):
        """Inverted residual (Sandler et al. 2018): a wide depthwise convolution inside."""
        y = self.conv(x, expansion * x.shape[-1], 1)
        return layers.Add()([x, self.conv(self.depthwise(y, kernel), x.shape[-1], 1, relu=False)])


def _encode(unit: _Units, x, options: LungNetOptions):
    skips = []
    for level, (width, depth) in enumerate(zip(options.widths, options.depths, strict=True)):
        x = unit.conv(x, width, strides=2)
        for _ in range(depth):
            x = _block(unit, x, level, options)
        skips.append(x)
    return skips[-1], skips[:-1]


def _block(unit: _Units, x, level: int, options: LungNetOptions):
    if level < 2:
        return unit.residual(x)
    return unit.inverted(x, options.expansion, options.kernel if level == 3 else 3)


def _decode(unit: _Units, x, skips: Sequence, options: LungNetOptions):
    for level in reversed(range(len(skips))):
        x = unit.conv(x, options.widths[level], 1, relu=False)
        x = layers.UpSampling2D(2, interpolation="bilinear")(x)
        x = layers.ReLU()(
            layers.Add()([x, unit.conv(skips[level], options.widths[level], 1, relu=False)])
        )
        x = (
            unit.inverted(x, options.expansion, 3)
            if level == 2
            else unit.conv(x, options.widths[level])
        )
    return x


def _chest_logit(unit: _Units, x):
    """What and where at the coarsest level, flattened: upright or not is a matter of place."""
    x = unit.conv(x, 8, 1)
    return layers.Dense(1, kernel_initializer=unit.draw(), name="chest_logit")(layers.Flatten()(x))


def fold_batch_norms(
    net: keras.Model, image_size: int = 224, options: LungNetOptions | None = None
) -> keras.Model:
    """Return a net of stock layers with the same answers: its batch normalisations are folded.

    Args:
        net: a trained net of `build_lung_net`, at any image size.
        image_size: of the net returned.
        options: what `net` was built from.
    """
    folded = build_lung_net(image_size, options, folded=True)
    for layer in folded.layers:
        if not layer.weights:
            continue
        weights = net.get_layer(layer.name).get_weights()
        if layer.name.startswith("unit"):
            norm = net.get_layer(layer.name.replace("_conv", "_norm"))
            gamma, beta, mean, variance = (np.asarray(w, np.float64) for w in norm.get_weights())
            scale = gamma / np.sqrt(variance + norm.epsilon)
            # A depthwise kernel is (h, w, C, 1), a full one (h, w, C_in, C_out)
            kernel = weights[0] * (
                scale[:, None] if isinstance(layer, layers.DepthwiseConv2D) else scale
            )
            weights = [kernel, beta - mean * scale]
        layer.set_weights([np.asarray(w, np.float32) for w in weights])
    return folded


def lung_loss(targets, logits):
    """Return cross-entropy + soft Dice loss (B,) of lung logits (B, H, W, 1).

    Args:
        targets: (B, H, W, 2) float32: share of lung in [0, 1], and 1 where it is known,
            else 0. Pictures of which nothing is known cost nothing.
    """
    lung, known = targets[..., :1], targets[..., 1:]
    count = ops.sum(known, (1, 2, 3))
    entropy = ops.sum(known * cross_entropy(lung, logits), (1, 2, 3)) / ops.maximum(count, 1.0)
    probability = ops.sigmoid(logits)
    both, sizes = (
        ops.sum(known * probability * lung, (1, 2, 3)),
        ops.sum(known * (probability + lung), (1, 2, 3)),
    )
    dice = (2 * both + DICE_SMOOTHING) / (sizes + DICE_SMOOTHING)
    return ops.where(count > 0, entropy + 1 - dice, 0.0)


def chest_loss(targets, logits):
    """Return cross-entropy (B,) of chest logits (B, 1), weighted against the lungs' loss."""
    return CHEST_WEIGHT * cross_entropy(targets[:, 0], logits[:, 0])


def cross_entropy(targets, logits):
    return ops.maximum(logits, 0) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits)))


def segment(
    net: keras.Model, images: Sequence[np.ndarray] | np.ndarray, batch_size: int = 32
) -> Iterator[tuple[np.ndarray, float]]:
    """Yield the lungs of one image after another, in memory for one batch.

    Args:
        net: finished, image (B, S, S, 1) -> {"lungs", "chest"}.
        images: N arrays (H, W) uint8, each of any size.
        batch_size: images a forward pass.

    Yields:
        ((H, W) float32 in [0, 1], how sure the net is that two upright lungs are there, in [0, 1]).
    """
    side = net.input.shape[1]
    for start in range(0, len(images), batch_size):
        part = [np.asarray(image) for image in images[start : start + batch_size]]
        answers = net.predict_on_batch(np.stack([fit_to(image, side) for image in part])[..., None])
        for image, lungs, chest in zip(
            part, np.asarray(answers["lungs"]), np.asarray(answers["chest"]), strict=True
        ):
            yield (
                cv2.resize(lungs[..., 0], image.shape[::-1], interpolation=cv2.INTER_LINEAR),
                float(chest[0]),
            )


def fit_to(image: np.ndarray, side: int) -> np.ndarray:
    """Squash a grey image (H, W) uint8 to (side, side) float32.

    It is averaged where it shrinks and interpolated where it grows.
    """
    height, width = (min(n, side) for n in image.shape)
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR).astype(np.float32)
