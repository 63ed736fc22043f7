"""Read rows of pixels as tf.data batches, in an order that depends only on seed and epoch."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

# TensorFlow never releases a function given to tf.numpy_function, nor what it closes over. So that
# pixels do not pile up, one function looks them up here by number; the entry is removed with its
# dataset.
_SOURCES: dict[int, np.ndarray] = {}
_NUMBERS = itertools.count()


def _gather(number: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.asarray(_SOURCES[int(number)][rows])


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """Return the permutation (count,) int64 in which an epoch of a run with this seed visits its
    rows.
    """
    return np.random.default_rng(np.random.SeedSequence([seed, epoch])).permutation(count)


def batches(
    pixels: np.ndarray,
    indices: Sequence[int],
    targets: np.ndarray | None = None,
    batch_size: int = 32,
    shuffle_key: tuple[int, int] | None = None,
    drop_remainder: bool = False,
    share: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Read rows of a pixel array as batches, in parallel and ahead of the network.

    Args:
        pixels: (N, H, W) uint8, usually memory-mapped; only the rows of a batch are in memory.
        indices: (M,) the rows to visit.
        targets: (M, T) float32, aligned with `indices`, or None.
        batch_size: rows per batch; the last one may be shorter unless `drop_remainder`.
        shuffle_key: (seed, epoch), or None to keep the order given.
        share: this process's number, and how many share each batch; needs `drop_remainder`.

    Returns:
        Dataset of images (B, H, W, 1) float32 in [0, 255], or of ((images, targets), targets) as
        `fit` needs them.
    """
    indices = np.asarray(indices, np.int64)
    count = len(indices)
    order = np.arange(count) if shuffle_key is None else epoch_order(count, *shuffle_key)
    order, batch_size = _share_of(order, batch_size, *share)
    height, width = pixels.shape[1:3]
    number = next(_NUMBERS)
    _SOURCES[number] = pixels

    def read(rows: tf.Tensor) -> tf.Tensor:
        images = tf.numpy_function(_gather, [number, rows], tf.uint8, stateful=False)
        images = tf.reshape(images, (-1, height, width, 1))
        return tf.cast(images, tf.float32)

    def load(rows: tf.Tensor, *both: tf.Tensor):
        return ((read(rows), *both), *both) if both else read(rows)

    columns = (indices[order],)
    if targets is not None:
        columns += (np.asarray(targets, np.float32)[order],)
    dataset = tf.data.Dataset.from_tensor_slices(columns).batch(batch_size, drop_remainder)
    dataset = _untuned(dataset.map(load, num_parallel_calls=2).prefetch(2))
    weakref.finalize(dataset, _SOURCES.pop, number)
    return dataset


def vector_batches(
    vectors: np.ndarray,
    targets: np.ndarray,
    batch_size: int,
    shuffle_key: tuple[int, int],
    share: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Read stored vectors (N, D) float32 as the full batches ((vectors, targets), targets) of one
    epoch; `share` as in `batches`.
    """
    order = epoch_order(len(vectors), *shuffle_key)
    order, batch_size = _share_of(order, batch_size, *share)
    vectors, targets = vectors[order], targets[order]
    dataset = tf.data.Dataset.from_tensor_slices(((vectors, targets), targets))
    return _untuned(dataset.batch(batch_size, drop_remainder=True).prefetch(2))


def _untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return the dataset without autotuning: there is nothing to tune, and the end of an iterator
    may wait for the tuner's next turn, seconds later.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def _share_of(
    order: np.ndarray, batch_size: int, process: int, processes: int
) -> tuple[np.ndarray, int]:
    """Return the rows that one of several processes reads of every full batch, and how many a
    batch: consecutive ones, so that the shares make up the batch in its order.
    """
    if processes == 1:
        return order, batch_size
    each, steps = batch_size // processes, len(order) // batch_size
    whole = order[: steps * batch_size].reshape(steps, processes, each)
    return whole[:, process].ravel(), each
