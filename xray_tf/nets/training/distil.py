"""Teach a trunk to give the feature maps of another one whose ImageNet weights are at hand.

At every stride that both have (4, 8, 16, 32) a convolution of 1 x 1, thrown away afterwards, maps
the student's last map to the teacher's (Romero et al. 2015, FitNets, eq. 3; all stages at once, as
in Heo et al. 2019, A Comprehensive Overhaul of Feature Distillation). Each channel of the teacher
is brought to mean 0 and variance 1 first, so that a loss of 1 is what a constant would reach, and
1 - loss is the share of the teacher's variance that the student explains.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from xray_tf.nets.classifier import derive
from xray_tf.nets.images import batches
from xray_tf.nets.lungs import copy_weights
from xray_tf.nets.training.augment import RandomAugment
from xray_tf.nets.training.loop import Phase
from xray_tf.nets.training.surroundings import OtherSurroundings
from xray_tf.nets.trunks.backbones import build_features, build_trunk, standardized
from xray_tf.nets.trunks.lung_view import PREFIX, find_lungs, show_lungs
from xray_tf.options import LUNGS
from xray_tf.options.distil import DistilOptions

STRIDES = (4, 8, 16, 32)


class FeatureDistance(keras.layers.Layer):
    """The mean over maps of their mean squared distance.

    Takes a list of maps (B, h, w, C) and another of the same shapes; gives (B, 1) float32.
    """

    def call(self, ours, theirs):
        each = [
            ops.mean(ops.square(a - b), axis=(1, 2, 3)) for a, b in zip(ours, theirs, strict=True)
        ]
        return ops.reshape(sum(each) / len(each), (-1, 1))

    def compute_output_shape(self, ours_shape, theirs_shape):
        return (ours_shape[0][0], 1)


def build_student(options: DistilOptions) -> keras.Model:
    """Return the untrained trunk (B, S, S, 1) -> `features` (B, h, w, C), from grey pixels as the
    trunk of a classifier sees them.
    """
    grey = keras.Input((options.image_size, options.image_size, 1), name="image")
    return keras.Model(grey, build_features(grey, options.backbone, None, seed=options.seed))


def distil_net(
    student: keras.Model, options: DistilOptions, lungs: keras.Model | None
) -> keras.Model:
    """Return radiograph (B, S, S, 1) float32 in [0, 255] -> loss a row (B, 1), in which only the
    student and the convolutions learn.

    Args:
        student: as `build_student` returns it; it is shared.
        options: teacher, region and augmentation.
        lungs: the segmenter, where the region is lungs.

    Raises:
        ValueError: the image size is no multiple of 32, or the teacher lacks one of the strides.
        WeightsUnavailable: the teacher's weights are not to be had.
    """
    side = options.image_size
    if side % max(STRIDES):
        raise ValueError(
            f"image_size must be a multiple of {max(STRIDES)}, so that the maps of both backbones "
            f"have the same sides. Received: image_size={side}"
        )
    image = keras.Input((side, side, 1), name="image")
    see = _eyes(options, lungs)
    x = image
    if options.region == LUNGS:
        around = OtherSurroundings(options.swapped, 0.0, options.seed + 2, name="surroundings")
        unused = keras.layers.GlobalAveragePooling2D(name="unused")(image)  # in place of targets
        x, _ = around(image, *derive(see, "window", "lungs")(image), unused)
    x = see(RandomAugment(options.augment, options.seed, name="augment", dtype="float32")(x))
    grey = keras.Input((side, side, 1), name="grey")
    _, deep = build_trunk(grey, options.teacher, "imagenet")
    teacher = maps_of(keras.Model(grey, deep), f"teacher {options.teacher}")
    teacher.trainable = False
    heads, targets = [], []
    given = maps_of(student, f"backbone {options.backbone}")(x)
    for stride, ours, theirs in zip(STRIDES, given, teacher(x), strict=True):
        head = keras.layers.Conv2D(theirs.shape[-1], 1, name=f"head_{stride}", dtype="float32")
        norm = keras.layers.BatchNormalization(
            momentum=0.9, center=False, scale=False, name=f"usual_{stride}", dtype="float32"
        )
        heads.append(head(ours))
        targets.append(norm(theirs))
    return keras.Model(image, FeatureDistance(name="distance", dtype="float32")(heads, targets))


def _eyes(options: DistilOptions, lungs: keras.Model | None) -> keras.Model:
    """Return radiograph -> what the trunk of a classifier of this region sees; it never learns."""
    image = keras.Input((options.image_size, options.image_size, 1), name="image")
    if options.region != LUNGS:
        return keras.Model(image, standardized(image))
    see = keras.Model(image, show_lungs(image, find_lungs(image)))
    copy_weights(lungs, see, PREFIX)
    see.trainable = False
    return see


def maps_of(trunk: keras.Model, name: str) -> keras.Model:
    """Return the trunk with its last map of each stride as outputs.

    Raises:
        ValueError: it has none of one stride.
    """
    side, last = trunk.inputs[0].shape[1], {}
    for layer in trunk.layers:
        shape = getattr(layer.output, "shape", ())
        if len(shape) == 4 and shape[1] == shape[2] and side % shape[1] == 0:
            last[side // shape[1]] = layer.output
    missing = [stride for stride in STRIDES if stride not in last]
    if missing:
        raise ValueError(f"{name} has no feature map of stride {missing[0]}: choose another one.")
    return keras.Model(trunk.inputs[0], [last[stride] for stride in STRIDES])


def plan_distillation(
    net: keras.Model,
    options: DistilOptions,
    pixels: np.ndarray,
    train: Sequence[int],
    val: Sequence[int],
) -> Phase:
    """Return the one phase of a distillation.

    Args:
        net: as `distil_net` returns it.
        options: epochs, batch size, learning rate and seed.
        pixels: (N, S, S) uint8, usually memory-mapped.
        train, val: the rows to learn from and to measure on.
    """
    size = min(options.batch_size, len(train))

    def feed(epoch: int):
        images = batches(pixels, train, None, size, (options.seed, epoch), True)
        return images.map(lambda x: (x, x[:, 0, 0]))  # `fit` wants a target, and ignores it

    def validate() -> dict[str, float]:
        losses = net.predict(batches(pixels, val, None, 64), verbose=0)
        return {"val_loss": float(losses.mean())}

    steps = len(train) // size
    return Phase("distil", net, feed, steps, options.epochs, options.learning_rate, validate)
