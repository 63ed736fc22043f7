"""Measure how well a classifier's frozen decisions hold when the same radiographs are changed, in
one forward pass over rows x stresses.

The result is one JSON-able dict, the layout of `shift.json`:

    {"rows": 300, "patients": 214, "class_names": [...], "class_counts": {...}, "split": "test",
     "operating_point": "balanced", "split_by": "patient",
     "interval": {...},                                         as in metrics.json
     "seed": 0,
     "metrics": ["sensitivity", "specificity", "auroc", "balanced_accuracy", "accuracy"],
                                       with more classes: recall/<name> of each, then auroc, ...
     "clean": {metric: {"value", "low", "high"}},
     "stresses": [{"name", "group", "unit", "what", "severities": [...],
                   "cells": [{metric: {"value", "low", "high"}}, one per severity],
                   "mean": {metric: value over its severities}}],
     "mean": {metric: {"value", "low", "high"}},                every stress has the same weight
     "drop": {metric: {"value", "low", "high"}},                clean - mean, paired
     "worst": {metric: {"stress", "value"}},                    the stress with the lowest mean
     "groups": {group: {metric: value}}}
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf.artifact import write_json
from xray_tf.data.sample import draw_records
from xray_tf.data.synthetic.stresses import STRESSES, StressGrid, choose_stresses
from xray_tf.data.tables.csv_files import csv_line, write_lines
from xray_tf.jobs.corpus import Corpus
from xray_tf.jobs.run import Run
from xray_tf.models.classifier import Classifier
from xray_tf.models.decided import measured_at
from xray_tf.options import ShiftOptions
from xray_tf.stats.metric_rows import under_change
from xray_tf.stats.paired import Conditions, paired_draws, with_interval

JSON, CSV, PICTURE = "shift.json", "shift.csv", "shift.png"
FACTS = (
    *("rows", "patients", "class_names", "class_counts"),
    *("split", "operating_point", "split_by", "interval"),
)


def measure_shift(
    classifier: Classifier,
    corpus: Corpus,
    options: ShiftOptions = ShiftOptions(),
    operating_point: str | None = None,
    batch_size: int = 64,
    run: Run | None = None,
) -> dict[str, Any]:
    """Score the same radiographs unchanged and under every stress and severity, at a frozen
    operating point.

    Args:
        classifier: an opened artifact; nothing is fitted.
        corpus: the radiographs; those without a class are left out. Only one batch of pixels is in
            memory.
        options: stresses, number of rows, seed and bootstrap replicates.
        operating_point: a name on the card; its default if None.
        batch_size: radiographs per forward pass.
        run: the run of the job; None shows nothing.

    Returns:
        The layout in the module's docstring.

    Raises:
        ValueError: there is no labelled row, or a stress is unknown.
    """
    run, card = run or Run(progress=False), classifier.card
    names, point = choose_stresses(options.stresses), card.point(operating_point)
    labels = np.array(corpus.records.class_indices(card.to_task()), np.int64)
    keep = draw_records(corpus.records, labels, options.shift_rows, options.shift_seed)
    if not len(keep):
        raise ValueError(
            "There is no labelled radiograph to change among "
            f"{len(corpus.records)}. Expected classes {card.class_names}."
        )
    records = [corpus.records[i] for i in keep]
    cells = [None, *((n, s) for n in names for s in STRESSES[n].severities)]
    keys = [r.sha256 or r.path for r in records]
    grid = StressGrid(corpus.pixels, corpus.rows[keep], keys, cells, options.shift_seed)
    with run.line("Under stress", len(grid)) as line:
        logits = classifier.forward(grid, batch_size=batch_size, progress=line.step)["logits"]
    conditions = Conditions.at(
        point,
        classifier.probabilities_of(logits).reshape(len(cells), len(keep), -1),
        labels[keep],
        [r.patient for r in records],
        card.class_names,
    )
    return summarise(conditions, names, options, measured_at(card, point, records))


def summarise(
    conditions: Conditions, names: Sequence[str], options: ShiftOptions, about: dict[str, str]
) -> dict[str, Any]:
    """Turn the predictions of every cell into the layout in the module's docstring.

    Args:
        conditions: the rows unchanged, then under the severities of each stress in turn.
        names: the stresses.
        options: bootstrap replicates and seed.
        about: `split`, `operating_point`, `split_by`, recorded.
    """
    metrics = under_change(conditions.class_names)
    replicates, seed = options.shift_bootstrap, options.shift_seed
    plain = [m for m in metrics if not m.startswith("recall/")]
    draws = paired_draws(conditions, replicates, seed, plain)
    cells = [{m: with_interval(one[m]) for m in metrics} for one in draws]
    stresses, weights = _by_stress(cells, names, metrics)
    averaged = {m: np.tensordot(weights, [one[m] for one in draws], axes=1) for m in metrics}
    unchanged = conditions.unchanged(replicates, seed, **about)
    return {
        **{k: unchanged[k] for k in FACTS},
        "seed": seed,
        "metrics": metrics,
        "clean": cells[0],
        "stresses": stresses,
        "mean": {m: with_interval(values) for m, values in averaged.items()},
        "drop": {m: with_interval(draws[0][m] - values) for m, values in averaged.items()},
        "worst": {m: _worst(stresses, m) for m in metrics},
        "groups": {
            g: {m: _mean(s["mean"][m] for s in stresses if s["group"] == g) for m in metrics}
            for g in dict.fromkeys(s["group"] for s in stresses)
        },
    }


def _by_stress(
    cells: list[dict[str, Any]], names: Sequence[str], metrics: Sequence[str]
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Return each stress with its cells, and the weight of every cell in the mean over stresses."""
    stresses, weights, start = [], np.zeros(len(cells)), 1
    for name in names:
        row = STRESSES[name]
        mine = slice(start, start := start + len(row.severities))
        weights[mine] = 1 / (len(names) * len(row.severities))
        mean = {m: _mean(c[m]["value"] for c in cells[mine]) for m in metrics}
        stresses.append({"name": name, **row.about(), "cells": cells[mine], "mean": mean})
    return stresses, weights


def _worst(stresses: list[dict[str, Any]], metric: str) -> dict[str, Any]:
    known = [s for s in stresses if s["mean"][metric] is not None]
    if not known:
        return {"stress": "", "value": None}
    lowest = min(known, key=lambda s: s["mean"][metric])
    return {"stress": lowest["name"], "value": lowest["mean"][metric]}


def write_shift(result: dict[str, Any], folder: str | os.PathLike) -> None:
    """Write shift.json, shift.csv (one row per cell) and shift.png into a folder."""
    from xray_tf.pages.classifier.shift_card import shift_curves
    from xray_tf.pages.kit.figures import to_png_bytes

    folder, metrics = Path(folder), result["metrics"]
    write_json(folder / JSON, result)
    columns = [f"{m}{end}" for m in metrics for end in ("", "_low", "_high")]
    rows = [("", "clean", "", "", result["clean"])]
    rows += [
        (s["group"], s["name"], v, s["unit"], cell)
        for s in result["stresses"]
        for v, cell in zip(s["severities"], s["cells"], strict=True)
    ]
    lines = []
    for *left, cell in rows:
        numbers = [cell[m][end] for m in metrics for end in ("value", "low", "high")]
        lines.append(csv_line([*left, *("" if x is None else f"{x:.6f}" for x in numbers)]))
    write_lines(folder / CSV, ["group", "stress", "severity", "unit", *columns], lines)
    (folder / PICTURE).write_bytes(to_png_bytes(shift_curves(result)))


def _mean(values) -> float | None:
    values = [v for v in values if v is not None]
    return float(np.mean(values)) if values else None
