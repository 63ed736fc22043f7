"""Embeddings on a plane: principal components, and t-SNE after them; the same seed gives the same
map.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from xray_tf.stats.checks import finite_rows

PERPLEXITY, COMPONENTS = 30.0, 50
# rows up to which the exact gradient is the faster one: the tree's threads wait for each other a
# thousand times
EXACT = 250


def map_pca(embeddings) -> tuple[np.ndarray, np.ndarray]:
    """Project on the first two principal components.

    Args:
        embeddings: (N, D) finite floats, N >= 3.

    Returns:
        ((N, 2) float32, the share of the variance along each, (2,) float64).
    """
    return _components(embeddings, 2)


def map_tsne(
    embeddings, perplexity: float = PERPLEXITY, seed: int = 0
) -> tuple[np.ndarray, dict[str, Any]]:
    """Lay embeddings out by t-SNE (van der Maaten & Hinton 2008; of more than 250 rows in the
    Barnes-Hut form of 2014), after PCA.

    It starts from the first two components, so that the same seed gives the same map. Distances
    between clusters, and their sizes, mean little in such a map; who lies beside whom means more.

    Args:
        embeddings: (N, D) finite floats, N >= 3.
        perplexity: the number of neighbours each point minds, in effect; lowered to (N - 1) / 3
            where there are few.
        seed: of the layout.

    Returns:
        ((N, 2) float32, {`perplexity`, `components`, `seed`, `rows`} as they were used).
    """
    reduced, _ = _components(embeddings, COMPONENTS)
    perplexity = float(max(1.0, min(perplexity, (len(reduced) - 1) / 3)))
    points = reduced[:, :2]
    if np.ptp(reduced, axis=0).max() > 0:
        method = "exact" if len(reduced) <= EXACT else "barnes_hut"
        tsne = TSNE(2, perplexity=perplexity, init="pca", method=method, random_state=seed)
        points = tsne.fit_transform(reduced)
    points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    return points.astype(np.float32), {
        "perplexity": perplexity,
        "components": reduced.shape[1],
        "seed": seed,
        "rows": len(reduced),
    }


def _components(embeddings: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    embeddings = finite_rows(embeddings, "embeddings", ["D"], least=3)
    count = min(count, *embeddings.shape)
    solver = "covariance_eigh" if len(embeddings) >= embeddings.shape[1] else "full"
    spread = PCA(count, svd_solver=solver)
    # rows that are all the same have no variance to share out
    with np.errstate(invalid="ignore", divide="ignore"):
        reduced = spread.fit_transform(embeddings.astype(np.float32))
    lacking = (0, max(0, 2 - count))
    explained = np.pad(spread.explained_variance_ratio_[:2], lacking)
    return np.pad(reduced, ((0, 0), lacking)), np.nan_to_num(explained)
