"""The segmenter's training: ignored pixels cost nothing, it learns, and it resumes bit for bit."""

import numpy as np
import pytest

from xray_tf.data.chest.lung_lessons import Lessons, draw_phantoms
from xray_tf.data.chest.lung_masks import intersection_over_union
from xray_tf.nets.lungs import COARSE, SIDE, LungNetShape, segment
from xray_tf.nets.training.lung_loop import LungTraining, chest_loss, lung_loss
from xray_tf.options import TrainLungsOptions

SMALL = LungNetShape(widths=(8, 8, 12, 16), depths=(1, 1, 1, 1))


@pytest.fixture(scope="module")
def drawn():
    return draw_phantoms(12, 1, 224)


def lessons_of(drawn, seed=0):
    return Lessons(*drawn, drawn, batch_size=8, side=SIDE, target_side=COARSE, seed=seed)


def test_ignored_pixels_and_pictures_cost_nothing():
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(2, 8, 8, 1)).astype(np.float32)
    lung, known = (
        (rng.random((2, 8, 8, 1)) < 0.5).astype(np.float32),
        np.ones((2, 8, 8, 1), np.float32),
    )
    known[0, :4], known[1] = 0, 0
    costs = np.asarray(lung_loss(np.concatenate([lung, known], -1), logits))
    wrong_where_ignored = logits.copy()
    wrong_where_ignored[0, :4] += 50
    again = np.asarray(lung_loss(np.concatenate([lung, known], -1), wrong_where_ignored))
    assert costs[0] > 0.1 and costs[1] == 0
    assert np.allclose(costs, again)


def test_the_score_costs_more_the_surer_it_is_of_the_wrong():
    logits = np.array([[-3.0], [0.0], [3.0]], np.float32)
    costs = np.asarray(chest_loss(np.ones((3, 1), np.float32), logits))
    assert costs.shape == (3,) and (np.diff(costs) < 0).all()


def test_a_resumed_training_ends_where_an_uninterrupted_one_does(drawn, tmp_path):
    options = TrainLungsOptions(epochs=2, batch_size=8)
    lessons = lessons_of(drawn)
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = LungTraining(options, lessons.steps, tmp_path / "whole", shape=SMALL)
    net = whole.run(lessons.epoch)

    class Stop(Exception):
        pass

    def stop(row):
        raise Stop

    killed = LungTraining(options, lessons.steps, tmp_path / "parts", stop, SMALL)
    with pytest.raises(Stop):
        killed.run(lessons.epoch)
    resumed = LungTraining(options, lessons.steps, tmp_path / "parts", shape=SMALL)
    again = resumed.run(lessons.epoch)
    assert [r["epoch"] for r in resumed.history] == [1, 2]
    assert resumed.history[1]["loss"] == whole.history[1]["loss"]
    for one, two in zip(net.get_weights(), again.get_weights(), strict=True):
        assert np.array_equal(one, two)


def test_it_learns_where_the_lungs_of_phantoms_are(drawn, tmp_path):
    options = TrainLungsOptions(epochs=36, batch_size=8, learning_rate=1e-2, ema=0.5)
    lessons = lessons_of(drawn)
    net = LungTraining(options, lessons.steps, tmp_path, shape=SMALL).run(lessons.epoch)
    images, masks = draw_phantoms(6, 2, 224)
    found = [lungs for lungs, _ in segment(net, images)]
    overlaps = [intersection_over_union(a, b) for a, b in zip(found, masks, strict=True)]
    assert np.mean(overlaps) > 0.6
