"""How dense the normals' codes are around a new code: standardised, whitened principal components,
a Gaussian kernel density estimate.

log p(x) = log 1/N sum_i N(z(x); z_i, h^2 I) in the space z of the components (Parzen 1962, eq. 1.2,
with a Gaussian kernel).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.model_selection import GroupKFold

from xray_tf.data.kin import patient_groups
from xray_tf.stats.checks import finite_rows

# in units of a component's standard deviation
BANDWIDTHS = tuple(float(round(h, 4)) for h in np.geomspace(0.1, 3.0, 25))
ROWS_AT_ONCE = 1024


class Density:
    """The density of normal codes. `fit`, then `score_samples`: log density, higher = more normal.

    Args:
        components: principal components of the standardised codes that are kept, whitened; fewer
            where the codes have a lower rank.
        bandwidths: those tried; the one with the highest mean held-out log likelihood over folds of
            patients is kept.
        folds: of the cross-validation.
        seed: of the folds.

    Attributes:
        mean_, scale_: (D,) float64 of the codes; a dimension that does not vary has scale infinity,
            so that it says nothing.
        components_: (D, P) float64, from standardised codes to whitened components.
        variance_: share of the standardised codes' variance that the components hold.
        bandwidth_: the bandwidth kept, in units of a component's standard deviation.
        likelihoods_: (len(bandwidths),) float64 mean held-out log likelihoods.
        points_: (N, P) float64, the normals' codes as components.
    """

    def __init__(
        self,
        components: int = 32,
        bandwidths: Sequence[float] = BANDWIDTHS,
        folds: int = 5,
        seed: int = 0,
    ):
        self.components, self.bandwidths = components, tuple(bandwidths)
        self.folds, self.seed = folds, seed

    def fit(self, x: np.ndarray, patients: Sequence[str] | None = None) -> Density:
        """Learn the normals' codes.

        Args:
            x: (N, D) codes of normals.
            patients: N keys, empty where not known; one patient's codes are never on both sides of
                a fold.

        Raises:
            ValueError: too few patients for the folds, codes that are not finite, or codes that do
                not vary.
        """
        x = finite_rows(x, "codes", ["D"]).astype(np.float64)
        groups = patient_groups(patients, len(x))
        refuse_few_patients(self.folds, groups)
        if not np.ptp(x, axis=0).any():
            raise ValueError(
                f"the codes of all {len(x)} normals are the same (zero variance), so they have no "
                "density. The encoder has collapsed, or the radiographs are one and the same."
            )
        self.likelihoods_ = self._cross_validated(x, groups)
        self.bandwidth_ = self.bandwidths[int(np.argmax(self.likelihoods_))]
        self._project(x)
        self.points_ = self._components_of(x)
        return self

    def score_samples(self, x: np.ndarray) -> np.ndarray:
        """Return the log density (M,) float64 of codes (M, D), natural logarithm, of the whitened
        components; higher = more normal.

        Raises:
            ValueError: not fitted, or codes of another length than those learnt.
        """
        if not hasattr(self, "points_"):
            raise ValueError("the density has learnt no normals yet. Call fit first.")
        x = finite_rows(x, "codes", self.mean_.shape, least=0).astype(np.float64)
        parts = [x[start : start + ROWS_AT_ONCE] for start in range(0, len(x), ROWS_AT_ONCE)]
        return np.concatenate([np.empty(0), *map(self._log_density, parts)])

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return everything that was learnt as arrays."""
        return {
            "mean": self.mean_,
            "scale": self.scale_,
            "components": self.components_,
            "points": self.points_,
            "likelihoods": self.likelihoods_,
            "bandwidths": np.array(self.bandwidths),
            "bandwidth": np.array(self.bandwidth_),
            "variance": np.array(self.variance_),
            "settings": np.array([self.components, self.folds, self.seed]),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> Density:
        """Return the density that `to_arrays` described; it answers bit for bit as before."""
        components, folds, seed = (int(v) for v in arrays["settings"])
        new = cls(components, tuple(arrays["bandwidths"].tolist()), folds, seed)
        new.mean_, new.scale_, new.components_, new.points_, new.likelihoods_ = (
            np.asarray(arrays[k], np.float64)
            for k in ("mean", "scale", "components", "points", "likelihoods")
        )
        new.bandwidth_, new.variance_ = float(arrays["bandwidth"]), float(arrays["variance"])
        return new

    def _log_density(self, x: np.ndarray) -> np.ndarray:
        """Return log p (M,) of codes (M, D)."""
        return _log_densities(self._components_of(x), self.points_, [self.bandwidth_])[0]

    def _project(self, x: np.ndarray) -> None:
        """Standardise, then whiten the leading principal components (Jolliffe 2002, section 2.3: of
        the correlation matrix).
        """
        self.mean_, deviation = x.mean(axis=0), x.std(axis=0)
        self.scale_ = np.where(deviation > 0, deviation, np.inf)
        _, singular, axes = np.linalg.svd((x - self.mean_) / self.scale_, full_matrices=False)
        kept = min(self.components, int((singular > 1e-9 * singular[0]).sum()), len(x) - 1)
        self.components_ = axes[:kept].T / (singular[:kept] / np.sqrt(len(x)))
        self.variance_ = float((singular[:kept] ** 2).sum() / (singular**2).sum())

    def _components_of(self, x: np.ndarray) -> np.ndarray:
        return ((x - self.mean_) / self.scale_) @ self.components_

    def _cross_validated(self, x: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Return the mean log likelihood of left-out patients' codes for each bandwidth; mean,
        scale and components come from the rest alone.
        """
        total = np.zeros(len(self.bandwidths))
        splitter = GroupKFold(self.folds, shuffle=True, random_state=self.seed)
        for rest, left in splitter.split(x, groups=groups):
            fold = Density(self.components)
            fold._project(x[rest])
            new, known = fold._components_of(x[left]), fold._components_of(x[rest])
            total += _log_densities(new, known, self.bandwidths).sum(axis=1)
        return total / len(x)


def refuse_few_patients(folds: int, groups: np.ndarray) -> None:
    """Raise ValueError where the normals (N,), numbered by `patient_groups`, are of too few
    patients for the folds of the cross-validation.
    """
    patients = len(np.unique(groups))
    if patients < 2 * folds:
        raise ValueError(
            f"{folds} folds need fit normals of at least {2 * folds} patients. Received: "
            f"{patients} patients, {len(groups)} radiographs. Use more normals, or fewer --folds."
        )


def _log_densities(x: np.ndarray, points: np.ndarray, bandwidths: Sequence[float]) -> np.ndarray:
    """Return log p (len(bandwidths), M) of components (M, P) by the formula above. scikit-learn's
    `KernelDensity` walks a tree and loses all digits far from the normals.
    """
    squares, (count, width) = cdist(x, points, "sqeuclidean"), points.shape
    norms = [np.log(count) + width * np.log(h * np.sqrt(2 * np.pi)) for h in bandwidths]
    kernels = [logsumexp(-squares / (2 * h**2), axis=1) for h in bandwidths]
    return np.stack(kernels) - np.array(norms)[:, None]
