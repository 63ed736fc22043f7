"""Areas and their covariance, against the definitions, slowly."""

import numpy as np
import pytest

from xray_tf.stats.acceptance.delong import compare_areas, delong
from xray_tf.stats.metrics import auroc


def slowly(scores, positive, keys):
    """Return areas and covariance by the sums in DeLong et al. (1988) and Obuchowski (1997)."""
    wins = lambda a, b: 1.0 if a > b else 0.5 if a == b else 0.0  # noqa: E731
    where, apart = np.flatnonzero(positive), np.flatnonzero(~positive)
    v10 = np.array([[np.mean([wins(s[i], s[j]) for j in apart]) for i in where] for s in scores])
    v01 = np.array([[np.mean([wins(s[i], s[j]) for i in where]) for j in apart] for s in scores])
    areas, m, n = v10.mean(axis=1), len(where), len(apart)
    patients = sorted(set(keys))
    x = np.array(
        [[sum(v[keys[where] == p] - a) for p in patients] for v, a in zip(v10, areas, strict=True)]
    )
    y = np.array(
        [[sum(v[keys[apart] == p] - a) for p in patients] for v, a in zip(v01, areas, strict=True)]
    )
    i10, i01, i = len(set(keys[where])), len(set(keys[apart])), len(patients)
    s10 = i10 / ((i10 - 1) * m) * x @ x.T
    s01 = i01 / ((i01 - 1) * n) * y @ y.T
    s11 = i / (i - 1) * (x @ y.T + y @ x.T)
    return areas, s10 / m + s01 / n + s11 / (m * n)


@pytest.mark.parametrize("per_patient", [1, 3])
def test_it_equals_the_sums_in_the_papers(per_patient):
    rng = np.random.default_rng(per_patient)
    positive = rng.random(60) < 0.4
    keys = np.array([f"p{i // per_patient}" for i in range(60)])
    scores = np.round(rng.normal(positive * 1.0, 1, (3, 60)), 1)  # with ties
    areas, covariance = delong(scores, positive, list(keys))
    slow_areas, slow_covariance = slowly(scores, positive, keys)
    np.testing.assert_allclose(areas, slow_areas, rtol=1e-12)
    np.testing.assert_allclose(covariance, slow_covariance, rtol=1e-9, atol=1e-15)
    assert areas[0] == pytest.approx(auroc(scores[0], positive))


def test_its_interval_holds_the_true_difference_as_often_as_it_says():
    rng, held, small = np.random.default_rng(0), 0, 0
    for _ in range(300):
        sick = rng.random(50) < 0.5  # patients with three rows that are alike
        own = rng.normal(0, 1, (2, 50)) + rng.normal(0, 1, 50) + 1.5 * sick
        rows = np.repeat(np.arange(50), 3)
        scores = own[:, rows] + rng.normal(0, 0.5, (2, 150))
        found = compare_areas(scores, sick[rows], rows.astype(str))
        held += found["low"] <= 0 <= found["high"]
        small += compare_areas(scores, sick[rows])["p"] < 0.05
    assert 0.915 <= held / 300 <= 0.98
    assert small / 300 > 0.15  # what counting rows instead of patients would claim


def test_equal_rankings_differ_by_nothing_and_one_kind_of_rows_is_refused():
    positive = np.arange(20) < 8
    scores = np.random.default_rng(0).random(20)
    same = compare_areas(np.stack([scores, scores * 2]), positive)
    assert (same["value"], same["low"], same["high"], same["p"]) == (0, 0, 0, 1)
    with pytest.raises(ValueError, match="both kinds"):
        delong(scores[None], np.ones(20, bool))
    one = compare_areas(np.stack([scores, 1 - scores]), np.arange(20) < 1, ["a"] * 20)
    assert one["low"] is None and one["p"] is None
