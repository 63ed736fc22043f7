"""Nearest neighbours in embedding space, a vote among them that kin cannot take part in, and their
arrays.

The search is scikit-learn's `NearestNeighbors`; around it stand the space it works in (raw,
standardised or PCA-reduced embeddings), the exclusion of kin (rows of the same patient or the same
file), the vote, and a form in plain arrays that is refitted on load.
"""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from xray_tf.stats.checks import class_indices, finite_rows, whole

SPACES = ("raw", "standardised")
METRICS = ("cosine", "euclidean")
WEIGHTS = ("uniform", "distance")
STORAGE = ("float16", "float32")
NO_KIN = -1
TYPICAL_ROWS = 5000  # training rows whose own distances say what is usual
# queries searched at a time: what is in memory beside the answers does not grow with their number
_CHUNK = 4096
FEW = 16  # queries that are compared directly, without scikit-learn, which takes long to import


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
        whole(k=self.k)
        whole(0, components=self.components)

    @classmethod
    def of(cls, row: dict) -> Recipe:
        """Return the recipe that a dict with its fields, and others, names."""
        return cls(**{name: row[name] for name in cls.__dataclass_fields__})

    def describe(self) -> str:
        """Return the recipe in words."""
        space = f"{self.space} embeddings"
        if self.components:
            space += f" reduced to at most {self.components} principal components"
        return f"{self.k} nearest by {self.metric} distance, {self.weights} weights, {space}"


class NearestCases:
    """Nearest training rows and their vote.

    Args:
        recipe: see `Recipe`.
        storage: dtype in which the training vectors are kept, `float32` or `float16`; what is kept
            is what is searched.

    Attributes:
        dimensions: width D of the embeddings it was fitted on.
        classes_: how many classes, K.
        labels_: (N,) int64 class indices of the training rows.
        kin_: (N,) int64 kin group of each, see `data.kin`.
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
        embeddings = finite_rows(embeddings, "embeddings", ["D"])
        labels = class_indices(labels, "labels", len(embeddings), classes)
        if len(embeddings) <= self.recipe.k:
            raise ValueError(
                f"{self.recipe.k} neighbours need more than {self.recipe.k} training rows. "
                f"Received: {len(embeddings)}"
            )
        self.classes_, self.labels_ = int(classes), labels.astype(np.int64)
        self.kin_ = _kin(kin, len(embeddings))
        self._learn_space(embeddings)
        self.vectors_ = self.to_space(embeddings).astype(self.storage)
        own = self.distances_to_own(embeddings) if typical else np.empty(0, np.float32)
        self.typical_ = np.sort(own)
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
        embeddings = finite_rows(embeddings, "embeddings", [self.dimensions])
        k = self.recipe.k if k is None else k
        whole(k=k)
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
                near = np.where(there, 1 / distances, 0)
            power = np.where(same.any(axis=1, keepdims=True), same, near)
        labels = self.labels_[indices]
        votes = np.stack(
            [np.where(labels == c, power, 0).sum(axis=1) for c in range(self.classes_)], axis=1
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
        count = min(len(groups), TYPICAL_ROWS)
        asked = np.unique(np.linspace(0, len(groups) - 1, count).astype(np.int64))
        distances, _ = self._search_all(embeddings[asked], self.recipe.k, groups[asked], groups)
        mean = self.mean_distance(distances)
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
        mean = self.mean_distance(distances).astype(np.float32)
        return 100 * np.searchsorted(self.typical_, mean, side="right") / len(self.typical_)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return everything it takes to refit it bit for bit, in arrays without objects."""
        names = ("labels_", "kin_", "vectors_", "mean_", "scale_", "components_", "typical_")
        about = {
            **asdict(self.recipe),
            "storage": self.storage,
            "classes": self.classes_,
            "dimensions": self.dimensions,
        }
        arrays = {n.rstrip("_"): getattr(self, n) for n in names}
        return arrays | {"about": np.array(json.dumps(about))}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> NearestCases:
        """Refit what `to_arrays` returned.

        Raises:
            ValueError: an array is missing or does not fit the others.
        """
        try:
            about = json.loads(str(arrays["about"]))
            self = cls(Recipe.of(about), about["storage"])
            self.classes_, self.dimensions = int(about["classes"]), int(about["dimensions"])
            for name in ("labels", "kin", "vectors", "mean", "scale", "components", "typical"):
                setattr(self, name + "_", np.asarray(arrays[name]))
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"the arrays are not those of NearestCases.to_arrays: {error!r}. Make the "
                "reference again."
            ) from error
        rows, width = self.vectors_.shape if self.vectors_.ndim == 2 else (-1, -1)
        expected = self.components_.shape[0] if self.components_.size else self.dimensions
        aligned = self.labels_.shape == self.kin_.shape == (rows,)
        if not aligned or width != expected or self.vectors_.dtype != self.storage:
            raise ValueError(
                f"the arrays do not fit each other: vectors {self.vectors_.shape} "
                f"{self.vectors_.dtype}, labels {self.labels_.shape}, kin {self.kin_.shape}; "
                f"expected {expected} columns of {self.storage}. Make the reference again."
            )
        return self

    def _learn_space(self, embeddings: np.ndarray) -> None:
        standardised, components = self.recipe.space == "standardised", self.recipe.components
        self.dimensions = embeddings.shape[1]
        self.mean_ = self.scale_ = np.empty(0, np.float32)
        self.components_ = np.empty(0, self.storage)
        if standardised or components:
            self.mean_ = embeddings.mean(axis=0, dtype=np.float64).astype(np.float32)
        if standardised:
            spread = embeddings.std(axis=0, dtype=np.float64)
            self.scale_ = np.where(spread > 0, spread, 1).astype(np.float32)
        if components:
            from sklearn.decomposition import PCA

            count = min(components, *embeddings.shape)
            solver = "covariance_eigh" if len(embeddings) >= embeddings.shape[1] else "full"
            centred = self._standardised(embeddings)
            found = PCA(count, svd_solver=solver).fit(centred).components_
            self.components_ = np.ascontiguousarray(found, self.storage)

    def _standardised(self, embeddings: np.ndarray) -> np.ndarray:
        x = np.asarray(embeddings, np.float32)
        x = x - self.mean_ if self.mean_.size else x
        return x / self.scale_ if self.scale_.size else x

    def to_space(self, embeddings: np.ndarray) -> np.ndarray:
        """Bring embeddings (N, D) float32 into the space of `vectors_`, (N, C) float32.

        Raises:
            ValueError: a vector has no direction.
        """
        x = self._standardised(embeddings)
        x = x @ self.components_.astype(np.float32, copy=False).T if self.components_.size else x
        if self.recipe.metric == "cosine":
            length = np.linalg.norm(x, axis=1, keepdims=True)
            if not length.all():
                raise ValueError(
                    f"{int((length == 0).sum())} of {len(x)} vectors are all zeros, so they have "
                    "no direction and no cosine distance. Use metric='euclidean', or look at what "
                    "these radiographs are."
                )
            x = x / length
        return np.ascontiguousarray(x, np.float32)

    @cached_property
    def search_(self):
        """scikit-learn's search of the training rows.

        Of unit vectors the Euclidean distance d orders as the cosine distance d * d / 2 does, and
        its search runs in constant memory.
        """
        from sklearn.neighbors import NearestNeighbors

        search = NearestNeighbors(metric="euclidean", algorithm="brute")
        return search.fit(self.vectors_.astype(np.float32, copy=False))

    def _nearest(self, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return Euclidean distances and rows of the nearest, nearest first."""
        if len(queries) > FEW:
            return self.search_.kneighbors(queries, count)
        rows = self.vectors_.astype(np.float64)
        distances = np.stack([np.linalg.norm(rows - query, axis=1) for query in queries])
        order = np.argsort(distances, axis=1, kind="stable")[:, :count]
        return np.take_along_axis(distances, order, axis=1), order

    def _search_all(
        self, embeddings: np.ndarray, k: int, kin: np.ndarray, rows_kin: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        distances = np.empty((len(embeddings), k))
        indices = np.empty((len(embeddings), k), np.int64)
        for start in range(0, len(embeddings), _CHUNK):
            part = slice(start, start + _CHUNK)
            queries = self.to_space(embeddings[part])
            distances[part], indices[part] = self._search(queries, k, kin[part], rows_kin)
        return distances, indices

    def _search(
        self, queries: np.ndarray, k: int, kin: np.ndarray, rows_kin: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        rows = len(self.labels_)
        sizes = dict(zip(*np.unique(rows_kin, return_counts=True), strict=True))
        passed_over = max((sizes.get(g, 0) for g in set(kin.tolist()) - {NO_KIN}), default=0)
        distances, indices = self._nearest(queries, min(k + passed_over, rows))
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
        return (
            np.pad(distances, ((0, 0), (0, short)), constant_values=np.inf),
            np.pad(indices, ((0, 0), (0, short)), constant_values=-1),
        )


def _kin(kin, rows: int) -> np.ndarray:
    kin = np.full(rows, NO_KIN, np.int64) if kin is None else np.asarray(kin, np.int64)
    if kin.shape != (rows,):
        raise ValueError(f"kin must be one group a row, ({rows},). Received: shape {kin.shape}")
    return kin
