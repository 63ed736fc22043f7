"""Compare classifiers that began from different weights on the rows that none of them learned from.

python benchmarks/resnet_start.py NAME=DIR[,DIR...] [NAME=DIR[,DIR...] ...]

Each DIR is a folder of `xray-tf train`, one for each seed of a NAME; all must have the same
validation rows, on which they are compared. A name's number is the mean over its seeds. Intervals
are 95 % percentile bootstraps by patient with the same draws for every run, so that differences,
from the first name of the same task, are paired. AUROC knows no threshold; decisions are taken at
each model's own operating point, which was fitted on these rows. Of three classes, `sick` is normal
against the other two summed. Results are in results/resnet_start.json.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np

from xray_tf.artifact import read_card
from xray_tf.data.predictions import Predictions
from xray_tf.stats.paired import Conditions, paired_draws, with_interval

RESULT = Path(__file__).parent / "results" / "resnet_start.json"
REPLICATES = 2000  # of the bootstrap by patient


def measured(folders: list[Path]) -> tuple[dict[str, np.ndarray], dict]:
    """Return metric -> (1 + REPLICATES,) numbers, means over the folders, and what was trained."""
    every, epochs, seconds = [], [], []
    for folder in folders:
        rows = Predictions.read_csv(folder / "predictions.csv").of_split("val")
        rows = rows.where(np.argsort(rows.paths))
        numbers = _draws(rows, rows.probabilities, rows.labels, rows.predicted, rows.class_names)
        if len(rows.class_names) > 2:
            normal = rows.probabilities[:, :1]
            sick = np.hstack([normal, 1 - normal]), rows.labels > 0, rows.predicted > 0
            two = _draws(rows, *sick, ("normal", "sick"))
            numbers |= {f"sick {name}": values for name, values in two.items()}
        every.append(numbers)
        with open(folder / "history.csv", encoding="utf-8", newline="") as stream:
            seconds.append([float(line["seconds"]) for line in csv.DictReader(stream)])
        epochs.append(len(seconds[-1]))
    card = read_card(folders[0])
    about = {
        "rows": len(rows),
        "patients": len(set(rows.patients)),
        "task": card.task,
        "seeds": len(folders),
        "epochs": epochs,
        "seconds_an_epoch": [round(float(np.median(s)), 2) for s in seconds],
        "command": card.provenance["command_line"],
        "names": list(rows.paths),
    }
    return {m: np.mean([numbers[m] for numbers in every], axis=0) for m in every[0]}, about


def _draws(rows: Predictions, probabilities, labels, decided, names) -> dict[str, np.ndarray]:
    one = Conditions(
        np.asarray(probabilities)[None],
        np.asarray(decided, np.int64)[None],
        np.asarray(labels, np.int64),
        rows.patients,
        names,
    )
    metrics = ("auroc", "accuracy", "balanced_accuracy")
    metrics += ("sensitivity", "specificity") if len(names) == 2 else ()
    return paired_draws(one, REPLICATES, metrics=metrics)[0]


def main() -> None:
    """Compare, print a line for each name, and write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", metavar="NAME=DIR,...")
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    results, first = {}, {}
    for run in given.runs:
        name, _, folders = run.partition("=")
        draws, about = measured([Path(folder) for folder in folders.split(",")])
        reference, names = first.setdefault(about["task"], (draws, about["names"]))
        if about.pop("names") != names:
            raise SystemExit(f"{name} has other validation rows than the first of its task.")
        found = {}
        for metric, values in draws.items():
            found[metric] = with_interval(values)
            if reference is not draws:
                found[metric]["change"] = with_interval(values - reference[metric])
        results[name] = {**about, "metrics": found}
        print(
            name, {m: [round(c[k], 3) for k in ("value", "low", "high")] for m, c in found.items()}
        )
        changes = {m: c["change"] for m, c in found.items() if "change" in c}
        print("   change", {m: [round(v, 3) for v in c.values()] for m, c in changes.items()})
    given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
