"""Temperature and operating points are the optimum a slow search finds, from validation rows
only.
"""

import json

import numpy as np
import pytest

from xray_tf.operating_point import OperatingPoint
from xray_tf.stats.operating_points import (
    PLATEAU,
    fit_operating_points,
    fit_steady_point,
    no_less_sensitive,
)
from xray_tf.stats.temperature import calibrated_probabilities, fit_temperature

BINARY = ("normal", "pneumonia")
THREE = ("normal", "bacterial", "viral")


def simulated(n, k, temperature, seed=0):
    """Logits whose softmax at `temperature` is the true posterior the labels were drawn from."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, k))
    p = calibrated_probabilities(logits, 1.0)
    labels = np.array([rng.choice(p.shape[1], p=row) for row in p])
    return logits * temperature, labels


def nll(logits, labels, t):
    return -np.log(calibrated_probabilities(logits, t)[np.arange(len(labels)), labels]).mean()


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_temperature_is_the_minimum_of_the_likelihood_and_recovers_the_truth(k, true):
    logits, labels = simulated(4000, k, true)
    t = fit_temperature(logits, labels)
    grid = np.exp(np.linspace(np.log(0.1), np.log(15), 800))
    assert nll(logits, labels, t) <= min(nll(logits, labels, g) for g in grid) + 1e-9
    assert t == pytest.approx(true, rel=0.12)


def test_one_logit_and_two_logits_agree():
    logits, labels = simulated(500, 1, 2.0)
    two = np.hstack([np.zeros_like(logits), logits])
    assert fit_temperature(two, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-4)
    np.testing.assert_allclose(
        calibrated_probabilities(two, 1.7), calibrated_probabilities(logits, 1.7), atol=1e-12
    )


def test_probabilities_stay_exact_at_extreme_logits():
    p = calibrated_probabilities(np.array([[800.0], [-800.0], [0.0], [-40.0]]), 1.0)
    assert p[:3].tolist() == [[0, 1], [1, 0], [0.5, 0.5]]
    assert p[3, 1] == pytest.approx(np.exp(-40), rel=1e-12)


@pytest.mark.parametrize(
    "logits, labels, expected",
    [
        # separated: widest margin 3 is sharpened to 15 logits, no further
        ([[3.0], [-3.0], [1.0], [-1.0]], [1, 0, 1, 0], 0.2),
        ([[0.1], [-0.1]], [1, 0], 0.05),
        ([[90.0], [-90.0]], [1, 0], 1.0),
        ([[-3.0], [3.0]], [1, 0], 20.0),
    ],
)
def test_temperature_without_a_minimum_ends_on_its_bound(logits, labels, expected):
    assert fit_temperature(logits, labels) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "logits, labels, message",
    [
        ([1.0, 2.0], [0, 1], r"logits must be \(N, 1\) or \(N, K\)"),
        ([[1.0], [np.inf]], [0, 1], "must be finite. Received 1 rows"),
        ([[1.0], [2.0]], [1, 1], "at least two classes"),
        ([[1.0], [2.0]], [0, 2], r"integers in \[0, 1\]"),
        ([[1.0], [2.0]], [0, -1], r"integers in \[0, 1\]"),
        ([[1.0], [2.0]], [0], "one a row"),
    ],
)
def test_temperature_refuses(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        fit_temperature(logits, labels)


def binary(p):
    p = np.asarray(p, dtype=float)
    return np.stack([1 - p, p], axis=1)


def test_thresholds_by_hand():
    p = binary([0.1, 0.2, 0.3, 0.6, 0.7, 0.9])
    points = fit_operating_points(p, np.array([0, 0, 1, 0, 1, 1]), ["val"] * 6, BINARY)
    # J = 2/3 both between 0.2 and 0.3 and between 0.6 and 0.7; equally wide, so the lower wins.
    assert points["balanced"].threshold == pytest.approx(0.25)
    assert (points["balanced"].sensitivity, points["balanced"].specificity) == pytest.approx(
        (1.0, 2 / 3)
    )
    assert points["sensitivity_95"].threshold == pytest.approx(0.25)
    wider = fit_operating_points(
        binary([0.1, 0.2, 0.3, 0.6, 0.8, 0.9]), np.array([0, 0, 1, 0, 1, 1]), ["val"] * 6, BINARY
    )
    assert wider["balanced"].threshold == pytest.approx(0.7)
    json.dumps([p.to_dict() for p in points.values()], allow_nan=False)


@pytest.mark.parametrize("seed, digits", [(0, 15), (1, 2), (2, 1), (3, 1)])
def test_thresholds_equal_a_brute_force_search(seed, digits):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, 120)
    p = np.clip(np.round(0.5 + 0.15 * (2 * y - 1) + rng.normal(0, 0.2, 120), digits), 0, 1)
    points = fit_operating_points(binary(p), y, ["val"] * 120, BINARY)
    scores = np.unique(p)
    candidates = [0.0, *((scores[1:] + scores[:-1]) / 2), 1.5]
    at = {t: ((p[y == 1] >= t).mean(), (p[y == 0] < t).mean()) for t in candidates}
    best = max(a + b for a, b in at.values())
    for point in points.values():
        decided = point.decide(binary(p))
        assert point.sensitivity == pytest.approx((decided[y == 1] == 1).mean())
        assert point.specificity == pytest.approx((decided[y == 0] == 0).mean())
    assert points["balanced"].sensitivity + points["balanced"].specificity == pytest.approx(best)
    assert points["sensitivity_95"].specificity == pytest.approx(
        max(b for a, b in at.values() if a >= 0.95)
    )


@pytest.mark.parametrize(
    "p, y",
    [
        ([1.0, 1.0, 1.0, 0.5], [1, 1, 0, 0]),
        ([0.0, 0.0, 0.0, 0.0], [1, 1, 0, 0]),
        ([1.0, 1.0, 1.0, 1.0], [1, 0, 0, 0]),
        ([0.5, np.nextafter(0.5, 1), 0.5, np.nextafter(0.5, 1)], [0, 1, 0, 1]),
        ([0.9, 0.8, 0.2, 0.1], [0, 0, 1, 1]),
    ],
)
def test_what_the_point_says_is_what_deciding_gives_even_at_the_edges(p, y):
    y = np.array(y)
    for point in fit_operating_points(binary(p), y, ["val"] * 4, BINARY).values():
        decided = point.decide(binary(p))
        assert ((decided[y == 1] == 1).mean(), (decided[y == 0] == 0).mean()) == (
            point.sensitivity,
            point.specificity,
        )
        assert point.sensitivity >= 0.95 or "J" in point.criterion


def three_class(n, seed, prior, shift):
    rng = np.random.default_rng(seed)
    y = rng.choice(3, n, p=prior)
    return calibrated_probabilities(rng.normal(size=(n, 3)) + 1.5 * np.eye(3)[y] + shift, 1.0), y


def macro_recall(decided, y):
    return np.mean([(decided[y == k] == k).mean() for k in range(3)])


def test_offsets_come_close_to_the_best_of_a_dense_grid_and_hold_on_new_rows():
    prior, shift = (0.2, 0.55, 0.25), (0.0, 1.0, -0.5)
    p, y = three_class(900, 0, prior, shift)
    points = fit_operating_points(p, y, ["val"] * 900, THREE)
    grid = np.arange(-2.5, 2.51, 0.1)
    best = max(
        macro_recall(np.argmax(np.log(p) + [0, a, b], axis=1), y) for a in grid for b in grid
    )
    assert points["balanced"].balanced_accuracy >= best - 0.015
    assert points["balanced"].balanced_accuracy == pytest.approx(
        macro_recall(points["balanced"].decide(p), y)
    )
    assert sum(points["balanced"].offsets) == pytest.approx(0, abs=1e-5)
    new_p, new_y = three_class(4000, 1, prior, shift)
    assert (
        macro_recall(points["balanced"].decide(new_p), new_y)
        > macro_recall(points["argmax"].decide(new_p), new_y) + 0.05
    )
    assert points == fit_operating_points(p, y, ["val"] * 900, THREE)
    json.dumps([p.to_dict() for p in points.values()], allow_nan=False)


def test_offsets_stay_zero_where_they_gain_nothing():
    p = np.eye(3)[np.arange(30) % 3] * 0.94 + 0.02
    points = fit_operating_points(p, np.arange(30) % 3, ["val"] * 30, THREE)
    assert points["balanced"].offsets == (0, 0, 0)
    assert points["argmax"].balanced_accuracy == 1


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(splits=["val", "val", "test"]), r"fitted on validation rows only.*\['test'\]"),
        (dict(splits=["val", "val", ""]), r"fitted on validation rows only.*\[''\]"),
        (dict(splits=["train"] * 3), "fitted on validation rows only"),
        (dict(splits=["val"]), "one a row"),
        (dict(labels=np.array([1, 1, 1])), "Received no row of: normal"),
        (dict(labels=np.array([0, 1, -1])), r"integers in \[0, 1\]"),
        (dict(labels=np.array([0.0, 1.0, 1.0])), "integers in"),
        (dict(probabilities=binary([0.1, np.nan, 0.2])), "must be finite"),
        (dict(probabilities=np.full((3, 3), 1 / 3)), "one column a class"),
    ],
)
def test_fitting_refuses(change, message):
    good = dict(
        probabilities=binary([0.1, 0.6, 0.8]),
        labels=np.array([0, 1, 1]),
        splits=["val"] * 3,
        class_names=BINARY,
    )
    with pytest.raises(ValueError, match=message):
        fit_operating_points(**{**good, **change})


def test_the_steady_point_is_the_threshold_nearest_to_one_half_near_the_best_mean_over_changes():
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, 300)
    # every change moves all rows, and each by itself
    logits = 3.0 * labels - 0.6 + rng.normal(size=(5, 300)) + rng.normal(size=(5, 1))
    probabilities = np.stack([1 / (1 + np.exp(logits)), 1 / (1 + np.exp(-logits))], axis=2)
    point = fit_steady_point(probabilities, labels, ["val"] * 300, BINARY)

    def reached(threshold):
        called = probabilities[..., 1] >= threshold
        return np.mean([c[labels == 1].mean() - c[labels == 0].mean() for c in called])

    every = np.unique(probabilities[..., 1])
    best = max(reached(t) for t in every)
    assert point.conditions == 5 and point.rows == 300
    near = every[[reached(t) >= best - PLATEAU for t in every]]
    # something is given away here, and no more than said
    assert best - PLATEAU <= reached(point.threshold) < best
    assert abs(point.threshold - 0.5) <= np.abs(near - 0.5).min() and (
        near.min() > 0.5 or near.max() < 0.5
    )
    assert point.sensitivity + point.specificity - 1 == pytest.approx(reached(point.threshold))
    assert reached(point.threshold) > reached(
        fit_operating_points(probabilities[0], labels, ["val"] * 300, BINARY)["balanced"].threshold
    )


def test_three_classes_have_a_steady_point_too_and_foreign_rows_are_refused():
    rng = np.random.default_rng(5)
    probabilities, labels = rng.dirichlet(np.ones(3), (4, 30)), np.arange(30) % 3
    assert len(fit_steady_point(probabilities, labels, ["val"] * 30, THREE).offsets) == 3
    with pytest.raises(ValueError, match="validation rows only"):
        fit_steady_point(probabilities, labels, ["val"] * 29 + ["test"], THREE)
    with pytest.raises(ValueError, match=r"\(C, N, K\)"):
        fit_steady_point(probabilities[0], labels, ["val"] * 30, THREE)


def test_sensitivity_95_is_never_less_sensitive_than_the_default_point():
    rng = np.random.default_rng(5)
    y = np.repeat([0, 1], 200)
    p = np.clip(0.5 + 0.35 * (2 * y - 1) + rng.normal(0, 0.1, 400), 0, 1)
    points = fit_operating_points(np.stack([1 - p, p], 1), y, ["val"] * 400, BINARY)
    assert points["balanced"].sensitivity > 0.97  # so 0.95 alone would lie above it
    assert points["sensitivity_95"].threshold <= points["balanced"].threshold
    assert points["sensitivity_95"].sensitivity >= points["balanced"].sensitivity
    default = OperatingPoint("steady", threshold=0.2)
    lower = no_less_sensitive(points["sensitivity_95"], default, np.stack([1 - p, p], 1), y)
    assert lower.threshold == 0.2 and "steady" in lower.criterion
    assert lower.sensitivity == (p[y == 1] >= 0.2).mean()
    assert lower.specificity == (p[y == 0] < 0.2).mean()
    assert no_less_sensitive(default, points["balanced"], None, None) is default
