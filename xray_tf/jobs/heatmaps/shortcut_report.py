"""Measure whether a classifier needs the lungs: how its frozen decisions change when regions are
removed, and how much of its heat maps lies where.

The result is one JSON-able dict, the layout of `shortcuts.json`:

    {"rows": 300, "patients": 214, "class_names": [...], "class_counts": {...}, "split",
     "operating_point", "split_by", "seed", "interval": {...},
     "metrics": ["auroc", "sensitivity", ...],      for more than two classes recall/<name> as well
     "lungs": {"share": 0.31,                       of the image, on average
               "unsure": 0},                        radiographs without two upright lungs
     "regions": {name: {"what",
                        "share",                    of the image, on average
                        "rows"}},                   in which there is something to take away
     "fills": {name: what},
     "unchanged": {metric: {"value", "low", "high"}},
     "cells": [{"region", "fill",
                metric: {"value", "low", "high", "change", "change_low", "change_high"}}],
                                                    change: minus unchanged, same draws
     "surroundings": {"what",                       lungs in the surroundings of another radiograph
                      "decisions": {"value", "low", "high"},       share that change
                      metric: as in a cell},
     "maps": {"method", "layer", "target",
              "of": {map: {"empty": 3, "regions": {region: {"rows", "chance", "energy": {...},
                                                            "hit": {...}}}}}}}

A map is that of the method or of a control. `chance` is the region's share of the image. Energy and
hit have {"value", "over_chance", "low", "high"}: the share of the heat map (or of its highest
points) inside the region, and the 95 % interval of its excess over chance. Empty maps are left out.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf.artifact import write_json
from xray_tf.data.chest.lung_fields import LungFields
from xray_tf.data.chest.regions import (
    FILLS,
    REGIONS,
    SURROUNDINGS,
    SWAPPED,
    MaskedGrid,
    find_markers,
    region_masks,
)
from xray_tf.data.records import Record
from xray_tf.data.tables.csv_files import csv_line, write_lines
from xray_tf.jobs.run import Run
from xray_tf.models.classifier import Classifier
from xray_tf.models.decided import measured_at
from xray_tf.models.lungs import find_fields
from xray_tf.options import ExamineOptions
from xray_tf.stats.heatmaps.localisation import control_maps, inside
from xray_tf.stats.paired import Conditions, mean_interval, paired_bootstrap, paired_scores

JSON, CSV = "shortcuts.json", "shortcuts.csv"
FACTS = (
    *("rows", "patients", "class_names", "class_counts"),
    *("split", "operating_point", "split_by"),
)
UNSURE = "unsure"  # whether two upright lungs are there
TARGET = "the class decided at the operating point"


def measure_shortcuts(
    classifier: Classifier,
    images: np.ndarray,
    records: Sequence[Record],
    labels: np.ndarray,
    options: ExamineOptions = ExamineOptions(),
    operating_point: str | None = None,
    run: Run | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Score radiographs with regions removed, at a frozen operating point, and measure where heat
    maps lie.

    Args:
        classifier: an opened artifact; nothing is fitted.
        images: (N, S, S) uint8.
        records: the records of these rows, in order.
        labels: (N,) int class indices, all known.
        options: method, layer, bootstrap replicates, seed, batch size.
        operating_point: a name on the card; its default if None.
        run: the run of the job; None shows nothing.

    Returns:
        (the layout in the module's docstring, one dict per radiograph).
    """
    run, card = run or Run(progress=False), classifier.card
    point, lungs = card.point(operating_point), find_fields(images)
    cells = [None, *((region, fill) for region in REGIONS for fill in FILLS), SURROUNDINGS]
    keys = [r.sha256 or r.path for r in records]
    grid = MaskedGrid(images, range(len(images)), lungs.masks, keys, cells, options.seed)
    with run.line("Regions taken away", len(grid)) as line:
        logits = classifier.forward(grid, batch_size=options.batch_size, progress=line.step)
    conditions = Conditions.at(
        point,
        classifier.probabilities_of(logits["logits"]).reshape(len(cells), len(images), -1),
        labels,
        [r.patient for r in records],
        card.class_names,
    )
    about = measured_at(card, point, records)
    found = [region_masks(image, mask) for image, mask in zip(images, lungs.masks, strict=True)]
    masks = {k: np.stack([one[k] for one in found]) for k in REGIONS}
    result = _scores(conditions, cells, options, about) | {
        "lungs": {"share": float(lungs.masks.mean()), "unsure": int((~lungs.sure).sum())},
        "regions": {
            k: {"what": REGIONS[k], "share": float(m.mean()), "rows": int(m.any(axis=(1, 2)).sum())}
            for k, m in masks.items()
        },
        "fills": FILLS,
    }
    # without the rim around the lungs
    places = {"lungs": lungs.masks, "border": masks["border"], "markers": masks["markers"]}
    result["maps"], figures = _where_maps_lie(classifier, images, conditions, places, options)
    return result, _table(records, conditions, cells, lungs, figures)


def write_shortcuts(
    result: dict[str, Any], table: Sequence[dict[str, Any]], folder: str | os.PathLike
) -> None:
    """Write shortcuts.json and shortcuts.csv (one row per radiograph) into a folder."""
    folder = Path(folder)
    write_json(folder / JSON, result)
    write_lines(folder / CSV, list(table[0]), (csv_line(row.values()) for row in table))


def _scores(
    conditions: Conditions, cells: Sequence, options: ExamineOptions, about: dict[str, str]
) -> dict[str, Any]:
    """Return the part of the layout that comes from predictions; cell 0 is unchanged."""
    first = conditions.unchanged(0, 0, **about)
    *scored, swapped = paired_scores(conditions, options.bootstrap, options.seed)
    other = conditions.decided[-1] != conditions.decided[0]
    replicates = max(options.bootstrap, 1)
    return {
        **{k: first[k] for k in FACTS},
        "seed": options.seed,
        "interval": {"kind": first["interval"]["kind"], "replicates": options.bootstrap},
        "metrics": list(scored[0]),
        "unchanged": {m: {k: c[k] for k in ("value", "low", "high")} for m, c in scored[0].items()},
        "cells": [
            {"region": cell[0], "fill": cell[1], **one}
            for cell, one in zip(cells[1:-1], scored[1:], strict=True)
        ],
        SURROUNDINGS: {
            "what": SWAPPED,
            "decisions": mean_interval(other, _groups(conditions), replicates, options.seed),
            **swapped,
        },
    }


def _groups(conditions: Conditions) -> np.ndarray:
    """Return the patient of each row; one without a key is a patient of its own."""
    return np.array([p or f"\0{i}" for i, p in enumerate(conditions.patients)])


def _where_maps_lie(
    classifier: Classifier,
    images: np.ndarray,
    conditions: Conditions,
    places: dict[str, np.ndarray],
    options: ExamineOptions,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Measure the heat maps of the first method and of the controls inside each region; also return
    the method's numbers per radiograph.
    """
    from xray_tf.nets.heatmaps.attribution import METHODS
    from xray_tf.nets.heatmaps.gradcam import GradCAM

    method = options.methods.split(",")[0].strip()
    net = GradCAM(classifier.model, options.layer, options.batch_size)
    maps = {method: METHODS[method](net, images, conditions.decided[0])}
    maps |= control_maps(images, options.seed)
    groups = _groups(conditions)
    of, figures = {}, {"empty_map": net.empty.astype(int)}
    for name, heat in maps.items():
        seen, there = {}, heat.any(axis=(1, 2))
        for region, place in places.items():
            found, keep = inside(heat, place), there & place.any(axis=(1, 2))
            kept = {k: v[keep] for k, v in found.items()}
            compared = _against_chance(kept, groups[keep], options)
            seen[region] = {"rows": int(keep.sum()), **compared}
            if name == method:
                figures |= {f"{k}_{region}": v for k, v in found.items()}
        of[name] = {"empty": int((~there).sum()), "regions": seen}
    return {"method": method, "layer": net.layer, "target": TARGET, "of": of}, figures


def _against_chance(
    found: dict[str, np.ndarray], groups: np.ndarray, options: ExamineOptions
) -> dict[str, Any]:
    if not len(groups):
        return {"chance": None, "energy": None, "hit": None}
    out: dict[str, Any] = {"chance": float(found["area"].mean())}
    for figure in ("energy", "hit"):
        replicates = max(options.bootstrap, 1)
        over = paired_bootstrap(found[figure], found["area"], groups, replicates, options.seed)
        ends = {"low": over["low"], "high": over["high"]}
        value = float(found[figure].mean())
        out[figure] = {"value": value, "over_chance": over["difference"], **ends}
    return out


def _table(
    records: Sequence[Record],
    conditions: Conditions,
    cells: Sequence,
    lungs: LungFields,
    figures: dict[str, np.ndarray],
) -> list[dict[str, Any]]:
    names, rows = conditions.class_names, []
    shown = range(len(names))[1 if len(names) == 2 else 0 :]
    for i, record in enumerate(records):
        row = {
            "path": record.path,
            "patient": record.patient,
            "split": record.split,
            "label": names[conditions.labels[i]],
            "decided": names[conditions.decided[0, i]],
            "lungs": "found" if lungs.sure[i] else UNSURE,
            "lungs_fit": f"{lungs.fits[i]:.3f}",
            **{k: f"{v[i]:.4f}" for k, v in figures.items()},
        }
        for cell, values in zip(cells, conditions.probabilities[:, i], strict=True):
            where = {None: "unchanged", SURROUNDINGS: SURROUNDINGS}.get(cell) or "/".join(cell)
            row |= {f"{where}/{names[k]}": f"{values[k]:.6f}" for k in shown}
        rows.append(row)
    return rows


def contact_sheet(images: np.ndarray, columns: int = 8) -> np.ndarray:
    """Draw the lungs and markers of radiographs (N, S, S) uint8 as outlines, in one picture
    (H, W, 3) uint8 RGB.
    """
    from xray_tf.pages.kit.overlays import beside, contour, stacked, titled

    found, pictures = find_fields(images), []
    for image, mask, sure in zip(images, found.masks, found.sure, strict=True):
        picture = contour(image, mask.astype(np.float32), colour=(255, 220, 0))
        markers = find_markers(image, mask).astype(np.float32)
        picture = contour(picture, markers, colour=(255, 60, 60))
        pictures.append(picture if sure else titled(picture, UNSURE))
    return stacked([beside(pictures[i : i + columns]) for i in range(0, len(pictures), columns)])
