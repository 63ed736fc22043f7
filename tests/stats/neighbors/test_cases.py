"""Neighbours: scikit-learn's answers, kin that never vote, a choice made by patient, and arrays
that come back bit for bit.
"""

import io

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from xray_tf.stats.neighbors.cases import METRICS, WEIGHTS, NearestCases, Recipe
from xray_tf.stats.neighbors.choice import choose, compact, compare_recipes

PLAIN = {"space": "raw", "components": 0}


def made_up(n=120, d=12, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    return (rng.normal(size=(n, d)) + 1.5 * np.eye(d)[labels]).astype(np.float32), labels


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("weights", WEIGHTS)
def test_without_kin_it_answers_as_scikit_learn(metric, weights):
    x, y = made_up()
    cases = NearestCases(Recipe(7, metric, weights, **PLAIN)).fit(x[:90], y[:90], 3)
    truth = KNeighborsClassifier(7, weights=weights, metric=metric, algorithm="brute").fit(
        x[:90].astype(float), y[:90]
    )
    distances, indices = cases.kneighbors(x[90:])
    true_distances, true_indices = truth.kneighbors(x[90:].astype(float))
    np.testing.assert_array_equal(indices, true_indices)
    np.testing.assert_allclose(distances, true_distances, atol=1e-6)
    np.testing.assert_allclose(
        cases.predict_proba(x[90:]), truth.predict_proba(x[90:].astype(float)), atol=1e-5
    )


def test_kin_are_passed_over_as_a_slow_reference_does():
    x, y = made_up(60)
    kin = np.arange(60) // 4
    cases = NearestCases(Recipe(5, "euclidean", "uniform", **PLAIN)).fit(x, y, 3, kin)
    distances, indices = cases.kneighbors(x, kin=kin)
    for i in range(60):
        far = np.linalg.norm(x[i].astype(float) - x, axis=1)
        far[kin == kin[i]] = np.inf
        np.testing.assert_array_equal(indices[i], np.argsort(far)[:5])
        np.testing.assert_allclose(distances[i], np.sort(far)[:5], atol=1e-5)


def test_a_query_of_nobodys_kin_sees_everybody_and_one_of_everybodys_falls_back_to_frequencies():
    x, y = made_up(30, classes=2)
    cases = NearestCases(Recipe(3, **PLAIN)).fit(x, y, 2, np.zeros(30, int))
    assert (cases.kneighbors(x[:2])[1][:, 0] == [0, 1]).all()
    distances, indices = cases.kneighbors(x[:2], kin=np.zeros(2, int))
    assert (indices == -1).all() and np.isinf(distances).all()
    np.testing.assert_allclose(cases.predict_proba(x[:1], kin=[0])[0], np.bincount(y) / 30)
    with pytest.raises(ValueError, match="several patients"):
        cases.unusualness(distances)


def test_fewer_strangers_than_k_vote_among_themselves():
    x, y = np.array([[0.0], [1], [2], [3], [4]]), np.array([0, 0, 1, 1, 1])
    cases = NearestCases(Recipe(3, "euclidean", "uniform", **PLAIN)).fit(x, y, 2, [0, 0, 0, 0, 1])
    distances, indices = cases.kneighbors([[0.2]], kin=[0])
    assert (
        indices.tolist() == [[4, -1, -1]]
        and distances[0, 0] == pytest.approx(3.8)
        and np.isinf(distances[0, 1:]).all()
    )
    assert cases.vote(distances, indices).tolist() == [[0, 1]]


def test_a_neighbour_at_distance_zero_outvotes_all_others():
    cases = NearestCases(Recipe(3, "euclidean", "distance", **PLAIN)).fit(
        np.array([[0.0], [1], [2], [9]]), np.array([0, 1, 1, 1]), 2
    )
    assert cases.predict_proba([[0.0]]).tolist() == [[1, 0]]
    np.testing.assert_allclose(
        cases.predict_proba([[0.5]]),
        [[2 / (2 + 2 + 1 / 1.5), 1 - 2 / (2 + 2 + 1 / 1.5)]],
        atol=1e-6,
    )


def test_chunks_do_not_change_the_answer(monkeypatch):
    x, y = made_up(100)
    cases = NearestCases(Recipe(5)).fit(x, y, 3)
    whole = cases.kneighbors(x)
    monkeypatch.setattr("xray_tf.stats.neighbors.cases._CHUNK", 7)
    parts = cases.kneighbors(x)
    np.testing.assert_array_equal(parts[1], whole[1])
    np.testing.assert_allclose(parts[0], whole[0], atol=1e-6)


def test_the_space_is_that_of_the_training_rows():
    x, y = made_up()
    x = x * np.geomspace(0.01, 100, 12, dtype=np.float32) + 5
    cases = NearestCases(Recipe(3, "euclidean", space="standardised", components=0)).fit(x, y, 3)
    np.testing.assert_allclose(cases.vectors_.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(cases.vectors_.std(axis=0), 1, atol=1e-4)
    # a rotation changes no distance
    full = NearestCases(Recipe(3, "euclidean", space="standardised", components=12)).fit(x, y, 3)
    np.testing.assert_allclose(full.kneighbors(x)[0], cases.kneighbors(x)[0], atol=1e-3)
    assert NearestCases(Recipe(3, components=5)).fit(x, y, 3).vectors_.shape == (120, 5)
    constant = NearestCases(Recipe(3, "euclidean", space="standardised", components=0)).fit(
        np.hstack([x, np.full((120, 1), 4, np.float32)]), y, 3
    )
    assert np.isfinite(constant.vectors_).all()


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_refitted_from_arrays_it_answers_bit_for_bit(storage):
    x, y = made_up()
    cases = NearestCases(Recipe(5, components=6), storage).fit(x, y, 3, np.arange(120) // 2)
    stream = io.BytesIO()
    np.savez(stream, **cases.to_arrays())
    stream.seek(0)
    with np.load(stream, allow_pickle=False) as stored:
        again = NearestCases.from_arrays(dict(stored))
    for a, b in zip(cases.kneighbors(x + 0.1, 9), again.kneighbors(x + 0.1, 9), strict=True):
        assert a.tobytes() == b.tobytes()
    assert cases.predict_proba(x).tobytes() == again.predict_proba(x).tobytes()
    near = cases.kneighbors(x)[0]
    assert cases.unusualness(near).tobytes() == again.unusualness(near).tobytes()
    assert again.recipe == cases.recipe and again.vectors_.dtype == storage


def test_unusualness_is_the_percentile_among_training_rows_own_distances_without_kin():
    x = np.array([[0.0], [0], [1], [3], [7], [15]])
    cases = NearestCases(Recipe(1, "euclidean", "uniform", **PLAIN)).fit(
        x, np.array([0, 0, 1, 0, 1, 1]), 2, [0, 0, 1, 2, 3, 4]
    )
    # the two of patient 0 are at distance 0, and must not count
    np.testing.assert_allclose(cases.typical_, [1, 1, 1, 2, 4, 8])
    assert cases.unusualness(np.array([[0.5], [1], [3.9], [8], [99]])).tolist() == pytest.approx(
        [0, 50, 200 / 3, 100, 100]
    )
    own = NearestCases(Recipe(1, "euclidean", "uniform", **PLAIN)).fit(
        x[2:], np.array([0, 1, 0, 1]), 2
    )
    # a row is never its own neighbour, kin known or not
    np.testing.assert_allclose(own.typical_, [2, 2, 4, 8])


def test_cross_validation_never_lets_kin_vote_and_learns_the_space_in_the_fold():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(40), 3)
    x = np.repeat(rng.normal(size=(40, 6)), 3, axis=0) + 0.01 * rng.normal(size=(120, 6))
    y = np.repeat(rng.integers(0, 2, 40), 3)  # labels know nothing of x: only kin can tell them
    leaking = compare_recipes(x, y, 2, np.arange(120), [Recipe(1, **PLAIN)])[0]
    honest = compare_recipes(x, y, 2, patients, [Recipe(1, **PLAIN)])[0]
    assert leaking["accuracy"] > 0.95 and honest["accuracy"] < 0.7


def test_recipes_are_compared_in_order_and_the_best_is_chosen():
    x, y = made_up(150)
    recipes = [
        Recipe(k, m, w, s, c)
        for s, c in (("raw", 0), ("standardised", 4))
        for m in METRICS
        for w in WEIGHTS
        for k in (1, 9)
    ]
    rows = compare_recipes(x, y, 3, np.arange(150), recipes, folds=3)
    assert [
        Recipe(**{k: r[k] for k in ("k", "metric", "weights", "space", "components")}) for r in rows
    ] == recipes
    best = max(r["auroc"] + r["balanced_accuracy"] for r in rows)
    won = choose(rows)
    assert (
        next(
            r
            for r in rows
            if r["k"] == won.k
            and r["metric"] == won.metric
            and r["space"] == won.space
            and r["weights"] == won.weights
        )["auroc"]
        <= best
    )
    assert won.k == 9
    alone = compare_recipes(x, y, 3, np.arange(150), [recipes[5]], folds=3)[0]
    assert alone == pytest.approx(rows[5])  # searching once for many k and weights changes nothing


def test_float16_is_kept_only_where_no_validation_answer_changes():
    x, y = made_up(100, classes=2)
    cases = NearestCases(Recipe(5, components=6)).fit(x, y, 2)
    small, about = compact(cases, x, x[:40] + 0.2, lambda p: p.argmax(axis=1))
    assert small.storage == "float16" and about["changed_by_float16"] == 0
    assert small.vectors_.nbytes == cases.vectors_.nbytes / 2 and about["bytes"] < sum(
        a.nbytes for a in cases.to_arrays().values()
    )
    touchy, about = compact(cases, x, x[:40] + 0.2, lambda p: (p[:, 0] * 1e9).astype(int))
    assert touchy is cases and about["storage"] == "float32" and about["changed_by_float16"] > 0


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"metric": "manhattan"}, "metric must be one of"),
        ({"weights": "even"}, "weights must be one of"),
        ({"space": "pca"}, "space must be one of"),
        ({"k": 0}, "k must be a whole number"),
        ({"k": 2.5}, "k must be a whole number"),
        ({"components": -1}, "components must be"),
    ],
)
def test_recipes_that_do_not_exist_are_refused(recipe, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**recipe)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embeddings": np.zeros((0, 3))}, r"\(0, 3\)"),
        ({"embeddings": np.zeros(9)}, r"\(9,\)"),
        ({"embeddings": np.full((9, 3), np.nan)}, "9 of 9 rows"),
        ({"embeddings": np.zeros((9, 3)), "recipe": Recipe(3, **PLAIN)}, "all zeros"),
        ({"labels": np.zeros(8, int)}, r"\(8,\)"),
        ({"labels": np.full(9, 2)}, r"integers in \[0, 1\]"),
        ({"labels": np.zeros(9)}, "float64"),
        ({"recipe": Recipe(9, **PLAIN)}, "more than 9 training rows"),
        ({"kin": [1, 2]}, "one group a row"),
    ],
)
def test_input_that_does_not_fit_is_refused(change, message):
    given = {
        "embeddings": np.random.default_rng(0).normal(size=(9, 3)),
        "labels": np.arange(9) % 2,
        "kin": None,
        "recipe": Recipe(3, **PLAIN),
    } | change
    with pytest.raises(ValueError, match=message):
        NearestCases(given["recipe"]).fit(given["embeddings"], given["labels"], 2, given["kin"])


def test_queries_and_arrays_that_do_not_fit_are_refused():
    x, y = made_up()
    cases = NearestCases(Recipe(3, **PLAIN)).fit(x, y, 3)
    with pytest.raises(ValueError, match=r"\(N, 12\)"):
        cases.kneighbors(x[:, :4])
    with pytest.raises(ValueError, match="k must be"):
        cases.kneighbors(x, 0)
    arrays = cases.to_arrays()
    for wrong in (
        {k: v for k, v in arrays.items() if k != "labels"},
        arrays | {"labels": arrays["labels"][1:]},
        arrays | {"vectors": arrays["vectors"][:, 1:]},
        arrays | {"vectors": arrays["vectors"].astype(np.float64)},
        arrays | {"about": np.array("{}")},
    ):
        with pytest.raises(ValueError, match="[Mm]ake the reference again"):
            NearestCases.from_arrays(wrong)
    with pytest.raises(ValueError, match="two patients of each class"):
        compare_recipes(x, y, 3, np.zeros(120, int), [Recipe(3)])
