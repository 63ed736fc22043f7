"""Heat maps against the scores of a net whose pixels are removed.

Nothing here knows a net: `predict` is any callable, images (B, H, W, C) float32 -> scores (B,) or
class probabilities (B, K). Every figure is one number an image, so that `stats.paired` can compare
methods on the same radiographs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from xray_tf.stats.heatmaps.imputation import impute_linear
from xray_tf.stats.heatmaps.localisation import checked_maps, divided

Predict = Callable[[np.ndarray], np.ndarray]
BASELINES = ("mean", "blur", "noisy_linear")
ROAD_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9)
_BLUR_SHARE = 0.1  # sigma of the blurred baseline, as a share of the shorter side


@dataclass(frozen=True)
class Removal:
    """Which pixels are taken away.

    Attributes:
        shares: of the pixels, in [0, 1].
        baseline: what takes a pixel's place: `mean` of the image, the `blur` of it, or
            `noisy_linear` (see `impute_linear`).
        first: `most` important pixels first, or `least`.
    """

    shares: Sequence[float]
    baseline: str = "mean"
    first: str = "most"

    def __post_init__(self):
        shares = np.asarray(self.shares, np.float64)
        if self.baseline not in BASELINES or self.first not in ("most", "least"):
            raise ValueError(
                f"baseline must be one of {BASELINES} and first most or least. Received: "
                f"baseline={self.baseline!r}, first={self.first!r}"
            )
        if shares.ndim != 1 or not len(shares) or (shares < 0).any() or (shares > 1).any():
            raise ValueError(f"shares must be numbers in [0, 1]. Received: {shares.tolist()}")
        object.__setattr__(self, "shares", shares)


def removal_curves(
    images: np.ndarray,
    maps: np.ndarray,
    predict: Predict,
    removal: Removal,
    *,
    class_index: np.ndarray | int | None = None,
    batch_size: int = 64,
    seed: int = 0,
) -> np.ndarray:
    """Score images from which a growing share of pixels has been removed, in the order of a map.

    Args:
        images: (N, H, W) or (N, H, W, C), pixels in [0, 255].
        maps: (N, H, W) floats >= 0. Equal values go in random order, so that an empty map is a
            random one.
        predict: see the module. It is called with full batches of (image, share) pairs.
        removal: which pixels, and what takes their place.
        class_index: the column of the scores, one for all or (N,), where `predict` gives (B, K).
        batch_size: pairs a call.
        seed: of ties and of the imputation's noise; every pair has a stream of its own, whatever
            the batches.

    Returns:
        (N, S) float64, a column a share.

    Raises:
        ValueError: arguments that do not fit together, or scores that are not numbers.
    """
    images, maps, columns = _checked_images(images, maps, class_index)
    shares, baseline = removal.shares, removal.baseline
    curves = np.empty((len(images), len(shares)))
    for start in range(0, len(images), batch_size):
        rows = np.arange(start, min(start + batch_size, len(images)))
        ranks = _ranks(maps[rows], removal.first, seed, rows)
        if baseline != "noisy_linear":
            fillings = np.stack([_filling(images[i], baseline) for i in rows])
        for pairs in _chunks(len(rows) * len(shares), batch_size):
            i, s = np.divmod(pairs, len(shares))
            removed = ranks[i] < np.round(shares[s] * ranks[0].size)[:, None, None]
            if baseline == "noisy_linear":
                seeds = [(seed, int(rows[a]), int(b)) for a, b in zip(i, s, strict=True)]
                changed = impute_linear(images[rows[i]], removed, seeds=seeds)
            else:
                changed = np.where(removed[..., None], fillings[i], images[rows[i]])
            wanted = None if columns is None else columns[rows[i]]
            curves[rows[i], s] = _scored(predict, changed, wanted)
    return curves


def deletion(
    images: np.ndarray,
    maps: np.ndarray,
    predict: Predict,
    steps: int = 20,
    baseline: str = "mean",
    **more,
) -> tuple[np.ndarray, np.ndarray]:
    """Remove the most important pixels first and return (areas (N,), curves (N, steps + 1)); low is
    faithful (Petsiuk et al. 2018, "RISE", section 4.1).
    """
    shares = np.linspace(0, 1, steps + 1)
    curves = removal_curves(images, maps, predict, Removal(shares, baseline), **more)
    return np.trapezoid(curves, shares, axis=1), curves


def insertion(
    images: np.ndarray,
    maps: np.ndarray,
    predict: Predict,
    steps: int = 20,
    baseline: str = "blur",
    **more,
) -> tuple[np.ndarray, np.ndarray]:
    """Bring the most important pixels back first, from the baseline up; returns (areas (N,), curves
    (N, steps + 1)), high is faithful (Petsiuk et al. 2018).
    """
    shares = np.linspace(0, 1, steps + 1)
    removal = Removal(1 - shares, baseline, "least")
    curves = removal_curves(images, maps, predict, removal, **more)
    return np.trapezoid(curves, shares, axis=1), curves


def road(
    images: np.ndarray,
    maps: np.ndarray,
    predict: Predict,
    shares: Sequence[float] = ROAD_SHARES,
    **more,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Remove and debias: removal by noisy linear imputation (Rong et al. 2022, "A Consistent and
    Efficient Evaluation Strategy", section 4).

    Returns:
        (scores (N,), most (N, S), least (N, S)): half the mean gap between removing the least and
            the most important pixels first, and both curves.
        High is faithful, 0 is what a random map gives.
    """
    most, least = (
        removal_curves(images, maps, predict, Removal(shares, "noisy_linear", first), **more)
        for first in ("most", "least")
    )
    return (least - most).mean(1) / 2, most, least


def removal_figures(
    images: np.ndarray,
    maps: np.ndarray,
    predict: Predict,
    steps: int = 10,
    baselines: Sequence[str] = BASELINES,
    **more,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Take deletion, insertion and the gap between them from the same curves, for several
    baselines.

    Bringing back the most important pixels first is removing the least important first, read
    backwards: two curves a baseline hold all three.

    Args:
        images, maps, predict, more: as in `removal_curves`.
        steps: shares 1 / steps, 2 / steps, ..., 1 are removed.
        baselines: some of `BASELINES`.

    Returns:
        ({`deletion_<baseline>`, `insertion_<baseline>`: areas, `gap_<baseline>`: half the mean gap
        of the curves over the shares between 0 and 1, as `road`
        takes it: (N,) each}, {`<baseline>_most`, `<baseline>_least`: curves (N, steps + 1)}).
    """
    if steps < 2:
        raise ValueError(f"steps must be at least 2. Received: steps={steps!r}")
    shares, figures, curves = np.linspace(0, 1, steps + 1), {}, {}
    # what is left when nothing or everything is gone does not depend on the order
    for baseline in baselines:
        wanted = shares[1:] if curves else shares
        most = removal_curves(images, maps, predict, Removal(wanted, baseline), **more)
        most = most if not curves else np.column_stack([next(iter(curves.values()))[:, 0], most])
        inner = Removal(shares[1:-1], baseline, "least")
        between = removal_curves(images, maps, predict, inner, **more)
        least = np.column_stack([most[:, 0], between, most[:, -1]])
        curves |= {f"{baseline}_most": most, f"{baseline}_least": least}
        figures |= {
            f"deletion_{baseline}": np.trapezoid(most, shares, axis=1),
            f"insertion_{baseline}": np.trapezoid(least, shares, axis=1),
            f"gap_{baseline}": (least - most)[:, 1:-1].mean(1) / 2,
        }
    return figures, curves


def average_drop(
    images: np.ndarray,
    maps: np.ndarray,
    predict: Predict,
    class_index: np.ndarray | int | None = None,
    baseline: str = "black",
    batch_size: int = 64,
) -> tuple[np.ndarray, np.ndarray]:
    """Show the net only what the map shows: image x map (Chattopadhay et al. 2018, section 5.1).

    Args:
        images, maps, predict, class_index, batch_size: as in `removal_curves`; maps in [0, 1],
            scores in [0, 1].
        baseline: `black` as in the paper, or `mean` or `blur` of the image where the map is 0;
            black is far from any radiograph.

    Returns:
        (drops (N,) float64 = max(0, y - o) / y with the scores y before and o after; increases (N,)
        bool, o > y).
    """
    images, maps, columns = _checked_images(images, maps, class_index)
    if baseline not in ("black", "mean", "blur"):
        raise ValueError(f"baseline must be black, mean or blur. Received: baseline={baseline!r}")
    before, after = np.empty(len(images)), np.empty(len(images))
    for rows in _chunks(len(images), batch_size):
        column = None if columns is None else columns[rows]
        shown, filling = maps[rows, ..., None], 0
        if baseline != "black":
            filling = np.stack([_filling(images[i], baseline) for i in rows])
        before[rows] = _scored(predict, images[rows], column)
        after[rows] = _scored(predict, images[rows] * shown + filling * (1 - shown), column)
    return divided(np.maximum(before - after, 0), before), after > before


def _checked_images(
    images: np.ndarray, maps: np.ndarray, class_index
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    maps, images = checked_maps(maps), np.asarray(images)
    images = images[..., None] if images.ndim == 3 else images
    if images.ndim != 4 or images.shape[:3] != maps.shape:
        raise ValueError(
            "images must be (N, H, W) or (N, H, W, C) of the maps' size. Received: "
            f"images {images.shape}, maps {maps.shape}"
        )
    if class_index is not None:
        class_index = np.broadcast_to(np.asarray(class_index), len(images))
    return images.astype(np.float32), maps, class_index


def _ranks(maps: np.ndarray, first: str, seed: int, rows: np.ndarray) -> np.ndarray:
    """Return each pixel's place (B, H, W) int64 in the order of removal."""
    ranks = np.empty((len(maps), maps[0].size), np.int64)
    for one, rank, row in zip(maps, ranks, rows, strict=True):
        ties = np.random.default_rng((seed, int(row))).random(one.size)
        order = np.lexsort((ties, -one.ravel() if first == "most" else one.ravel()))
        rank[order] = np.arange(one.size)
    return ranks.reshape(maps.shape)


def _filling(image: np.ndarray, baseline: str) -> np.ndarray:
    """Return what stands for removed pixels of one image (H, W, C) float32."""
    if baseline == "mean":
        return np.broadcast_to(image.mean(axis=(0, 1)), image.shape).astype(np.float32)
    sigma = _BLUR_SHARE * min(image.shape[:2])
    return ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest").astype(np.float32)


def _scored(predict: Predict, images: np.ndarray, columns: np.ndarray | None) -> np.ndarray:
    scores = np.asarray(predict(np.ascontiguousarray(images, np.float32)), np.float64)
    if scores.ndim == 2 and columns is not None and scores.shape[1] > columns.max():
        scores = scores[np.arange(len(scores)), columns]
    if scores.shape != (len(images),) or not np.isfinite(scores).all():
        raise ValueError(
            "predict must give one finite score an image, (B,), or (B, K) with a class_index below "
            f"K. Received: shape {scores.shape} for {len(images)} images, class_index "
            f"{'given' if columns is not None else 'None'}"
        )
    return scores


def _chunks(count: int, size: int) -> Iterator[np.ndarray]:
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))
