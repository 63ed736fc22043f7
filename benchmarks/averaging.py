"""python benchmarks/averaging.py --data DIR --models MODEL.keras,MODEL.keras,... [--shift-rows N]

Does averaging in weight space help the shipped three-class model? The first model named is
compared, on the validation rows of the shipped split and under the changes of the shift bench, with
each other one (called by its folder), with the mean of both and of all (model soup, Wortsman et al.
2022), and with points on the line to the ImageNet weights that everything started from, keeping its
own last layer (WiSE-FT, Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
Temperatures are fitted on the validation rows, as `train` does, for each candidate. Differences
from the first model are paired, intervals by patient.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import keras
import numpy as np

from xray_tf.artifact import write_text
from xray_tf.data.sample import draw_rows
from xray_tf.data.synthetic.stresses import STRESSES, StressGrid
from xray_tf.jobs.corpus import divide, read_corpus
from xray_tf.nets.classifier import build_classifier
from xray_tf.nets.inference import forward
from xray_tf.options import DataOptions, ModelOptions
from xray_tf.registry import TASKS
from xray_tf.stats.operating_points import calibrated_probabilities, fit_temperature
from xray_tf.stats.paired import Conditions, paired_scores

TASK, METRICS = "three-class", ("auroc", "accuracy")
ALPHAS = (0.9, 0.8, 0.6)  # share of the fine-tuned weights on the line to ImageNet's
RESULTS = Path(__file__).parent / "results" / "averaging.json"


def candidates(paths: list[str]) -> dict[str, list[np.ndarray]]:
    """Return name -> weights."""
    nets = [keras.saving.load_model(path, compile=False) for path in paths]
    own = [net.get_weights() for net in nets]
    origin = build_classifier(ModelOptions(resize="squash"), TASKS[TASK], 0)
    origin.get_layer("logits").set_weights(nets[0].get_layer("logits").get_weights())
    line = {
        f"{a} of it, {1 - a:.1f} of ImageNet's": [
            a * x + (1 - a) * y for x, y in zip(own[0], origin.get_weights(), strict=True)
        ]
        for a in ALPHAS
    }
    others = {
        Path(path).parent.name: weights for path, weights in zip(paths[1:], own[1:], strict=True)
    }
    means = {
        f"mean with {name}": [(a + b) / 2 for a, b in zip(own[0], weights, strict=True)]
        for name, weights in others.items()
    }
    if len(others) > 1:
        means["mean of all"] = [np.mean(parts, axis=0) for parts in zip(*own, strict=True)]
    return {"as shipped": own[0], **others, **means, **line}


def main() -> None:
    """Parse, score every candidate, write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="../shared/data/chest_xray")
    parser.add_argument("--models", required=True)
    parser.add_argument("--split", default="saved_models/pneumonia-three-class/split.csv")
    parser.add_argument("--shift-rows", type=int, default=60)
    parser.add_argument("--replicates", type=int, default=1000)
    given = parser.parse_args()
    paths = given.models.split(",")
    options = DataOptions(split=given.split)
    corpus = divide(read_corpus(given.data, TASK, options, 224, "squash", False), TASK, options, 0)
    val = corpus.of_split("val")
    patients = [corpus.records[i].patient for i in val]
    some = draw_rows(corpus.labels[val], patients, given.shift_rows, 0)
    cells = [
        (name, severity) for name, stress in STRESSES.items() for severity in stress.severities
    ]
    grid = StressGrid(
        corpus.pixels,
        corpus.rows[val[some]],
        [corpus.records[i].sha256 for i in val[some]],
        cells,
        1,
    )
    labels, names, scored = corpus.labels[val], TASKS[TASK], candidates(paths)
    net = keras.saving.load_model(paths[0], compile=False)
    temperatures, plain, changed = [], [], []
    for name, weights in scored.items():
        print(name, flush=True)
        net.set_weights(weights)
        logits = forward(net, corpus.pixels, corpus.rows[val])["logits"]
        temperatures.append(float(fit_temperature(logits, labels)))
        plain.append(calibrated_probabilities(logits, temperatures[-1]))
        changed.append(
            calibrated_probabilities(forward(net, grid)["logits"], temperatures[-1]).reshape(
                len(cells), len(some), -1
            )
        )
    whole = Conditions(np.array(plain), np.argmax(plain, axis=2), labels, patients, names)
    validation = paired_scores(whole, given.replicates, metrics=METRICS)
    rows = []
    for name, temperature, numbers, under in zip(
        scored, temperatures, validation, changed, strict=True
    ):
        changed_rows = Conditions(under, under.argmax(axis=2), labels[some], None, names)
        each = paired_scores(changed_rows, 0, metrics=METRICS)
        rows.append(
            {
                "name": name,
                "temperature": temperature,
                "validation": numbers,
                "bench": {
                    metric: float(np.mean([one[metric]["value"] for one in each]))
                    for metric in each[0]
                },
            }
        )
    write_text(
        RESULTS,
        json.dumps(
            {
                "task": TASK,
                "validation_rows": len(val),
                "shift_rows": len(some),
                "changes": len(cells),
                "candidates": rows,
            },
            indent=1,
        )
        + "\n",
    )


if __name__ == "__main__":
    main()
