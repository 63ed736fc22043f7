"""Augmentation on the accelerator: every geometric change composed into one resample, then
intensity jitter, then blanks.

Layers of the training net only; a saved model holds none of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import keras
from keras import ops


@dataclass(frozen=True)
class Strength:
    """How far each change may go; every draw is uniform and independent for each image.

    Attributes:
        area: smallest share of the image's area that a random resized crop keeps.
        aspect: largest factor between the crop's sides.
        rotation, shear: degrees, either way.
        shift: share of the side, either way, beyond the crop's own position.
        brightness: share of the range [0, 255] added, either way.
        contrast, gamma: largest factor; drawn log-uniformly in [1/f, f].
        blur: largest weight of a 5-tap binomial blur.
        noise: largest standard deviation of Gaussian noise, grey levels.
        largest_area: largest share; above 1 the radiograph shrinks inside a black frame.
        border: widest black border, share of the side; each of the four sides has its own.
        blank: largest side of a rectangle of one grey, share of the side (Zhong et al. 2020, Random
            Erasing, algorithm 1).
        chance: of a border, and of a rectangle, an image.
    """

    area: float
    aspect: float
    rotation: float
    shear: float
    shift: float
    brightness: float
    contrast: float
    gamma: float
    blur: float
    noise: float
    largest_area: float = 1.0
    border: float = 0.0
    blank: float = 0.0
    chance: float = 0.0


_STRONG = Strength(
    area=0.6, aspect=1.2, rotation=12, shear=6, shift=0.04,
    brightness=0.12, contrast=1.4, gamma=1.5, blur=0.6, noise=6.0,
)  # fmt: skip
STRENGTHS: dict[str, Strength | None] = {
    "none": None,
    "light": Strength(
        area=0.85, aspect=1.05, rotation=7, shear=0, shift=0.02,
        brightness=0.05, contrast=1.1, gamma=1.1, blur=0.0, noise=0.0,
    ),
    "strong": _STRONG,
    "robust": replace(
        _STRONG, largest_area=1.3, aspect=1.3, blur=0.8, noise=8.0,
        border=0.12, blank=0.3, chance=0.3,
    ),
}  # fmt: skip


class RandomAugment(keras.layers.Layer):
    """Random resized crop, flip, rotation, shear and shift in one resample; brightness, contrast,
    gamma, blur and noise.

    Takes and gives images (B, H, W, 1) float32 in [0, 255]; the identity when not training. What
    comes in from outside the radiograph is black, as beyond a collimator.
    """

    def __init__(self, strength: str = "light", seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        if strength not in STRENGTHS:
            raise ValueError(
                f"strength must be one of {tuple(STRENGTHS)}. Received: strength={strength!r}"
            )
        self.strength, self.seed = strength, seed
        self.random = keras.random.SeedGenerator(seed)
        # TensorFlow's projective transform has no XLA kernel
        self.supports_jit = keras.backend.backend() != "tensorflow"

    def call(self, images, training=False):
        strength = STRENGTHS[self.strength]
        if not training or strength is None:
            return images
        return self._blank(self._jitter(self._warp(images, strength), strength), strength)

    def _draw(self, count, low: float, high: float):
        return keras.random.uniform((count,), low, high, seed=self.random)

    def _warp(self, images, s: Strength):
        count, height, width = ops.shape(images)[0], images.shape[1], images.shape[2]
        side = ops.sqrt(self._draw(count, s.area, s.largest_area))
        aspect = ops.exp(self._draw(count, -math.log(s.aspect), math.log(s.aspect)) / 2)
        zoom_x, zoom_y = side * aspect, side / aspect
        angle, shear = (self._draw(count, -d, d) * (math.pi / 180) for d in (s.rotation, s.shear))
        flip = ops.where(self._draw(count, 0.0, 1.0) < 0.5, -1.0, 1.0)
        slack_x, slack_y = ops.abs(1 - zoom_x) / 2 + s.shift, ops.abs(1 - zoom_y) / 2 + s.shift
        shift_x = self._draw(count, -1.0, 1.0) * slack_x * width
        shift_y = self._draw(count, -1.0, 1.0) * slack_y * height
        # Output pixel -> input pixel about the centre: rotation . shear . zoom . flip, then the
        # crop's position.
        cos, sin, tan = ops.cos(angle), ops.sin(angle), ops.tan(shear)
        a, b = cos * zoom_x * flip, (cos * tan - sin) * zoom_y
        d, e = sin * zoom_x * flip, (sin * tan + cos) * zoom_y
        centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
        c = centre_x + shift_x - a * centre_x - b * centre_y
        f = centre_y + shift_y - d * centre_x - e * centre_y
        zero = ops.zeros_like(a)
        matrix = ops.stack([a, b, c, d, e, f, zero, zero], axis=1)
        return ops.image.affine_transform(
            images, matrix, interpolation="bilinear", fill_mode="constant"
        )

    def _jitter(self, images, s: Strength):
        count = ops.shape(images)[0]

        def each(low, high):
            return ops.reshape(self._draw(count, low, high), (-1, 1, 1, 1))

        def factor(largest):
            return ops.exp(each(-math.log(largest), math.log(largest)))

        x = ops.clip(images / 255.0, 0.0, 1.0)
        x = ops.power(x + 1e-6, factor(s.gamma))
        mean = ops.mean(x, axis=(1, 2, 3), keepdims=True)
        x = (x - mean) * factor(s.contrast) + mean + each(-s.brightness, s.brightness)
        if s.blur:
            # a negative weight sharpens
            x = x + each(-s.blur, s.blur) * (_binomial_blur(x) - x)
        if s.noise:
            largest = each(0.0, s.noise / 255)
            x = x + largest * keras.random.normal(ops.shape(x), seed=self.random)
        return ops.clip(x, 0.0, 1.0) * 255.0

    def _blank(self, images, s: Strength):
        """Cover the borders with black and a rectangle with one grey, each in `chance` of the
        images.
        """
        if not s.chance:
            return images
        count, height, width = ops.shape(images)[0], images.shape[1], images.shape[2]
        down = ops.reshape((ops.arange(height, dtype="float32") + 0.5) / height, (1, -1, 1, 1))
        across = ops.reshape((ops.arange(width, dtype="float32") + 0.5) / width, (1, 1, -1, 1))

        def some(largest):
            return ops.reshape(self._draw(count, 0.0, largest), (-1, 1, 1, 1))

        def lot():
            return ops.reshape(self._draw(count, 0.0, 1.0) < s.chance, (-1, 1, 1, 1))

        framed = lot()
        rows = (down < some(s.border)) | (down > 1 - some(s.border))
        outside = rows | (across < some(s.border)) | (across > 1 - some(s.border))
        images = ops.where(framed & outside, 0.0, images)
        tall, wide, covered = some(s.blank), some(s.blank), lot()
        top, left = some(1.0) * (1 - tall), some(1.0) * (1 - wide)
        inside = (down >= top) & (down < top + tall) & (across >= left) & (across < left + wide)
        return ops.where(covered & inside, some(255.0), images)

    def get_config(self):
        return {**super().get_config(), "strength": self.strength, "seed": self.seed}


def _binomial_blur(images):
    """Return images (B, H, W, 1) convolved with the binomial kernel [1 4 6 4 1] / 16 along both
    sides.
    """
    taps = ops.convert_to_tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=images.dtype) / 16.0
    images = ops.conv(images, ops.reshape(taps, (5, 1, 1, 1)), padding="same")
    return ops.conv(images, ops.reshape(taps, (1, 5, 1, 1)), padding="same")
