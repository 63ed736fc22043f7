"""Every metric equals scikit-learn's, every interval a slow loop over patients, and what is not
defined says why.
"""

import json
import tracemalloc

import numpy as np
import pytest
from sklearn import metrics as sk

from xray_tf.stats.curves import curves, reliability
from xray_tf.stats.metric_rows import Rows, metrics_of
from xray_tf.stats.metrics import auroc, cluster_weights, confusion, epoch_scores, score

NAMES = {2: ("normal", "pneumonia"), 3: ("normal", "bacterial", "viral")}


def simulated(n=150, k=3, seed=0, digits=15):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    p = np.round(rng.dirichlet(np.ones(k), n) * 0.6 + 0.4 * np.eye(k)[y], digits)
    p /= p.sum(axis=1, keepdims=True)
    decided = np.where(rng.random(n) < 0.8, p.argmax(axis=1), rng.integers(0, k, n))
    patients = [f"p{i}" for i in rng.integers(0, n // 3, n)]
    return p, y, decided, patients


def slow_ece(p, y):
    top, hit = p.max(axis=1), p.argmax(axis=1) == y
    total = 0.0
    for i in range(15):
        inside = (top > i / 15) & (top <= (i + 1) / 15)
        if inside.any():
            total += inside.mean() * abs(hit[inside].mean() - top[inside].mean())
    return total


def reference(p, y, d):
    """Every number from scikit-learn; all classes must be present and decided."""
    k = p.shape[1]
    one = [(y == c, d == c, p[:, c]) for c in range(k)]
    each = {
        "recall": [sk.recall_score(t, c) for t, c, _ in one],
        "precision": [sk.precision_score(t, c) for t, c, _ in one],
        "f1": [sk.f1_score(t, c) for t, c, _ in one],
        "auroc": [sk.roc_auc_score(t, s) for t, _, s in one],
        "auprc": [sk.average_precision_score(t, s) for t, _, s in one],
        "specificity": [sk.recall_score(~t, ~c) for t, c, _ in one],
        "npv": [sk.precision_score(~t, ~c) for t, c, _ in one],
    }
    whole = (lambda v: v[1]) if k == 2 else np.mean
    out = {
        name: whole(each[source])
        for name, source in {
            "sensitivity": "recall",
            "specificity": "specificity",
            "ppv": "precision",
            "npv": "npv",
            "f1": "f1",
            "auroc": "auroc",
            "auprc": "auprc",
        }.items()
    }
    squares = ((p - np.eye(k)[y]) ** 2).sum(axis=1).mean()
    return out | {
        "accuracy": sk.accuracy_score(y, d),
        "balanced_accuracy": sk.balanced_accuracy_score(y, d),
        "ece": slow_ece(p, y),
        "brier": squares / 2 if k == 2 else squares,
    }, each


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("digits", [15, 1])
@pytest.mark.parametrize("seed", [0, 1])
def test_values_equal_scikit_learn(k, digits, seed):
    p, y, d, patients = simulated(k=k, seed=seed, digits=digits)
    got = score(p, y, d, patients, NAMES[k], replicates=0)
    want, each = reference(p, y, d)
    assert list(got["metrics"]) == list(metrics_of("classifier")) == list(got["definitions"])
    assert set(want) == set(metrics_of("classifier"))
    for name in want:
        assert got["metrics"][name]["value"] == pytest.approx(want[name], abs=1e-12), name
    for c, class_name in enumerate(NAMES[k]):
        for name, cell in got["per_class"][class_name].items():
            assert cell["value"] == pytest.approx(each[name][c], abs=1e-12), name
    assert (
        got["confusion_matrix"] == sk.confusion_matrix(y, d).tolist() == confusion(y, d, k).tolist()
    )
    if k == 2:
        assert got["metrics"]["brier"]["value"] == pytest.approx(sk.brier_score_loss(y, p[:, 1]))


@pytest.mark.parametrize("k", [2, 3])
def test_intervals_equal_a_slow_loop_over_patients(k):
    p, y, d, patients = simulated(120, k, seed=3, digits=2)
    got = score(p, y, d, patients, NAMES[k], replicates=40, seed=5)
    keys = list(dict.fromkeys(patients))
    clusters = np.array([keys.index(x) for x in patients])
    draws = []
    for weights in np.concatenate(list(cluster_weights(clusters, 40, 5))):
        rows = np.concatenate(
            [
                np.flatnonzero(clusters == g).repeat(int(weights[clusters == g][0]))
                for g in range(len(keys))
            ]
        )
        draws.append(reference(p[rows], y[rows], d[rows])[0])
    for name, cell in got["metrics"].items():
        low, high = np.percentile([draw[name] for draw in draws], [2.5, 97.5])
        assert (cell["low"], cell["high"]) == pytest.approx((low, high), abs=1e-12), name
    assert got["interval"] == {
        "kind": "95 % percentile bootstrap by patient",
        "level": 0.95,
        "unit": "patient",
        "units": len(keys),
        "replicates": 40,
        "seed": 5,
    }
    assert got["patients"] == len(keys)


def test_a_draw_takes_whole_patients_and_as_many_as_there_are():
    clusters = np.array([0, 1, 1, 2, 3, 3, 3, 4])
    weights = np.concatenate(list(cluster_weights(clusters, 4000, 0)))
    assert weights.shape == (4000, 8)
    assert np.array_equal(weights[:, 1], weights[:, 2]) and np.array_equal(
        weights[:, 4], weights[:, 6]
    )
    first = weights[:, [0, 1, 3, 4, 7]]
    assert (first.sum(axis=1) == 5).all()
    assert first.mean(axis=0) == pytest.approx(np.ones(5), abs=0.06)
    assert first.var() == pytest.approx(0.8, abs=0.05)  # binomial: 5 draws at 1/5


def test_patients_with_many_images_widen_the_interval_as_theory_says():
    # 40 patients of 10 identical images carry the information of 40 images: the interval is
    # sqrt(10) times as wide.
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 40).repeat(10)
    right = (rng.random(40) < 0.75).repeat(10)
    d = np.where(right, y, 1 - y)
    p = np.stack([1 - 0.6 * d - 0.2, 0.6 * d + 0.2], axis=1)
    together = score(p, y, d, [f"p{i // 10}" for i in range(400)], NAMES[2])["metrics"]["accuracy"]
    alone = score(p, y, d, None, NAMES[2])
    width = alone["metrics"]["accuracy"]["high"] - alone["metrics"]["accuracy"]["low"]
    assert (together["high"] - together["low"]) / width == pytest.approx(10**0.5, rel=0.1)
    assert (
        alone["patients"] is None
        and alone["interval"]["kind"] == ("95 % percentile bootstrap by image")
        and alone["interval"]["units"] == 400
    )


def test_rows_without_a_patient_count_each_alone():
    p, y, d, _ = simulated(6, 2, seed=1)
    assert score(p, y, d, ["a", "a", "", "", "b", "a"], NAMES[2], replicates=5)["patients"] == 4


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others():
    p, y, d, patients = simulated()
    a, b, c = (score(p, y, d, patients, NAMES[3], replicates=50, seed=s) for s in (0, 0, 1))
    assert a == b and a["metrics"]["auroc"]["low"] != c["metrics"]["auroc"]["low"]


def test_context_is_recorded_and_all_of_it_is_json():
    p, y, d, patients = simulated()
    got = score(
        p,
        y,
        d,
        patients,
        NAMES[3],
        replicates=10,
        split="val",
        operating_point="argmax",
        split_by="image",
    )
    assert (got["split"], got["operating_point"], got["split_by"], got["rows"]) == (
        "val",
        "argmax",
        "image",
        150,
    )
    counts = np.bincount(y)
    assert list(got["class_counts"].values()) == counts.tolist()
    assert got["chance"] == {"class": NAMES[3][counts.argmax()], "accuracy": counts.max() / 150}
    assert json.loads(json.dumps(got, allow_nan=False)) == got


@pytest.mark.parametrize(
    "k, labels, decided, metric, reason",
    [
        (2, [0, 0, 0], [0, 1, 0], "auroc", "not defined: no row is pneumonia"),
        (2, [0, 0, 0], [0, 1, 0], "sensitivity", "not defined: no row is pneumonia"),
        (2, [0, 0, 0], [0, 1, 0], "f1", "not defined: no row is pneumonia"),
        (2, [1, 1, 1], [0, 1, 0], "specificity", "not defined: no row is normal"),
        (2, [1, 1, 1], [0, 1, 0], "auprc", "not defined: no row is normal"),
        (2, [1, 0, 1], [0, 0, 0], "ppv", "not defined: no row was called pneumonia"),
        (2, [1, 0, 1], [1, 1, 1], "npv", "not defined: every row was called pneumonia"),
        (3, [1, 0, 1], [1, 2, 0], "balanced_accuracy", "not defined: no row is viral"),
        (3, [1, 0, 2], [1, 1, 0], "ppv", "not defined: no row was called some class"),
        (3, [1, 1, 1], [1, 2, 0], "auroc", "not defined: no row is normal or viral"),
    ],
)
def test_what_is_not_defined_is_null_with_its_reason(k, labels, decided, metric, reason):
    p = np.random.default_rng(0).dirichlet(np.ones(k), 3)
    got = score(p, np.array(labels), np.array(decided), None, NAMES[k], replicates=20)
    assert got["metrics"][metric] == {"value": None, "low": None, "high": None, "reason": reason}
    assert (
        got["metrics"]["accuracy"]["value"] is not None
        and got["metrics"]["brier"]["value"] is not None
    )
    json.dumps(got, allow_nan=False)


def test_per_class_reasons_name_the_class():
    p = np.full((3, 3), 1 / 3)
    each = score(p, np.array([1, 1, 1]), np.array([1, 1, 0]), None, NAMES[3], replicates=5)[
        "per_class"
    ]
    assert each["bacterial"]["auroc"]["reason"] == "not defined: every row is bacterial"
    assert each["viral"]["recall"]["reason"] == "not defined: no row is viral"
    assert each["viral"]["precision"]["reason"] == "not defined: no row was called viral"
    assert each["normal"]["precision"]["value"] == 0


def test_replicates_without_a_value_are_left_out_and_counted():
    p, y = np.array([[0.9, 0.1]] * 9 + [[0.2, 0.8]]), np.array([0] * 9 + [1])
    cell = score(p, y, y, None, NAMES[2], replicates=500)["metrics"]["auroc"]
    assert (cell["value"], cell["low"], cell["high"]) == (1, 1, 1)
    assert cell["replicates"] == pytest.approx(500 * (1 - 0.9**10), rel=0.1)


def test_one_patient_has_values_but_no_interval():
    p, y, d, _ = simulated(20, 2)
    got = score(p, y, d, ["only"] * 20, NAMES[2])
    assert got["metrics"]["accuracy"]["value"] == (y == d).mean()
    assert (
        got["metrics"]["accuracy"]["low"] is None
        and "more than one patient" in got["metrics"]["accuracy"]["reason"]
    )


def test_two_thousand_replicates_are_scored_together_and_in_little_memory(monkeypatch):
    p, y, d, patients = simulated(1000, 3)
    blocks, numbers = [], Rows.numbers
    monkeypatch.setattr(Rows, "numbers", lambda self, w: blocks.append(len(w)) or numbers(self, w))
    score(p, y, d, patients, NAMES[3], replicates=2000)
    assert blocks == [1, 1000, 1000]  # two matrix products, not two thousand loops
    p, y, d, patients = simulated(20000, 2)
    tracemalloc.start()
    score(p, y, d, patients, NAMES[2], replicates=150)
    assert tracemalloc.get_traced_memory()[1] < 150e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    "change, message",
    [
        (
            dict(probabilities=np.zeros((0, 2)), labels=np.zeros(0, int), decided=np.zeros(0, int)),
            "no labelled row to score",
        ),
        (dict(labels=np.array([0, -1])), r"labels must be .*integers in \[0, 1\]"),
        (dict(decided=np.array([0, 2])), r"decided must be"),
        (dict(decided=np.array([0])), r"decided must be \(2,\)"),
        (dict(labels=np.array([0.0, 1.0])), "labels must be .*float64"),
        (dict(probabilities=np.array([[0.5, 0.5], [np.nan, np.nan]])), "must be finite"),
        (dict(probabilities=np.array([[0.5, 0.5], [0.5, 0.6]])), "sum to 1"),
        (dict(probabilities=np.array([[0.5, 0.5, 0.0]] * 2)), "one column a class"),
        (dict(patients=["a"]), "patients must have one key a row, 2. Received: 1"),
    ],
)
def test_scoring_refuses(change, message):
    good = dict(
        probabilities=np.array([[0.9, 0.1], [0.4, 0.6]]),
        labels=np.array([0, 1]),
        decided=np.array([0, 1]),
        patients=None,
        class_names=NAMES[2],
    )
    with pytest.raises(ValueError, match=message):
        score(**{**good, **change})


@pytest.mark.parametrize(
    "negatives, positives, area",
    [
        ([1, 2], [3, 4], 1.0),
        ([3, 4], [1, 2], 0.0),
        ([1, 1], [1, 1, 1], 0.5),
        ([1, 2, 3], [2], 0.5),
        ([1, 3], [2, 3], 0.625),
    ],
)
def test_auroc_by_hand(negatives, positives, area):
    scores, positive = negatives + positives, [False] * len(negatives) + [True] * len(positives)
    assert auroc(scores, positive) == area


def test_auroc_equals_the_count_of_pairs():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 40), rng.integers(2, 12, 31)
    assert auroc(np.r_[a, b], np.arange(71) >= 40) == pytest.approx(
        np.mean((b[:, None] > a) + 0.5 * (b[:, None] == a)), abs=1e-12
    )


@pytest.mark.parametrize("k", [2, 3])
def test_epoch_scores_equal_scikit_learn(k):
    p, y, _, _ = simulated(k=k)
    got = epoch_scores(p, y)
    assert got["loss"] == pytest.approx(sk.log_loss(y, p))
    assert got["accuracy"] == pytest.approx((p.argmax(axis=1) == y).mean())
    assert got["auroc"] == pytest.approx(
        sk.roc_auc_score(y, p[:, 1] if k == 2 else p, multi_class="ovr")
    )
    assert np.isnan(epoch_scores(p, np.zeros(len(y), int))["auroc"])


def test_curves_go_through_scikit_learns_points():
    p, y, _, _ = simulated(k=3, digits=1)
    got = curves(p, y, 2)
    fpr, tpr, thresholds = sk.roc_curve(y == 2, p[:, 2], drop_intermediate=False)
    np.testing.assert_allclose(got["false_positive_rate"], fpr[1:])
    np.testing.assert_allclose(got["true_positive_rate"], tpr[1:])
    np.testing.assert_allclose(got["thresholds"], thresholds[1:])
    precision, recall, _ = sk.precision_recall_curve(y == 2, p[:, 2])
    np.testing.assert_allclose(got["precision"], precision[:-1][::-1])
    np.testing.assert_allclose(got["true_positive_rate"], recall[:-1][::-1])


def test_reliability_bins_by_hand():
    got = reliability([0.1, 0.25, 0.5, 0.51, 1.0, 0.0], [0, 1, 1, 0, 1, 0], bins=2)
    assert got["count"].tolist() == [4, 2]
    assert got["confidence"] == pytest.approx([0.2125, 0.755]) and got[
        "frequency"
    ] == pytest.approx([0.5, 0.5])
    assert np.isnan(reliability([0.9], [1], bins=2)["frequency"][0])
