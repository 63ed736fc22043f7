"""Radiographs of a batch with each other's surroundings, and radiographs without lungs, so that a
classifier learns to look at lungs and to say nothing where there are none.
"""

from __future__ import annotations

import keras
from keras import ops

NOISE = 30.0  # grey levels: the largest deviation of what fills emptied lungs
CLOSE = 0.5  # of the swapped surroundings begin at the lungs, others beyond what is seen
USUAL = 0.5  # of the emptied lungs are filled with the mean of the radiograph, others with any grey


class OtherSurroundings(keras.layers.Layer):
    """Put the surroundings of another radiograph of the batch around the lungs of some, and fill
    the lungs of others with grey. The surroundings begin at the lungs, so that the classifier sees
    a rim that does not belong to them, or where it sees nothing, so that only the segmenter does.

    Takes images (B, S, S, 1) float32 in [0, 255], windows (B, S, S, 1) in [0, 1] that are 1 on the
    lungs and what the classifier sees around them, lungs (B, h, w, 1) in [0, 1], and targets
    (B, T); gives images and targets. Emptied lungs count as no evidence: their target is the same
    for every class. The identity when not training.

    Args:
        swapped: chance that an image gets the surroundings of its neighbour in the batch.
        emptied: chance that an image loses its lungs.
        seed: of the draws.
    """

    def __init__(self, swapped: float, emptied: float, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.swapped, self.emptied, self.seed = swapped, emptied, seed
        self.random = keras.random.SeedGenerator(seed)

    def call(self, images, windows, lungs, targets, training=False):
        if not training:
            return images, targets
        count = ops.shape(images)[0]
        # Batches are shuffled, so the neighbour is a random other
        others = ops.roll(images, 1, axis=0)
        inside = ops.image.resize(lungs, ops.shape(images)[1:3])
        kept = windows + self._lot(count, CLOSE) * (inside - windows)
        swap = self._lot(count, self.swapped)
        images = images + swap * (1 - kept) * (others - images)
        empty = self._lot(count, self.emptied)
        level = keras.random.uniform((count, 1, 1, 1), 0.0, 255.0, seed=self.random)
        usual = ops.mean(images, axis=(1, 2, 3), keepdims=True)
        fill = level + self._lot(count, USUAL) * (usual - level)
        spread = keras.random.uniform((count, 1, 1, 1), 0.0, NOISE, seed=self.random)
        fill = fill + spread * keras.random.normal(ops.shape(images), seed=self.random)
        images = images + empty * inside * (ops.clip(fill, 0.0, 255.0) - images)
        gone = ops.reshape(empty, (-1, 1))
        even = 1.0 / max(2, targets.shape[-1])
        return images, targets + gone * (even - targets)

    def _lot(self, count, chance: float):
        drawn = keras.random.uniform((count, 1, 1, 1), seed=self.random)
        return ops.cast(drawn < chance, "float32")

    def compute_output_shape(self, images_shape, windows_shape, lungs_shape, targets_shape):
        return images_shape, targets_shape

    def get_config(self):
        own = {"swapped": self.swapped, "emptied": self.emptied, "seed": self.seed}
        return {**super().get_config(), **own}
