"""Maps: the components that are there, the same picture for the same seed, and nothing that breaks
on few or equal rows.
"""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from xray_tf.stats.neighbors.projection import map_pca, map_tsne


def blobs(n=60, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    return (rng.normal(size=(n, 8)) + 12 * labels[:, None]).astype(np.float32), labels


def test_pca_finds_the_axes_it_was_given():
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(200, 2)) * [9, 3]
    x = np.zeros((200, 5))
    x[:, [3, 1]] = plane
    points, explained = map_pca(x)
    centred = plane - plane.mean(axis=0)
    for axis in (0, 1):
        assert abs(np.corrcoef(points[:, axis], centred[:, axis])[0, 1]) > 0.99
    assert explained.sum() == pytest.approx(1, abs=1e-5) and explained[0] > explained[1]


def test_tsne_is_the_same_for_the_same_seed_and_keeps_clusters_apart():
    x, y = blobs()
    points, about = map_tsne(x, perplexity=10, seed=3)
    np.testing.assert_array_equal(points, map_tsne(x, perplexity=10, seed=3)[0])
    assert (
        about == {"perplexity": 10.0, "components": 8, "seed": 3, "rows": 60}
        and points.dtype == np.float32
    )
    within = max(
        np.linalg.norm(points[y == c] - points[y == c].mean(axis=0), axis=1).mean() for c in (0, 1)
    )
    assert np.linalg.norm(points[y == 0].mean(axis=0) - points[y == 1].mean(axis=0)) > 2 * within


def test_many_rows_go_by_the_tree_and_still_keep_clusters_apart(monkeypatch):
    monkeypatch.setattr("xray_tf.stats.neighbors.projection.EXACT", 10)
    x, y = blobs(40)
    # on a busy machine the threads of so few rows mostly wait for each other
    with threadpool_limits(1):
        points = map_tsne(x, perplexity=5)[0]
    within = max(
        np.linalg.norm(points[y == c] - points[y == c].mean(axis=0), axis=1).mean() for c in (0, 1)
    )
    assert np.linalg.norm(points[y == 0].mean(axis=0) - points[y == 1].mean(axis=0)) > 2 * within


@pytest.mark.parametrize(
    "x", [np.eye(3), np.ones((5, 4)), np.random.default_rng(0).normal(size=(7, 1))]
)
def test_few_equal_or_narrow_rows_still_give_a_map(x):
    for points in (map_pca(x)[0], map_tsne(x)[0]):
        assert points.shape == (len(x), 2) and np.isfinite(points).all()
    assert (
        map_tsne(x)[1]["perplexity"] <= max(1, (len(x) - 1) / 3)
        and np.isfinite(map_pca(x)[1]).all()
    )


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 4)), r"\(2, 4\)"),
        (np.zeros(9), r"\(9,\)"),
        (np.full((4, 2), np.inf), "4 of 4 rows that are not finite"),
    ],
)
def test_what_has_no_map_is_refused(x, message):
    for draw in (map_pca, map_tsne):
        with pytest.raises(ValueError, match=message):
            draw(x)
