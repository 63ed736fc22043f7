"""A two-block net with the named points, for tests that need a classifier in milliseconds."""

import keras

from xray_tf.nets.classifier import seeded


def two_block_net(classes=2, size=16, seed=0, dropout=0.3):
    """Return image (B, S, S, 1) -> probability (B, 1) or (B, K)."""
    with seeded(seed):
        image = keras.Input((size, size, 1), name="image")
        x = keras.layers.Rescaling(1 / 127.5, -1, name="scale")(image)
        for i, filters in enumerate((4, 8)):
            x = keras.layers.Conv2D(filters, 3, 2, "same", name=f"block{i}_conv")(x)
            x = keras.layers.BatchNormalization(name=f"block{i}_bn")(x)
            x = keras.layers.ReLU(name=f"block{i}_relu")(x)
        x = keras.layers.Identity(name="features")(x)
        x = keras.layers.GlobalAveragePooling2D(name="embedding", dtype="float32")(x)
        x = keras.layers.Dropout(dropout, name="dropout")(x)
        x = keras.layers.Dense(1 if classes == 2 else classes, name="logits", dtype="float32")(x)
        x = keras.layers.Activation(
            "sigmoid" if classes == 2 else "softmax", name="probability", dtype="float32"
        )(x)
        return keras.Model(image, x)
