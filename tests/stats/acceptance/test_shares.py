"""Shares with intervals by patient, and verdicts that are wrong as often as they say."""

import numpy as np
import pytest
from scipy.stats import beta, binom

from xray_tf.stats.acceptance.shares import Share
from xray_tf.stats.acceptance.verdict import Limit, judge, read_limits


def draw(rng, share, patients, alike):
    """Draw (hit, patient) of patients with one to five rows; `alike` is their intra-class
    correlation.
    """
    rows = rng.choice([1, 1, 1, 2, 3, 5], patients)
    scale = (1 - alike) / alike
    own = rng.beta(share * scale, (1 - share) * scale, patients)
    keys = np.repeat(np.arange(patients), rows)
    return rng.random(len(keys)) < own[keys], keys.astype(str)


@pytest.mark.parametrize(
    ("share", "patients", "alike"),
    [(0.8, 30, 0.01), (0.9, 60, 0.3), (0.97, 40, 0.3), (0.9, 40, 0.7)],
)
def test_the_interval_holds_the_truth_as_often_as_it_says(share, patients, alike):
    rng, held = np.random.default_rng(0), 0
    for _ in range(300):
        low, high = Share.of(*draw(rng, share, patients, alike)).interval
        held += low <= share <= high
    # 300 draws of 0.95 lie above 0.915 but for one time in a hundred
    assert held / 300 >= 0.89


def test_one_row_a_patient_is_jeffreys_own_interval():
    share = Share.of(np.arange(40) < 36, [str(i) for i in range(40)])
    expected = beta(36.5, 4.5).ppf([0.025, 0.975])
    np.testing.assert_allclose(share.interval, expected, rtol=1e-9)
    assert (share.hits, share.rows, share.patients, share.effective) == (36, 40, 40, 40)
    assert share.chance_below(expected[0]) == pytest.approx(0.025)


def test_rows_of_one_patient_that_repeat_each_other_count_once():
    keys, right = np.repeat(np.arange(30), 4), np.arange(30) < 24
    repeated = Share.of(np.repeat(right, 4), keys.astype(str))
    assert 25 < repeated.effective <= 30 and repeated.rows == 120
    alone = Share.of(right, [str(i) for i in range(30)])
    assert repeated.interval == pytest.approx(alone.interval, abs=0.02)


def test_a_share_without_a_mistake_is_not_certain():
    share = Share.of(np.ones(60, bool), [str(i // 3) for i in range(60)])
    low, high = share.interval
    assert high == 1 and 0.8 < low < 0.9 and share.effective == 20
    assert share.chance_below(0.9) > 0.02


def test_no_row_is_no_share():
    share = Share.of(np.zeros(0, bool), [])
    assert share.value is None and share.interval == (None, None)
    assert share.rows_for(0.05) is None and share.to_dict()["low"] is None


def test_as_many_rows_as_it_asks_for_give_the_margin():
    share = Share.of(np.arange(100) < 90, [str(i) for i in range(100)])
    for cautious in (False, True):
        rows = share.rows_for(0.05, cautious)
        expected = share.interval[0] if cautious else (90.5 / 101)
        hits = round(rows * expected)
        low, high = Share(hits, rows, rows, rows).interval
        assert (high - low) / 2 == pytest.approx(0.05, abs=0.002)
    assert share.rows_for(0.05, cautious=True) > share.rows_for(0.05) > 100
    assert share.rows_for(0.025) == pytest.approx(4 * share.rows_for(0.05), rel=0.1)


def test_a_verdict_is_wrong_as_often_as_it_says():
    rng, limit = np.random.default_rng(1), Limit("sensitivity", 0.9)
    told = {"accepted": [], "rejected": []}
    for truth in rng.beta(0.5, 0.5, 3000):
        hits = int(rng.binomial(80, truth))
        found = judge({"sensitivity": Share(hits, 80, 80, 80.0)}, [limit])
        if found["verdict"] in told:
            wrong = (truth < 0.9) == (found["verdict"] == "accepted")
            told[found["verdict"]].append((found["chance_wrong"], wrong))
    for pairs in told.values():
        chance, wrong = np.array(pairs, float).mean(axis=0)
        assert len(pairs) > 400 and wrong <= chance + 0.01 and abs(wrong - chance) < 0.012


def test_a_model_just_at_its_limit_is_seldom_accepted_or_rejected():
    hits, limit = np.arange(201), Limit("specificity", 0.85)
    verdicts = np.array(
        [judge({"specificity": Share(h, 200, 200, 200.0)}, [limit])["verdict"] for h in hits]
    )
    chance = binom(200, 0.85).pmf(hits)
    for verdict in ("accepted", "rejected"):
        assert chance[verdicts == verdict].sum() < 0.07


def test_several_limits_are_accepted_only_if_all_are_met():
    def verdict(sensitivity, specificity):
        shares = {
            "sensitivity": Share(sensitivity, 100, 100, 100.0),
            "specificity": Share(specificity, 100, 100, 100.0),
        }
        return judge(shares, read_limits("sensitivity>=0.9, specificity ≥ 0.85"))

    good, bad, open_ = verdict(98, 96), verdict(98, 70), verdict(93, 90)
    assert good["verdict"] == "accepted" and good["chance_wrong"] == pytest.approx(
        sum(row["chance_below"] for row in good["limits"])
    )
    assert bad["verdict"] == "rejected" and bad["chance_wrong"] < 0.01
    assert open_["verdict"] == "undecided" and open_["chance_wrong"] is None
    assert [row["met"] for row in bad["limits"]] == [True, False]
    rng, told = np.random.default_rng(0), []
    for a, b in zip(rng.binomial(100, 0.9, 300), rng.binomial(100, 0.85, 300), strict=True):
        told.append(verdict(int(a), int(b))["verdict"])
    # just at both limits; 0.09 is 5 % and three standard errors of 300 draws
    assert told.count("rejected") / 300 < 0.09 and told.count("accepted") / 300 < 0.03


@pytest.mark.parametrize("text", ["sensitivity", "sensitivity>=9", "a>=0.5,a>=0.6", ">=0.5", ","])
def test_limits_of_another_form_are_refused(text):
    with pytest.raises(ValueError, match="Received"):
        read_limits(text)
    assert read_limits(None) == () == read_limits(" ")


def test_a_limit_on_what_was_not_measured_is_refused():
    shares = {"accuracy": Share(9, 10, 10, 10.0), "ppv": Share(0, 0, 0, 0.0)}
    for name in ("ppv", "sensitivty"):
        with pytest.raises(ValueError, match="accuracy"):
            judge(shares, [Limit(name, 0.5)])
