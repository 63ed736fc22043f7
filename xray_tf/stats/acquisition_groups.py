"""Groups of radiographs that look alike outside the lungs: the machines, protocols and years that
nobody wrote down.

Features of the surroundings are standardised, reduced by PCA and clustered by k-means. The number
of groups is the largest of which each is found in both halves of the radiographs: the Jaccard index
of a group of one half with the nearest group of the other, both extended to all radiographs, mean
over random halves (Hennig 2007, Cluster-wise assessment of cluster stability, section 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.cluster import contingency_matrix
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from xray_tf.stats.metrics import auroc

MOST_GROUPS = 12
STABLE = 0.6  # what "indicates a pattern" (Hennig 2007, section 4)
LEAST = 60  # radiographs; fewer make one group
HALVES = 6
_COMPONENTS = 64
_STARTS = 10


@dataclass(frozen=True)
class AcquisitionGroups:
    """Groups of N radiographs.

    Attributes:
        groups: (N,) int64, 0 for the largest group.
        stability: number of groups tried -> mean Jaccard index of the least stable group, in
            [0, 1].
    """

    groups: np.ndarray
    stability: dict[int, float]

    @property
    def count(self) -> int:
        return int(self.groups.max()) + 1


def find_groups(features: np.ndarray, seed: int = 0, most: int = MOST_GROUPS) -> AcquisitionGroups:
    """Group radiographs by how their surroundings look.

    Args:
        features: (N, D) finite numbers, of the radiographs without their lungs.
        seed: of k-means and of the halves.
        most: the largest number of groups tried.

    Returns:
        The groups; one group where no number of them is stable, or there are fewer than `LEAST`
        radiographs.

    Raises:
        ValueError: features of another shape, or not finite.
    """
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or not np.isfinite(features).all():
        raise ValueError(
            f"features must be (N, D) finite numbers. Received: shape {features.shape}"
        )
    one = AcquisitionGroups(np.zeros(len(features), np.int64), {})
    if len(features) < LEAST:
        return one
    components = min(_COMPONENTS, *features.shape)
    scaled = StandardScaler().fit_transform(features)
    reduced = PCA(components, svd_solver="randomized", random_state=seed).fit_transform(scaled)
    halves = _halves(len(reduced), seed)
    # The problems are many and small: threads would wait for one another most of the time.
    with threadpool_limits(1):
        tried = {
            count: float(np.mean([_agreement(reduced, count, h, seed) for h in halves]))
            for count in range(2, most + 1)
        }
        stable = [count for count, jaccard in tried.items() if jaccard >= STABLE]
        if not stable:
            return AcquisitionGroups(one.groups, tried)
        labels = _clusters(reduced, max(stable), seed).labels_
    order = np.argsort(-np.bincount(labels), kind="stable")
    return AcquisitionGroups(np.argsort(order)[labels].astype(np.int64), tried)


def outside_only_auroc(
    features: np.ndarray, labels: np.ndarray, patients: Sequence[str], folds: int = 5
) -> float:
    """Return how well a linear probe tells classes by the surroundings alone.

    Args:
        features: (N, D), as in `find_groups`.
        labels: (N,) bool.
        patients: N keys; no patient is in two folds.
        folds: of the cross-validation, fewer where there are fewer patients.

    Returns:
        AUROC in [0, 1] of scores of held-out folds; 0.5 is chance, NaN where a class is missing.
    """
    labels = np.asarray(labels, bool)
    folds = min(folds, len(set(patients)))
    if folds < 2 or labels.all() or not labels.any():
        return float("nan")
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    scores = cross_val_predict(
        probe,
        features,
        labels,
        groups=list(patients),
        cv=GroupKFold(folds),
        method="decision_function",
    )
    return float(auroc(scores, labels))


def rare_classes(
    groups: np.ndarray, labels: np.ndarray, classes: int, share: float = 0.25, expected: int = 20
) -> list[tuple[int, int, int, float]]:
    """Find groups in which a class is rare.

    Args:
        groups: (N,) int.
        labels: (N,) class indices; negative where not known.
        classes: how many there are.
        share: rare is below this part of what the class's share of all radiographs would give.
        expected: groups in which that would be fewer radiographs are left out.

    Returns:
        (group, class, radiographs there, radiographs expected) of each.
    """
    known = np.asarray(labels) >= 0
    groups, labels = np.asarray(groups)[known], np.asarray(labels)[known]
    found = []
    if not len(labels):
        return found
    overall = np.bincount(labels, minlength=classes) / len(labels)
    for group in np.unique(groups):
        counts = np.bincount(labels[groups == group], minlength=classes)
        wanted = overall * counts.sum()
        for k in np.flatnonzero((wanted >= expected) & (counts < share * wanted)):
            found.append((int(group), int(k), int(counts[k]), float(wanted[k])))
    return found


def _clusters(reduced: np.ndarray, count: int, seed: int) -> KMeans:
    return KMeans(count, n_init=_STARTS, random_state=seed).fit(reduced)


def _agreement(
    reduced: np.ndarray, count: int, halves: tuple[np.ndarray, np.ndarray], seed: int
) -> float:
    """Return the Jaccard index of the group that the two halves agree on least."""
    one, other = (_clusters(reduced[half], count, seed).predict(reduced) for half in halves)
    both = contingency_matrix(one, other)
    either = both.sum(1, keepdims=True) + both.sum(0, keepdims=True) - both
    return float((both / either).max(axis=1).min())


def _halves(count: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(count) for _ in range(HALVES)]
    return [(order[: count // 2], order[count // 2 :]) for order in orders]
