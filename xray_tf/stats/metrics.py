"""Numbers for decided, calibrated predictions, each with a 95 % interval bootstrapped by patient:
arrays in, one JSON-able dict out.

The dict is the layout of `metrics.json`:

    {"split": "test", "operating_point": "balanced", "split_by": "patient",
     "class_names": ["normal", "pneumonia"],
     "rows": 700, "patients": 400 or null, "class_counts": {"normal": 200, ...},
     "chance": {"class": "pneumonia", "accuracy": 0.71},    of always saying the commonest class
     "interval": {"kind": "95 % percentile bootstrap by patient", "level": 0.95, "unit": "patient",
      "units": 400, "replicates": 2000, "seed": 0},
     "metrics": {"accuracy": {"value": 0.93, "low": 0.91, "high": 0.95}, ...},    of METRICS
     "per_class": {"normal": {"recall": {...}, "precision": {...}, "f1": {...}, "auroc": {...},
      "auprc": {...}}, ...},
     "confusion_matrix": [[190, 10], [39, 461]],    rows: the true class, columns: the decided one
     "definitions": {"accuracy": "...", ...},
     "acquisitions": [{"group": "0", "rows": 90, "patients": 71, "class_counts": {...},
      "accuracy": {...}, "recall": {"normal": {...}, ...}}, ...]}    where groups are known

A number that does not exist for these rows (no positive row, one class only) is {"value": null,
"low": null, "high": null, "reason": "..."}; replicates in which a number does not exist are left
out of its interval, and "replicates" beside it counts the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from xray_tf.data.kin import patient_groups
from xray_tf.stats.checks import class_indices
from xray_tf.stats.metric_rows import METRICS, Ranking, Rows, metrics_of

LEVEL = 0.95
# replicate x row cells at a time: some 40 MB in flight whatever the size of the table
_CHUNK = 1_000_000

ABOUT = {"split": "test", "operating_point": "", "split_by": "patient"}  # where nothing is said


def score(
    probabilities,
    labels,
    decided,
    patients: Sequence[str] | None,
    class_names: Sequence[str],
    replicates: int = 2000,
    seed: int = 0,
    **about: str,
) -> dict[str, Any]:
    """Score labelled rows.

    Patients are drawn with replacement, all their rows together (cluster bootstrap; Field & Welsh
    2007); a row without a patient key counts as a patient of its own.

    Args:
        probabilities: (N, K) calibrated, in [0, 1], rows sum to 1; N >= 1.
        labels: (N,) int class indices.
        decided: (N,) int class indices, from `operating_points.decide`.
        patients: N keys, empty where not known; None where none is.
        class_names: K names.
        replicates: of the bootstrap; 0 leaves the intervals out.
        seed: of the bootstrap.
        about: `split`, `operating_point` and `split_by`, recorded as they are.

    Returns:
        The layout in the module's docstring.

    Raises:
        ValueError: no row, or shapes, labels or probabilities do not fit.
    """
    class_names = tuple(class_names)
    probabilities, labels, decided = _checked(probabilities, labels, decided, len(class_names))
    clusters = patient_groups(patients, len(labels))
    named = patients is not None and any(map(str, patients))
    units = int(clusters.max()) + 1
    rows = Rows(probabilities, labels, decided)
    values = rows.numbers(np.ones((1, len(labels))))
    drawn = cluster_weights(clusters, replicates if units > 1 else 0, seed)
    drawn = [rows.numbers(weights) for weights in drawn]
    draws = {name: np.concatenate([d[name] for d in drawn]) for name in values} if drawn else {}
    counts = np.bincount(labels, minlength=len(class_names))

    def cell(name: str) -> dict[str, Any]:
        return _cell(float(values[name][0]), draws.get(name), name, class_names, counts)

    unit = "patient" if named else "image"
    return {
        **{**ABOUT, **about},
        "class_names": list(class_names),
        "rows": len(labels),
        "patients": units if named else None,
        "class_counts": {n: int(c) for n, c in zip(class_names, counts, strict=True)},
        "chance": {
            "class": class_names[int(counts.argmax())],
            "accuracy": float(counts.max() / counts.sum()),
        },
        "interval": {
            "kind": f"95 % percentile bootstrap by {unit}",
            "level": LEVEL,
            "unit": unit,
            "units": units,
            "replicates": int(replicates) if units > 1 else 0,
            "seed": int(seed),
        },
        "metrics": {name: cell(name) for name in metrics_of("classifier")},
        "per_class": {
            n: {m: cell(f"{m}/{k}") for m in metrics_of("class")} for k, n in enumerate(class_names)
        },
        "confusion_matrix": confusion(labels, decided, len(class_names)).tolist(),
        "definitions": {
            name: row.definition(class_names) for name, row in metrics_of("classifier").items()
        },
    }


def epoch_scores(probabilities, labels) -> dict[str, float]:
    """Return `loss` (mean negative log probability of the true class), `accuracy` of the argmax and
    `auroc` (macro), for a training loop.

    Args:
        probabilities: (N, K) in [0, 1].
        labels: (N,) int class indices.

    Returns:
        Three floats; `auroc` is NaN where a class is missing.
    """
    probabilities, labels = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    true = probabilities[np.arange(len(labels)), labels]
    columns = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    areas = [auroc(probabilities[:, k], labels == k) for k in columns]
    return {
        "loss": float(-np.log(np.maximum(true, 1e-7)).mean()),
        "accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
        "auroc": float(np.mean(areas)),
    }


def macro_recall(decided, labels) -> float:
    """Return the mean recall over the classes that `labels` (N,) has; `decided` is (N,) int too."""
    return float(np.mean([(decided[labels == k] == k).mean() for k in np.unique(labels)]))


def auroc(scores, positive) -> float:
    """Return the area under the ROC curve, ties count half; NaN where a class is missing.

    Args:
        scores: (N,) floats, higher = more likely positive.
        positive: (N,) bool.
    """
    ranking = Ranking(np.asarray(scores), np.asarray(positive, bool))
    return float(ranking.areas(np.ones((1, len(ranking.order))))[0][0])


def confusion(labels, decided, classes: int) -> np.ndarray:
    """Count rows: (K, K) int64, rows the true class, columns the decided one."""
    return np.bincount(
        np.asarray(labels) * classes + np.asarray(decided), minlength=classes * classes
    ).reshape(classes, classes)


def cluster_weights(clusters: np.ndarray, replicates: int, seed: int) -> Iterator[np.ndarray]:
    """Draw clusters with replacement and say how often each row comes up, some replicates at a
    time.

    Args:
        clusters: (N,) int, 0 .. G-1, the cluster of each row.
        replicates: how many draws of G clusters.
        seed: of the draws.

    Yields:
        (R, N) float64 whole numbers; the R add up to `replicates`.
    """
    rng = np.random.default_rng(seed)
    groups = int(clusters.max()) + 1
    step = max(1, _CHUNK // len(clusters))
    for start in range(0, replicates, step):
        count = min(step, replicates - start)
        drawn = rng.integers(0, groups, size=(count, groups)) + groups * np.arange(count)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=count * groups).reshape(count, groups)
        yield counts[:, clusters].astype(np.float64)


def interval(draws: np.ndarray) -> np.ndarray:
    """Return the 95 % percentile interval (2, ...) of bootstrap replicates (R, ...)."""
    return np.percentile(draws, [50 * (1 - LEVEL), 50 * (1 + LEVEL)], axis=0)


def _cell(
    value: float,
    draws: np.ndarray | None,
    name: str,
    class_names: tuple[str, ...],
    counts: np.ndarray,
) -> dict[str, Any]:
    if np.isnan(value):
        reason = _reason(name, class_names, counts)
        return {"value": None, "low": None, "high": None, "reason": reason}
    if draws is None:
        reason = "no interval: it needs more than one patient and at least one replicate"
        return {"value": value, "low": None, "high": None, "reason": reason}
    kept = draws[~np.isnan(draws)]
    low, high = interval(kept).tolist() if len(kept) else (None, None)
    out = {"value": value, "low": low, "high": high}
    return out if len(kept) == len(draws) else {**out, "replicates": len(kept)}


def _reason(name: str, class_names: tuple[str, ...], counts: np.ndarray) -> str:
    metric, _, index = name.partition("/")
    k = int(index) if index else 1 if len(class_names) == 2 else None
    if why := METRICS[metric].undefined:
        return f"not defined: {why.format(name='some class' if k is None else class_names[k])}"
    if index and counts[k]:
        return f"not defined: every row is {class_names[k]}"
    absent = [n for i, n in enumerate(class_names) if not counts[i] and (not index or i == k)]
    return f"not defined: no row is {' or '.join(absent)}"


def _checked(
    probabilities, labels, decided, classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if classes < 2 or probabilities.ndim != 2 or probabilities.shape[1] != classes:
        raise ValueError(
            f"probabilities must be (N, {classes}), one column a class, two or more. Received: "
            f"shape {probabilities.shape}"
        )
    rows = len(probabilities)
    if not rows:
        raise ValueError(
            "there is no labelled row to score. Expected at least one radiograph whose class is "
            "known."
        )
    sums = probabilities.sum(axis=1)
    if not np.abs(sums - 1).max() <= 1e-3 or not probabilities.min() >= 0:  # NaN is neither
        raise ValueError(
            "probabilities must be finite, not negative, and sum to 1. Received: values in "
            f"[{probabilities.min()}, {probabilities.max()}], sums in [{sums.min()}, {sums.max()}]"
        )
    labels = class_indices(labels, "labels", rows, classes)
    return probabilities, labels, class_indices(decided, "decided", rows, classes)
