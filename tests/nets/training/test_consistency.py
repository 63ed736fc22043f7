"""Two views of one radiograph: what their difference costs."""

import numpy as np
import pytest

from xray_tf.nets.classifier import build_classifier
from xray_tf.nets.lungs import build_lung_net
from xray_tf.nets.training.objective import Consistency, loss_net, targets_of
from xray_tf.options import ModelOptions, TrainOptions

SIDE, COUNT, CLASSES = 64, 6, ("normal", "bacterial", "viral")
RNG = np.random.default_rng(0)
LOGITS, OTHERS = RNG.normal(size=(2, COUNT, 3)).astype(np.float32)
TARGETS = targets_of(np.arange(COUNT) % 3, 3)


def cost(logits, others, targets=TARGETS, other_targets=TARGETS, weight=1.0):
    return np.asarray(Consistency(weight)(logits, others, targets, other_targets))[:, 0]


def test_it_is_the_mean_of_both_divergences():
    p, q = (np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in (LOGITS, OTHERS))
    divergence = [(a * np.log(a / b)).sum(1) for a, b in ((p, q), (q, p))]
    np.testing.assert_allclose(cost(LOGITS, OTHERS), np.mean(divergence, axis=0), rtol=1e-4)
    np.testing.assert_allclose(cost(LOGITS, OTHERS, weight=3.0), 3 * cost(LOGITS, OTHERS))
    np.testing.assert_array_equal(cost(LOGITS, LOGITS), 0)


def test_one_logit_heads_are_treated_like_two():
    one, other = LOGITS[:, :1], OTHERS[:, :1]
    two, others = (np.hstack([0 * x, x]) for x in (one, other))
    ends = TARGETS[:, :1]
    np.testing.assert_allclose(
        cost(one, other, ends, ends), cost(two, others, ends, ends), rtol=1e-5
    )


def test_views_that_were_told_different_targets_need_not_agree():
    told = TARGETS.copy()
    told[::2] = 1 / 3
    got = cost(LOGITS, OTHERS, told)
    assert (got[::2] == 0).all() and (got[1::2] > 0).all()


@pytest.fixture(scope="module")
def model():
    options = ModelOptions(image_size=SIDE, weights=None)
    return build_classifier(options, CLASSES, 0, build_lung_net(112, seed=1))


def loss(model, **how):
    images = np.random.default_rng(1).uniform(0, 255, (COUNT, SIDE, SIDE, 1))
    net = loss_net(model, TrainOptions(augment="strong", **how), (1.0,) * 3)
    return np.asarray(net([images, TARGETS], training=True))[:, 0]


def test_a_training_adds_it_in_proportion_to_its_weight(model):
    one, two, three = (loss(model, consistency=w) for w in (1.0, 2.0, 3.0))
    np.testing.assert_allclose(three - two, two - one, rtol=1e-2, atol=1e-5)
    assert (two - one > 0).any()


def test_emptied_lungs_need_not_agree_with_lungs(model):
    one, two = (loss(model, consistency=w, emptied=1.0) for w in (1.0, 2.0))
    np.testing.assert_allclose(one, two, rtol=1e-5)
