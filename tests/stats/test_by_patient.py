"""Intervals by patient: wider than by row where rows of a patient are alike."""

import numpy as np

from xray_tf.stats.by_patient import with_intervals

STATISTICS = {"mean": np.mean, "median": np.median}


def test_values_are_the_columns_own_and_lie_in_their_intervals():
    values = np.random.default_rng(0).normal(size=60)
    found = with_intervals(values, [f"p{i // 2}" for i in range(60)], STATISTICS, 200)
    assert found["mean"]["value"] == values.mean() and found["median"]["value"] == np.median(values)
    for cell in found.values():
        assert cell["low"] < cell["value"] < cell["high"]


def test_rows_of_one_patient_count_together():
    value_of_patient = np.random.default_rng(1).normal(size=10)
    values, patients = np.repeat(value_of_patient, 30), np.repeat(np.arange(10), 30)
    width = {}
    for name, keys in (("patient", patients), ("row", np.arange(300))):
        cell = with_intervals(values, [str(k) for k in keys], STATISTICS, 300)["mean"]
        width[name] = cell["high"] - cell["low"]
    assert width["patient"] > 3 * width["row"]


def test_one_patient_has_no_interval():
    cell = with_intervals(np.array([1.0, 2.0]), ["a", "a"], STATISTICS)["mean"]
    assert cell == {"value": 1.5, "low": None, "high": None}
