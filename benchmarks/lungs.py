"""Measure the estimate of the lung fields against the lungs of unseen phantoms.

python benchmarks/lungs.py [--per-kind N]

The mean shape was computed from phantoms of seed 0, its few constants were chosen on seed 300, and
these phantoms are of seed 500. The control is the mean shape at its usual place. The lungs of real
radiographs are not known here; `xray-tf examine` draws a sheet for inspection. Results are in
results/lungs.json.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np

from xray_tf.data.chest.lungs import lung_fields, overlap, usual_lungs
from xray_tf.data.synthetic.phantom import draw_phantom

SEED, SIDE = 500, 224


def main(args: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--per-kind", type=int, default=60, help="phantoms of each kind")
    count = parser.parse_args(args).per_kind
    found = {}
    for kind in ("normal", "bacterial", "viral"):
        drawn = [draw_phantom(kind, SEED, i, height=SIDE, width=SIDE) for i in range(count)]
        truth, estimate = (
            np.stack([p.lungs for p in drawn]),
            lung_fields(np.stack([p.image for p in drawn])),
        )
        iou = overlap(estimate.masks, truth)
        usual = overlap(np.repeat(usual_lungs(SIDE)[None], count, 0), truth)
        found[kind] = {
            "phantoms": count,
            "iou": round(float(iou.mean()), 4),
            "iou_10_percent": round(float(np.quantile(iou, 0.1)), 4),
            "iou_least": round(float(iou.min()), 4),
            "covered": round(float((estimate.masks & truth).sum() / truth.sum()), 4),
            "iou_usual_place": round(float(usual.mean()), 4),
            "flags": dict(Counter(estimate.flags.tolist())),
        }
        print(kind, found[kind], flush=True)
    (Path(__file__).parent / "results" / "lungs.json").write_text(
        json.dumps({"seed": SEED, "side": SIDE, "kinds": found}, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
