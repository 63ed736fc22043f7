"""Prevalence, recalibration and net benefit, against truth that is known."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, softmax

from xray_tf.stats.acceptance.net_benefit import net_benefit, treat_all
from xray_tf.stats.acceptance.prior_shift import adapt, estimate_prevalence, shift_logits
from xray_tf.stats.acceptance.recalibration import calibration_slope, fit_logits
from xray_tf.stats.operating_points import fit_site_points
from xray_tf.stats.temperature import calibrated_probabilities


def posteriors(rng, shares, fitted, rows, apart=3.0):
    """Draw rows at prevalences `shares`, and give the exact probabilities for `fitted`."""
    labels = rng.choice(len(shares), rows, p=shares)
    means = apart * np.eye(len(shares))
    x = means[labels] + rng.normal(size=(rows, len(shares)))
    likelihood = np.exp(-((x[:, None] - means) ** 2).sum(-1) / 2)
    p = likelihood * fitted
    return p / p.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize(
    ("fitted", "shares"),
    [((0.5, 0.5), (0.9, 0.1)), ((0.26, 0.74), (0.6, 0.4)), ((0.3, 0.5, 0.2), (0.7, 0.05, 0.25))],
)
def test_em_finds_known_prevalences(fitted, shares):
    rng = np.random.default_rng(0)
    probabilities, labels = posteriors(rng, shares, np.array(fitted), 20_000)
    found = estimate_prevalence(probabilities, fitted)[0]
    np.testing.assert_allclose(found, shares, atol=0.012)
    adapted = adapt(probabilities, fitted, found)
    np.testing.assert_allclose(adapted.mean(axis=0), np.bincount(labels) / len(labels), atol=0.01)
    exact = posteriors(np.random.default_rng(0), shares, np.array(shares), 20_000)[0]
    np.testing.assert_allclose(adapt(probabilities, fitted, shares), exact, atol=1e-9)


def test_em_is_the_most_likely_prevalence_and_its_replicates_hold_the_truth():
    rng, held = np.random.default_rng(1), 0
    for trial in range(40):
        p, _ = posteriors(rng, (0.8, 0.2), np.array([0.4, 0.6]), 150, apart=1.5)
        ratio = p / (0.4, 0.6)
        if not trial:
            loss = lambda t, r=ratio: -np.log((1 - t) * r[:, 0] + t * r[:, 1]).sum()  # noqa: E731
            best = minimize_scalar(loss, bounds=(0, 1), method="bounded").x
            assert estimate_prevalence(p, (0.4, 0.6))[0, 1] == pytest.approx(best, abs=1e-4)
        weights = rng.multinomial(150, np.full(150, 1 / 150), 100).astype(float)
        low, high = np.percentile(estimate_prevalence(p, (0.4, 0.6), weights)[:, 1], [2.5, 97.5])
        held += low <= 0.2 <= high
    assert held >= 34


def test_the_shift_of_logits_is_the_adapted_probability():
    p = np.array([[0.7, 0.3], [0.05, 0.95]])
    logs = shift_logits((0.4, 0.6), (0.9, 0.1))
    moved = expit(np.log(p[:, 1] / p[:, 0]) + logs[1] - logs[0])
    np.testing.assert_allclose(adapt(p, (0.4, 0.6), (0.9, 0.1))[:, 1], moved)


def test_a_known_miscalibration_is_found():
    rng = np.random.default_rng(0)
    x = rng.normal(0, 3, 4000)
    labels = (rng.random(4000) < expit(0.6 * x - 1)).astype(int)
    temperature, intercept = fit_logits(x[:, None] * 2, labels, 2.0)
    assert temperature == pytest.approx(2 / 0.6, rel=0.06)
    assert intercept[0] == pytest.approx(-1, abs=0.12)
    draws = rng.multinomial(4000, np.full(4000, 1 / 4000), 30).astype(float)
    slopes = calibration_slope(x[:, None] * 2, labels, 2.0, draws)
    assert slopes[0] == pytest.approx(0.6, rel=0.06) and 0.005 < slopes[1:].std() < 0.04
    z = rng.normal(0, 2, (4000, 3))
    many = np.array([rng.choice(3, p=p) for p in softmax(0.7 * z + (0.5, 0, -0.5), axis=1)])
    temperature, intercepts = fit_logits(z, many, 1.0)
    assert temperature == pytest.approx(1 / 0.7, rel=0.06)
    np.testing.assert_allclose(intercepts, (0.5, 0, -0.5), atol=0.12)


def test_separated_and_few_rows_keep_finite_parameters():
    logits, labels = np.linspace(-3, 3, 12)[:, None], np.arange(12) // 6
    temperature, intercept = fit_logits(logits, labels, 1.0)
    assert 0.1 < temperature < 1 and abs(intercept[0]) < 0.1
    weights = np.zeros(12)
    assert fit_logits(logits, labels, 1.0, weights) == (1.0, np.zeros(1))


def test_site_points_lie_at_the_shares_of_the_classes():
    rng = np.random.default_rng(0)
    p, labels = posteriors(rng, (0.7, 0.3), np.array((0.7, 0.3)), 200)
    points = fit_site_points(p, labels, ["val"] * 200, ("normal", "pneumonia"))
    point = points["balanced"]
    assert point.threshold == pytest.approx((labels == 1).mean()) and set(points) == {
        "balanced",
        "sensitivity_95",
    }
    decided = point.decide(p)
    assert point.sensitivity == pytest.approx((decided[labels == 1] == 1).mean())
    assert point.specificity == pytest.approx((decided[labels == 0] == 0).mean())
    shares = np.array((0.6, 0.3, 0.1))
    p, labels = posteriors(rng, shares, shares, 300)
    point = fit_site_points(p, labels, ["val"] * 300, ("a", "b", "c"))["balanced"]
    even = adapt(p, np.bincount(labels) / 300, np.full(3, 1 / 3))
    np.testing.assert_array_equal(point.decide(p), even.argmax(axis=1))


def test_net_benefit_is_what_the_paper_counts():
    rng = np.random.default_rng(0)
    probability, positive = rng.random(200), rng.random(200) < 0.3
    thresholds = np.array([0.1, 0.5, 0.9])
    for t, found in zip(thresholds, net_benefit(probability, positive, thresholds)[0], strict=True):
        called = probability >= t
        true, false = (called & positive).sum(), (called & ~positive).sum()
        assert found == pytest.approx(true / 200 - false / 200 * t / (1 - t))
    everybody = net_benefit(np.ones(200), positive, thresholds)[0]
    np.testing.assert_allclose(everybody, treat_all(positive.mean(), thresholds))
    np.testing.assert_allclose(
        net_benefit(np.ones(200), positive, thresholds, prevalence=0.05)[0],
        treat_all(0.05, thresholds),
    )
    perfect = net_benefit(calibrated_probabilities(positive[:, None] * 9.0 - 4, 1)[:, 1], positive)
    assert perfect[0, 49] == pytest.approx(positive.mean())
