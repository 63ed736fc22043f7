"""Batches: every row once an epoch, in an order that (seed, epoch) decides, pixels unchanged and
let go of afterwards.
"""

import gc
import weakref

import numpy as np
import pytest

from xray_tf.nets.images import batches, epoch_order, vector_batches

PIXELS = np.random.default_rng(0).integers(0, 256, (11, 4, 5), np.uint8)


def read(dataset):
    parts = [tuple(np.asarray(x) for x in inputs) for inputs, _ in dataset]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def test_rows_come_in_the_order_given_as_raw_float_pixels():
    images = np.concatenate([np.asarray(b) for b in batches(PIXELS, [3, 0, 10], batch_size=2)])
    assert images.dtype == np.float32 and images.shape == (3, 4, 5, 1)
    np.testing.assert_array_equal(images[..., 0], PIXELS[[3, 0, 10]])


def test_a_shuffled_epoch_visits_every_row_once_with_its_own_target():
    indices, targets = np.arange(11)[::-1], np.arange(11, dtype=np.float32)[::-1, None]
    images, seen = read(batches(PIXELS, indices, targets, 4, shuffle_key=(5, 2)))
    assert sorted(seen[:, 0]) == list(range(11)) and list(seen[:, 0]) != list(targets[:, 0])
    np.testing.assert_array_equal(images[..., 0], PIXELS[seen[:, 0].astype(int)])


def test_seed_and_epoch_alone_decide_the_order():
    assert (epoch_order(50, 1, 2) == epoch_order(50, 1, 2)).all()
    assert not (epoch_order(50, 1, 2) == epoch_order(50, 1, 3)).all()
    assert not (epoch_order(50, 1, 2) == epoch_order(50, 2, 2)).all()
    assert not (epoch_order(50, 0, 1) == epoch_order(50, 1, 0)).all()


@pytest.mark.parametrize(("drop", "sizes"), [(False, [4, 4, 3]), (True, [4, 4])])
def test_a_short_last_batch_is_kept_unless_dropped(drop, sizes):
    assert [len(b) for b in batches(PIXELS, range(11), batch_size=4, drop_remainder=drop)] == sizes


def test_vectors_keep_their_targets():
    vectors, targets = (
        np.arange(12, dtype=np.float32).reshape(6, 2),
        np.arange(6, dtype=np.float32)[:, None],
    )
    read_vectors, read_targets = read(vector_batches(vectors, targets, 2, (0, 0)))
    np.testing.assert_array_equal(read_vectors[:, 0], read_targets[:, 0] * 2)
    assert sorted(read_targets[:, 0]) == list(range(6))


def test_no_iterator_waits_for_the_tuner_at_its_end():
    vectors = np.zeros((6, 2), np.float32)
    for dataset in (
        batches(PIXELS, range(11)),
        vector_batches(vectors, vectors, 2, (0, 0)),
    ):
        assert dataset.options().autotune.enabled is False


def test_pixels_are_let_go_of_when_their_batches_are(tmp_path):
    pixels = PIXELS.copy()
    alive = weakref.ref(pixels)
    dataset = batches(pixels, range(11), batch_size=4)
    del pixels
    iterator = iter(dataset)
    del dataset
    gc.collect()
    assert sum(len(images) for images in iterator) == 11, "an iterator in use keeps them"
    del iterator
    gc.collect()
    assert alive() is None
