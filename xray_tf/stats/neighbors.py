"""Nearest neighbours in embedding space: a classifier that kin cannot vote in, its choice by
grouped cross-validation, and its arrays.

The estimator is scikit-learn's `KNeighborsClassifier`; around it stand the space it works in (raw,
standardised or PCA-reduced embeddings), the exclusion of kin (rows of the same patient or the same
file), and a form in plain arrays that is refitted on load.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.decomposition import PCA
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.neighbors import KNeighborsClassifier

from xray_tf.stats.metrics import epoch_scores

SPACES = ("raw", "standardised")
METRICS = ("cosine", "euclidean")
WEIGHTS = ("uniform", "distance")
STORAGE = ("float16", "float32")
NO_KIN = -1
NEIGHBOR_COUNTS = (1, 3, 5, 7, 9, 11, 15, 21, 31, 45, 65, 95)
TYPICAL_ROWS = 5000  # training rows whose own distances say what is usual
# queries searched at a time: what is in memory beside the answers does not grow with their number
_CHUNK = 4096


@dataclass(frozen=True)
class Recipe:
    """How neighbours are found and how they vote.

    Attributes:
        k: how many vote.
        metric: `cosine` (1 - the cosine of the angle, in [0, 2]) or `euclidean`.
        weights: `uniform`, or `distance` (a vote counts 1 / distance; a neighbour at distance 0
            outvotes all others).
        space: `raw`, or `standardised` (mean 0, variance 1 in each dimension of the training rows).
        components: reduced to so many principal components (and thereby centred); 0 leaves all
            dimensions as they are.
    """

    k: int = 21
    metric: str = "cosine"
    weights: str = "distance"
    space: str = "standardised"
    components: int = 512

    def __post_init__(self):
        for name, allowed in (("metric", METRICS), ("weights", WEIGHTS), ("space", SPACES)):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} must be one of {allowed}. Received: {name}={getattr(self, name)!r}"
                )
        for name, least in (("k", 1), ("components", 0)):
            if not isinstance(getattr(self, name), int | np.integer) or getattr(self, name) < least:
                raise ValueError(
                    f"{name} must be a whole number from {least} on. Received: "
                    f"{name}={getattr(self, name)!r}"
                )

    def describe(self) -> str:
        """Return the recipe in words."""
        space = f"{self.space} embeddings" + (
            f" reduced to {self.components} principal components" if self.components else ""
        )
        return f"{self.k} nearest by {self.metric} distance, {self.weights} weights, {space}"


class NearestCases:
    """Nearest training rows and their vote.

    Args:
        recipe: see `Recipe`.
        storage: dtype in which the training vectors are kept, `float32` or `float16`; what is kept
            is what is searched.

    Attributes:
        classes_: how many classes, K.
        labels_: (N,) int64 class indices of the training rows.
        kin_: (N,) int64 kin group of each, see `kin_groups`.
        vectors_: (N, D') in the storage dtype: training rows in the space they are searched in, of
            unit length for cosine.
        mean_, scale_: (D,) float32, components_: (D', D) in the storage dtype; what brings an
            embedding into that space; empty where not used.
        typical_: (<= N,) float32, sorted: training rows' own mean distances to their k nearest that
            are not kin.
    """

    def __init__(self, recipe: Recipe = Recipe(), storage: str = "float32"):
        if storage not in STORAGE:
            raise ValueError(f"storage must be one of {STORAGE}. Received: storage={storage!r}")
        self.recipe, self.storage = recipe, storage

    def fit(self, embeddings, labels, classes: int, kin=None, typical: bool = True) -> NearestCases:
        """Learn the space and keep the rows.

        Args:
            embeddings: (N, D) finite floats.
            labels: (N,) int class indices in [0, classes).
            classes: K >= 2.
            kin: (N,) int kin groups; nobody is kin when None.
            typical: also find what `unusualness` needs, one search of the training rows among
                themselves.

        Raises:
            ValueError: shapes do not fit, a value is not finite, or there are not more than k rows.
        """
        embeddings = _checked(embeddings)
        labels = np.asarray(labels)
        if (
            labels.shape != embeddings.shape[:1]
            or not np.issubdtype(labels.dtype, np.integer)
            or labels.min() < 0
            or labels.max() >= classes
        ):
            raise ValueError(
                f"labels must be ({len(embeddings)},) integers in [0, "
                f"{classes - 1}]. Received: shape {labels.shape}, {labels.dtype}, "
                f"values {np.unique(labels)[:8].tolist()}"
            )
        if len(embeddings) <= self.recipe.k:
            raise ValueError(
                f"{self.recipe.k} neighbours need more than {self.recipe.k} training "
                f"rows. Received: {len(embeddings)}"
            )
        self.classes_, self.labels_, self.kin_ = (
            int(classes),
            labels.astype(np.int64),
            _kin(kin, len(embeddings)),
        )
        self._learn_space(embeddings)
        self.vectors_ = self._to_space(embeddings).astype(self.storage)
        self._index()
        self.typical_ = np.empty(0, np.float32)
        if typical:
            self.typical_ = np.sort(self.distances_to_own(embeddings))
        return self

    def kneighbors(
        self, embeddings, k: int | None = None, kin=None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest training rows that are not kin, nearest first.

        Args:
            embeddings: (M, D) finite floats.
            k: how many; the recipe's when None.
            kin: (M,) int kin groups in the numbering of `fit`, -1 for none; rows of the same group
                are passed over.

        Returns:
            (distances (M, k) float64, row indices (M, k) int64); fewer than k strangers leave
            infinity and -1 at the end.
        """
        embeddings = _checked(embeddings, self.dimensions)
        k = self.recipe.k if k is None else int(k)
        if k < 1:
            raise ValueError(f"k must be a whole number above 0. Received: k={k!r}")
        return self._search_all(embeddings, k, _kin(kin, len(embeddings)), self.kin_)

    def predict_proba(self, embeddings, kin=None) -> np.ndarray:
        """Return the share of the vote each class has, (M, K) float64; the class frequencies where
        everybody near is kin.
        """
        return self.vote(*self.kneighbors(embeddings, kin=kin))

    def vote(
        self, distances: np.ndarray, indices: np.ndarray, weights: str | None = None
    ) -> np.ndarray:
        """Return the shares (M, K) float64 of neighbours found before: scikit-learn's rule for
        `uniform` and `distance` weights.
        """
        there = indices >= 0
        power = there.astype(np.float64)
        if (weights or self.recipe.weights) == "distance":
            same = there & (distances == 0)
            with np.errstate(divide="ignore"):
                power = np.where(
                    same.any(axis=1, keepdims=True), same, np.where(there, 1 / distances, 0)
                )
        votes = np.stack(
            [
                np.where(self.labels_[indices] == c, power, 0).sum(axis=1)
                for c in range(self.classes_)
            ],
            axis=1,
        )
        votes[~there.any(axis=1)] = np.bincount(self.labels_, minlength=self.classes_)
        return votes / votes.sum(axis=1, keepdims=True)

    def mean_distance(self, distances: np.ndarray) -> np.ndarray:
        """Return the mean (M,) float64 over the neighbours there are; NaN where there is none."""
        there = np.isfinite(distances)
        with np.errstate(invalid="ignore"):
            return np.where(there, distances, 0).sum(axis=1) / there.sum(axis=1)

    def distances_to_own(self, embeddings) -> np.ndarray:
        """Return training rows' own mean distances (<= N,) float32 to their k nearest that are
        neither themselves nor kin.

        Of more than 5,000 rows, evenly spaced ones are asked: the percentiles need no more, and all
        against all grows with the square.
        """
        alone = self.kin_ == NO_KIN
        # a row without kin is still its own
        groups = np.where(alone, self.kin_.max() + 1 + np.arange(len(self.kin_)), self.kin_)
        asked = np.unique(
            np.linspace(0, len(groups) - 1, min(len(groups), TYPICAL_ROWS)).astype(np.int64)
        )
        mean = self.mean_distance(
            self._search_all(embeddings[asked], self.recipe.k, groups[asked], groups)[0]
        )
        return mean[np.isfinite(mean)].astype(np.float32)

    def with_kin(self, kin) -> NearestCases:
        """Return the same estimator, nothing copied, with its rows' kin groups numbered anew: (N,)
        int.
        """
        other = copy.copy(self)
        other.kin_ = _kin(kin, len(self.labels_))
        return other

    def unusualness(self, distances: np.ndarray) -> np.ndarray:
        """Return the percentile (M,) in [0, 100] of each query's mean neighbour distance among the
        training rows' own (kin left out).

        Args:
            distances: (M, k) to the recipe's k nearest.

        Raises:
            ValueError: fitted with `typical=False`, or every training row is kin of every other.
        """
        if not len(self.typical_):
            raise ValueError(
                "how unusual a query is needs the training rows' own distances, and "
                "there are none. Fit with typical=True on several patients."
            )
        return (
            100
            * np.searchsorted(
                self.typical_, self.mean_distance(distances).astype(np.float32), side="right"
            )
            / len(self.typical_)
        )

    @property
    def dimensions(self) -> int:
        """Width D of the embeddings it was fitted on."""
        return self._dimensions

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays of `to_arrays`, uncompressed."""
        return sum(a.nbytes for a in self.to_arrays().values())

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return everything it takes to refit it bit for bit, in arrays without objects."""
        names = ("labels_", "kin_", "vectors_", "mean_", "scale_", "components_", "typical_")
        about = {
            **asdict(self.recipe),
            "storage": self.storage,
            "classes": self.classes_,
            "dimensions": self.dimensions,
        }
        return {n.rstrip("_"): getattr(self, n) for n in names} | {
            "about": np.array(json.dumps(about))
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> NearestCases:
        """Refit what `to_arrays` returned.

        Raises:
            ValueError: an array is missing or does not fit the others.
        """
        try:
            about = json.loads(str(arrays["about"]))
            self = cls(
                Recipe(**{k: about[k] for k in Recipe.__dataclass_fields__}), about["storage"]
            )
            self.classes_, self._dimensions = int(about["classes"]), int(about["dimensions"])
            for name in ("labels", "kin", "vectors", "mean", "scale", "components", "typical"):
                setattr(self, name + "_", np.asarray(arrays[name]))
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"the arrays are not those of NearestCases.to_arrays: {error!r}. "
                "Make the reference again."
            ) from error
        rows, width = self.vectors_.shape if self.vectors_.ndim == 2 else (-1, -1)
        expected = self.components_.shape[0] if self.components_.size else self._dimensions
        if (
            self.labels_.shape != (rows,)
            or self.kin_.shape != (rows,)
            or width != expected
            or self.vectors_.dtype != self.storage
        ):
            raise ValueError(
                f"the arrays do not fit each other: vectors {self.vectors_.shape} "
                f"{self.vectors_.dtype}, labels {self.labels_.shape}, "
                f"kin {self.kin_.shape}; expected {expected} columns of "
                f"{self.storage}. Make the reference again."
            )
        self._index()
        return self

    def _learn_space(self, embeddings: np.ndarray) -> None:
        standardised, components = self.recipe.space == "standardised", self.recipe.components
        empty = np.empty(0, np.float32)
        self.mean_, self.scale_, self.components_, self._dimensions = (
            empty,
            empty,
            empty.astype(self.storage),
            embeddings.shape[1],
        )
        if standardised or components:
            self.mean_ = embeddings.mean(axis=0, dtype=np.float64).astype(np.float32)
        if standardised:
            spread = embeddings.std(axis=0, dtype=np.float64)
            self.scale_ = np.where(spread > 0, spread, 1).astype(np.float32)
        if components:
            count = min(components, *embeddings.shape)
            solver = "covariance_eigh" if len(embeddings) >= embeddings.shape[1] else "full"
            centred = (embeddings.astype(np.float32) - self.mean_) / (
                self.scale_ if standardised else np.float32(1)
            )
            self.components_ = np.ascontiguousarray(
                PCA(count, svd_solver=solver).fit(centred).components_, self.storage
            )

    def _to_space(self, embeddings: np.ndarray) -> np.ndarray:
        x = np.asarray(embeddings, np.float32)
        x = x - self.mean_ if self.mean_.size else x
        x = x / self.scale_ if self.scale_.size else x
        x = x @ self.components_.astype(np.float32, copy=False).T if self.components_.size else x
        if self.recipe.metric == "cosine":
            length = np.linalg.norm(x, axis=1, keepdims=True)
            if not length.all():
                raise ValueError(
                    f"{int((length == 0).sum())} of {len(x)} vectors are all zeros, "
                    "so they have no direction and no cosine distance. "
                    "Use metric='euclidean', or look at what these radiographs are."
                )
            x = x / length
        return np.ascontiguousarray(x, np.float32)

    def _index(self) -> None:
        # Of unit vectors the Euclidean distance d orders as the cosine distance d * d / 2 does, and
        # its search runs in constant memory.
        self.classifier_ = KNeighborsClassifier(
            min(self.recipe.k, len(self.labels_)),
            weights=self.recipe.weights,
            metric="euclidean",
            algorithm="brute",
        )
        self.classifier_.fit(self.vectors_.astype(np.float32, copy=False), self.labels_)

    def _search_all(
        self, embeddings: np.ndarray, k: int, kin: np.ndarray, rows_kin: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        distances, indices = (
            np.empty((len(embeddings), k)),
            np.empty((len(embeddings), k), np.int64),
        )
        for start in range(0, len(embeddings), _CHUNK):
            part = slice(start, start + _CHUNK)
            distances[part], indices[part] = self._search(
                self._to_space(embeddings[part]), k, kin[part], rows_kin
            )
        return distances, indices

    def _search(
        self, queries: np.ndarray, k: int, kin: np.ndarray, rows_kin: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        rows = len(self.labels_)
        sizes = dict(zip(*np.unique(rows_kin, return_counts=True), strict=True))
        passed_over = max((sizes.get(g, 0) for g in set(kin.tolist()) - {NO_KIN}), default=0)
        distances, indices = self.classifier_.kneighbors(queries, min(k + passed_over, rows))
        if self.recipe.metric == "cosine":
            distances = distances**2 / 2
        if passed_over:
            stranger = (kin[:, None] == NO_KIN) | (rows_kin[indices] != kin[:, None])
            order = np.argsort(~stranger, axis=1, kind="stable")[:, :k]
            distances, indices = (
                np.take_along_axis(a, order, axis=1) for a in (distances, indices)
            )
            kept = np.take_along_axis(stranger, order, axis=1)
            distances, indices = np.where(kept, distances, np.inf), np.where(kept, indices, -1)
        short = k - distances.shape[1]
        return np.pad(distances, ((0, 0), (0, short)), constant_values=np.inf), np.pad(
            indices, ((0, 0), (0, short)), constant_values=-1
        )


def kin_groups(patients: Sequence[str], sha256: Sequence[str]) -> np.ndarray:
    """Number the groups of rows that share a patient key or a file's bytes, directly or through
    others.

    Args:
        patients: N keys, empty where not known.
        sha256: N, empty where not known.

    Returns:
        (N,) int64, 0 .. G-1; a row that shares nothing is a group of its own.
    """
    rows, keys, seen = [], [], {}
    for column in (patients, sha256):
        for i, key in enumerate(column):
            if key:
                rows.append(i)
                keys.append(seen.setdefault((column is sha256, key), len(seen)))
    count = len(patients)
    graph = coo_matrix(
        (np.ones(len(rows), bool), (rows, [count + key for key in keys])),
        shape=(count + len(seen),) * 2,
    )
    groups = connected_components(graph, directed=False)[1][:count]
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def compare_recipes(
    embeddings,
    labels,
    classes: int,
    kin,
    recipes: Iterable[Recipe],
    folds: int = 5,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Score recipes by cross-validation over kin groups: no neighbour of a row's own patient or
    file ever votes for it.

    The space is learnt anew in every fold, from the rows that vote.

    Args:
        embeddings: (N, D) of training rows.
        labels: (N,) int class indices.
        classes: K.
        kin: (N,) int, from `kin_groups`.
        recipes: what to compare; those that differ in k and weights only share their searches.
        folds: of `StratifiedGroupKFold`, fewer where there are fewer groups of a class.
        seed: of the folds.

    Returns:
        One dict a recipe, in order: its fields and `loss`, `accuracy` (of the most voted class),
            `auroc` (macro), `balanced_accuracy`.

    Raises:
        ValueError: fewer than two kin groups of some class.
    """
    embeddings, labels, kin = _checked(embeddings), np.asarray(labels), np.asarray(kin)
    recipes = list(recipes)
    fewest = min(len(np.unique(kin[labels == c])) for c in range(classes))
    if fewest < 2:
        raise ValueError(
            "choosing by patient needs two patients of each class or more. "
            f"Received: {fewest} of the rarest."
        )
    splitter = StratifiedGroupKFold(min(folds, fewest), shuffle=True, random_state=seed)
    parts = list(splitter.split(embeddings, labels, kin))
    most = min(len(fit) for fit, _ in parts) - 1
    recipes = [replace(r, k=min(r.k, most)) for r in recipes]
    probabilities = {r: np.empty((len(labels), classes)) for r in recipes}
    for space in dict.fromkeys((r.space, r.components, r.metric) for r in recipes):
        same = [r for r in recipes if (r.space, r.components, r.metric) == space]
        widest = max(same, key=lambda r: r.k)
        for fit, held_out in parts:
            cases = NearestCases(widest).fit(
                embeddings[fit], labels[fit], classes, kin[fit], typical=False
            )
            distances, indices = cases.kneighbors(embeddings[held_out], kin=kin[held_out])
            for r in same:
                probabilities[r][held_out] = cases.vote(
                    distances[:, : r.k], indices[:, : r.k], r.weights
                )
    return [{**asdict(r), **_cross_validated(probabilities[r], labels)} for r in recipes]


def choose(rows: Sequence[dict[str, Any]]) -> Recipe:
    """Return the recipe of the highest cross-validated AUROC + balanced accuracy; the larger k of
    equals.
    """
    best = max(rows, key=lambda r: (round(r["auroc"] + r["balanced_accuracy"], 6), r["k"]))
    return Recipe(**{k: best[k] for k in Recipe.__dataclass_fields__})


def compact(
    cases: NearestCases, embeddings, validation, decide: Callable[[np.ndarray], np.ndarray]
) -> tuple[NearestCases, dict[str, Any]]:
    """Refit with float16 vectors, half the size, where no validation answer changes by it.

    Args:
        cases: fitted on `embeddings` in float32.
        embeddings: (N, D) what it was fitted on.
        validation: (V, D) embeddings of validation rows.
        decide: probabilities (V, K) -> class indices (V,).

    Returns:
        (the one to keep, {`storage`, `bytes`, and `changed_by_float16`, how many of the V answers
        float16 changes}).
    """
    small = NearestCases(cases.recipe, "float16").fit(
        embeddings, cases.labels_, cases.classes_, cases.kin_
    )
    changed = int(
        (decide(small.predict_proba(validation)) != decide(cases.predict_proba(validation))).sum()
    )
    kept = cases if changed else small
    return kept, {
        "storage": kept.storage,
        "bytes": kept.nbytes,
        "changed_by_float16": changed,
        "validation_rows": len(validation),
    }


def _cross_validated(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    decided = probabilities.argmax(axis=1)
    return {
        **epoch_scores(probabilities, labels),
        "balanced_accuracy": float(
            np.mean([(decided[labels == c] == c).mean() for c in np.unique(labels)])
        ),
    }


def _kin(kin, rows: int) -> np.ndarray:
    kin = np.full(rows, NO_KIN, np.int64) if kin is None else np.asarray(kin, np.int64)
    if kin.shape != (rows,):
        raise ValueError(f"kin must be one group a row, ({rows},). Received: shape {kin.shape}")
    return kin


def _checked(embeddings, dimensions: int | None = None) -> np.ndarray:
    embeddings = np.asarray(embeddings)
    if embeddings.ndim != 2 or dimensions not in (None, embeddings.shape[1]) or not embeddings.size:
        raise ValueError(
            f"embeddings must be (N, {dimensions or 'D'}) with one row or more. "
            f"Received: shape {embeddings.shape}"
        )
    bad = sum(
        int((~np.isfinite(embeddings[i : i + _CHUNK])).any(axis=1).sum())
        for i in range(0, len(embeddings), _CHUNK)
    )
    if bad:
        raise ValueError(
            f"embeddings must be finite. Received: {bad} of {len(embeddings)} rows that are not."
        )
    return embeddings
