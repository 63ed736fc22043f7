"""Are a classifier's heat maps faithful to it, and do they depend on what it learnt? Per-image
figures, set against maps that know no net.

The result of `measure_faithfulness` is one JSON-able dict, the layout of `faithfulness.json`:

    {"rows": 100, "patients": 80, "class_names": [...], "split", "operating_point", "split_by",
    "layer", "score": "...", "steps": 10, "seed", "interval": {...},
     "figures": {figure: {"better": "low" or "high", "what": "..."}},
     "maps": {map: {"kind": "method" or "control", "empty": 2, "figures": {figure: {"value", "low",
     "high"}},
                    "against": {control: {figure: {"difference", "low", "high", "p"}}}}},
                    methods only; the same radiographs, by patient
     "curves": {"shares": [0, 0.1, ..., 1], map: {"mean_most": [...], ...}},
     means over radiographs "randomisation": {...} or null}

and of `measure_randomisation`:

    {"rows": 40, "seed", "layers": 50, "what": "...", "methods": {method: {
        "depths": [{"layer": the last one shuffled, "share": of the layers, "empty",
        "rank_correlation": {"value", "low", "high"}, "ssim": {...}}], "between_radiographs":
        {"rank_correlation", "ssim"}, "random_maps": {"rank_correlation", "ssim"}}}}

`between_radiographs` compares each trained map with the next radiograph's: how alike maps are that
are all of chests. `random_maps` compares with the random control.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf.artifact import write_text
from xray_tf.data.records import Record, common_part
from xray_tf.models.classifier import Classifier
from xray_tf.options import ExamineOptions
from xray_tf.progress import ProgressLine

JSON, CSV, ARRAYS = "faithfulness.json", "faithfulness.csv", "faithfulness.npz"
CONTROLS = ("random", "centre", "edge")
SCORE = (
    "calibrated probability of the class decided at the operating point, on pixels rounded to "
    "whole grey levels"
)
WHAT = {
    "deletion": ("low", "area under the score while the most important pixels are removed first"),
    "insertion": ("high", "area under the score while the most important pixels come back first"),
    "gap": (
        "high",
        "half the mean gap between removing the least and the most important pixels first (ROAD)",
    ),
}
DROPS = {
    "average_drop": {
        "better": "low",
        "what": "share of the score lost when only the map's "
        "part of the picture is shown, black elsewhere",
    },
    "average_drop_blur": {"better": "low", "what": "the same, blurred elsewhere"},
    "increase": {
        "better": "high",
        "what": "share of radiographs whose score rises when only "
        "the map's part is shown, black elsewhere",
    },
}
SHUFFLED = (
    "entries of each layer's weights shuffled, from the top layer down, on a copy; maps "
    "for the class decided by the trained net"
)


def methods_of(options: ExamineOptions) -> list[str]:
    """Return the methods named, in order.

    Raises:
        ValueError: one is unknown, or none is named.
    """
    from xray_tf.nets.heatmaps.attribution import METHODS

    names = list(dict.fromkeys(m.strip() for m in options.methods.split(",") if m.strip()))
    if not names or set(names) - set(METHODS):
        raise ValueError(
            f"methods must be some of {tuple(METHODS)}, comma-separated. Received: "
            f"methods={options.methods!r}"
        )
    return names


def measure_faithfulness(
    classifier: Classifier,
    images: np.ndarray,
    records: Sequence[Record],
    options: ExamineOptions = ExamineOptions(),
    *,
    operating_point: str | None = None,
    progress: bool = True,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Measure deletion, insertion, their gap (ROAD) on three baselines, and average drop, of each
    method and each control.

    Args:
        classifier: an opened artifact.
        images: (N, S, S) uint8.
        records: of these rows, in order.
        options: methods, layer, steps, replicates, seed, batch size.
        operating_point: a name on the card; its default when None.
        progress: draw a line that counts up.

    Returns:
        (the layout in the module's docstring, {`<map>/<figure>`: (N,), `<map>/<curve>`: (N, steps +
        1), `decided`: (N,), `paths`: (N,)}).
    """
    from xray_tf.nets.heatmaps.attribution import METHODS
    from xray_tf.nets.heatmaps.gradcam import GradCAM
    from xray_tf.stats.heatmaps.faithfulness import BASELINES, control_maps

    card, names = classifier.card, methods_of(options)
    decided = decided_classes(classifier, images, operating_point, options.batch_size)
    net = GradCAM(classifier.model, options.layer, options.batch_size)
    maps = {name: METHODS[name](net, images, decided) for name in names} | control_maps(
        images, options.seed
    )
    figures, curves = {}, {}
    with ProgressLine("Pixels removed", len(maps) * len(images), progress) as line:
        for name, heat in maps.items():
            parts = [
                _removed(
                    classifier,
                    images[i : i + options.batch_size],
                    heat[i : i + options.batch_size],
                    decided[i : i + options.batch_size],
                    options,
                    line,
                )
                for i in range(0, len(images), options.batch_size)
            ]
            figures[name], curves[name] = (
                {k: np.concatenate([p[j][k] for p in parts]) for k in parts[0][j]} for j in (0, 1)
            )
    groups = [r.patient or f"\0{i}" for i, r in enumerate(records)]
    named = any(r.patient for r in records)
    what = {
        f"{kind}_{b}": {
            "better": WHAT[kind][0],
            "what": f"{WHAT[kind][1]}; {b.replace('_', ' ')} in their place",
        }
        for b in BASELINES
        for kind in WHAT
    }
    result = {
        "rows": len(images),
        "patients": len(set(groups)) if named else None,
        "class_names": list(card.class_names),
        "split": common_part(r.split for r in records),
        "split_by": card.split_by,
        "operating_point": card.point(operating_point).name,
        "layer": net.layer,
        "score": SCORE,
        "steps": options.steps,
        "seed": options.seed,
        "interval": {
            "kind": f"95 % percentile bootstrap by {'patient' if named else 'image'}",
            "replicates": options.bootstrap,
        },
        "figures": what | DROPS,
        "maps": _compared(maps, figures, names, groups, options),
        "curves": {
            "shares": np.linspace(0, 1, options.steps + 1).round(6).tolist(),
            **{
                name: {k: v.mean(0).round(6).tolist() for k, v in one.items()}
                for name, one in curves.items()
            },
        },
        "randomisation": None,
    }
    arrays = {
        f"{name}/{k}": v
        for table in (figures, curves)
        for name, one in table.items()
        for k, v in one.items()
    }
    return result, {**arrays, "decided": decided, "paths": np.array([r.path for r in records], str)}


def measure_randomisation(
    classifier: Classifier,
    images: np.ndarray,
    records: Sequence[Record],
    options: ExamineOptions = ExamineOptions(),
    *,
    operating_point: str | None = None,
    progress: bool = True,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Compare maps before and after shuffling a copy's weights from the top (Adebayo et al. 2018,
    "Sanity checks for saliency maps", section 3).

    Args and returns: as in `measure_faithfulness`; the arrays are {`<method>/<rank_correlation or
    ssim>`: (depths, N)}.
    """
    from xray_tf.nets.heatmaps.attribution import METHODS
    from xray_tf.nets.heatmaps.gradcam import GradCAM
    from xray_tf.nets.heatmaps.randomise import cascade, copy_model, layers_from_the_top
    from xray_tf.stats.heatmaps.faithfulness import control_maps

    if len(images) < 2:
        raise ValueError(
            "The randomisation check compares radiographs with each other and needs "
            f"at least two. Received: {len(images)}"
        )
    names, decided = (
        methods_of(options),
        decided_classes(classifier, images, operating_point, options.batch_size),
    )
    copy = copy_model(classifier.model)
    net = GradCAM(copy, options.layer, options.batch_size)
    trained = {m: METHODS[m](net, images, decided) for m in names}
    layers, groups = (
        len(layers_from_the_top(copy)),
        [r.patient or f"\0{i}" for i, r in enumerate(records)],
    )
    found, arrays = {m: [] for m in names}, {m: [] for m in names}
    with ProgressLine("Weights shuffled", min(options.depths, layers), progress) as line:
        for layer, share in cascade(copy, options.depths, options.seed):
            for m in names:
                heat = METHODS[m](net, images, decided)
                likeness = _likeness(trained[m], heat)
                arrays[m].append(likeness)
                found[m].append(
                    {
                        "layer": layer,
                        "share": round(share, 4),
                        "empty": int(net.empty.sum()),
                        **{k: _mean_cell(v, groups, options) for k, v in likeness.items()},
                    }
                )
            line.step()
    random = control_maps(images, options.seed)["random"]
    methods = {
        m: {
            "depths": found[m],
            **{
                name: {
                    k: _mean_cell(v, groups, options)
                    for k, v in _likeness(trained[m], other).items()
                }
                for name, other in (
                    ("between_radiographs", np.roll(trained[m], 1, 0)),
                    ("random_maps", random),
                )
            },
        }
        for m in names
    }
    return (
        {
            "rows": len(images),
            "seed": options.seed,
            "layers": layers,
            "what": SHUFFLED,
            "methods": methods,
        },
        {
            f"{m}/{k}": np.stack([one[k] for one in arrays[m]])
            for m in names
            for k in ("rank_correlation", "ssim")
        },
    )


def decided_classes(
    classifier: Classifier, images: np.ndarray, operating_point: str | None, batch_size: int
) -> np.ndarray:
    """Return the classes (N,) int64 decided at an operating point, for images (N, S, S) uint8."""
    logits = classifier.forward(images, batch_size=batch_size)["logits"]
    return classifier.card.point(operating_point).decide(classifier.probabilities_of(logits))


def write_faithfulness(
    result: dict[str, Any], arrays: dict[str, np.ndarray], folder: str | os.PathLike
) -> None:
    """Write faithfulness.json, faithfulness.csv (one row a radiograph and map) and faithfulness.npz
    (every array) into a folder.
    """
    folder = Path(folder)
    write_text(folder / JSON, json.dumps(result, indent=1, allow_nan=False) + "\n")
    np.savez_compressed(folder / ARRAYS, **arrays)
    if "figures" not in result:  # the randomisation check alone
        return
    names = list(result["figures"])
    with (folder / CSV).open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["path", "map", "decided", *names])
        for i, path in enumerate(arrays["paths"]):
            for one in result["maps"]:
                writer.writerow(
                    [
                        path,
                        one,
                        result["class_names"][arrays["decided"][i]],
                        *(f"{arrays[f'{one}/{f}'][i]:.6f}" for f in names),
                    ]
                )


def _removed(
    classifier: Classifier,
    images: np.ndarray,
    maps: np.ndarray,
    decided: np.ndarray,
    options: ExamineOptions,
    line: ProgressLine,
):
    """Return (figures, curves) of some radiographs under one kind of map."""
    from xray_tf.stats.heatmaps.faithfulness import average_drop, removal_figures

    def predict(pixels: np.ndarray) -> np.ndarray:
        whole = np.clip(np.rint(pixels[..., 0]), 0, 255).astype(np.uint8)
        return classifier.probabilities_of(
            classifier.forward(whole, batch_size=len(whole))["logits"]
        )

    more = {"class_index": decided, "batch_size": options.batch_size}
    figures, curves = removal_figures(
        images, maps, predict, options.steps, seed=options.seed, **more
    )
    figures["average_drop"], rises = average_drop(images, maps, predict, **more)
    figures["average_drop_blur"], _ = average_drop(images, maps, predict, baseline="blur", **more)
    figures["increase"] = rises.astype(np.float64)
    line.step(len(images))
    return figures, curves


def _compared(
    maps: dict[str, np.ndarray],
    figures: dict[str, dict[str, np.ndarray]],
    methods: Sequence[str],
    groups: Sequence[str],
    options: ExamineOptions,
) -> dict[str, Any]:
    from xray_tf.stats.heatmaps.faithfulness import paired_bootstrap

    def against(one: str, control: str) -> dict[str, Any]:
        return {
            f: paired_bootstrap(
                v, figures[control][f], groups, max(options.bootstrap, 1), options.seed
            )
            for f, v in figures[one].items()
        }

    return {
        name: {
            "kind": "method" if name in methods else "control",
            "empty": int((~heat.any(axis=(1, 2))).sum()),
            "figures": {f: _mean_cell(v, groups, options) for f, v in figures[name].items()},
            "against": {c: against(name, c) for c in CONTROLS} if name in methods else {},
        }
        for name, heat in maps.items()
    }


def _likeness(maps: np.ndarray, others: np.ndarray) -> dict[str, np.ndarray]:
    from xray_tf.stats.heatmaps.similarity import rank_correlation, structural_similarity

    return {
        "rank_correlation": rank_correlation(maps, others),
        "ssim": structural_similarity(maps, others),
    }


def _mean_cell(
    values: np.ndarray, groups: Sequence[str], options: ExamineOptions
) -> dict[str, float]:
    """Return the mean of (N,) numbers and its interval by patient."""
    from xray_tf.stats.heatmaps.faithfulness import paired_bootstrap

    found = paired_bootstrap(
        values, np.zeros(len(values)), groups, max(options.bootstrap, 1), options.seed
    )
    return {"value": found["difference"], "low": found["low"], "high": found["high"]}
