"""Compute Grad-CAM heat maps: split a model at a layer, and go from pixels to heat maps in one
compiled pass. The other methods on feature maps build on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from xray_tf.nets.heatmaps.cutting import cut_at
from xray_tf.nets.heatmaps.gradients import gradient_of, largest, on_arrays, resized, taken

# a sum this small relative to its terms is float32 rounding, not evidence
ROUNDING = 1e-6

Weights = Callable[[Any, Any], Any]  # features, gradients -> weights, tensors of the backend


class GradCAM:
    """Explain any functional or Sequential Keras classifier by Grad-CAM (Selvaraju et al. 2017,
    equations 1 and 2).

    Let A^k be the feature maps of a layer and y the score of a class. With a_k = mean over
    positions of dy / dA^k, the heat map is ReLU(sum_k a_k A^k), resized bilinearly to the image and
    divided by its own maximum. The score is the logit of the class. With a single logit (sigmoid),
    class 1 is explained by the logit and class 0 by its negative. The layer may be in a nested
    model. The model itself is not changed: derived models share its weights.

    If there is no evidence for the class, the heat map is empty: it stays zero instead of being
    stretched into noise, and `empty` is true.

    Attributes:
        layer: the layer that is explained, `model/layer` if it is nested.
        usable_layers: every layer that could be explained.
        classes: the number of classes.
        empty: (N,) bool, the heat maps of the last call that contain no evidence.
        explained: (N,) int64, the class that each heat map of the last call explains.
    """

    def __init__(
        self,
        model: keras.Model,
        layer: str | None = None,
        batch_size: int = 32,
        value_range: tuple[float, float] | None = (0.0, 255.0),
    ):
        """Split the model; nothing is computed yet.

        Args:
            model: image (B, H, W, C) -> logits or probabilities; its last layer (or the one named
                `logits`) determines the logits.
            layer: a name in `usable_layers`; if None, `features` if there is one, else the last
                feature map with more than one position.
            batch_size: radiographs per pass.
            value_range: the range of pixels that the model expects; None checks only for NaN.

        Raises:
            ValueError: a model without a convolution, an unknown layer (the message lists usable
                ones), or a head without logits.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1. Received: batch_size={batch_size!r}")
        self.model, self.batch_size, self.value_range = model, batch_size, value_range
        self._cut = cut_at(model, layer)
        self.layer, self.usable_layers = self._cut.layer, self._cut.usable_layers
        self.classes = max(2, self._cut.units)
        self._input = tuple(model.inputs[0].shape[1:])
        self._compiled: dict[Any, Callable] = {}
        self.empty, self.explained = np.zeros(0, bool), np.zeros(0, np.int64)

    def __call__(self, images: Any, class_index: Any = None) -> np.ndarray:
        """Explain radiographs by Grad-CAM.

        Args:
            images: (N, H, W, C), or (N, H, W) for a model of one channel, numbers in `value_range`:
                an array, a tensor, or a tf.data.Dataset of such batches (of tuples: the first
                element is taken).
            class_index: the class to explain, one for all or (N,); the predicted one if None.

        Returns:
            (N, H, W) float32 in [0, 1]; the maximum of each heat map is 1, or 0 if it is empty.

        Raises:
            ValueError: pixels of another shape or range, NaN, no image, or a class out of range.
        """
        return self.weighted_map(images, class_index, grad_cam_weights)

    def weighted_map(self, images: Any, class_index: Any, weights: Weights) -> np.ndarray:
        """Compute ReLU(sum_k weights_k A^k) for any weights of the feature maps.

        Args:
            images, class_index: as in `__call__`.
            weights: a function of features and gradients, each (B, h, w, C) float32, that returns
                weights which broadcast to them; it is compiled once.

        Returns:
            (N, H, W) float32 in [0, 1], as `__call__` does.
        """

        def weighted(images, classes):
            return self._weighted(images, classes, weights)

        return self._collect(images, class_index, self._compile(weights, weighted))

    def pixel_map(
        self,
        images: Any,
        class_index: Any,
        evidence: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ) -> np.ndarray:
        """Compute heat maps by a method that works on pixels; negative evidence is dropped.

        Args:
            images, class_index: as in `__call__`.
            evidence: a function of images (B, H, W, C) float32 and classes (B,) int32 that returns
                (B, H, W).

        Returns:
            (N, H, W) float32 in [0, 1], as `__call__` does.
        """

        def work(batch: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            classes = self.predicted(batch) if (classes < 0).any() else classes
            return np.maximum(evidence(batch, classes), 0.0), classes

        return self._collect(images, class_index, work)

    def scores(self, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Return the score (B,) float32 that heat maps explain, for images (B, H, W, C) float32 and
        classes (B,) int.
        """
        return self._scored(images, classes)[0]

    def input_gradients(self, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Return the gradients of the score with respect to the pixels (B, H, W, C) float32, for
        images (B, H, W, C) float32 and classes (B,) int.
        """
        compiled = self._compile("input_gradients", self._gradients)
        return compiled(images, np.asarray(classes, np.int32))

    def predicted(self, images: np.ndarray) -> np.ndarray:
        """Return the predicted classes (B,) int32 of images (B, H, W, C) float32: the largest
        logit, or the sign of a single one.
        """
        return self._scored(images, np.full(len(images), -1))[1]

    def batches(self, images: Any) -> Iterator[np.ndarray]:
        """Yield checked batches (B, H, W, C) float32, B <= `batch_size`, of any input of
        `__call__`.
        """
        sources: Iterable = (images,)
        if hasattr(images, "element_spec"):  # a tf.data.Dataset
            sources = (element[0] if isinstance(element, tuple) else element for element in images)
        count = 0
        for source in sources:
            if not isinstance(source, np.ndarray):
                source = keras.ops.convert_to_numpy(source)
            pixels = self._shaped(source)
            for start in range(0, len(pixels), self.batch_size):
                yield self._checked(pixels[start : start + self.batch_size], count + start)
            count += len(pixels)
        if not count:
            raise ValueError("There is no image to explain. Expected at least one.")

    def _scored(self, images: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, ...]:
        def scored(images, classes):
            return score_of(self._forward(images), classes)

        return self._compile("scores", scored)(images, np.asarray(classes, np.int32))

    def _forward(self, images: Any) -> Any:
        return self._cut.logits(self._cut.features(images), images)

    def _weighted(self, images: Any, classes: Any, weights: Weights) -> tuple[Any, Any]:
        features = self._cut.features(images)

        def scored(features: Any) -> tuple[Any, Any]:
            return score_of(self._cut.logits(features, images), classes)

        gradients, classes = gradient_of(scored, features)
        size = ops.shape(images)[1:3]
        return weighted_evidence(features, gradients, weights, size), classes

    def _gradients(self, images: Any, classes: Any) -> Any:
        return gradient_of(lambda images: score_of(self._forward(images), classes), images)[0]

    def _compile(self, key: Any, function: Callable) -> Callable:
        if key not in self._compiled:
            shapes = ((None, *self._input), "float32"), ((None,), "int32")
            self._compiled[key] = on_arrays(function, shapes)
        return self._compiled[key]

    def _collect(self, images: Any, class_index: Any, work: Callable) -> np.ndarray:
        wanted = self._wanted(class_index)
        maps, explained, done = [], [], 0
        for batch in self.batches(images):
            found, classes = work(batch, self._classes(wanted, done, len(batch)))
            maps.append(normalised(np.asarray(found, np.float32)))
            explained.append(np.asarray(classes, np.int64))
            done += len(batch)
        if wanted.ndim and len(wanted) != done:
            raise ValueError(
                f"class_index has {len(wanted)} classes for {done} images. Give one for all, or "
                "one per image."
            )
        result = np.concatenate(maps)
        self.empty, self.explained = ~result.any(axis=(1, 2)), np.concatenate(explained)
        return result

    def _wanted(self, class_index: Any) -> np.ndarray:
        """Return () or (N,) int32; -1 stands for the predicted class."""
        if class_index is None:
            return np.array(-1, np.int32)
        wanted = np.asarray(class_index)
        whole = wanted.dtype.kind in "iu" and wanted.ndim <= 1
        if not whole or ((wanted < 0) | (wanted >= self.classes)).any():
            raise ValueError(
                f"class_index must be integers from 0 to {self.classes - 1}, one for all "
                f"images or one per image. Received: {class_index!r}"
            )
        return wanted.astype(np.int32)

    @staticmethod
    def _classes(wanted: np.ndarray, start: int, count: int) -> np.ndarray:
        if not wanted.ndim:
            return np.full(count, wanted, np.int32)
        part = wanted[start : start + count]
        if len(part) < count:
            raise ValueError(
                f"class_index has {len(wanted)} classes for more images. Give one for all, or "
                "one per image."
            )
        return part

    def _shaped(self, pixels: np.ndarray) -> np.ndarray:
        if pixels.dtype.kind not in "uif" and pixels.dtype.name != "bfloat16":
            raise ValueError(f"images must be numbers. Received: {pixels.dtype}")
        height, width, channels = self._input
        shaped = pixels[..., None] if pixels.ndim == 3 and channels == 1 else pixels
        pairs = zip(self._input, shaped.shape[1:], strict=False)
        if shaped.ndim != 4 or any(wanted not in (None, found) for wanted, found in pairs):
            size = f"{height or 'H'}, {width or 'W'}"
            short = f", or (N, {size})" if channels == 1 else ""
            raise ValueError(
                f"images must have the shape (N, {size}, {channels}){short}. Received: shape "
                f"{pixels.shape}. For a single image add an axis: image[None]."
            )
        return shaped

    def _checked(self, batch: np.ndarray, start: int) -> np.ndarray:
        from_floats = batch.dtype.kind == "f"
        batch = np.ascontiguousarray(batch, np.float32)
        odd = ~np.isfinite(batch).all(axis=(1, 2, 3))
        if odd.any():
            raise ValueError(
                f"image {start + int(odd.argmax())} contains NaN or infinite pixels. "
                "Expected finite numbers."
            )
        if self.value_range is not None:
            low, high = self.value_range
            least, most = float(batch.min()), float(batch.max())
            if least < low or most > high:
                raise ValueError(
                    f"pixels must lie in [{low:g}, {high:g}]. Received: [{least:g}, {most:g}] "
                    f"among images {start} to {start + len(batch) - 1}."
                )
            if from_floats and high > 1.0 and 0.0 < most <= 1.0:
                raise ValueError(
                    f"pixels look scaled to [0, 1] (the largest is {most:g}), but the model takes "
                    f"raw ones in [{low:g}, {high:g}]: multiply them by 255. For a model that "
                    "takes [0, 1], use value_range=(0, 1)."
                )
        return batch


def grad_cam_weights(features: Any, gradients: Any) -> Any:
    """Weight each feature map by its mean gradient (Selvaraju et al. 2017, equation 1)."""
    return ops.mean(gradients, (1, 2), keepdims=True)


def weighted_evidence(features: Any, gradients: Any, weights: Weights, size: Any) -> Any:
    """Compute ReLU(sum_k weights_k A^k), resized bilinearly: features and gradients (B, h, w, C),
    size (H, W) -> (B, H, W) float32 >= 0, not normalised.
    """
    features, gradients = ops.cast(features, "float32"), ops.cast(gradients, "float32")
    terms = weights(features, gradients) * features  # (B, h, w, C)
    evidence = ops.relu(ops.sum(terms, -1, keepdims=True))  # (B, h, w, 1)
    most = ops.max(ops.sum(ops.abs(terms), -1), (1, 2))
    real = ops.max(evidence, (1, 2, 3)) > ROUNDING * most
    evidence = ops.where(real[:, None, None, None], evidence, 0.0)
    return resized(evidence, size)[..., 0]


def normalised(maps: np.ndarray) -> np.ndarray:
    """Divide heat maps (B, H, W) >= 0 by their own maximum; empty ones stay zero."""
    most = maps.max(axis=(1, 2), keepdims=True)
    return np.divide(maps, most, out=np.zeros_like(maps), where=most > 0)


def score_of(logits: Any, classes: Any) -> tuple[Any, Any]:
    """Return the scores (B,) of the classes (B,), and the classes with every -1 replaced by the
    predicted class.
    """
    logits = ops.cast(logits, "float32")
    if logits.shape[-1] == 1:
        logit = logits[:, 0]
        classes = ops.where(classes < 0, ops.cast(logit > 0, "int32"), classes)
        return logit * ops.cast(2 * classes - 1, "float32"), classes
    classes = ops.where(classes < 0, largest(logits), classes)
    return taken(logits, classes), classes
