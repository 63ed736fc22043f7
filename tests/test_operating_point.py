"""One object decides: in Python and in a graph alike, with limits and margins that are those of its
decisions, and written to a card as it was read.
"""

import json

import numpy as np
import pytest

from xray_tf.artifact import Card
from xray_tf.operating_point import DetectorPoint, OperatingPoint
from xray_tf.shipped import shipped_models

HALF = OperatingPoint("half", threshold=0.5)
POINTS = [
    OperatingPoint("low", threshold=0.2),
    OperatingPoint("high", threshold=0.9),
    OperatingPoint("offsets", offsets=(0.3, -0.5, 0.2)),
    OperatingPoint("argmax", offsets=(0, 0, 0)),
]


def binary(p):
    p = np.asarray(p, dtype=float)
    return np.stack([1 - p, p], axis=1)


def test_deciding_applies_threshold_offsets_and_skips_unread_rows():
    p = np.vstack([binary([0.3, 0.7, 0.5]), [[np.nan, np.nan]]])
    assert HALF.decide(p).tolist() == [0, 1, 1, -1]
    assert OperatingPoint(offsets=[0.0, 1.0]).decide(p).tolist() == [1, 1, 1, -1]
    assert OperatingPoint(offsets=[9, 0, 0]).decide([[0.0, 1.0, 0.0]]).tolist() == [1]
    assert HALF.decide(p).dtype == np.int64


@pytest.mark.parametrize(
    "p, point, message",
    [
        (np.full((1, 3), 1 / 3), {"threshold": 0.5}, "between two classes"),
        (np.full((1, 3), 1 / 3), {"offsets": [0, 0]}, "one value per class, 3"),
        (np.full((1, 2), 0.5), {}, "either `threshold` or `offsets`"),
        (
            np.full((1, 2), 0.5),
            {"threshold": 0.5, "offsets": [0, 0]},
            "either `threshold` or `offsets`",
        ),
        (np.full(2, 0.5), {"threshold": 0.5}, r"\(N, K\) with K >= 2"),
    ],
)
def test_deciding_refuses(p, point, message):
    with pytest.raises(ValueError, match=message):
        OperatingPoint(**point).decide(p)


@pytest.mark.parametrize("point", POINTS, ids=lambda p: p.name)
def test_a_graph_decides_as_python_does(point):
    import tensorflow as tf
    from keras import ops

    p = np.random.default_rng(3).dirichlet(np.ones(point.classes), 500)
    p[0, :2] = 1.0 - (point.threshold or 0.5), point.threshold or 0.5  # on the border
    decided = tf.function(lambda x: point.rule(x, ops))(tf.constant(p, tf.float64))
    np.testing.assert_array_equal(decided, point.decide(p))


@pytest.mark.parametrize("point", POINTS, ids=lambda p: p.name)
def test_called_from_is_where_the_decision_changes(point):
    for p in np.random.default_rng(0).dirichlet(np.ones(point.classes), 20):
        for k, limit in enumerate(point.called_from(p)):
            others = p / (1 - p[k])
            for nudge, called in ((1e-6, True), (-1e-6, False)):
                moved = others * (1 - limit - nudge)
                moved[k] = limit + nudge
                assert (point.decide(moved[None])[0] == k) == called
    assert POINTS[0].called_from((0.4, 0.6))[1] == pytest.approx(0.2)
    assert POINTS[0].called_from((0.0, 1.0))[1] == pytest.approx(0.2)


@pytest.mark.parametrize("point", POINTS, ids=lambda p: p.name)
def test_the_margin_is_what_flips_the_decision(point):
    for p in np.random.default_rng(1).dirichlet(np.ones(point.classes), 20):
        decided, needed = point.decide(p[None])[0], point.margin(p)
        for factor, flips in ((0.999, False), (1.001, True)):
            log_p = np.log(p)
            log_p[decided] -= factor * needed
            moved = np.exp(log_p) / np.exp(log_p).sum()
            assert (point.decide(moved[None])[0] != decided) == flips


def test_a_point_says_how_it_decides_and_what_it_reached():
    names = ("normal", "bacterial", "viral")
    assert HALF.words(("normal", "pneumonia")) == "pneumonia from a probability of 0.5000"
    assert POINTS[2].words(names).endswith("+0.300 to normal, -0.500 to bacterial, +0.200 to viral")
    assert POINTS[3].words(names) == "the class of the highest probability"
    measured = OperatingPoint(threshold=0.5, sensitivity=1.0, specificity=0.5)
    assert measured.reached() == "sensitivity 1.000, specificity 0.500" and HALF.reached() == ""


def test_a_card_resolves_to_its_default_and_names_what_there_is():
    points = {p.name: p for p in POINTS[:2]}
    card = Card("classifier", "lite0", operating_points=points, default_operating_point="low")
    assert card.point() == POINTS[0] and card.point("high") == card.point("High") == POINTS[1]
    with pytest.raises(
        ValueError, match=r"\['high', 'low'\]. Received: 'hihg'. Did you mean 'high'"
    ):
        card.point("hihg")


@pytest.mark.parametrize("name", sorted(shipped_models()))
def test_a_card_written_before_reads_and_writes_the_same_json(name):
    raw = json.loads((shipped_models()[name] / "card.json").read_text(encoding="utf-8"))
    card = Card.from_dict(raw)
    assert json.loads(json.dumps(card.to_dict())) == raw
    assert card.point().name == card.default_operating_point


def test_a_detectors_point_keeps_the_order_of_its_scores():
    raw = {"criterion": "c", "scores": ["b", "a"], "thresholds": {"a": 1, "b": 2.5}}
    point = DetectorPoint.from_dict("budget", raw)
    assert point.scores == ("b", "a") and point.thresholds == {"b": 2.5, "a": 1.0}
    assert point.words() == "anomalous if b is below 2.5 or a is below 1"
    for damage in ({"scores": ["b"]}, {"thresholds": None}, {"surprise": 1}):
        with pytest.raises(ValueError, match="operating point 'budget'"):
            DetectorPoint.from_dict("budget", {**raw, **damage})
