"""The rule keeps its false-alarm budget whatever the scores, says why, and refuses what it cannot
promise.
"""

import numpy as np
import pytest

from xray_tf.stats.detector.or_rule import (
    OrRule,
    calibrate,
    one_per_patient,
    read_thresholds,
    refuse_too_few,
)
from xray_tf.stats.detector.statistics import score_statistics

TWO = ("reconstruction_error", "log_density")


def drawn(rng, rows, columns, shared, ties=False):
    """Scores of exchangeable normals: a common part of weight `shared`, and each its own."""
    scores = shared * rng.normal(size=(rows, 1)) + (1 - shared) * rng.standard_t(
        3, size=(rows, columns)
    )
    return np.round(4 * scores) / 4 if ties else scores


@pytest.mark.parametrize(
    ("normals", "columns", "budget", "shared", "ties"),
    [
        (59, 2, 0.05, 0.0, False),
        (59, 2, 0.05, 0.9, False),
        (150, 3, 0.1, 0.5, False),
        (79, 3, 0.05, 0.3, True),
        (99, 1, 0.05, 0.0, False),
    ],
)
def test_new_normals_are_flagged_no_more_often_than_the_budget_says(
    normals, columns, budget, shared, ties
):
    rng = np.random.default_rng(normals + columns)
    names, shares = [f"score{k}" for k in range(columns)], []
    for _ in range(150):
        scores = drawn(rng, normals + 100, columns, shared, ties)
        shares.append(
            calibrate(names, scores[:normals], None, budget)
            .judge(scores[normals:])
            .anomalous.mean()
        )
    mean, error = np.mean(shares), np.std(shares) / np.sqrt(len(shares))
    assert mean <= budget + 3 * error
    # and the budget is used, up to the few ranks that the promise costs
    assert ties or mean >= budget - (columns + 1.5) / (normals + 1) - 3 * error


def test_the_thresholds_are_those_counted_by_hand():
    # 19 normals, budget 0.2: floor(0.2 * 20) - 1 = 3 may be flagged. Error and density rank the
    # normals in opposite order, so with each one more tail rank
    # two more are flagged: one from either end. At rank 18 that is 2, at rank 17 4; so r = 18, and
    # the thresholds are the 19th, the extremes themselves.
    values = np.arange(19.0)
    rule = calibrate(TWO, np.stack([values, values + 100], axis=1), None, 0.2)
    assert rule.thresholds.tolist() == [18.0, 100.0] and rule.budget == 0.2
    # ranked alike, each rank flags one normal: r = 16, and the thresholds are the 17th lowest.
    rule = calibrate(TWO, np.stack([values, -values], axis=1), None, 0.2)
    assert rule.thresholds.tolist() == [16.0, -16.0] and rule.false_alarms() == pytest.approx(
        dict.fromkeys([*TWO, "any"], 2 / 19)
    )


@pytest.mark.parametrize(
    ("normals", "weights", "budget"), [(79, (0.125, 0.125, 1.0), 0.05), (150, (0.3, 1.0, 0.6), 0.1)]
)
def test_weighted_scores_keep_the_budget_too(normals, weights, budget):
    rng, names, shares, first = np.random.default_rng(normals), ["a", "b", "c"], [], []
    for _ in range(150):
        scores = drawn(rng, normals + 100, 3, 0.3)
        rule = calibrate(
            names, scores[:normals], None, budget, weights=dict(zip(names, weights, strict=True))
        )
        shares.append(rule.judge(scores[normals:]).anomalous.mean())
        first.append(rule.tails)
    mean, error = np.mean(shares), np.std(shares) / np.sqrt(len(shares))
    assert budget - 4.5 / (normals + 1) - 3 * error <= mean <= budget + 3 * error
    heaviest = int(np.argmax(weights))
    assert all(t[heaviest] == max(t) for t in first) and all(
        t[k] == max(1, int(w * t[heaviest])) for t in first for k, w in enumerate(weights)
    )


def test_a_score_of_small_weight_speaks_only_beyond_all_normals():
    # 39 normals, budget 0.2: floor(0.2 * 40) - 1 = 7 may be out. The first score's largest is out
    # at every depth; the second's 6 others: t = 7 with an overlap.
    values = np.arange(39.0)
    rule = calibrate(
        ["x", "y"], np.stack([-values, -values], axis=1), None, 0.2, weights={"x": 0.1}
    )
    assert (
        rule.tails == (1, 7)
        and rule.thresholds.tolist() == [-38.0, -32.0]
        and rule.false_alarms() == {"x": 0.0, "y": 6 / 39, "any": 6 / 39}
    )


def test_one_radiograph_of_each_patient_calibrates():
    patients = ["a"] * 500 + [f"p{i}" for i in range(40)]
    scores = np.concatenate([np.full(500, 9.0), np.arange(40.0) / 40])[:, None]
    rule = calibrate(["reconstruction_error"], scores, patients, 0.1)
    assert len(rule.normals) == 41 and rule.thresholds[0] < 1
    chosen = one_per_patient(patients, 540, seed=3)
    assert (
        sorted(patients[i] for i in chosen) == sorted(set(patients))
        and len(one_per_patient(["", ""], 2)) == 2
    )


RULE = OrRule(TWO, np.array([10.0, -5.0]), np.stack([np.arange(9.0), -np.arange(9.0) / 2], axis=1))


@pytest.mark.parametrize(
    ("scores", "anomalous", "reason", "percentiles"),
    [
        ((4.0, -2.0), False, "", (400 / 9, 400 / 9)),
        ((10.0, -5.0), False, "", (100, 100)),  # at the thresholds, not beyond
        ((11.0, -2.0), True, "reconstruction", (100, 400 / 9)),
        ((0.0, -6.0), True, "density", (0, 100)),
        ((11.0, -6.0), True, "both", (100, 100)),
    ],
)
def test_every_verdict_has_its_reason_and_percentiles(scores, anomalous, reason, percentiles):
    judged = RULE.judge(np.array([scores]))
    assert judged.anomalous.tolist() == [anomalous] and judged.reasons == [reason]
    np.testing.assert_allclose(judged.percentiles, [percentiles])
    assert (judged.anomaly[0] > 0.5) == anomalous


def test_the_anomaly_score_is_the_or_as_one_number():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(500, 2)) * [6, 3] + [8, -3]
    judged = RULE.judge(scores)
    assert (
        ((judged.anomaly > 0.5) == judged.anomalous).all()
        and judged.anomaly.min() > 0
        and judged.anomaly.max() < 1
    )
    worse = RULE.judge(scores + [1.0, -1.0])
    assert (worse.anomaly > judged.anomaly).all()
    assert RULE.judge(np.array([[10.0, 0.0]])).anomaly[0] == 0.5
    # four above, in interquartile ranges of the normals (4): z = 1, so 0.5 + 1 / (2 + 2)
    assert RULE.judge(np.array([[14.0, 0.0]])).anomaly[0] == pytest.approx(0.75)


def test_three_scores_name_those_beyond():
    rule = OrRule(
        (*TWO, "features"),
        np.array([1.0, -1.0, -1.0]),
        np.random.default_rng(0).normal(size=(9, 3)),
    )
    assert rule.judge(np.array([[2.0, 0.0, -3.0], [2.0, -3.0, -3.0]])).reasons == [
        "reconstruction+features",
        "reconstruction+density+features",
    ]


def test_thresholds_by_hand_promise_nothing():
    rule = RULE.with_thresholds(read_thresholds("log_density=-1, reconstruction_error=2", TWO))
    assert rule.thresholds.tolist() == [2.0, -1.0] and rule.budget is None
    assert rule.judge(np.array([[3.0, 0.0]])).reasons == ["reconstruction"]


def test_batches_have_the_mean_and_deviation_of_their_rows():
    scores = np.array([[1.0, -1.0], [3.0, -3.0], [10.0, -9.0]])
    table = score_statistics(TWO, scores, ["normal", "normal", "pneumonia"], np.array([5.0, -2.0]))
    found = {(r.group, r.score): (r.rows, r.mean, r.standard_deviation, r.beyond) for r in table}
    assert found["normal", "reconstruction_error"] == (2, 2.0, pytest.approx(2**0.5), 0.0)
    assert found["normal", "log_density"] == (2, -2.0, pytest.approx(2**0.5), 0.5)
    rows, mean, deviation, beyond = found["pneumonia", "log_density"]
    assert (rows, mean, beyond) == (1, -9.0, 1.0) and np.isnan(deviation)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: calibrate(TWO, np.random.default_rng(0).normal(size=(58, 2)), None, 0.05),
            "58 calibration normals.*59 patients are needed",
        ),
        (lambda: calibrate(TWO, np.ones((80, 2)), None, 0.05), "is the same for half of the 80"),
        (lambda: calibrate(TWO, np.empty((0, 2)), None, 0.05), "no calibration normal"),
        (lambda: calibrate(TWO, np.ones((80, 3)), None), r"scores must be \(N, 2\)"),
        (
            lambda: calibrate(TWO, np.full((80, 2), np.nan), None),
            "must be finite. Received: 80 of 80",
        ),
        (
            lambda: calibrate(TWO, np.random.default_rng(0).normal(size=(80, 2)), None, 1.5),
            "budget must be a share",
        ),
        (
            lambda: calibrate(TWO, np.random.default_rng(0).normal(size=(80, 2)), ["a"], 0.05),
            "one key a row, 80",
        ),
        (
            lambda: calibrate(
                TWO, np.random.default_rng(0).normal(size=(80, 2)), None, weights={"density": 0.5}
            ),
            "weights must be numbers above 0",
        ),
        (
            lambda: calibrate(
                TWO,
                np.random.default_rng(0).normal(size=(80, 2)),
                None,
                weights={"log_density": 0.0},
            ),
            "weights must be numbers above 0",
        ),
        (lambda: RULE.judge(np.zeros((2, 3))), r"scores must be \(N, 2\)"),
        (
            lambda: RULE.with_thresholds({"log_density": 1.0}),
            "one finite number for each of reconstruction_error, log_density",
        ),
        (lambda: read_thresholds("0.3", TWO), "name=value"),
        (lambda: read_thresholds("reconstruction_error=1,log_density=nan", TWO), "finite"),
        (lambda: refuse_too_few(78, 3, 0.05), "79 patients are needed"),
    ],
)
def test_what_cannot_be_judged_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
