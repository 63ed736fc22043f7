"""Detectors over patch features (N, h, w, C): where in the radiograph it departs from the normal;
the interface of `stats.detector.vectors`.

Both keep to what locates a departure: `score_map(x) -> (N, h, w)`, higher = more normal; an image's
score is the mean of its patches'.
"""

from __future__ import annotations

import numpy as np

from xray_tf.stats.checks import finite_rows, whole
from xray_tf.stats.detector.vectors import Stored, refuse_constant

RIDGE = 0.1  # added to each position's covariance, in units of its mean variance
PATCH_AXES = ("h", "w", "C")
_IMAGES = 64  # at a time


class _Pooled(Stored):
    """From a score map to one score an image."""

    def score_samples(self, x) -> np.ndarray:
        """Return the mean of each image's patch scores (N,) float64."""
        return self.score_map(x).reshape(len(x), -1).astype(np.float64).mean(axis=1)


class PatchGaussian(_Pooled):
    """One Gaussian for each position (PaDiM; Defard et al. 2021, eq. 1-2): score = -sqrt((x - m)'
    S^-1 (x - m)), S = covariance + `RIDGE` x its mean variance.

    Channels are standardised over all positions and reduced to principal components; the original
    draws channels by chance.

    Args:
        components: of the channels.
    """

    options = ("components",)
    fitted = ("mean_", "directions_", "means_", "whiteners_")

    def __init__(self, components: int = 64):
        whole(components=components)
        self.components = int(components)

    def fit(self, x, patients=None) -> PatchGaussian:
        """Learn from normals' patches (N, h, w, C), N >= 3.

        Raises:
            ValueError: too few rows, a value that is not finite, or no channel that varies.
        """
        x = finite_rows(x, "x", PATCH_AXES, least=3)
        self.mean_, self.directions_ = channel_space(x, self.components)
        z = _reduced(x, self.mean_, self.directions_)  # (N, h, w, K)
        n, height, width, k = z.shape
        self.means_ = z.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.whiteners_ = np.empty((height, width, k, k), np.float16)
        for row in range(height):
            d = (z[:, row] - self.means_[row]).transpose(1, 0, 2)  # (w, N, K)
            covariance = np.matmul(d.transpose(0, 2, 1), d).astype(np.float64) / n
            variance = np.trace(covariance, axis1=1, axis2=2) / k
            covariance += (RIDGE * np.maximum(variance, 1e-6))[:, None, None] * np.eye(k)
            values, vectors = np.linalg.eigh(covariance)
            self.whiteners_[row] = vectors / np.sqrt(values)[:, None, :]
        return self

    def score_map(self, x) -> np.ndarray:
        """Return each patch's score (N, h, w) float32."""
        x = finite_rows(x, "x", (*self.means_.shape[:2], len(self.mean_)))
        whiteners, out = self.whiteners_.astype(np.float32), np.empty(x.shape[:3], np.float32)
        for start in range(0, len(x), _IMAGES):
            z = _reduced(x[start : start + _IMAGES], self.mean_, self.directions_) - self.means_
            white = np.matmul(z.transpose(1, 2, 0, 3), whiteners)  # (h, w, n, K)
            out[start : start + _IMAGES] = -np.sqrt((white**2).sum(axis=-1)).transpose(2, 0, 1)
        return out


class PatchMemory(_Pooled):
    """Distance to the nearest of a bank of normal patches (PatchCore; Roth et al. 2022, algorithm
    1), each patch the mean of its 3 x 3 surroundings.

    The bank is a greedy k-center coreset (Sener & Savarese 2018) of `pool` patches drawn by chance.
    Coordinates in [-1, 1] are appended to the whitened components, in units of their root mean
    square length, which makes a patch resemble those from about the same place: chests are aligned,
    the original's objects are not.

    Args:
        patches: kept in the bank.
        components: of the channels, whitened.
        pool: patches among which the bank is chosen.
    """

    options = ("patches", "components", "pool")
    fitted = ("mean_", "directions_", "bank_")

    def __init__(self, patches: int = 4000, components: int = 64, pool: int = 40_000):
        whole(patches=patches, components=components, pool=pool)
        self.patches, self.components, self.pool = int(patches), int(components), int(pool)

    def fit(self, x, patients=None) -> PatchMemory:
        """Fill the bank from normals' patches (N, h, w, C), N >= 3.

        Raises:
            ValueError: too few rows, a value that is not finite, or no channel that varies.
        """
        x = finite_rows(x, "x", PATCH_AXES, least=3)
        rng = np.random.default_rng(0)
        self.mean_, self.directions_ = channel_space(x, self.components, whiten=True)
        n, height, width = x.shape[:3]
        every = n * height * width
        share = np.sort(rng.choice(every, min(self.pool, every), replace=False))
        image, place = np.divmod(share, height * width)
        drawn = [
            self._described(x[i : i + 1])[0].reshape(height * width, -1)[place[image == i]]
            for i in np.unique(image)
        ]
        candidates = np.concatenate(drawn)
        self.bank_ = candidates[farthest_first(candidates, self.patches, rng)].astype(np.float16)
        return self

    def score_map(self, x) -> np.ndarray:
        """Return minus each patch's distance to the bank (N, h, w) float32."""
        x = finite_rows(x, "x", (*PATCH_AXES[:2], len(self.mean_)))
        bank = self.bank_.astype(np.float32)
        squares, out = (bank**2).sum(axis=1), np.empty(x.shape[:3], np.float32)
        for start in range(0, len(x), 16):
            z = self._described(x[start : start + 16])
            flat = z.reshape(-1, z.shape[-1])
            nearest = (squares - 2.0 * (flat @ bank.T)).min(axis=1) + (flat**2).sum(axis=1)
            out[start : start + 16] = -np.sqrt(np.maximum(nearest, 0.0)).reshape(z.shape[:3])
        return out

    def _described(self, x: np.ndarray) -> np.ndarray:
        """Return the patches as they are compared: reduced, averaged over 3 x 3, with their
        coordinates.
        """
        z = _reduced(x, self.mean_, self.directions_)
        padded = np.pad(z, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
        height, width = z.shape[1:3]
        shifts = [(r, c) for r in range(3) for c in range(3)]
        z = sum(padded[:, r : r + height, c : c + width] for r, c in shifts) / np.float32(9)
        axes = np.linspace(-1, 1, height), np.linspace(-1, 1, width)
        where = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) * np.sqrt(z.shape[-1])
        return np.concatenate(
            [z, np.broadcast_to(where.astype(np.float32), (*z.shape[:3], 2))], axis=-1
        )


def channel_space(
    x: np.ndarray, components: int, whiten: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Find what takes patches (N, h, w, C) to `components` numbers: mean (C,) float32 and
    directions (K, C) float16 of the standardised channels.

    Raises:
        ValueError: no channel varies.
    """
    channels, count = x.shape[-1], 0
    total, products = np.zeros(channels), np.zeros((channels, channels))
    for start in range(0, len(x), _IMAGES):
        flat = x[start : start + _IMAGES].reshape(-1, channels).astype(np.float32)
        total += flat.sum(axis=0, dtype=np.float64)
        products += (flat.T @ flat).astype(np.float64)
        count += len(flat)
    mean = total / count
    covariance = products / count - np.outer(mean, mean)
    spread = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    varies = spread > 1e-4 * (np.abs(mean) + 1e-4)
    refuse_constant(varies, "channels", len(x))
    spread = np.where(varies, spread, np.inf)
    values, vectors = np.linalg.eigh(covariance / spread[:, None] / spread[None, :])
    order = np.argsort(values)[::-1][: min(components, int(varies.sum()))]
    order = order[values[order] > 1e-6 * values[order[0]]]
    directions = vectors[:, order] / spread[:, None]
    if whiten:
        directions = directions / np.sqrt(values[order])
    return mean.astype(np.float32), np.ascontiguousarray(directions.T, np.float16)


def farthest_first(points: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Choose `count` rows of (M, D) float32 greedily, each the farthest from those chosen before;
    return their indices, rising.
    """
    if count >= len(points):
        return np.arange(len(points))
    squares = (points**2).sum(axis=1)
    chosen = [int(rng.integers(len(points)))]
    nearest = np.full(len(points), np.inf, np.float32)
    while len(chosen) < count:
        last = points[chosen[-1]]
        nearest = np.minimum(nearest, squares - 2.0 * (points @ last) + squares[chosen[-1]])
        nearest[chosen[-1]] = -np.inf
        chosen.append(int(nearest.argmax()))
    return np.sort(np.array(chosen))


def _reduced(x: np.ndarray, mean: np.ndarray, directions: np.ndarray) -> np.ndarray:
    return (x.astype(np.float32) - mean) @ directions.astype(np.float32).T
