"""How well a finished classifier's frozen decisions hold when the same radiographs are changed: one
forward pass over rows x stresses.

The result is one JSON-able dict, the layout of `shift.json`:

    {"rows": 300, "patients": 214, "class_names": [...], "class_counts": {...}, "split": "test",
    "operating_point": "balanced", "split_by": "patient",
     "seed": 0, "interval": {...},                              as in metrics.json
     "metrics": ["sensitivity", "specificity", "auroc", "balanced_accuracy", "accuracy"],    for
     more classes recall/<name> each, then auroc, ... "clean": {metric: {"value", "low", "high"}},
     "stresses": [{"name", "group", "unit", "what", "severities": [...], "cells": [{metric:
     {"value", "low", "high"}}, one a severity],
                   "mean": {metric: value over its severities}}],
     "mean": {metric: {"value", "low", "high"}},                over stresses, each counting the
     same "drop": {metric: {"value", "low", "high"}},                clean - mean, the interval from
     the same replicates on both sides "worst": {metric: {"stress", "value"}},
     the stress with the lowest mean "groups": {group: {metric: value}}}
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
from xray_tf.data.records import Record, class_index, common_part
from xray_tf.data.synthetic.stresses import STRESSES, StressGrid, choose_stresses
from xray_tf.jobs.corpus import draw_rows
from xray_tf.models.classifier import Classifier
from xray_tf.options import ShiftOptions
from xray_tf.progress import ProgressLine

JSON, CSV, PICTURE = "shift.json", "shift.csv", "shift.png"


def measure_shift(
    classifier: Classifier,
    pixels: np.ndarray,
    rows: Sequence[int],
    records: Sequence[Record],
    options: ShiftOptions = ShiftOptions(),
    *,
    operating_point: str | None = None,
    batch_size: int = 64,
    progress: bool = True,
) -> dict[str, Any]:
    """Score the same radiographs unchanged and under every stress and severity, at a frozen
    operating point.

    Args:
        classifier: an opened artifact; nothing is fitted.
        pixels: (M, S, S) uint8, most often memory-mapped; only a batch is ever in memory.
        rows: N rows of it.
        records: of these rows, in order; those without a class are left out.
        options: which stresses, how many rows, the seed and the replicates.
        operating_point: a name on the card; its default when None.
        batch_size: radiographs a forward pass.
        progress: draw a line that counts up.

    Returns:
        The layout in the module's docstring.

    Raises:
        ValueError: no labelled row, or an unknown stress.
    """
    card = classifier.card
    names = choose_stresses(options.stresses)
    point = card.point(operating_point)
    labels = np.array([class_index(r, card.task) for r in records], np.int64)
    keep = draw_rows(
        labels, [r.patient or r.path for r in records], options.shift_rows, options.shift_seed
    )
    if not len(keep):
        raise ValueError(
            "There is no labelled radiograph to put under stress among "
            f"{len(records)}. Expected classes {card.class_names}."
        )
    labels, records, rows = labels[keep], [records[i] for i in keep], np.asarray(rows)[keep]
    cells: list = [None, *((n, s) for n in names for s in STRESSES[n].severities)]
    grid = StressGrid(
        pixels, rows, [r.sha256 or r.path for r in records], cells, options.shift_seed
    )
    with ProgressLine("Under stress", len(grid), progress) as line:
        logits = classifier.forward(grid, batch_size=batch_size, progress=line.step)["logits"]
    probabilities = classifier.probabilities_of(logits).reshape(len(cells), len(rows), -1)
    decided = np.stack([point.decide(p) for p in probabilities])
    about = {
        "split": common_part(r.split for r in records),
        "operating_point": point.name,
        "split_by": card.split_by,
    }
    return summarise(
        probabilities,
        decided,
        labels,
        [r.patient for r in records],
        card.class_names,
        names,
        options,
        about,
    )


def summarise(
    probabilities: np.ndarray,
    decided: np.ndarray,
    labels: np.ndarray,
    patients: Sequence[str],
    class_names: Sequence[str],
    names: Sequence[str],
    options: ShiftOptions,
    about: dict[str, str],
) -> dict[str, Any]:
    """Turn the predictions of every cell into the layout in the module's docstring.

    Args:
        probabilities: (C, N, K) calibrated; cell 0 unchanged, then each stress's severities in
            turn.
        decided: (C, N) int class indices.
        labels: (N,) int class indices.
        patients: N keys, empty where not known.
        class_names: K names.
        names: the stresses.
        options: replicates and seed.
        about: `split`, `operating_point`, `split_by`, recorded.
    """
    from xray_tf.stats.metrics import score
    from xray_tf.stats.paired import paired_draws, with_interval

    metrics = metric_names(class_names)
    draws = paired_draws(
        probabilities,
        decided,
        labels,
        patients,
        class_names,
        options.shift_bootstrap,
        options.shift_seed,
        [m for m in metrics if not m.startswith("recall/")],
    )
    cells = [{m: with_interval(one[m]) for m in metrics} for one in draws]
    stresses, weights, start = [], np.zeros(len(cells)), 1
    for name in names:
        row = STRESSES[name]
        mine = slice(start, start := start + len(row.severities))
        weights[mine] = 1 / (len(names) * len(row.severities))
        stresses.append(
            {
                "name": name,
                "group": row.group,
                "unit": row.unit,
                "what": row.what,
                "severities": list(row.severities),
                "cells": cells[mine],
                "mean": {m: _mean(c[m]["value"] for c in cells[mine]) for m in metrics},
            }
        )
    groups = {
        g: {m: _mean(s["mean"][m] for s in stresses if s["group"] == g) for m in metrics}
        for g in dict.fromkeys(s["group"] for s in stresses)
    }
    worst = {}
    for m in metrics:
        known = [s for s in stresses if s["mean"][m] is not None]
        lowest = min(known, key=lambda s: s["mean"][m], default=None)
        worst[m] = (
            {"stress": lowest["name"], "value": lowest["mean"][m]}
            if lowest
            else {"stress": "", "value": None}
        )
    averaged = {m: np.tensordot(weights, [one[m] for one in draws], axes=1) for m in metrics}
    mean = {m: with_interval(values) for m, values in averaged.items()}
    drop = {m: with_interval(draws[0][m] - values) for m, values in averaged.items()}
    unchanged = score(
        probabilities[0],
        labels,
        decided[0],
        patients,
        class_names,
        options.shift_bootstrap,
        options.shift_seed,
        **about,
    )
    first = {
        k: unchanged[k]
        for k in (
            "rows",
            "patients",
            "class_names",
            "class_counts",
            "split",
            "operating_point",
            "split_by",
            "interval",
        )
    }
    return {
        **first,
        "seed": options.shift_seed,
        "metrics": metrics,
        "clean": cells[0],
        "stresses": stresses,
        "mean": mean,
        "drop": drop,
        "worst": worst,
        "groups": groups,
    }


def metric_names(class_names: Sequence[str]) -> list[str]:
    """Name what is measured of each cell: of two classes sensitivity and specificity, of more each
    recall.
    """
    recalls = (
        ["sensitivity", "specificity"]
        if len(class_names) == 2
        else [f"recall/{n}" for n in class_names]
    )
    return [*recalls, "auroc", "balanced_accuracy", "accuracy"]


def write_shift(result: dict[str, Any], folder: str | os.PathLike) -> None:
    """Write shift.json, shift.csv (one row a cell) and shift.png into a folder."""
    from xray_tf.pages.classifier.shift_card import shift_curves
    from xray_tf.pages.kit.figures import to_png_bytes

    folder = Path(folder)
    write_text(folder / JSON, json.dumps(result, indent=1, allow_nan=False) + "\n")
    with (folder / CSV).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(
            [
                "group",
                "stress",
                "severity",
                "unit",
                *(f"{m}{end}" for m in result["metrics"] for end in ("", "_low", "_high")),
            ]
        )
        rows = [("", "clean", "", "", result["clean"])]
        rows += [
            (s["group"], s["name"], v, s["unit"], cell)
            for s in result["stresses"]
            for v, cell in zip(s["severities"], s["cells"], strict=True)
        ]
        for *left, cell in rows:
            writer.writerow(
                [
                    *left,
                    *(
                        "" if (x := cell[m][end]) is None else f"{x:.6f}"
                        for m in result["metrics"]
                        for end in ("value", "low", "high")
                    ),
                ]
            )
    (folder / PICTURE).write_bytes(to_png_bytes(shift_curves(result)))


def _mean(values) -> float | None:
    values = [v for v in values if v is not None]
    return float(np.mean(values)) if values else None
