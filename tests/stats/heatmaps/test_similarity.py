import numpy as np
import pytest
from scipy.stats import spearmanr

from xray_tf.stats.heatmaps.similarity import rank_correlation, structural_similarity

RNG = np.random.default_rng(0)
MAPS, OTHERS = RNG.random((3, 24, 20)), RNG.integers(0, 5, (3, 24, 20)) / 4


def test_rank_correlation_is_spearmans_with_ties():
    np.testing.assert_allclose(
        rank_correlation(MAPS, OTHERS),
        [spearmanr(a.ravel(), b.ravel())[0] for a, b in zip(MAPS, OTHERS, strict=True)],
        atol=1e-12,
    )
    np.testing.assert_allclose(rank_correlation(MAPS, MAPS**3), 1)
    np.testing.assert_allclose(rank_correlation(MAPS, 1 - MAPS), -1)
    np.testing.assert_array_equal(rank_correlation(MAPS, np.zeros_like(MAPS)), 0)


def test_structural_similarity_by_hand():
    np.testing.assert_allclose(structural_similarity(MAPS, MAPS), 1)
    flat, other = np.full((1, 9, 9), 0.5), np.full((1, 9, 9), 0.1)
    # no variance: only the means differ
    np.testing.assert_allclose(
        structural_similarity(flat, other), (2 * 0.05 + 1e-4) / (0.26 + 1e-4)
    )
    np.testing.assert_allclose(
        structural_similarity(MAPS, OTHERS), structural_similarity(OTHERS, MAPS)
    )
    assert (structural_similarity(MAPS, OTHERS) < 0.4).all()


@pytest.mark.parametrize("others", [OTHERS[:2], OTHERS[0], np.full_like(MAPS, np.nan)])
def test_bad_input_is_named(others):
    for measure in (rank_correlation, structural_similarity):
        with pytest.raises(ValueError, match="finite numbers"):
            measure(MAPS, others)
