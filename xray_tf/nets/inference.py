"""Run forward passes over many rows, and return arrays of the named points. Apart from the results
the memory use is constant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import keras
import numpy as np

from xray_tf.nets.classifier import derive
from xray_tf.nets.images import batches
from xray_tf.nets.training.together import gathered, on_this_process, rows_of_process

Run = Callable[..., list[np.ndarray]]

# compiled functions per model; an entry is removed with its model
_COMPILED: WeakKeyDictionary[keras.Model, dict[tuple[str, ...], Run]] = WeakKeyDictionary()


def forward(
    model: keras.Model,
    pixels: np.ndarray,
    indices: Sequence[int] | None = None,
    points: tuple[str, ...] = ("logits",),
    batch_size: int = 64,
    progress: Callable[[int], None] | None = None,
) -> dict[str, np.ndarray]:
    """Run a model over rows of a pixel array. Where several processes train together all must ask,
    and each answers its share.

    Args:
        model: a model that has layers with these names.
        pixels: (N, S, S) uint8, usually memory-mapped.
        indices: (M,) rows in the desired order; all if None.
        points: names of layers, such as `logits` or `embedding`.
        batch_size: rows per pass.
        progress: called with the number of rows done after each batch.

    Returns:
        {point: (M, D) float32}.
    """
    indices = np.arange(len(pixels)) if indices is None else np.asarray(indices)
    mine = indices[rows_of_process(len(indices))]
    with on_this_process(model) as alone:
        results = _forward(alone, pixels, mine, points, batch_size, progress)
    if progress and len(mine) < len(indices):
        progress(len(indices) - len(mine))
    return {point: gathered(values, len(indices)) for point, values in results.items()}


def forward_vectors(model: keras.Model, vectors: np.ndarray, batch_size: int = 1024) -> np.ndarray:
    """Run a small model, such as a classifier's head, over vectors (N, D) float32, in each
    process.
    """
    with on_this_process(model) as alone:
        return alone.predict(vectors, batch_size=batch_size, verbose=0)


def _forward(
    model: keras.Model,
    pixels: np.ndarray,
    indices: np.ndarray,
    points: tuple[str, ...],
    batch_size: int,
    progress: Callable[[int], None] | None,
) -> dict[str, np.ndarray]:
    run = _compiled(model, points)
    shapes = {p: model.get_layer(p).output.shape[1:] for p in points}
    results = {p: np.empty((len(indices), *shape), np.float32) for p, shape in shapes.items()}
    done = 0
    for images in batches(pixels, indices, batch_size=batch_size):
        count = int(images.shape[0])
        for point, values in zip(points, run(images), strict=True):
            results[point][done : done + count] = values
        done += count
        if progress:
            progress(count)
    return results


def refuse_other_backends(what: str) -> None:
    """Raise ValueError where Keras does not run on TensorFlow; `what` begins the sentence."""
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ValueError(
            f"{what} only TensorFlow can do. Received: KERAS_BACKEND={backend}. "
            "Run it with KERAS_BACKEND=tensorflow; the artifact is the same."
        )


def _compiled(model: keras.Model, points: tuple[str, ...]) -> Run:
    known = _COMPILED.setdefault(model, {})
    if points not in known:
        known[points] = _compile(derive(model, *points))
    return known[points]


def _compile(inner: keras.Model) -> Run:
    """Return a function images (B, H, W, 1) -> one array per point. Under TensorFlow it is traced
    only once, for any number of rows.
    """
    if keras.backend.backend() != "tensorflow":
        return lambda images: _listed(inner.predict_on_batch(np.asarray(images)))
    import tensorflow as tf

    signature = tf.TensorSpec((None, *inner.inputs[0].shape[1:]), tf.float32)
    function = tf.function(lambda images: inner(images, training=False))
    traced = function.get_concrete_function(signature)
    return lambda images: [value.numpy() for value in _listed(traced(images))]


def _listed(values) -> list:
    return list(values) if isinstance(values, list | tuple) else [values]
