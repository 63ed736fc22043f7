"""Detectors over vectors that learn the normal alone, and what all detectors share.

`committee.Member` says what every detector does. Arrays hold no objects, so nothing is unpickled.
What is kept in float16 is what is computed with, before as after.
"""

from __future__ import annotations

import json

import numpy as np
from sklearn.neighbors import NearestNeighbors

from xray_tf.stats.checks import finite_rows, whole

_ROWS = 512  # at a time: memory beside the answers does not grow with the number of rows


class Stored:
    """What every detector shares: its constructor's numbers and its fitted arrays, to plain arrays
    and back.

    A subclass names its options in `options` and its fitted arrays (attributes ending in `_`) in
    `fitted`.
    """

    options: tuple[str, ...] = ()
    fitted: tuple[str, ...] = ()

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the fitted arrays and, as `about`, a JSON text of what it is."""
        about = {"detector": type(self).__name__}
        about |= {name: getattr(self, name) for name in self.options}
        arrays = {name.rstrip("_"): np.asarray(getattr(self, name)) for name in self.fitted}
        return arrays | {"about": np.array(json.dumps(about))}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]):
        """Make the detector that `to_arrays` described.

        Raises:
            ValueError: an array is missing, or they are another detector's.
        """
        try:
            about = json.loads(str(arrays["about"]))
            if about["detector"] != cls.__name__:
                raise ValueError(
                    f"the arrays are of another detector. Expected {cls.__name__}. Received: "
                    f"{about['detector']}"
                )
            self = cls(**{name: about[name] for name in cls.options})
            for name in cls.fitted:
                setattr(self, name, np.asarray(arrays[name.rstrip("_")]))
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"the arrays are not those of {cls.__name__}.to_arrays: {error!r}. Fit it again."
            ) from error
        return self


class Mahalanobis(Stored):
    """Distance from the mean in the metric of the normals' own spread.

    Covariance of the standardised dimensions, shrunk by Ledoit & Wolf (2004), its leading
    `components` kept and the rest replaced by its mean variance, as in probabilistic PCA (Tipping &
    Bishop 1999, eq. 8): score = -sqrt(sum_i p_i^2 / l_i + (|z|^2 - sum_i p_i^2) / rest), p_i = v_i
    . z.

    Args:
        components: how many leading directions have a variance of their own; fewer where there are
            fewer rows or dimensions.
    """

    options = ("components",)
    fitted = ("mean_", "scale_", "directions_", "variances_", "rest_")

    def __init__(self, components: int = 256):
        whole(components=components)
        self.components = int(components)

    def fit(self, x) -> Mahalanobis:
        """Learn from normals (N, D), N >= 3.

        Raises:
            ValueError: too few rows, a value that is not finite, or no dimension that varies.
        """
        x = finite_rows(x, "x", ["D"], least=3)
        self.mean_, self.scale_ = moments(x)
        z = (x - self.mean_) / self.scale_
        values, vectors = _spectrum(z)
        dimensions = z.shape[1]
        squares = (z.astype(np.float64) ** 2).sum(axis=1)
        average = float(squares.mean() / dimensions)
        shrinkage = _ledoit_wolf(values, squares, dimensions)
        count = min(self.components, len(values), max(dimensions - 1, 1))
        values = (1 - shrinkage) * values + shrinkage * average
        left = dimensions * average - values[:count].sum()
        self.directions_ = np.ascontiguousarray(vectors[:, :count].T, np.float16)  # (K, D)
        self.variances_ = np.maximum(values[:count], 1e-9)
        self.rest_ = np.float64(max(left / max(dimensions - count, 1), 1e-3 * average))
        return self

    def score_samples(self, x) -> np.ndarray:
        """Return minus the distance of each row (N,) float64."""
        x = finite_rows(x, "x", self.mean_.shape)
        directions, out = self.directions_.astype(np.float32), np.empty(len(x))
        for start in range(0, len(x), _ROWS):
            z = (x[start : start + _ROWS] - self.mean_) / self.scale_
            p = (z @ directions.T).astype(np.float64) ** 2
            rest = np.maximum((z.astype(np.float64) ** 2).sum(axis=1) - p.sum(axis=1), 0.0)
            squares = (p / self.variances_).sum(axis=1) + rest / self.rest_
            out[start : start + _ROWS] = -np.sqrt(squares)
        return out


class NearestNormals(Stored):
    """Mean distance to the k nearest normals, of standardised vectors reduced to principal
    components.

    Args:
        k: how many neighbours.
        components: principal components kept; 0 keeps all dimensions as they are.
        whiten: 0 leaves the components' variances, 1 makes them equal; between, variance^(-whiten /
            2) weighs them.
    """

    options = ("k", "components", "whiten")
    fitted = ("mean_", "scale_", "directions_", "vectors_")

    def __init__(self, k: int = 5, components: int = 256, whiten: float = 0.0):
        whole(k=k)
        whole(0, components=components)
        self.k, self.components, self.whiten = int(k), int(components), float(whiten)

    def fit(self, x) -> NearestNormals:
        """Keep normals (N, D), N > k.

        Raises:
            ValueError: too few rows, a value that is not finite, or no dimension that varies.
        """
        x = finite_rows(x, "x", ["D"], least=self.k + 1)
        self.mean_, self.scale_ = moments(x)
        self.directions_ = np.empty((0, x.shape[1]), np.float16)
        if self.components:
            values, vectors = _spectrum((x - self.mean_) / self.scale_)
            count = min(self.components, int((values > 1e-6 * values[0]).sum()))
            weighed = vectors[:, :count] * values[:count] ** (-self.whiten / 2)
            self.directions_ = np.ascontiguousarray(weighed.T, np.float16)
        self.vectors_ = self._to_space(x).astype(np.float16)
        return self

    def _to_space(self, x: np.ndarray) -> np.ndarray:
        z = ((x - self.mean_) / self.scale_).astype(np.float32)
        return z @ self.directions_.astype(np.float32).T if len(self.directions_) else z

    def score_samples(self, x) -> np.ndarray:
        """Return minus the mean distance of each row (N,) float64."""
        x = finite_rows(x, "x", self.mean_.shape)
        search = NearestNeighbors(n_neighbors=self.k, algorithm="brute")
        search.fit(self.vectors_.astype(np.float32))
        parts = [
            -search.kneighbors(self._to_space(x[i : i + _ROWS]))[0].mean(axis=1, dtype=np.float64)
            for i in range(0, len(x), _ROWS)
        ]
        return np.concatenate(parts)


class Combination(Stored):
    """Mean of several detectors' scores, each as a robust z-score (score - median) / (1.4826 x
    median absolute deviation) of normals that its detector had not seen.
    """

    fitted = ("center_", "spread_")

    def fit(self, x) -> Combination:
        """Calibrate on normals' out-of-sample scores (N, P), one column a detector, N >= 3; see
        `committee.cross_fit_scores`.

        Raises:
            ValueError: too few rows, a value that is not finite, or a detector that scores all rows
                alike.
        """
        x = finite_rows(x, "x", ["P"], least=3).astype(np.float64)
        self.center_ = np.median(x, axis=0)
        self.spread_ = 1.4826 * np.median(np.abs(x - self.center_), axis=0)
        if (self.spread_ <= 0).any():
            raise ValueError(
                f"columns {np.flatnonzero(self.spread_ <= 0).tolist()} score half of the normals "
                "or more alike, so they have no scale. Leave them out, or look at what these "
                "detectors see."
            )
        return self

    def score_samples(self, x) -> np.ndarray:
        """Return the mean of the calibrated scores (N,) float64, higher = more normal."""
        x = finite_rows(x, "x", self.center_.shape).astype(np.float64)
        return ((x - self.center_) / self.spread_).mean(axis=1)


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation (D,) float32 of the columns; those that never vary get 1.

    Raises:
        ValueError: none varies.
    """
    mean, spread = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    varies = spread > 1e-6 * (np.abs(mean) + 1e-6)
    if not varies.any():
        raise ValueError(
            f"none of the {len(varies)} dimensions varies over the {len(x)} radiographs. Expected "
            "different radiographs; are they constant images?"
        )
    return mean.astype(np.float32), np.where(varies, spread, 1.0).astype(np.float32)


def _spectrum(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues (R,) float64, falling, and eigenvectors (D, R) of z'z / N, by the smaller
    of the two Gram matrices.
    """
    z = z.astype(np.float64)
    if z.shape[0] >= z.shape[1]:
        values, vectors = np.linalg.eigh(z.T @ z / len(z))
        order = np.argsort(values)[::-1]
        return np.maximum(values[order], 0.0), vectors[:, order]
    values, left = np.linalg.eigh(z @ z.T / len(z))
    order = np.argsort(values)[::-1]
    order = order[values[order] > 1e-10 * values[order[0]]]
    values = values[order]
    return values, z.T @ left[:, order] / np.sqrt(values * len(z))


def _ledoit_wolf(values: np.ndarray, squares: np.ndarray, dimensions: int) -> float:
    """Return the shrinkage in [0, 1] (Ledoit & Wolf 2004, eq. 14 and section 3.3) from the
    covariance's eigenvalues and the rows' squared lengths alone.

    sum_ij of the covariance's squares is the eigenvalues' sum of squares, so no D x D matrix is
    needed.
    """
    rows, average = len(squares), squares.mean() / dimensions
    spread = (values**2).sum()
    distance = (spread - dimensions * average**2) / dimensions
    noise = min(((squares**2).mean() - spread) / (dimensions * rows), distance)
    return float(noise / distance) if distance > 0 else 1.0
