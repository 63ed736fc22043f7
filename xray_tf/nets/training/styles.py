"""Radiographs of a batch with each other's intensities, so that a classifier does not learn what
only tells the machine that made a radiograph.
"""

from __future__ import annotations

import keras
from keras import ops

GRID = 56  # side on which grey levels are counted
LEVELS = 32  # steps of the histogram


class OtherStyles(keras.layers.Layer):
    """Move some radiographs towards the style of another one of the batch: half of them towards
    its histogram, half towards the amplitudes of its Fourier transform, phases kept (Xu et al.
    2021, A Fourier-based Framework for Domain Generalization, eqs. 4 and 5). How far is uniform:
    all the way at most, half of it for amplitudes, beyond which the other's shape shows through.

    Takes and gives images (B, S, S, 1) float32 in [0, 255]; the identity when not training.

    Args:
        mixed: chance that an image is changed.
        seed: of the draws.
    """

    def __init__(self, mixed: float, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.mixed, self.seed = mixed, seed
        self.random = keras.random.SeedGenerator(seed)

    def call(self, images, training=False):
        if not training or not self.mixed:
            return images
        # Batches are shuffled; the neighbour before lends its surroundings
        others = ops.roll(images, 2, axis=0)
        count = ops.shape(images)[0]
        draw = keras.random.uniform((3, count, 1, 1, 1), seed=self.random)
        chosen = ops.cast(draw[0] < self.mixed, "float32")
        histogram = ops.cast(draw[1] < 0.5, "float32")
        far = chosen * draw[2]
        toned = images + far * histogram * (with_histogram(images, others) - images)
        mixed = with_amplitudes(toned, others, far * (1 - histogram) / 2)
        return ops.clip(mixed, 0.0, 255.0)

    def compute_output_shape(self, images_shape):
        return images_shape

    def get_config(self):
        return {**super().get_config(), "mixed": self.mixed, "seed": self.seed}


def with_histogram(images, others):
    """Return images (B, S, S, 1) under the monotone curve that gives them the histograms of others
    of the same shape, both counted on a grid of `GRID` x `GRID`.
    """
    step = 255.0 / LEVELS
    mine, theirs = _cumulative(images), _cumulative(others)
    # the inverse of a cumulative histogram is the length of what lies below
    below = (mine[:, :, None] - theirs[:, None, :-1]) / (theirs[:, None, 1:] - theirs[:, None, :-1])
    curve = step * ops.sum(ops.clip(below, 0.0, 1.0), axis=-1)
    side = ops.shape(images)[1]
    grey = ops.reshape(images, (-1, side * side)) / step
    low = ops.clip(ops.floor(grey), 0, LEVELS - 1)
    at = ops.cast(low, "int32")
    first = ops.take_along_axis(curve, at, axis=1)
    second = ops.take_along_axis(curve, at + 1, axis=1)
    return ops.reshape(first + (grey - low) * (second - first), ops.shape(images))


def _cumulative(images):
    """Return the share of pixels below each of `LEVELS` + 1 grey levels, (B, LEVELS + 1), strictly
    rising.
    """
    step = 255.0 / LEVELS
    small = ops.image.resize(images, (GRID, GRID))
    grey = ops.reshape(small, (-1, GRID * GRID, 1)) / step
    levels = ops.reshape(ops.arange(LEVELS + 1, dtype="float32"), (1, 1, -1))
    # a pixel counts over the step around it, so that no step is empty of all
    share = ops.mean(ops.clip(levels - grey + 0.5, 0.0, 1.0), axis=1)
    return share + 1e-4 * ops.reshape(levels, (1, -1))


def with_amplitudes(images, others, share):
    """Return images (B, S, S, 1) whose Fourier amplitudes are a `share` (B, 1, 1, 1) of those of
    others and the rest their own, with their own phases.
    """

    def transform(x):
        x = ops.squeeze(x, -1)
        return ops.fft2((x, ops.zeros_like(x)))

    real, imaginary = transform(images)
    own = ops.sqrt(ops.square(real) + ops.square(imaginary)) + 1e-3
    lent = ops.sqrt(sum(ops.square(part) for part in transform(others)))
    share = ops.squeeze(share, -1)
    factor = 1 + share * (lent / own - 1)
    mixed, _ = ops.ifft2((real * factor, imaginary * factor))
    return mixed[..., None]
