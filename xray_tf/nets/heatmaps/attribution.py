"""Heat-map methods, one function each with the same signature; `METHODS` lists them by name.

Every function takes (model, images, class_index=None, layer=None):
    model: a functional or Sequential Keras model, or a `GradCAM` of it, which keeps its compiled
        functions for the next call.
    images: (N, H, W, C) or (N, H, W) raw pixels in [0, 255]: array, tensor or tf.data.Dataset of
        batches.
    class_index: the class to explain, one for all or (N,); the predicted one if None.
    layer: a feature map, as in `GradCAM`; the methods on pixels ignore it.
and returns (N, H, W) float32 in [0, 1]. Each heat map is divided by its own maximum; one without
evidence is all zero. The functions raise the same errors as `GradCAM`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from keras import ops

from xray_tf.nets.heatmaps.gradcam import GradCAM, Weights, grad_cam_weights, normalised

Method = Callable[..., np.ndarray]
OCCLUSION_PATCHES = 7  # patches along the shorter side, if no patch size is given
POWER_STEPS = 30


def _on_features(weights: Weights) -> Method:
    """Return the method that weights a layer's feature maps by a function of them and of their
    gradients; see `GradCAM.weighted_map`.
    """

    def method(
        model: Any, images: Any, class_index: Any = None, layer: str | None = None
    ) -> np.ndarray:
        return _explainer(model, layer).weighted_map(images, class_index, weights)

    method.__name__, method.__doc__ = weights.__name__, weights.__doc__
    return method


def grad_cam(
    model: Any, images: Any, class_index: Any = None, layer: str | None = None
) -> np.ndarray:
    """Explain by Grad-CAM: ReLU(sum_k mean(dy/dA^k) A^k) (Selvaraju et al. 2017, equations 1 and
    2).
    """
    return _explainer(model, layer).weighted_map(images, class_index, grad_cam_weights)


@_on_features
def grad_cam_plus_plus(features, gradients):
    """Explain by Grad-CAM++: w_k = sum_ij a_ij ReLU(dy/dA_ij) with a_ij = g^2 / (2 g^2 + g^3 sum_ab
    A_ab) (Chattopadhay et al. 2018, equation 19).

    As in the paper, the score is exp(logit), so that higher derivatives become powers of the
    gradient g; its factor cancels in a_ij and in the division by the maximum.
    """
    square = gradients * gradients
    below = 2 * square + square * gradients * ops.sum(features, (1, 2), keepdims=True)
    share = ops.where(below == 0, 0.0, square / ops.where(below == 0, 1.0, below))
    return ops.sum(share * ops.relu(gradients), (1, 2), keepdims=True)


@_on_features
def layer_cam(features, gradients):
    """Explain by LayerCAM: ReLU(sum_k ReLU(dy/dA^k) * A^k), position by position (Jiang et al.
    2021, "LayerCAM", IEEE TIP 30).
    """
    return ops.relu(gradients)


@_on_features
def hires_cam(features, gradients):
    """Explain by HiResCAM: sum_k dy/dA^k * A^k, position by position (Draelos and Carin 2020, arXiv
    2011.08891); negative sums are dropped.
    """
    return gradients


@_on_features
def eigen_cam(features, gradients):
    """Show by Eigen-CAM what dominates a layer: A projected on its first right singular vector
    (Muhammad and Yeasin 2020, arXiv 2008.00299).

    It does not depend on a class: `class_index` has no effect, and the heat map says nothing about
    why a class was chosen. The decomposition leaves the sign open; the one is taken that makes the
    sum of the projections positive.
    """
    # v_1 of (positions x channels) by the power method: a few matrix products instead of a full
    # decomposition, which would cost a hundred times the network's head
    rows = ops.reshape(features, (ops.shape(features)[0], -1, features.shape[-1]))  # (B, P, C)
    rows = rows / ops.maximum(ops.max(ops.abs(rows), (1, 2), keepdims=True), 1e-30)
    # (B, P, 1)
    left = ops.sum(rows, -1, keepdims=True) + 1e-3 * ops.max(ops.abs(rows), -1, keepdims=True)
    for _ in range(POWER_STEPS):
        right = ops.matmul(ops.transpose(rows, (0, 2, 1)), left)
        left = ops.matmul(rows, right)
        left = left / ops.maximum(ops.norm(left, axis=1, keepdims=True), 1e-30)
    right = ops.matmul(ops.transpose(rows, (0, 2, 1)), left)  # (B, C, 1)
    right = right / ops.maximum(ops.norm(right, axis=1, keepdims=True), 1e-30)
    right = right * ops.where(ops.sum(ops.matmul(rows, right), 1, keepdims=True) < 0, -1.0, 1.0)
    return ops.transpose(right, (0, 2, 1))[:, None]  # (B, 1, 1, C)


def occlusion(
    model: Any,
    images: Any,
    class_index: Any = None,
    layer: str | None = None,
    patch: int | None = None,
    stride: int | None = None,
) -> np.ndarray:
    """Explain by occlusion: how much the score drops when a grey square covers a place, averaged
    over the squares (Zeiler and Fergus 2014, section 4.2).

    Args:
        model, images, class_index, layer: see the module.
        patch: side of the square in pixels, which is filled with the image's mean; a seventh of
            the shorter side if None.
        stride: distance between squares; half a patch if None. Each position costs a forward pass.
    """
    net = _explainer(model, layer)

    def evidence(batch: np.ndarray, classes: np.ndarray) -> np.ndarray:
        count, height, width = batch.shape[:3]
        side = patch or max(1, min(height, width) // OCCLUSION_PATCHES)
        step = stride or max(1, side // 2)
        if not 1 <= side <= min(height, width) or step < 1:
            raise ValueError(
                f"patch must lie in [1, {min(height, width)}] and stride be at least 1. Received: "
                f"patch={side}, stride={step}"
            )
        corners = list(product(_starts(height, side, step), _starts(width, side, step)))
        covered = _covered_scores(net, batch, classes, corners, side)
        drops = net.scores(batch, classes)[:, None] - covered  # (B, P)
        total, covers = np.zeros((count, height, width)), np.zeros((height, width))
        for (top, left), drop in zip(corners, drops.T, strict=True):
            total[:, top : top + side, left : left + side] += drop[:, None, None]
            covers[top : top + side, left : left + side] += 1
        return total / covers

    return net.pixel_map(images, class_index, evidence)


def integrated_gradients(
    model: Any, images: Any, class_index: Any = None, layer: str | None = None, steps: int = 32
) -> np.ndarray:
    """Explain by integrated gradients from each image's own mean grey, summed over channels
    (Sundararajan et al. 2017, equation 1).

    Args:
        model, images, class_index, layer: see the module.
        steps: points on the path, at the midpoints of equal intervals; each costs a forward and a
            backward pass.
    """
    net = _explainer(model, layer)

    def evidence(batch: np.ndarray, classes: np.ndarray) -> np.ndarray:
        return integrated_attributions(net, batch, classes, steps)

    return net.pixel_map(images, class_index, evidence)


def integrated_attributions(
    net: GradCAM, batch: np.ndarray, classes: np.ndarray, steps: int = 32
) -> np.ndarray:
    """Return the contribution of each pixel to the score, (B, H, W) float64; with many steps their
    sum is score(image) - score(mean grey) (completeness).

    Args:
        net: an explainer.
        batch: (B, H, W, C) float32.
        classes: (B,) int.
        steps: at least 1.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1. Received: steps={steps!r}")
    away = batch - batch.mean(axis=(1, 2), keepdims=True)
    total = np.zeros(batch.shape, np.float64)
    for step in range(steps):
        point = batch - away * np.float32(1 - (step + 0.5) / steps)
        total += net.input_gradients(point.astype(np.float32), classes)
    return (away * total / steps).sum(-1)


def flip_averaged(method: Method) -> Method:
    """Return a method that averages the heat maps of a radiograph and of its mirror image
    (mirrored back), both for the same class.

    It smooths a heat map. Do not use it if the side matters: the model has seen no chest with the
    heart on the other side.
    """

    def averaged(
        model: Any, images: Any, class_index: Any = None, layer: str | None = None, **more: Any
    ) -> np.ndarray:
        net = _explainer(model, layer)
        plain = np.concatenate(list(net.batches(images)))
        maps = method(net, plain, class_index, **more)
        explained, empty = net.explained, net.empty
        mirrored = method(net, np.ascontiguousarray(plain[:, :, ::-1]), explained, **more)
        net.empty, net.explained = empty & net.empty, explained
        return normalised(maps + mirrored[:, :, ::-1])

    averaged.__name__ = f"flip_averaged_{method.__name__}"
    averaged.__doc__ = f"{method.__doc__}\n\n    Averaged with the heat map of the mirror image."
    return averaged


METHODS: dict[str, Method] = {
    "grad_cam": grad_cam,
    "grad_cam_plus_plus": grad_cam_plus_plus,
    "layer_cam": layer_cam,
    "hires_cam": hires_cam,
    "eigen_cam": eigen_cam,
    "occlusion": occlusion,
    "integrated_gradients": integrated_gradients,
    "grad_cam_flip": flip_averaged(grad_cam),
}


def _explainer(model: Any, layer: str | None) -> GradCAM:
    if not isinstance(model, GradCAM):
        return GradCAM(model, layer)
    if layer is not None and layer != model.layer and not model.layer.endswith(f"/{layer}"):
        raise ValueError(
            f"This GradCAM explains the layer {model.layer!r}. Received: layer={layer!r}. Create "
            "another GradCAM for it."
        )
    return model


def _starts(length: int, side: int, step: int) -> list[int]:
    """Return the starts of squares that cover every pixel; the last one ends at the border."""
    return sorted({*range(0, length - side + 1, step), length - side})


def _covered_scores(
    net: GradCAM, batch: np.ndarray, classes: np.ndarray, corners: list[tuple[int, int]], side: int
) -> np.ndarray:
    """Return scores (B, P) with each square covered, in full batches of (image, square) pairs."""
    grey = batch.mean(axis=(1, 2))  # (B, C)
    pairs = [(i, corner) for i in range(len(batch)) for corner in corners]
    scores = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), net.batch_size):
        part = pairs[start : start + net.batch_size]
        rows = [i for i, _ in part]
        covered = batch[rows]
        for picture, (i, (top, left)) in zip(covered, part, strict=True):
            picture[top : top + side, left : left + side] = grey[i]
        scores[start : start + len(part)] = net.scores(covered, classes[rows])
    return scores.reshape(len(batch), len(corners))
