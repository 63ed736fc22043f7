"""Measure whether a classifier's heat maps are faithful to it, and whether they depend on its
weights.

Every number is computed per image and compared with control maps that do not use the network.

The result of `measure_faithfulness` is one JSON-able dict, the layout of `faithfulness.json`:

    {"rows": 100, "patients": 80, "class_names": [...], "split", "operating_point", "split_by",
    "layer", "score": "...", "steps": 10, "seed", "interval": {...},
     "figures": {figure: {"better": "low" or "high", "what": "..."}},
     "maps": {map: {"kind": "method" or "control", "empty": 2, "figures": {figure: {"value", "low",
     "high"}},
                    "against": {control: {figure: {"difference", "low", "high", "p"}}}}},
                    methods only; same radiographs, by patient
     "curves": {"shares": [0, 0.1, ..., 1], map: {"mean_most": [...], ...}},
     means over radiographs "randomisation": {...} or null}

and of `measure_randomisation`:

    {"rows": 40, "seed", "layers": 50, "what": "...", "methods": {method: {
        "depths": [{"layer": the last one shuffled, "share": of the layers, "empty",
        "rank_correlation": {"value", "low", "high"}, "ssim": {...}}], "between_radiographs":
        {"rank_correlation", "ssim"}, "random_maps": {"rank_correlation", "ssim"}}}}

`between_radiographs` compares each heat map of the trained network with that of the next
radiograph: the similarity that all chests share. `random_maps` compares with the random control.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf.artifact import write_json
from xray_tf.data.records import Record
from xray_tf.data.tables.csv_files import csv_line, write_lines
from xray_tf.jobs.run import Run
from xray_tf.models.classifier import Classifier
from xray_tf.models.decided import measured_at
from xray_tf.options import ExamineOptions
from xray_tf.spelling import pick_several
from xray_tf.stats.heatmaps.faithfulness import BASELINES, average_drop, removal_figures
from xray_tf.stats.heatmaps.localisation import control_maps
from xray_tf.stats.heatmaps.similarity import rank_correlation, structural_similarity
from xray_tf.stats.paired import mean_interval, paired_bootstrap

JSON, CSV, ARRAYS = "faithfulness.json", "faithfulness.csv", "faithfulness.npz"
CONTROLS = ("random", "centre", "edge")
SCORE = (
    "calibrated probability of the class decided at the operating point, with pixels rounded to "
    "grey levels"
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
    "average_drop": (
        "low",
        "share of the score lost when only the part under the heat map is shown, black elsewhere",
    ),
    "average_drop_blur": ("low", "the same, blurred elsewhere"),
    "increase": (
        "high",
        "share of radiographs whose score rises when only the part under the heat map is shown, "
        "black elsewhere",
    ),
}
LIKENESS = {"rank_correlation": rank_correlation, "ssim": structural_similarity}
SHUFFLED = (
    "the weights of a copy shuffled within each layer, from the top layer down; heat maps of the "
    "class decided by the trained network"
)


def methods_of(options: ExamineOptions) -> list[str]:
    """Return the methods in the options, in order.

    Raises:
        ValueError: one is unknown, or there is none.
    """
    from xray_tf.nets.heatmaps.attribution import METHODS

    return pick_several("methods", options.methods, METHODS)


def measure_faithfulness(
    classifier: Classifier,
    images: np.ndarray,
    records: Sequence[Record],
    options: ExamineOptions = ExamineOptions(),
    operating_point: str | None = None,
    run: Run | None = None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Measure deletion, insertion, their gap (ROAD) on three baselines, and average drop, for each
    method and each control.

    Args:
        classifier: an opened artifact.
        images: (N, S, S) uint8.
        records: the records of these rows, in order.
        options: methods, layer, steps, bootstrap replicates, seed, batch size.
        operating_point: a name on the card; its default if None.
        run: the run of the job; None shows nothing.

    Returns:
        (the layout in the module's docstring, {`<map>/<figure>`: (N,), `<map>/<curve>`: (N, steps +
        1), `decided`: (N,), `paths`: (N,)}).
    """
    from xray_tf.nets.heatmaps.attribution import METHODS
    from xray_tf.nets.heatmaps.gradcam import GradCAM

    run, card, names = run or Run(progress=False), classifier.card, methods_of(options)
    decided = decided_classes(classifier, images, operating_point, options.batch_size)
    net = GradCAM(classifier.model, options.layer, options.batch_size)
    maps = {name: METHODS[name](net, images, decided) for name in names}
    maps |= control_maps(images, options.seed)
    figures, curves = {}, {}
    with run.line("Pixels removed", len(maps) * len(images)) as line:
        for name, heat in maps.items():
            parts = []
            for i in range(0, len(images), options.batch_size):
                rows = slice(i, i + options.batch_size)
                parts.append(_removed(classifier, images[rows], heat[rows], decided[rows], options))
                line.step(len(images[rows]))
            figures[name], curves[name] = map(_joined, zip(*parts, strict=True))
    groups = _groups(records)
    named = any(r.patient for r in records)
    result = {
        "rows": len(images),
        "patients": len(set(groups)) if named else None,
        "class_names": list(card.class_names),
        **measured_at(card, card.point(operating_point), records),
        "layer": net.layer,
        "score": SCORE,
        "steps": options.steps,
        "seed": options.seed,
        "interval": {
            "kind": f"95 % percentile bootstrap by {'patient' if named else 'image'}",
            "replicates": options.bootstrap,
        },
        "figures": _meanings(),
        "maps": _compared(maps, figures, names, groups, options),
        "curves": {
            "shares": np.linspace(0, 1, options.steps + 1).round(6).tolist(),
            **{
                n: {k: v.mean(0).round(6).tolist() for k, v in c.items()} for n, c in curves.items()
            },
        },
        "randomisation": None,
    }
    both = {name: figures[name] | curves[name] for name in maps}
    arrays = {f"{name}/{k}": v for name, one in both.items() for k, v in one.items()}
    return result, {**arrays, "decided": decided, "paths": np.array([r.path for r in records], str)}


def measure_randomisation(
    classifier: Classifier,
    images: np.ndarray,
    records: Sequence[Record],
    options: ExamineOptions = ExamineOptions(),
    operating_point: str | None = None,
    run: Run | None = None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Compare heat maps before and after shuffling a copy's weights from the top (Adebayo et al.
    2018, "Sanity checks for saliency maps", section 3).

    Arguments and returns are as in `measure_faithfulness`; the arrays are
    {`<method>/<rank_correlation or ssim>`: (depths, N)}.
    """
    from xray_tf.nets.heatmaps.attribution import METHODS
    from xray_tf.nets.heatmaps.gradcam import GradCAM
    from xray_tf.nets.heatmaps.randomise import cascade, copy_model, layers_from_the_top

    if len(images) < 2:
        raise ValueError(
            "The randomisation check compares radiographs with each other, so it needs at least "
            f"two. Received: {len(images)}"
        )
    run, names, groups = run or Run(progress=False), methods_of(options), _groups(records)
    decided = decided_classes(classifier, images, operating_point, options.batch_size)
    copy = copy_model(classifier.model)
    net = GradCAM(copy, options.layer, options.batch_size)
    trained = {m: METHODS[m](net, images, decided) for m in names}
    layers = len(layers_from_the_top(copy))
    found, alike = {m: [] for m in names}, {m: [] for m in names}
    with run.line("Weights shuffled", min(options.depths, layers)) as line:
        for layer, share in cascade(copy, options.depths, options.seed):
            for m in names:
                alike[m].append(_likeness(trained[m], METHODS[m](net, images, decided)))
                depth = {"layer": layer, "share": round(share, 4), "empty": int(net.empty.sum())}
                found[m].append(depth | _means(alike[m][-1], groups, options))
            line.step()
    random = control_maps(images, options.seed)["random"]

    methods = {}
    for m in names:
        others = {"between_radiographs": np.roll(trained[m], 1, 0), "random_maps": random}
        alike_by = {k: _means(_likeness(trained[m], o), groups, options) for k, o in others.items()}
        methods[m] = {"depths": found[m], **alike_by}
    facts = {"rows": len(images), "seed": options.seed, "layers": layers, "what": SHUFFLED}
    arrays = {f"{m}/{k}": np.stack([one[k] for one in alike[m]]) for m in names for k in LIKENESS}
    return {**facts, "methods": methods}, arrays


def decided_classes(
    classifier: Classifier, images: np.ndarray, operating_point: str | None, batch_size: int
) -> np.ndarray:
    """Return the classes (N,) int64 decided at an operating point, for images (N, S, S) uint8."""
    logits = classifier.forward(images, batch_size=batch_size)["logits"]
    return classifier.card.point(operating_point).decide(classifier.probabilities_of(logits))


def write_faithfulness(
    result: dict[str, Any], arrays: dict[str, np.ndarray], folder: str | os.PathLike
) -> None:
    """Write faithfulness.json, faithfulness.csv (one row per radiograph and heat map) and
    faithfulness.npz (all arrays) into a folder.
    """
    folder = Path(folder)
    write_json(folder / JSON, result)
    np.savez_compressed(folder / ARRAYS, **arrays)
    if "figures" not in result:  # the randomisation check alone
        return
    names, lines = list(result["figures"]), []
    for i, path in enumerate(arrays["paths"]):
        decided = result["class_names"][arrays["decided"][i]]
        for one in result["maps"]:
            numbers = (f"{arrays[f'{one}/{f}'][i]:.6f}" for f in names)
            lines.append(csv_line([path, one, decided, *numbers]))
    write_lines(folder / CSV, ["path", "map", "decided", *names], lines)


def _meanings() -> dict[str, dict[str, str]]:
    """Return what each number means, and whether high or low is better."""
    removal = {
        f"{kind}_{b}": (better, f"{what}; {b.replace('_', ' ')} in their place")
        for b in BASELINES
        for kind, (better, what) in WHAT.items()
    }
    figures = (removal | DROPS).items()
    return {name: {"better": better, "what": what} for name, (better, what) in figures}


def _groups(records: Sequence[Record]) -> list[str]:
    """Return the groups that are resampled together: patients, if they are known."""
    return [r.patient or f"\0{i}" for i, r in enumerate(records)]


def _joined(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}


def _mean_curves(curves: dict[str, np.ndarray]) -> dict[str, list[float]]:
    return {k: v.mean(0).round(6).tolist() for k, v in curves.items()}


def _removed(
    classifier: Classifier,
    images: np.ndarray,
    maps: np.ndarray,
    decided: np.ndarray,
    options: ExamineOptions,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return (numbers, curves) of some radiographs for one kind of heat map."""

    def predict(pixels: np.ndarray) -> np.ndarray:
        whole = np.clip(np.rint(pixels[..., 0]), 0, 255).astype(np.uint8)
        logits = classifier.forward(whole, batch_size=len(whole))["logits"]
        return classifier.probabilities_of(logits)

    more = {"class_index": decided, "batch_size": options.batch_size}
    figures, curves = removal_figures(
        images, maps, predict, options.steps, seed=options.seed, **more
    )
    figures["average_drop"], rises = average_drop(images, maps, predict, **more)
    figures["average_drop_blur"], _ = average_drop(images, maps, predict, baseline="blur", **more)
    figures["increase"] = rises.astype(np.float64)
    return figures, curves


def _compared(
    maps: dict[str, np.ndarray],
    figures: dict[str, dict[str, np.ndarray]],
    methods: Sequence[str],
    groups: Sequence[str],
    options: ExamineOptions,
) -> dict[str, Any]:
    def against(one: str, control: str) -> dict[str, Any]:
        return {
            f: _bootstrap(v, figures[control][f], groups, options) for f, v in figures[one].items()
        }

    return {
        name: {
            "kind": "method" if name in methods else "control",
            "empty": int((~heat.any(axis=(1, 2))).sum()),
            "figures": _means(figures[name], groups, options),
            "against": {c: against(name, c) for c in CONTROLS} if name in methods else {},
        }
        for name, heat in maps.items()
    }


def _likeness(maps: np.ndarray, others: np.ndarray) -> dict[str, np.ndarray]:
    return {name: measure(maps, others) for name, measure in LIKENESS.items()}


def _means(
    values: dict[str, np.ndarray], groups: Sequence[str], options: ExamineOptions
) -> dict[str, dict[str, float]]:
    """Return the mean of each array (N,) with its interval by patient."""
    how = groups, max(options.bootstrap, 1), options.seed
    return {name: mean_interval(numbers, *how) for name, numbers in values.items()}


def _bootstrap(
    values: np.ndarray, others: np.ndarray, groups: Sequence[str], options: ExamineOptions
) -> dict[str, float]:
    return paired_bootstrap(values, others, groups, max(options.bootstrap, 1), options.seed)
