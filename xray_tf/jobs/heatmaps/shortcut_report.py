"""Does a classifier need the lungs? What its frozen decisions keep when regions are taken away, and
how much of its maps lies where.

The result is one JSON-able dict, the layout of `shortcuts.json`:

    {"rows": 300, "patients": 214, "class_names": [...], "class_counts": {...}, "split",
    "operating_point", "split_by", "seed", "interval": {...},
     "metrics": ["auroc", "sensitivity", ...],                  for more than two classes
     recall/<name> each as well "lungs": {"flags": {"fitted": 290, ...}, "share": 0.21, "limits":
     "..."},      the estimate; share of the image, on average "regions": {name: {"what", "share",
     "rows"}},              mean share of the image; in how many radiographs there is something to
     take away "fills": {name: what}, "unchanged": {metric: {"value", "low", "high"}}, "cells":
     [{"region", "fill", metric: {"value", "low", "high", "change", "change_low", "change_high"}}],
     change: less unchanged, same draws "maps": {"method", "layer", "target", "of": {map: {"empty":
     3, "regions": {region: {"rows", "chance", "energy": {...}, "hit": {...}}}}}}}

where a map is the method or a control, `chance` is the region's share of the image, and energy and
hit hold {"value", "over_chance", "low", "high"}: the share of the map (or of its highest points)
inside the region, and the 95 % interval of what that is above chance. Empty maps are left out.
"""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf.artifact import write_text
from xray_tf.data.chest.lungs import LIMITS, LungFields, lung_fields
from xray_tf.data.chest.regions import FILLS, REGIONS, MaskedGrid, find_markers, region_masks
from xray_tf.data.records import Record, common_part
from xray_tf.models.classifier import Classifier
from xray_tf.options import ExamineOptions
from xray_tf.progress import ProgressLine

JSON, CSV = "shortcuts.json", "shortcuts.csv"
# the regions a map's energy is looked for in; here the lungs have no rim
MAPPED = ("lungs", "border", "markers")
TARGET = "the class decided at the operating point"


def measure_shortcuts(
    classifier: Classifier,
    images: np.ndarray,
    records: Sequence[Record],
    labels: np.ndarray,
    options: ExamineOptions = ExamineOptions(),
    *,
    operating_point: str | None = None,
    progress: bool = True,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Score radiographs with regions taken away, at a frozen operating point, and look where maps
    lie.

    Args:
        classifier: an opened artifact; nothing is fitted.
        images: (N, S, S) uint8.
        records: of these rows, in order.
        labels: (N,) int class indices, each known.
        options: method, layer, replicates, seed, batch size; see `xray_tf.options`.
        operating_point: a name on the card; its default when None.
        progress: draw a line that counts up.

    Returns:
        (the layout in the module's docstring, one dict a radiograph).
    """
    card, patients = classifier.card, [r.patient for r in records]
    point = card.point(operating_point)
    lungs = lung_fields(images)
    cells = [None, *((region, fill) for region in REGIONS for fill in FILLS)]
    grid = MaskedGrid(
        images,
        range(len(images)),
        lungs.masks,
        [r.sha256 or r.path for r in records],
        cells,
        options.seed,
    )
    with ProgressLine("Regions taken away", len(grid), progress) as line:
        logits = classifier.forward(grid, batch_size=options.batch_size, progress=line.step)[
            "logits"
        ]
    probabilities = classifier.probabilities_of(logits).reshape(len(cells), len(images), -1)
    decided = np.stack([point.decide(p) for p in probabilities])
    masks = {
        k: np.stack(
            [region_masks(image, mask)[k] for image, mask in zip(images, lungs.masks, strict=True)]
        )
        for k in REGIONS
    }
    about = {
        "split": common_part(r.split for r in records),
        "operating_point": point.name,
        "split_by": card.split_by,
    }
    result = _scores(
        probabilities, decided, labels, patients, card.class_names, cells, options, about
    )
    result |= {
        "lungs": {
            "flags": dict(Counter(lungs.flags.tolist())),
            "share": float(lungs.masks.mean()),
            "limits": LIMITS,
        },
        "regions": {
            k: {"what": REGIONS[k], "share": float(m.mean()), "rows": int(m.any(axis=(1, 2)).sum())}
            for k, m in masks.items()
        },
        "fills": FILLS,
    }
    result["maps"], figures = _where_maps_lie(
        classifier, images, decided[0], lungs.masks, masks, patients, options
    )
    return result, _table(
        records, card.class_names, labels, decided[0], probabilities, cells, lungs, figures
    )


def write_shortcuts(
    result: dict[str, Any], table: Sequence[dict[str, Any]], folder: str | os.PathLike
) -> None:
    """Write shortcuts.json and shortcuts.csv (one row a radiograph) into a folder."""
    folder = Path(folder)
    write_text(folder / JSON, json.dumps(result, indent=1, allow_nan=False) + "\n")
    with (folder / CSV).open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        writer = csv.DictWriter(stream, table[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


def _scores(
    probabilities: np.ndarray,
    decided: np.ndarray,
    labels: np.ndarray,
    patients: Sequence[str],
    class_names: Sequence[str],
    cells: Sequence,
    options: ExamineOptions,
    about: dict[str, str],
) -> dict[str, Any]:
    """Return the part of the layout that comes from predictions: of (C, N, K) probabilities and (C,
    N) decisions, cell 0 unchanged.
    """
    from xray_tf.stats.metrics import score
    from xray_tf.stats.paired import paired_scores

    first = score(probabilities[0], labels, decided[0], patients, class_names, 0, **about)
    scored = paired_scores(
        probabilities, decided, labels, patients, class_names, options.bootstrap, options.seed
    )
    unit = "patient" if any(patients) else "image"
    return {
        **{
            k: first[k]
            for k in (
                "rows",
                "patients",
                "class_names",
                "class_counts",
                "split",
                "operating_point",
                "split_by",
            )
        },
        "seed": options.seed,
        "interval": {
            "kind": f"95 % percentile bootstrap by {unit}",
            "replicates": options.bootstrap,
        },
        "metrics": list(scored[0]),
        "unchanged": {m: {k: c[k] for k in ("value", "low", "high")} for m, c in scored[0].items()},
        "cells": [
            {"region": cell[0], "fill": cell[1], **one}
            for cell, one in zip(cells[1:], scored[1:], strict=True)
        ],
    }


def _where_maps_lie(
    classifier: Classifier,
    images: np.ndarray,
    decided: np.ndarray,
    lungs: np.ndarray,
    masks: dict[str, np.ndarray],
    patients: Sequence[str],
    options: ExamineOptions,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Measure the first method's maps, and the controls', inside each region; also the method's own
    figures a radiograph.
    """
    from xray_tf.nets.heatmaps.attribution import METHODS
    from xray_tf.nets.heatmaps.gradcam import GradCAM
    from xray_tf.stats.heatmaps.faithfulness import control_maps, inside

    method = options.methods.split(",")[0].strip()
    net = GradCAM(classifier.model, options.layer, options.batch_size)
    maps = {method: METHODS[method](net, images, decided), **control_maps(images, options.seed)}
    places = {"lungs": lungs, "border": masks["border"], "markers": masks["markers"]}
    groups = [p or f"\0{i}" for i, p in enumerate(patients)]
    of, figures = {}, {"empty_map": net.empty.astype(int)}
    for name, heat in maps.items():
        seen = {}
        for region in MAPPED:
            found = inside(heat, places[region])
            keep = heat.any(axis=(1, 2)) & places[region].any(axis=(1, 2))
            seen[region] = {
                "rows": int(keep.sum()),
                **_against_chance(
                    {k: v[keep] for k, v in found.items()}, np.array(groups)[keep], options
                ),
            }
            if name == method:
                figures |= {f"{k}_{region}": v for k, v in found.items()}
        of[name] = {"empty": int((~heat.any(axis=(1, 2))).sum()), "regions": seen}
    return {"method": method, "layer": net.layer, "target": TARGET, "of": of}, figures


def _against_chance(
    found: dict[str, np.ndarray], groups: np.ndarray, options: ExamineOptions
) -> dict[str, Any]:
    from xray_tf.stats.heatmaps.faithfulness import paired_bootstrap

    if not len(groups):
        return {"chance": None, "energy": None, "hit": None}
    out: dict[str, Any] = {"chance": float(found["area"].mean())}
    for figure in ("energy", "hit"):
        compared = paired_bootstrap(
            found[figure], found["area"], groups, max(options.bootstrap, 1), options.seed
        )
        out[figure] = {
            "value": float(found[figure].mean()),
            "over_chance": compared["difference"],
            "low": compared["low"],
            "high": compared["high"],
        }
    return out


def _table(
    records: Sequence[Record],
    class_names: Sequence[str],
    labels: np.ndarray,
    decided: np.ndarray,
    probabilities: np.ndarray,
    cells: Sequence,
    lungs: LungFields,
    figures: dict[str, np.ndarray],
) -> list[dict[str, Any]]:
    rows = []
    shown = class_names[1:] if len(class_names) == 2 else class_names
    for i, record in enumerate(records):
        row = {
            "path": record.path,
            "patient": record.patient,
            "split": record.split,
            "label": class_names[labels[i]],
            "decided": class_names[decided[i]],
            "lungs": lungs.flags[i],
            "lungs_fit": f"{lungs.fits[i]:.3f}",
            **{k: f"{v[i]:.4f}" for k, v in figures.items()},
        }
        for cell, values in zip(cells, probabilities[:, i], strict=True):
            where = "unchanged" if cell is None else "/".join(cell)
            row |= {f"{where}/{name}": f"{values[class_names.index(name)]:.6f}" for name in shown}
        rows.append(row)
    return rows


def contact_sheet(images: np.ndarray, columns: int = 8) -> np.ndarray:
    """Draw the estimated lungs and markers of radiographs (N, S, S) uint8 as outlines, for the eye:
    one (H, W, 3) uint8 RGB picture.
    """
    from xray_tf.pages.kit.overlays import beside, contour, stacked, titled

    found, pictures = lung_fields(images), []
    for image, mask, flag in zip(images, found.masks, found.flags, strict=True):
        picture = contour(image, mask.astype(np.float32), colour=(255, 220, 0))
        picture = contour(
            picture, find_markers(image, mask).astype(np.float32), colour=(255, 60, 60)
        )
        pictures.append(titled(picture, flag))
    return stacked([beside(pictures[i : i + columns]) for i in range(0, len(pictures), columns)])
