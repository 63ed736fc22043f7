"""Heat maps, measured: against lesions that are known, and against the scores of a net whose pixels
are removed; always beside controls.

Nothing here knows a net: `predict` is any callable, images (B, H, W, C) float32 -> scores (B,) or
class probabilities (B, K). Every figure is one number an image, so that `paired_bootstrap` can
compare methods on the same radiographs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from xray_tf.stats.checks import finite_rows
from xray_tf.stats.heatmaps.imputation import impute_linear

Predict = Callable[[np.ndarray], np.ndarray]
BASELINES = ("mean", "blur", "noisy_linear")
QUANTILE = 0.9
ROAD_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9)
_RANDOM_CELLS = 7  # of the random control, about as coarse as a Grad-CAM map
_BLUR_SHARE = 0.1  # sigma of the blurred baseline, as a share of the shorter side


# ---- against known lesions


def localisation(
    maps: np.ndarray, masks: np.ndarray, quantile: float = QUANTILE, tolerance: int = 0
) -> dict[str, np.ndarray]:
    """Measure how well maps point at lesions.

    Args:
        maps: (N, H, W) floats >= 0.
        masks: (N, H, W) bool, each with at least one pixel.
        quantile: of a map's own values, above which a pixel belongs to its region.
        tolerance: pixels around a lesion that still count as a hit.

    Returns:
        (N,) float64 each:
        `hit`: 1 where the maximum lies in the lesion (pointing game, Zhang et al. 2018); with
            several equal maxima, the share of them that does.
        `energy`: the share of the map's sum inside the lesion (Wang et al. 2020, "Score-CAM",
            section 4.3).
        `iou_quantile`: intersection over union of the lesion and the region above `quantile`.
        `iou_best`: the same at the threshold that suits each image best: what the map could give,
            not what a reader gets.
        `area`: the lesion's share of the image, which is what `hit` and `energy` are by chance.
        An empty map points nowhere: all but `area` are 0.

    Raises:
        ValueError: shapes that do not fit, negative or NaN maps, or a mask without a lesion.
    """
    maps, masks = _checked_maps(maps), np.asarray(masks, bool)
    if masks.shape != maps.shape or not masks.any(axis=(1, 2)).all():
        raise ValueError(
            "masks must have the shape of maps and each hold a lesion. "
            f"Received: maps {maps.shape}, masks {masks.shape}, "
            f"{int((~masks.any(axis=(1, 2))).sum()) if masks.ndim == 3 else '?'} of them empty."
        )
    if not 0 < quantile < 1:
        raise ValueError(f"quantile must lie between 0 and 1. Received: quantile={quantile!r}")
    found = inside(maps, masks)
    if tolerance:
        near = [ndimage.distance_transform_edt(~mask) <= tolerance for mask in masks]
        found["hit"] = inside(maps, np.stack(near))["hit"]
    ious = np.array([_ious(one, mask, quantile) for one, mask in zip(maps, masks, strict=True)])
    return found | {"iou_quantile": ious[:, 0], "iou_best": ious[:, 1]}


def inside(maps: np.ndarray, masks: np.ndarray) -> dict[str, np.ndarray]:
    """Return `hit`, `energy` and `area` (N,) float64 as `localisation` defines them, for masks (N,
    H, W) bool that may be empty.
    """
    maps, masks = _checked_maps(maps), np.asarray(masks, bool)
    most, total = maps.max(axis=(1, 2)), maps.sum(axis=(1, 2))
    highest = (maps == most[:, None, None]) & (most > 0)[:, None, None]
    return {
        "hit": (highest & masks).sum(axis=(1, 2)) / np.maximum(highest.sum(axis=(1, 2)), 1),
        "energy": _divided((maps * masks).sum(axis=(1, 2)), total),
        "area": masks.mean(axis=(1, 2)),
    }


def _ious(one: np.ndarray, mask: np.ndarray, quantile: float) -> tuple[float, float]:
    if not one.any():
        return 0.0, 0.0
    region = (one >= np.quantile(one, quantile)) & (one > 0)
    return (region & mask).sum() / (region | mask).sum(), _best_iou(one, mask)


def _best_iou(one: np.ndarray, mask: np.ndarray) -> float:
    """Try every value above 0 as the threshold, in one sort."""
    order = np.argsort(-one, axis=None, kind="stable")
    values, inside = one.ravel()[order], np.cumsum(mask.ravel()[order])
    # a threshold takes all pixels of one value, or none
    ends = np.append(values[1:] < values[:-1], True) & (values > 0)
    taken = np.arange(1, len(values) + 1)
    return float((inside / (mask.sum() + taken - inside))[ends].max())


def control_maps(images: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Draw maps that know nothing of any net; a method that does not beat them has explained
    nothing.

    Args:
        images: (N, H, W) or (N, H, W, C).
        seed: of `random`.

    Returns:
        (N, H, W) float32 in [0, 1] each: `random` (about 7 x 7 uniform numbers an image,
            interpolated), `centre` (a Gaussian, a quarter of the side wide),
        `edge` (the image's own gradient; an edge detector passes for an explanation, Adebayo et al.
        2018).
    """
    grey = np.asarray(images, np.float32)
    grey = grey.mean(-1) if grey.ndim == 4 else grey
    count, height, width = grey.shape
    drawn = [_cloud(np.random.default_rng((seed, i)), height, width) for i in range(count)]
    y, x = ((np.arange(n) - (n - 1) / 2) / (n / 4) for n in (height, width))
    centre = np.exp(-(y[:, None] ** 2) / 2 - x**2 / 2)
    maps = {
        "random": np.stack(drawn),
        "centre": np.broadcast_to(centre, grey.shape),
        "edge": np.stack([ndimage.gaussian_gradient_magnitude(one, 1.0) for one in grey]),
    }
    out = {name: np.asarray(one, np.float32) for name, one in maps.items()}
    return {name: _divided(one, one.max(axis=(1, 2), keepdims=True)) for name, one in out.items()}


def _cloud(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Interpolate uniform numbers on a grid that lies at random: with a fixed one, maxima would
    crowd at the image's border.
    """
    grid, shift = rng.random((_RANDOM_CELLS + 2, _RANDOM_CELLS + 2)), rng.random(2)
    lengths = zip(shift, (height, width), strict=True)
    places = [start + np.arange(length) * _RANDOM_CELLS / length for start, length in lengths]
    return ndimage.map_coordinates(grid, np.meshgrid(*places, indexing="ij"), order=1)


# ---- against the net's own scores


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
        column, shown, filling = (
            None if columns is None else columns[rows],
            maps[rows, ..., None],
            0,
        )
        if baseline != "black":
            filling = np.stack([_filling(images[i], baseline) for i in rows])
        before[rows] = _scored(predict, images[rows], column)
        after[rows] = _scored(predict, images[rows] * shown + filling * (1 - shown), column)
    return _divided(np.maximum(before - after, 0), before), after > before


# ---- comparing


def paired_bootstrap(
    values: np.ndarray,
    control: np.ndarray,
    groups: Sequence | None = None,
    replicates: int = 2000,
    seed: int = 0,
) -> dict[str, float]:
    """Compare two methods on the same images.

    Args:
        values, control: (N,) one number an image.
        groups: N keys, such as patients, drawn together; each image is its own when None.
        replicates: bootstrap samples.
        seed: of the samples.

    Returns:
        `difference` (mean of values - control), `low` and `high` (95 % percentile interval), `p`
        (two-sided, from how often the difference lies beyond 0; never below 2 / (replicates + 1))
        and `groups` (how many were drawn from).

    Raises:
        ValueError: lengths that differ, no image, or NaN.
    """
    values, control = np.asarray(values, np.float64), np.asarray(control, np.float64)
    fits = values.ndim == 1 and values.shape == control.shape and len(values)
    if not fits or not np.isfinite(values - control).all():
        raise ValueError(
            "values and control must be finite numbers, one an image. Received: shapes "
            f"{values.shape} and {control.shape}"
        )
    groups = np.arange(len(values)) if groups is None else np.asarray(groups)
    if len(groups) != len(values):
        raise ValueError(
            f"groups must hold one key an image. Received: {len(groups)} for {len(values)}"
        )
    keys = np.unique(groups, return_inverse=True)[1]
    sums, counts = np.bincount(keys, values - control), np.bincount(keys).astype(np.float64)
    # how often each group is drawn
    even = np.full(len(sums), 1 / len(sums))
    draws = np.random.default_rng(seed).multinomial(len(sums), even, size=replicates)
    means = (draws @ sums) / (draws @ counts)
    low, high = np.quantile(means, (0.025, 0.975))
    beyond = (min((means <= 0).sum(), (means >= 0).sum()) + 1) / (replicates + 1)
    return {
        "difference": float((values - control).mean()),
        "low": float(low),
        "high": float(high),
        "p": float(min(1.0, 2 * beyond)),
        "groups": len(sums),
    }


def _checked_maps(maps: np.ndarray) -> np.ndarray:
    maps = finite_rows(maps, "maps", ["H", "W"]).astype(np.float64)
    if maps.min() < 0:
        raise ValueError(f"maps must be >= 0. Received: {maps.min()}")
    return maps


def _checked_images(
    images: np.ndarray, maps: np.ndarray, class_index
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    maps, images = _checked_maps(maps), np.asarray(images)
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


def _divided(values: np.ndarray, by: np.ndarray) -> np.ndarray:
    return np.divide(values, by, out=np.zeros_like(values), where=by > 0)
