"""The segmenter's lessons: the same for the same seed, masks move with their images, and pictures
without lungs teach that there are none.
"""

import numpy as np
import pytest

from xray_tf.data.chest.lung_augment import move
from xray_tf.data.chest.lung_lessons import Lessons, between, draw_phantoms, target
from xray_tf.data.chest.lung_masks import IGNORE, LUNG


@pytest.fixture(scope="module")
def drawn():
    return draw_phantoms(4, 1, 64)


@pytest.fixture(scope="module")
def lessons(drawn):
    return Lessons(*drawn, drawn, batch_size=8, side=32, target_side=16, seed=3)


def test_an_epoch_is_drawn_again_as_it_was_and_another_is_not(lessons):
    first, again, other = (list(lessons.epoch(e)) for e in (0, 0, 1))
    assert len(first) == lessons.steps
    for one, two in zip(first, again, strict=True):
        assert np.array_equal(one.images, two.images) and np.array_equal(one.lungs, two.lungs)
    assert not np.array_equal(first[0].images, other[0].images)


def test_lessons_have_the_shapes_they_promise(lessons):
    lesson = next(lessons.epoch(0))
    assert lesson.images.shape == (8, 32, 32, 1) and lesson.images.dtype == np.float32
    assert lesson.lungs.shape == (8, 16, 16, 2) and lesson.chests.shape == (8, 1)
    assert 0 <= lesson.lungs.min() and lesson.lungs.max() <= 1
    assert lesson.chests.sum() == 7  # one of eight is no chest


def test_pictures_that_are_no_chest_hold_no_known_lungs(lessons):
    for epoch in range(3):
        for lesson in lessons.epoch(epoch):
            strange = lesson.lungs[lesson.chests[:, 0] == 0]
            assert not (strange[..., 0] * strange[..., 1]).any()


def test_masks_move_with_their_images(drawn):
    _, masks = drawn
    for i, mask in enumerate(np.where(masks == IGNORE, 0, masks)):
        moved, lungs = move(mask, mask, np.random.default_rng(i))
        assert (lungs == LUNG).any() and (moved[lungs == LUNG] > 127).mean() > 0.95
        moved, _ = move(255 - mask, mask, np.random.default_rng(i))
        assert (moved[lungs == LUNG] < 128).mean() > 0.95


def test_what_is_ignored_stays_ignored_in_the_target():
    mask = np.zeros((32, 32), np.uint8)
    mask[:16], mask[:, :4] = LUNG, IGNORE
    cells = target(mask, 8)
    assert not cells[:, 0, 1].any() and cells[:, 1:, 1].all()
    assert cells[0, 2, 0] == 1 and cells[7, 2, 0] == 0
    assert not target(None, 8).any()


def test_what_lies_between_a_phantoms_lungs_is_ignored(drawn):
    for mask in drawn[1]:
        assert (mask == LUNG).any() and (mask == IGNORE).any()
        assert np.array_equal(mask > 0, between((mask == LUNG).astype(np.uint8)))
