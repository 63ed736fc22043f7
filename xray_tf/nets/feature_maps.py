"""Extract features for detectors that learn from normals alone: frozen ImageNet feature maps at
several depths, pooled and as patches, and numbers that describe the lungs.

The backbone is never trained. Each radiograph is standardised inside the graph, so that exposure
does not count as a departure. The model has stock Keras layers and named points, so an artifact can
save and reopen it; `FeatureExtractor` runs it in batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import layers

from xray_tf.data.chest.lung_fields import FindLungs
from xray_tf.data.chest.lung_numbers import lung_numbers
from xray_tf.nets.inference import forward
from xray_tf.nets.trunks.backbones import build_features
from xray_tf.nets.trunks.stages import trunk_layers

POINTS = ("moments", "patches")
FEATURES = ("lungs", "lung_maps", "pooled", "patches")
_OF_POINT = {"moments": "pooled", "patches": "patches"}
STRIDE = 16  # pixels per patch
# the stages of these strides make the patches; deeper ones respond less to pasted lesions
# (benchmarks/anomaly.py)
PATCH_STRIDES = (8, 16)
_PIECE = 128  # rows whose outputs are in float32 at a time


def build_feature_model(
    backbone: str = "efficientnet_lite0",
    weights: str | None = "imagenet",
    image_size: int = 224,
    seed: int = 0,
) -> keras.Model:
    """Build the frozen network; it first brings every image to mean 128, standard deviation 50.

    Args:
        backbone, weights, seed: see `backbones.build_features`.
        image_size: side of the square, pixels; a multiple of 32.

    Returns:
        Model from image (B, S, S, 1) float32 in [0, 255] to two points. `moments` (B, D): the
        spatial mean of every channel at the end of every stage from stride 4 on, followed by the
        means of their squares. `patches` (B, S/16, S/16, C): the stages of strides 8 and 16 on one
        grid.

    Raises:
        ValueError: the image size is not a multiple of 32.
    """
    if not isinstance(image_size, int) or image_size < 32 or image_size % 32:
        raise ValueError(
            f"image_size must be a multiple of 32 pixels. Received: image_size={image_size!r}"
        )
    image = keras.Input((image_size, image_size, 1), name="image")
    features = build_features(image, backbone, weights, standardize=True, seed=seed)
    stages = trunk_layers(keras.Model(image, features), backbone)
    ends = [stage[-1].output for stage in stages]
    ends = [end for end in ends if image_size // end.shape[1] >= 4]
    means, squares, grid = [], [], []
    for i, end in enumerate(ends):
        square = layers.Multiply(name=f"squared_{i}")([end, end])
        pool = layers.GlobalAveragePooling2D
        means.append(pool(name=f"mean_{i}", dtype="float32")(end))
        squares.append(pool(name=f"square_{i}", dtype="float32")(square))
        stride = image_size // end.shape[1]
        if stride in PATCH_STRIDES and i < len(ends) - 1:
            coarser = layers.AveragePooling2D(STRIDE // stride, name=f"coarser_{i}")
            grid.append(coarser(end) if stride < STRIDE else end)
    moments = layers.Concatenate(name="moments", dtype="float32")(means + squares)
    patches = layers.Concatenate(name="patches", dtype="float32")(grid)
    model = keras.Model(image, [moments, patches], name="feature_maps")
    model.trainable = False
    return model


def build_mean_features(image_size: int = 224) -> keras.Model:
    """Return a frozen ImageNet trunk (EfficientNet-Lite0), image (B, S, S, 1) float32 in [0, 255]
    -> the mean of its last feature map (B, D) float32.
    """
    image = keras.Input((image_size, image_size, 1), name="image")
    features = build_features(image, "efficientnet_lite0")
    return keras.Model(image, layers.GlobalAveragePooling2D()(features), name="mean_features")


class FeatureExtractor:
    """Turn radiographs into features, one batch in memory at a time.

    Args:
        model: a model with the points `moments` and `patches`, from `build_feature_model` or
            reopened from a `.keras` file; a new one if None.
        batch_size: rows per pass.
        find_lungs: finds the lungs of images; needed for `lungs` and `lung_maps`.
    """

    def __init__(
        self,
        model: keras.Model | None = None,
        batch_size: int = 64,
        find_lungs: FindLungs | None = None,
    ):
        self.model = build_feature_model() if model is None else model
        missing = set(POINTS) - {layer.name for layer in self.model.layers}
        if missing:
            raise ValueError(
                f"a feature model has the points {POINTS}. Missing: {sorted(missing)}; use "
                "build_feature_model."
            )
        self.batch_size, self.find_lungs = batch_size, find_lungs

    @property
    def image_size(self) -> int:
        """Side of the square that the model takes, in pixels."""
        return self.model.input.shape[1]

    def extract(
        self,
        pixels: np.ndarray,
        indices: Sequence[int] | None = None,
        features: Sequence[str] = FEATURES,
        progress: Callable[[int], None] | None = None,
    ) -> dict[str, np.ndarray]:
        """Run over rows of a pixel array.

        Args:
            pixels: (N, S, S) uint8 in [0, 255], usually memory-mapped; anything that has `shape`
                and returns images for an array of indices.
            indices: (M,) rows in the desired order; all if None.
            features: the names to compute, from `FEATURES`.
            progress: called with the number of rows done after each piece.

        Returns:
            A dict of the features asked for. `lungs` (M, L) float32: see `data.chest.lung_numbers`,
            which needs no network. `lung_maps` (M, 2 C) float32: mean of the patches over the
            left lung, then over the right one. `pooled` (M, D) float32: spatial mean and
            standard deviation of every channel of every stage. `patches` (M, h, w, C) float16.

        Raises:
            ValueError: another image size, an unknown feature, or one of lungs that nothing finds.
        """
        indices = np.arange(pixels.shape[0]) if indices is None else np.asarray(indices, np.int64)
        if tuple(pixels.shape[1:]) != (self.image_size,) * 2:
            raise ValueError(
                f"pixels must be (N, {self.image_size}, {self.image_size}). Received: "
                f"{tuple(pixels.shape)}"
            )
        unknown = set(features) - set(FEATURES)
        if unknown or not features:
            raise ValueError(f"features must be some of {FEATURES}. Received: {tuple(features)}")
        of_lungs = bool({"lungs", "lung_maps"} & set(features))
        if of_lungs and self.find_lungs is None:
            raise ValueError(
                "features of the lungs need what finds them. Expected find_lungs, such as "
                "models.lungs.find_fields."
            )
        wanted = {*features, *(["patches"] if "lung_maps" in features else [])}
        points = tuple(point for point, name in _OF_POINT.items() if name in wanted)
        out: dict[str, np.ndarray] = {}
        for start in range(0, len(indices), _PIECE):
            rows = indices[start : start + _PIECE]
            piece = forward(self.model, pixels, rows, points, self.batch_size) if points else {}
            if "moments" in piece:
                piece["pooled"] = _mean_and_deviation(piece.pop("moments"))
            images = np.asarray(pixels[rows])
            found = self.find_lungs(images) if of_lungs else None
            if "lungs" in wanted:
                piece["lungs"] = lung_numbers(images, found)
            if "lung_maps" in wanted:
                piece["lung_maps"] = _over_lungs(piece["patches"], found.masks)
            for name, values in ((n, v) for n, v in piece.items() if n in features):
                if name not in out:
                    kind = np.float16 if name == "patches" else np.float32
                    out[name] = np.empty((len(indices), *values.shape[1:]), kind)
                out[name][start : start + len(values)] = values
            if progress:
                progress(len(rows))
        return out


def _over_lungs(patches: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the mean of patches (N, h, w, C) over the masks (N, S, S) bool in the left half of
    the grid, then in the right half: (N, 2 C).

    If a lung is missing, the mean is taken over its whole half.
    """
    n, height, width, _ = patches.shape
    cells = masks.reshape(n, height, masks.shape[1] // height, width, masks.shape[2] // width)
    weights = cells.mean(axis=(2, 4), dtype=np.float32) + np.float32(1e-6)
    halves = []
    for half in (slice(None, width // 2), slice(width // 2, None)):
        w = weights[:, :, half] / weights[:, :, half].sum(axis=(1, 2), keepdims=True)
        halves.append(np.einsum("nhw,nhwc->nc", w, patches[:, :, half]))
    return np.concatenate(halves, axis=1)


def _mean_and_deviation(moments: np.ndarray) -> np.ndarray:
    mean, square = np.split(moments, 2, axis=1)
    return np.concatenate([mean, np.sqrt(np.maximum(square - mean**2, 0.0))], axis=1)
