import numpy as np
import pytest

from xray_tf.stats.metrics import score
from xray_tf.stats.paired import Conditions, paired_scores

RNG = np.random.default_rng(0)
N = 120
LABELS = RNG.integers(0, 2, N)
P = np.clip(0.5 + 0.25 * (2 * LABELS - 1) + RNG.normal(0, 0.25, N), 0.01, 0.99)
FIRST = np.column_stack([1 - P, P])
PATIENTS = [f"p{i // 3}" for i in range(N)]


def scored(*conditions, **more):
    probabilities = np.stack(conditions)
    conditions = Conditions(
        probabilities, probabilities.argmax(-1), LABELS, PATIENTS, ("normal", "pneumonia")
    )
    return paired_scores(conditions, **{"replicates": 300, **more})


def test_each_condition_has_the_numbers_of_metrics():
    whole, wrong = scored(FIRST, FIRST[:, ::-1])
    expected = score(FIRST, LABELS, FIRST.argmax(1), PATIENTS, ("normal", "pneumonia"), 300)[
        "metrics"
    ]
    for metric, cell in whole.items():
        assert {k: cell[k] for k in ("value", "low", "high")} == pytest.approx(
            {k: expected[metric][k] for k in ("value", "low", "high")}
        )
        assert (cell["change"], cell["change_low"], cell["change_high"]) == (0, 0, 0)
    assert wrong["auroc"]["value"] == pytest.approx(1 - whole["auroc"]["value"])
    assert (
        wrong["auroc"]["change"] == pytest.approx(1 - 2 * whole["auroc"]["value"])
        and wrong["auroc"]["change_high"] < 0
    )


def test_a_change_is_resampled_in_pairs():
    nearly = FIRST.copy()
    nearly[:2] = nearly[:2, ::-1]  # two rows of one patient change
    _, cell = scored(FIRST, nearly)
    accuracy = cell["accuracy"]
    assert accuracy["change_high"] - accuracy["change_low"] < 0.5 * (
        accuracy["high"] - accuracy["low"]
    )


def test_without_replicates_or_without_a_class_numbers_stay_out():
    (cell,) = scored(FIRST, replicates=0)
    assert (
        cell["auroc"]["low"] is None
        and cell["auroc"]["change_low"] is None
        and cell["auroc"]["value"] > 0.8
    )
    one = LABELS == 1
    rows = FIRST[None, one]
    conditions = Conditions(rows, rows.argmax(-1), LABELS[one], None, ("normal", "pneumonia"))
    (cell,) = paired_scores(conditions, 20)
    assert (
        cell["auroc"]["value"] is None
        and cell["auroc"]["change"] is None
        and cell["specificity"]["value"] is None
    )


def test_three_classes_have_a_recall_each():
    p = RNG.dirichlet(np.ones(3), N)
    labels = RNG.integers(0, 3, N)
    names = ("normal", "bacterial", "viral")
    (cell,) = paired_scores(Conditions(p[None], p[None].argmax(-1), labels, PATIENTS, names), 20)
    assert cell["recall/viral"]["value"] == pytest.approx(
        (p.argmax(1) == labels)[labels == 2].mean()
    )


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="sum to 1"):
        scored(FIRST, FIRST * 2)
