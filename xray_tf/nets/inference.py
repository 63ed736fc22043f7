"""Forward passes over many rows: batches in, arrays of the named points out, in constant memory beside the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import keras
import numpy as np

from xray_tf.nets.classifier import derive
from xray_tf.nets.images import batches

# Derived models by the model they look into: a new one would be traced anew at every call. Entries die with their model.
_DERIVED: WeakKeyDictionary[keras.Model, dict[tuple[str, ...], keras.Model]] = WeakKeyDictionary()


def forward(model: keras.Model, pixels: np.ndarray, indices: Sequence[int] | None = None, points: tuple[str, ...] = ("logits",),
            batch_size: int = 64, progress: Callable[[int], None] | None = None) -> dict[str, np.ndarray]:
    """Run a model over rows of a pixel array.

    Args:
        model: has layers of the names in `points`.
        pixels: (N, S, S) uint8, most often memory-mapped.
        indices: (M,) rows, in the order wanted; all of them when None.
        points: such as `logits`, `embedding`.
        batch_size: rows a pass.
        progress: called with the number of rows done after each batch.

    Returns:
        {point: (M, D) float32}.
    """
    indices = np.arange(len(pixels)) if indices is None else np.asarray(indices)
    inner = _derived(model, points)
    results = {p: np.empty((len(indices), *out.shape[1:]), np.float32) for p, out in zip(points, inner.outputs, strict=True)}
    done = 0
    for images in batches(pixels, indices, batch_size=batch_size):
        outputs = inner.predict_on_batch(images)
        count = int(images.shape[0])
        for point, values in zip(points, [outputs] if len(points) == 1 else outputs, strict=True):
            results[point][done : done + count] = values
        done += count
        if progress:
            progress(count)
    return results


def _derived(model: keras.Model, points: tuple[str, ...]) -> keras.Model:
    known = _DERIVED.setdefault(model, {})
    if points not in known:
        known[points] = derive(model, *points)
    return known[points]
