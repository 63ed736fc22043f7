"""How well lungs are found: overlap with drawn masks, under changes of the image, and what the
score says of pictures without two upright lungs.

The result is one JSON-able dict, the layout of `metrics.json`:

    {"split": "test", "rows": 146, "patients": 120,
     "iou": {"mean" | "median" | "fifth_percentile": {"value", "low", "high"}},
     "classes": {"normal": {"rows", "patients", "mean", "median", "fifth_percentile"}, ...},
     "worst": [{"path", "iou"}, ...],                                  the twelve lowest
     "phantoms": {"pictures", "mean", "fifth_percentile", "refused"},
     "stresses": [{"name", "group", "unit", "what", "severities",
                   "cells": [{"mean", "fifth_percentile", "refused"}, ...]}],
     "stressed": {"mean", "lowest": {"stress", "mean"}},               of the strongest changes
     "score": {"threshold", "refused": {"val" | "test": {"rows", "share", "lowest"}},
               "not_chests": [{"kind", "trained_on", "pictures", "median", "highest",
                               "taken_for_chests"}]},
     "seed": 0, "replicates": 1000}

`refused` is the share of chests whose score lies below the threshold, `taken_for_chests` the share
of other pictures whose score does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xray_tf.data.chest.lung_lessons import draw_phantoms
from xray_tf.data.chest.lung_masks import IGNORE, LUNG, intersection_over_union
from xray_tf.data.synthetic.not_chests import DRAWN, TURNED
from xray_tf.data.synthetic.stresses import STRESSES, apply_stress
from xray_tf.data.synthetic.unseen_pictures import UNSEEN_DRAWN, UNSEEN_TURNED
from xray_tf.jobs.lungs.masked_rows import SIDE, MaskedRows
from xray_tf.options.lungs import TrainLungsOptions
from xray_tf.stats.by_patient import with_intervals

WORST = 12
DRAWINGS = 200  # pictures of each drawn kind
OTHER_SEED = 7700  # away from what training draws
# A threshold above it would call sure what the net itself is not sure of.
HIGHEST_THRESHOLD = 0.9
STATISTICS: dict[str, Callable[[np.ndarray], float]] = {
    "mean": np.mean,
    "median": np.median,
    "fifth_percentile": lambda values: np.quantile(values, 0.05),
}

Find = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def choose_threshold(scores: np.ndarray, refused: float) -> float:
    """Return the highest threshold, 0.9 at most, below which at most the share `refused` of the
    scores of chests (N,) lies.
    """
    return float(min(HIGHEST_THRESHOLD, np.quantile(scores, refused, method="lower")))


def measure_lungs(
    find: Find,
    rows: MaskedRows,
    threshold: float,
    validation_scores: np.ndarray,
    options: TrainLungsOptions,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[dict[str, Any], np.ndarray]:
    """Measure a segmenter on the test rows.

    Args:
        find: images (N, 224, 224) uint8 -> (lungs (N, 224, 224) float32, scores (N,)).
        rows: with a test part.
        threshold: of the score.
        validation_scores: of the validation rows.
        options: phantoms, replicates and seed.
        say: tells what is going on.

    Returns:
        (the layout in the module's docstring, IoU of each test row (n,) in their order).
    """
    test = rows.of_split("test")
    images, masks = rows.images(test), rows.masks[test]
    patients, paths = rows.column("patient", test), rows.column("path", test)
    lungs, scores = find(images)
    ious = overlaps(lungs, masks)
    say("  under changes of the image")
    stresses = [_stressed(find, name, images, masks, paths, threshold) for name in STRESSES]
    say("  pictures that are no chest")
    metrics = {
        "split": "test",
        "rows": len(test),
        "patients": len(set(patients)),
        "iou": with_intervals(ious, patients, STATISTICS, options.bootstrap, options.seed),
        "classes": _by_class(rows, test, ious, options),
        "worst": [{"path": paths[i], "iou": float(ious[i])} for i in np.argsort(ious)[:WORST]],
        "phantoms": _phantoms(find, threshold, options),
        "stresses": stresses,
        "stressed": _strongest(stresses),
        "score": {
            "threshold": threshold,
            "refused": {
                "val": _refused(validation_scores, threshold),
                "test": _refused(scores, threshold),
            },
            "not_chests": _not_chests(find, images, threshold),
        },
        "seed": options.seed,
        "replicates": options.bootstrap,
    }
    return metrics, ious


def overlaps(lungs: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the IoU (N,) of lungs (N, H, W) float32 with masks (N, H, W) uint8."""
    return np.array([intersection_over_union(a, b) for a, b in zip(lungs, masks, strict=True)])


def _by_class(rows: MaskedRows, test: np.ndarray, ious: np.ndarray, options) -> dict[str, Any]:
    subtypes, labels = rows.column("subtype", test), rows.column("label", test)
    classes = np.where(subtypes != "", subtypes, labels)
    patients, found = rows.column("patient", test), {}
    for name in sorted(set(classes), key=("normal", "bacterial", "viral", "pneumonia", "").index):
        here = classes == name
        found[name] = {
            "rows": int(here.sum()),
            "patients": len(set(patients[here])),
            **with_intervals(
                ious[here], patients[here], STATISTICS, options.bootstrap, options.seed
            ),
        }
    return found


def _stressed(
    find: Find,
    name: str,
    images: np.ndarray,
    masks: np.ndarray,
    keys: Sequence[str],
    threshold: float,
) -> dict[str, Any]:
    stress, cells = STRESSES[name], []
    for severity in stress.severities:

        def changed(pictures: np.ndarray, severity: float = severity) -> np.ndarray:
            return apply_stress(pictures, name, severity, 0, keys)

        moved = masks
        if stress.group == "geometry":
            ignore, lung = (changed(255 * (masks == v).astype(np.uint8)) for v in (IGNORE, LUNG))
            moved = np.where(ignore > 0, IGNORE, np.where(lung > 127, LUNG, 0))
        cells.append(_cell(*find(changed(images)), moved, threshold))
    return {"name": name, **stress.about(), "cells": cells}


def _cell(
    lungs: np.ndarray, scores: np.ndarray, masks: np.ndarray, threshold: float
) -> dict[str, float]:
    ious = overlaps(lungs, masks)
    return {
        "mean": float(ious.mean()),
        "fifth_percentile": float(np.quantile(ious, 0.05)),
        "refused": float((scores < threshold).mean()),
    }


def _strongest(stresses: list[dict[str, Any]]) -> dict[str, Any]:
    last = {s["name"]: s["cells"][-1]["mean"] for s in stresses}
    lowest = min(last, key=last.get)
    mean = float(np.mean(list(last.values())))
    return {"mean": mean, "lowest": {"stress": lowest, "mean": last[lowest]}}


def _phantoms(find: Find, threshold: float, options: TrainLungsOptions) -> dict[str, Any]:
    count = max(1, options.phantoms // 3)
    images, masks = draw_phantoms(count, OTHER_SEED, SIDE)
    return {"pictures": count, **_cell(*find(images), masks, threshold)}


def _refused(scores: np.ndarray, threshold: float) -> dict[str, Any]:
    return {
        "rows": len(scores),
        "share": float((scores < threshold).mean()) if len(scores) else None,
        "lowest": float(scores.min()) if len(scores) else None,
    }


def _not_chests(find: Find, images: np.ndarray, threshold: float) -> list[dict[str, Any]]:
    found = []
    for seed, trained_on, kinds, shown in (
        (OTHER_SEED, True, TURNED, images),
        (OTHER_SEED, False, UNSEEN_TURNED, images),
        (OTHER_SEED + 1, True, DRAWN, [SIDE] * DRAWINGS),
        (OTHER_SEED + 1, False, UNSEEN_DRAWN, [SIDE] * DRAWINGS),
    ):
        for number, (kind, make) in enumerate(kinds.items()):
            rng = np.random.default_rng([seed, number])
            _, scores = find(np.stack([make(one, rng) for one in shown]))
            found.append(
                {
                    "kind": kind,
                    "trained_on": trained_on,
                    "pictures": len(scores),
                    "median": float(np.median(scores)),
                    "highest": float(scores.max()),
                    "taken_for_chests": float((scores >= threshold).mean()),
                }
            )
    return found
