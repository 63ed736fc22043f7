"""Measure a detector's heat maps on phantoms with known lesions.

python benchmarks/anomaly_maps.py --model DIR [--patients N] [--out FILE]

For every sick phantom of a seed that no detector was fitted on, this computes the AUROC over its
pixels of the heat map against the true lesion mask (0.5 is chance), and writes the mean over
radiographs with a 95 % interval by patient. Controls need no detector: the brightness of the pixel,
nearness to the centre, and the mask of the lungs, which contain every lesion. `inside_lungs` is the
same over lung pixels alone. The results are in benchmarks/results/anomaly_maps.json.

The detector must have learned from phantoms: xray-tf detect fit --data phantom:600
--report-on-pneumonia --out runs/normal-phantom
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from xray_tf.data.synthetic.phantom import draw_phantom
from xray_tf.models.load import load
from xray_tf.stats.metrics import cluster_weights

SEED = 4711
RESULTS = Path(__file__).parent / "results" / "anomaly_maps.json"


def pixel_auroc(heat: np.ndarray, mask: np.ndarray) -> float:
    """Return the probability that a pixel of the mask has more heat than one outside, ties half
    (Mann & Whitney 1947).
    """
    _, level, counts = np.unique(heat, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2
    inside = int(mask.sum())
    return float(
        (rank[level.reshape(heat.shape)][mask].sum() - inside * (inside + 1) / 2)
        / (inside * (mask.size - inside))
    )


def interval(values: np.ndarray, patients: np.ndarray) -> dict[str, float]:
    """Return the mean with its 95 % interval, patients drawn with replacement."""
    _, clusters = np.unique(patients, return_inverse=True)
    draws = np.concatenate([w @ values / w.sum(axis=1) for w in cluster_weights(clusters, 2000, 0)])
    low, high = np.percentile(draws, [2.5, 97.5])
    return {"value": float(values.mean()), "low": float(low), "high": float(high)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument(
        "--patients", type=int, default=60, help="sick phantoms of each kind, one radiograph each"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    detector = load(given.model, kind="detector")
    side, resize = (detector.card.preprocessing[k] for k in ("image_size", "resize"))
    if resize == "crop":
        print("The detector crops: masks are cropped alike.")
    from xray_tf.data.pixels.square import resize_pixels

    pictures, lesions, lungs, patients = [], [], [], []
    for patient in range(given.patients):
        for kind in ("bacterial", "viral"):
            phantom = draw_phantom(kind, SEED, patient)
            image, lesion, lung = (
                resize_pixels(np.ascontiguousarray(a), side, resize)
                for a in (
                    phantom.image,
                    phantom.lesion.astype(np.uint8) * 255,
                    phantom.lungs.astype(np.uint8) * 255,
                )
            )
            if 0 < (lesion > 127).sum() < (lung > 127).sum():
                pictures.append(image)
                lesions.append(lesion > 127)
                lungs.append(lung > 127)
                patients.append(patient)
    pixels, patients = np.stack(pictures), np.array(patients)
    rows, columns = np.indices((side, side))
    maps = {
        "brighter than normal lungs": detector.maps(pixels),
        "the same, not clipped": detector.normal_chest.unusual(pixels),
    }
    controls = {
        "brightness": pixels.astype(np.float32),
        "nearness to the centre": np.broadcast_to(
            -np.hypot(rows - side / 2, columns - side / 2), pixels.shape
        ),
        "true lungs": np.stack(lungs).astype(float),
    }
    results = {
        "model": Path(given.model).name,
        "radiographs": len(pixels),
        "seed": SEED,
        "whole_image": {},
        "inside_lungs": {},
    }
    for name, each in {**maps, **controls}.items():
        whole = np.array([pixel_auroc(h, m) for h, m in zip(each, lesions, strict=True)])
        inside = np.array(
            [pixel_auroc(h[u], m[u]) for h, m, u in zip(each, lesions, lungs, strict=True)]
        )
        results["whole_image"][name], results["inside_lungs"][name] = (
            interval(whole, patients),
            interval(inside, patients),
        )
        texts = (
            f"{c['value']:.3f} [{c['low']:.3f}, {c['high']:.3f}]"
            for c in (results["whole_image"][name], results["inside_lungs"][name])
        )
        print(f"{name:32}", *(f"{t:24}" for t in texts))
    given.out.parent.mkdir(exist_ok=True)
    given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"Finished: {given.out}")


if __name__ == "__main__":
    main()
