"""python benchmarks/gradcam_phantom.py [--model DIR] [--per-kind N] [--slow-per-kind N]

Measure every heat-map method against lesions that are known; writes results/gradcam_phantom.json beside this file.

Without --model, a classifier is trained first on the embedded phantoms (efficientnet_lite0 from ImageNet). The maps are made on other
phantoms (another seed, so other children), for the class pneumonia (or the lesion's own kind, for a three-class model), on every
radiograph with a lesion, recognised or not. Hit rate, energy and IoU are those of stats.faithfulness.localisation; random, centre and
edge are its controls, and `chance` is the lesion's share of the image. Occlusion and integrated gradients, which need many passes, see
the first radiographs of each kind only; all are compared with the centre control on the same radiographs by a paired bootstrap.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from xray_tf.data.decoding import resize_pixels
from xray_tf.data.phantom import draw_phantom
from xray_tf.jobs.loaded import Classifier, load
from xray_tf.jobs.train_classifier import train_classifier
from xray_tf.nets.attribution import METHODS
from xray_tf.nets.gradcam import GradCAM
from xray_tf.options import ModelOptions, TrainOptions
from xray_tf.stats.faithfulness import control_maps, localisation, paired_bootstrap

HERE = Path(__file__).parent
SEED = 2000  # of the phantoms explained; the training's are drawn from seed 0, and layers were looked at on seed 1000
NEAR = 15  # pixels around a lesion that the pointing game of Zhang et al. 2018 counts as a hit; the plain `hit` counts none
SLOW = ("occlusion", "integrated_gradients")
GOAL = 0.95
FIGURES = ("hit", "energy", "iou_quantile", "iou_best")


def draw(kind: str, count: int, side: int, resize: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, S, S) uint8 and lesion masks (N, S, S) bool of phantoms no training has seen, fitted as the model's files are."""
    phantoms = [draw_phantom(kind, SEED, i) for i in range(count)]
    masks = [resize_pixels(p.lesion.astype(np.uint8) * 255, side, resize) >= 128 for p in phantoms]
    return np.stack([resize_pixels(p.image, side, resize) for p in phantoms]), np.stack(masks)


def measure(classifier: Classifier, layers: list[str], per_kind: int, slow_per_kind: int) -> dict:
    """Return the figures of every method, layer and control."""
    prep, names = classifier.card.preprocessing, classifier.card.class_names
    drawn = {kind: draw(kind, per_kind, prep["image_size"], prep["resize"]) for kind in ("bacterial", "viral")}
    images, masks = (np.concatenate([pair[i] for pair in drawn.values()]) for i in (0, 1))
    kinds, children = np.repeat(list(drawn), per_kind), np.tile(np.arange(per_kind), 2)  # each child is drawn with either lesion
    classes = np.array([names.index(kind) if kind in names else len(names) - 1 for kind in kinds])
    kept = masks.any(axis=(1, 2))
    slow = kept & (children < slow_per_kind)
    recognised = classifier.predict(images).predicted > 0
    nets, controls = {layer: GradCAM(classifier.model, layer) for layer in layers}, control_maps(images, seed=0)
    centre = {name: np.full(len(images), np.nan) for name in FIGURES}
    for name, values in localisation(controls["centre"][kept], masks[kept]).items():
        if name in centre:
            centre[name][kept] = values
    works = {name if name in SLOW else f"{name} at {layer}": (lambda i, c, m=method, n=net: m(n, i, c), name in SLOW)
             for number, (layer, net) in enumerate(nets.items()) for name, method in METHODS.items() if not (number and name in SLOW)}
    found = {}
    for name, (work, is_slow) in {**works, **{f"control: {c}": (None, False) for c in controls}}.items():
        rows = slow if is_slow else kept
        maps = controls[name.removeprefix("control: ")][rows] if work is None else work(images[rows], classes[rows])
        figures = localisation(maps, masks[rows])
        near = localisation(maps, masks[rows], tolerance=NEAR)["hit"]
        parts = {**{kind: kinds[rows] == kind for kind in drawn}, "recognised": recognised[rows]}
        found[name] = {
            "radiographs": int(rows.sum()), "empty_maps": int((~maps.any(axis=(1, 2))).sum()),
            **{f: round(float(figures[f].mean()), 4) for f in (*FIGURES, "area")}, f"hit_within_{NEAR}": round(float(near.mean()), 4),
            **{f"hit_{part}": round(float(figures["hit"][inside].mean()), 4) for part, inside in parts.items()},
            **{f"hit_within_{NEAR}_{part}": round(float(near[inside].mean()), 4) for part, inside in parts.items()},
            **{f"{f}_over_centre": {k: round(v, 4) for k, v in paired_bootstrap(figures[f], centre[f][rows], children[rows]).items()}
               for f in ("hit", "energy")},
        }
        shown = (*FIGURES, f"hit_within_{NEAR}", f"hit_within_{NEAR}_recognised")
        print(f"{name:40}" + "  ".join(f"{f} {found[name][f]:.3f}" for f in shown), flush=True)
    return {"methods": found, "chance": round(float(masks[kept].mean()), 4), "recognised": round(float(recognised[kept].mean()), 4)}


def main(args: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    parser.add_argument("--model", metavar="DIR", help="a classifier trained on phantoms; one is trained when left out")
    parser.add_argument("--patients", type=int, default=400, help="phantom children to train on")
    parser.add_argument("--fine-tune", default="all", help="stages from the end to train too")
    parser.add_argument("--fine-tune-epochs", type=int, default=8)
    parser.add_argument("--layers", nargs="+", default=["features", "stage6_block4_add"], metavar="NAME", help="feature maps; the first is the default one")
    parser.add_argument("--per-kind", type=int, default=60, help="radiographs of each kind of lesion")
    parser.add_argument("--slow-per-kind", type=int, default=8, help="of these, for occlusion and integrated gradients")
    options = parser.parse_args(args)
    with tempfile.TemporaryDirectory() as directory:
        train = TrainOptions(epochs=20, fine_tune=options.fine_tune, fine_tune_epochs=options.fine_tune_epochs, fine_tune_learning_rate=5e-4,
                             precision="float32")
        classifier = load(options.model) if options.model else train_classifier(f"phantom:{options.patients}", Path(directory) / "model", train_options=train,
                                                                                 model_options=ModelOptions())
        found = measure(classifier, options.layers, options.per_kind, options.slow_per_kind)
        card = classifier.card
    result = {
        "claim": f"Grad-CAM on a phantom-trained classifier hits the lesion in at least {GOAL:.0%} of phantoms",
        "met": {name: one["hit"] >= GOAL for name, one in found["methods"].items() if name.startswith("grad_cam at ")},
        "test_metrics": {k: round(v["value"], 4) for k, v in card.metrics.items() if v.get("value") is not None},
        "options": card.provenance.get("options", {}), "seed": SEED, **found,
    }
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "gradcam_phantom.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({k: v for k, v in result.items() if k not in ("methods", "options")}, indent=1))


if __name__ == "__main__":
    main()
