"""Measure how much of a classifier's heat maps lies in lungs that people drew, and what looking at
lungs costs.

python benchmarks/heat_in_lungs.py --data chest_xray --masks lung_masks \\
    [--models NAME,...] [--beside MODEL]

Heat maps are Grad-CAM at `features`, for the class decided at the frozen operating point, on the
radiographs with a drawn mask that neither the classifier nor the lung segmenter was trained on.
Mass is the share of the map inside the mask, a hit is its highest point inside; chance is the share
of the image that the mask covers. Intervals are 95 % percentile bootstrap by patient. `--beside`
names another classifier, whose forward pass of a batch of 32 is timed in turn with the first's.
Results are in results/heat_in_lungs.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from xray_tf.data.chest.lung_masks import IGNORE, LUNG, read_mask
from xray_tf.data.tables.split_file import SPLIT, read_split
from xray_tf.models.asked.queries import read_query
from xray_tf.models.load import load
from xray_tf.nets.heatmaps.gradcam import GradCAM
from xray_tf.stats.paired import mean_interval

RESULTS = Path(__file__).parent / "results" / "heat_in_lungs.json"
BATCH, REPEATS, REPLICATES = 32, 12, 2000


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--masks", type=Path, required=True)
    parser.add_argument("--models", default="pneumonia-binary,pneumonia-three-class")
    parser.add_argument("--beside", help="a classifier to time the first of the models against")
    given = parser.parse_args()
    names = given.models.split(",")
    found = {"models": [measured(name, given.data, given.masks) for name in names]}
    if given.beside:
        found["forward"] = forward_ratio(names[0], given.beside)
    text = json.dumps(found, indent=1) + "\n"
    print(text)
    RESULTS.write_text(text, encoding="utf-8")


def measured(name: str, data: Path, masks: Path) -> dict:
    """Return the figures of one classifier, by class and over all."""
    classifier = load(name, kind="classifier")
    rows = drawn_rows(classifier, masks)
    pixels = [read_query(data / row["path"], classifier.card).pixels for row in rows]
    images, side = np.stack(pixels), pixels[0].shape[0]
    drawn = [read_mask(masks / f"{Path(row['path']).stem}.png", side) for row in rows]
    known = np.stack([mask != IGNORE for mask in drawn])
    lungs = np.stack([mask == LUNG for mask in drawn])
    answers = classifier.predict(images)
    heat = GradCAM(classifier.model)(images, answers.predicted) * known
    there = heat.any(axis=(1, 2))
    mass = (heat * lungs).sum(axis=(1, 2)) / np.maximum(heat.sum(axis=(1, 2)), 1e-9)
    flat = heat.reshape(len(heat), -1).argmax(axis=1)
    hit = lungs.reshape(len(lungs), -1)[np.arange(len(lungs)), flat]
    area = lungs.mean(axis=(1, 2))
    kinds = np.array([row["subtype"] or row["label"] for row in rows])
    patients = np.array([row["patient"] for row in rows])
    groups = {"all": there} | {str(k): there & (kinds == k) for k in np.unique(kinds)}
    return {
        "model": classifier.card.name,
        "made": classifier.card.provenance.get("time"),
        "patients": len(set(patients)),
        "empty": int((~there).sum()),
        "of": {
            word: {
                "radiographs": int(of.sum()),
                "chance": float(area[of].mean()),
                "mass": mean_interval(mass[of], patients[of], REPLICATES),
                "hit": mean_interval(hit[of], patients[of], REPLICATES),
            }
            for word, of in groups.items()
        },
    }


def drawn_rows(classifier, masks: Path) -> list[dict]:
    """Return the rows with a drawn mask outside the training part of classifier and segmenter."""
    held = {
        row["sha256"] for row in read_split(load("lungs").folder / SPLIT) if row["split"] == "test"
    }
    return [
        row
        for row in read_split(classifier.folder / SPLIT)
        if row["split"] != "train"
        and row["sha256"] in held
        and (masks / f"{Path(row['path']).stem}.png").exists()
    ]


def forward_ratio(name: str, beside: str) -> dict[str, float]:
    """Time forward passes of two classifiers in turn; return the median ratio and its range."""
    models = [load(n, kind="classifier") for n in (name, beside)]
    nets = [model.model for model in models]
    rng, seconds = np.random.default_rng(0), defaultdict(list)
    for repeat in range(REPEATS + 2):
        for i, net in enumerate(nets):
            batch = rng.uniform(0, 255, (BATCH, *net.input.shape[1:])).astype(np.float32)
            start = time.perf_counter()
            net.predict_on_batch(batch)
            if repeat >= 2:  # the first passes compile
                seconds[i].append(time.perf_counter() - start)
    ratios = np.array(seconds[0]) / np.array(seconds[1])
    low, middle, high = np.quantile(ratios, (0, 0.5, 1))
    told = [f"{m.card.name} of {m.card.provenance.get('time')}" for m in models]
    return {"model": told[0], "beside": told[1], "ratio": middle, "low": low, "high": high}


if __name__ == "__main__":
    main()
