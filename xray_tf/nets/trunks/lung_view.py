"""Show a classifier the lungs and nothing else, inside its own graph.

    image (B, S, S, 1) -> the frozen segmenter -> lungs
    seen = (image - mean inside the lungs) / deviation inside the lungs, blank outside the lungs,
           and the mean of 3 x 3 pixels of that
    seen -> trunk -> its last map of 1/16 and of 1/32 of the side -> one map of 1/16
    features = that map, weighted by lungs and by learned attention

The weights of the places are part of `features`, so every method that explains the classifier by
that layer (Grad-CAM and its relatives) carries them. All layers are stock Keras layers.
"""

from __future__ import annotations

import keras
from keras import layers

from xray_tf.nets.lungs import COARSE, SIDE, lung_points

PREFIX = "lungs_"  # of the segmenter's layers, which never learn here
LEARNED = ("fine_conv", "deep_conv", "attention", "logits")  # after the trunk
SCALE, OFFSET = 45.0, 128.0  # deviation and mean, in grey levels, of what the trunk sees
MERGED_WIDTH = 256
# in cells of the coarse map: what is seen beyond the lungs, and how softly it ends
RIM, SOFTNESS = 9, 5


def find_lungs(image: keras.KerasTensor) -> keras.KerasTensor:
    """Lay the frozen segmenter over an image (B, S, S, 1) float32 in [0, 255].

    Its weights are random until `nets.lungs.copy_weights` fills them.

    Returns:
        Logits (B, 56, 56, 1).
    """
    x, side = image, image.shape[1]
    if side % SIDE:
        # TensorFlow has no gradient of an antialiased bfloat16 image
        how = {"antialias": True, "name": f"{PREFIX}resize", "dtype": "float32"}
        x = layers.Resizing(SIDE, SIDE, **how)(image)
    logits = lung_points(x, prefix=PREFIX)["lung_logits_coarse"]
    for layer in keras.Model(image, logits).layers:
        layer.trainable = False
    return logits


def show_lungs(image: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
    """Standardise an image by the pixels inside its lungs, blank what lies outside them, and
    smooth the rest, since copies of one radiograph that were compressed differ in single pixels.

    Args:
        image: (B, S, S, 1) float32 in [0, 255].
        logits: (B, 56, 56, 1) of the lungs.

    Returns:
        (B, S, S, 1) float32: mean `OFFSET` and deviation `SCALE` inside the lungs, `OFFSET`
        outside them and a soft rim.
    """
    side = image.shape[1]
    lungs = layers.Activation("sigmoid", name="lungs", dtype="float32")(logits)
    wide = layers.MaxPooling2D(RIM, 1, "same", name="rim")(lungs)
    soft = layers.AveragePooling2D(SOFTNESS, 1, "same", name="soft_rim")(wide)
    soft = layers.Resizing(side, side, name="window", dtype="float32")(soft)
    mean, scale = _statistics(image, logits)
    centred = layers.Subtract(name="centred", dtype="float32")([image, mean])
    x = layers.Multiply(name="inside", dtype="float32")([centred, scale, soft])
    x = layers.AveragePooling2D(3, 1, "same", name="smoothed", dtype="float32")(x)
    return layers.Rescaling(SCALE, offset=OFFSET, name="seen", dtype="float32")(x)


def _statistics(
    image: keras.KerasTensor, logits: keras.KerasTensor
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return the mean and 1 / sqrt(variance + 1) of the grey levels inside the lungs, each
    (B, 1, 1, 1), on the coarse grid, where noise does not count.

    Stock layers cannot divide, but `UnitNormalization` divides by a root of a sum of squares. The
    roots of the lungs, normalised, are the roots of weights that add up to one. The vector of
    (root of weight x deviation from the mean) with a 1 appended, normalised, ends with the 1
    divided by sqrt(variance + 1).
    """

    where = {"dtype": "float32"}

    def named(kind, name, *args, **more):
        return kind(*args, name=f"statistics_{name}", **where, **more)

    def total(x, name):  # (B, n) -> (B, 1)
        x = named(layers.Reshape, f"{name}_column", (x.shape[1], 1))(x)
        mean = named(layers.GlobalAveragePooling1D, f"{name}_mean")(x)
        return named(layers.Rescaling, f"{name}_sum", float(x.shape[1]))(mean)

    coarse = named(layers.Resizing, "grid", COARSE, COARSE, antialias=True)(image)
    grey = named(layers.Flatten, "grey")(coarse)
    x = named(layers.Activation, "log_lungs", "log_sigmoid")(
        named(layers.Flatten, "logits")(logits)
    )
    x = named(layers.Rescaling, "half", 0.5)(x)
    x = named(layers.Activation, "root_lungs", "exponential")(x)
    roots = named(layers.UnitNormalization, "roots")(x)
    mean = total(named(layers.Multiply, "weighted")([roots, roots, grey]), "mean")
    centred = named(layers.Subtract, "centred")([grey, mean])
    deviations = named(layers.Multiply, "deviations")([roots, centred])
    one = named(layers.Rescaling, "one", 0.0, offset=1.0)(mean)
    joined = named(layers.Concatenate, "with_one")([deviations, one])
    joined = named(layers.UnitNormalization, "divided")(joined)
    joined = named(layers.Reshape, "divided_column", (COARSE * COARSE + 1, 1))(joined)
    scale = named(layers.Cropping1D, "last", (COARSE * COARSE, 0))(joined)
    return (
        named(layers.Reshape, "mean", (1, 1, 1))(mean),
        named(layers.Reshape, "scale", (1, 1, 1))(scale),
    )


def merge_scales(fine: keras.KerasTensor, deep: keras.KerasTensor) -> keras.KerasTensor:
    """Join the trunk's last map and its last one of twice the side, so that a cell is small enough
    to point at something (Lin et al. 2017, Feature Pyramid Networks, figure 3).

    Returns:
        (B, h, w, `MERGED_WIDTH`), h and w those of `fine`.
    """
    lateral = layers.Conv2D(MERGED_WIDTH, 1, name="fine_conv")(fine)
    above = layers.Conv2D(MERGED_WIDTH, 1, name="deep_conv")(deep)
    above = layers.Resizing(*fine.shape[1:3], name="deep_enlarged")(above)
    return layers.ReLU(name="merged")(layers.Add(name="merge")([lateral, above]))


def weigh_by_lungs(x: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
    """Weigh the places of a feature map by lungs times learned attention; the mean weight is 1.

    Attention as in Ilse et al. 2018, Attention-based Deep Multiple Instance Learning, eq. 8,
    without the hidden layer, and with the log of the lungs as a prior.

    Args:
        x: (B, h, w, C).
        logits: (B, 56, 56, 1) of the lungs.

    Returns:
        (B, h, w, C) float32 named `features`, whose plain mean over the places is the weighted mean
        of `x`.
    """
    height, width = x.shape[1:3]
    here = layers.Resizing(height, width, antialias=True, name="prior_logits", dtype="float32")(
        logits
    )
    prior = layers.Activation("log_sigmoid", name="prior", dtype="float32")(here)
    attention = layers.Conv2D(1, 1, kernel_initializer="zeros", name="attention", dtype="float32")(
        x
    )
    both = layers.Add(name="evidence", dtype="float32")([prior, attention])
    flat = layers.Reshape((height * width,), name="places", dtype="float32")(both)
    shares = layers.Softmax(name="shares", dtype="float32")(flat)
    weights = layers.Reshape((height, width, 1), name="weights", dtype="float32")(shares)
    weights = layers.Rescaling(float(height * width), name="mean_one", dtype="float32")(weights)
    return layers.Multiply(name="features", dtype="float32")([x, weights])


def take_learned(model: keras.Model, donor: keras.Model) -> None:
    """Copy what has learned after the trunk from another classifier of this kind, as far as it has
    layers of the same shapes.
    """
    theirs = {layer.name: layer for layer in donor.layers}
    for name in LEARNED:
        ours, other = model.get_layer(name), theirs.get(name)
        if other is not None and [w.shape for w in ours.weights] == [
            w.shape for w in other.weights
        ]:
            ours.set_weights(other.get_weights())
