"""Features of registered lungs for detectors that learn from normals alone: maps of a frozen
ImageNet trunk at three depths, and their means over the lung of each zone.

The trunk is never trained. The model has stock Keras layers and one named point, `patches`, so an
artifact can save and reopen it.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from xray_tf.data.chest.lung_numbers import COLUMNS, ROWS
from xray_tf.nets.inference import forward
from xray_tf.nets.trunks.backbones import build_features
from xray_tf.nets.trunks.stages import trunk_layers

POINT = "patches"
STRIDE = 8  # pixels per patch
FINER, COARSER = 4, 16  # strides of the stages beside it; deeper ones respond less to opacities
LUNG_SHARE = 0.6  # of a patch that must be lung


def build_feature_model(
    backbone: str = "efficientnet_lite0",
    weights: str | None = "imagenet",
    image_size: int = 224,
    seed: int = 0,
) -> keras.Model:
    """Build the frozen network.

    Args:
        backbone, weights, seed: see `backbones.build_features`.
        image_size: side of the square, pixels; a multiple of 32.

    Returns:
        Model from image (B, S, S, 1) float32 in [0, 255] to `patches` (B, S/8, S/8, C): the last
        stages of strides 4 (mean and mean square), 8 and 16 on one grid.

    Raises:
        ValueError: the image size is not a multiple of 32.
    """
    if not isinstance(image_size, int) or image_size < 32 or image_size % 32:
        raise ValueError(
            f"image_size must be a multiple of 32 pixels. Received: image_size={image_size!r}"
        )
    image = keras.Input((image_size, image_size, 1), name="image")
    features = build_features(image, backbone, weights, seed=seed)
    stages = trunk_layers(keras.Model(image, features), backbone)
    ends = {image_size // s[-1].output.shape[1]: s[-1].output for s in stages}
    pool, fine = layers.AveragePooling2D, ends[FINER]
    square = layers.Multiply(name="fine_squared")([fine, fine])
    parts = [
        ends[STRIDE],
        pool(STRIDE // FINER, name="fine_mean")(fine),
        pool(STRIDE // FINER, name="fine_mean_square")(square),
        layers.UpSampling2D(COARSER // STRIDE, name="coarse")(ends[COARSER]),
    ]
    patches = layers.Concatenate(name=POINT, dtype="float32")(parts)
    model = keras.Model(image, patches, name="feature_maps")
    model.trainable = False
    return model


def build_mean_features(image_size: int = 224) -> keras.Model:
    """Return a frozen ImageNet trunk (EfficientNet-Lite0), image (B, S, S, 1) float32 in [0, 255]
    -> the mean of its last feature map (B, D) float32.
    """
    image = keras.Input((image_size, image_size, 1), name="image")
    features = build_features(image, "efficientnet_lite0")
    return keras.Model(image, layers.GlobalAveragePooling2D()(features), name="mean_features")


def zone_features(
    model: keras.Model, images: np.ndarray, shares: np.ndarray, batch_size: int = 64
) -> np.ndarray:
    """Return the mean of the trunk's maps over the lung in each zone (`data.chest.lung_numbers`).

    A mean over all of a zone would say how much of it is lung, and with that how a chest was
    placed; a mean over its lung does not.

    Args:
        model: from `build_feature_model`, or reopened.
        images: (N, S, S) uint8, registered lungs.
        shares: (N, S/8, S/8) float32, the share of each patch that is lung.
        batch_size: rows per pass.

    Returns:
        (N, zones x C) float32; 0 where a zone has no lung.

    Raises:
        ValueError: another image size than the model's.
    """
    side = model.inputs[0].shape[1]
    if images.shape[1:] != (side, side):
        raise ValueError(f"images must be (N, {side}, {side}). Received: {images.shape}")
    grid = side // STRIDE
    tops, lefts = (np.linspace(0, grid, n + 1).round().astype(int) for n in (ROWS, COLUMNS))
    out = []
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        patches = forward(model, images[part], None, (POINT,), batch_size)[POINT]
        weights = (shares[part] > LUNG_SHARE).astype(np.float32)
        zones = [
            _mean(patches[:, a:b, c:d], weights[:, a:b, c:d])
            for a, b in zip(tops, tops[1:], strict=False)
            for c, d in zip(lefts, lefts[1:], strict=False)
        ]
        out.append(np.concatenate(zones, axis=1))
    width = ROWS * COLUMNS * model.output.shape[-1]
    return np.concatenate([np.empty((0, width), np.float32), *out])


def _mean(patches: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted means (N, C) of patches (N, h, w, C)."""
    total = np.einsum("nhw,nhwc->nc", weights, patches)
    return total / np.maximum(weights.sum(axis=(1, 2)), 1e-6)[:, None]
