"""Compare recipes on the normals of an acquisition that training never saw.

xray-tf audit --data DIR --acquisitions --out AUDIT
python benchmarks/acquisitions.py run --data DIR --groups AUDIT/records.csv --work WORK \\
    [--recipes NAME,...] [--seeds 0,1]
python benchmarks/acquisitions.py table --work WORK --out benchmarks/results/acquisitions.json

For each acquisition group with 30 normals or more there are two tests. "normals": the group's
normals are left out of training and validation and are the test rows, so that everything the net
saw of that acquisition was sick. "group": the whole group is left out and is the test part. Each
recipe is trained on the same rows of the other patients, drawn by the seed; the threshold is that
of its validation rows. The runs are small (see `recipe.py`): they rank recipes, and say nothing
about the quality of the shipped model. Each run writes one JSON into --work, and is skipped if that
exists.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from recipe import BASE_MODEL, BASE_TRAIN, SIDE

from xray_tf.data.kin import patient_groups
from xray_tf.data.predictions import Predictions
from xray_tf.data.records import Records
from xray_tf.options import DataOptions, EvaluateOptions
from xray_tf.stats.metrics import auroc, cluster_weights
from xray_tf.stats.paired import with_interval

FEWEST_NORMALS = 30  # of a group that is left out
TRAIN_ROWS, VAL_ROWS, TEST_ROWS = 1200, 400, 300  # the most; a third of each is normal, where given
REPLICATES = 2000  # of the bootstrap by patient
TESTS = ("normals", "group")
SWAPPED = {"swapped": 0.5, "emptied": 0.15}
# name -> (changes of the training, changes of the model, what it says in the table)
RECIPES: dict[str, tuple[dict, dict, str]] = {
    "whole": ({}, {}, "the whole radiograph, average pooling"),
    "lungs": (SWAPPED, {"region": "lungs"}, "inside the lungs, surroundings swapped and emptied"),
    "lungs-alone": ({}, {"region": "lungs"}, "inside the lungs, nothing swapped or emptied"),
    "whole-swapped": (SWAPPED, {}, "the whole radiograph, surroundings swapped and emptied"),
}
REFERENCE = "whole"


def run(given: argparse.Namespace) -> None:
    """Run each seed, group, test and recipe in a process of its own."""
    work = Path(given.work)
    work.mkdir(parents=True, exist_ok=True)
    records = _records(given)
    for seed in given.seeds.split(","):
        for group in left_out(records):
            for test in given.tests.split(","):
                for recipe in given.recipes.split(","):
                    target = work / f"{recipe}-{test}-{group}-{seed}.json"
                    if not target.exists():
                        own = ["--recipe", recipe, "--test", test, "--group", group, "--seed", seed]
                        same = ["--data", given.data, "--groups", given.groups, "--work", str(work)]
                        subprocess.run([sys.executable, __file__, "one", *same, *own], check=True)


def one(given: argparse.Namespace) -> None:
    """Train one recipe without one group, score that group, write the JSON."""
    from xray_tf.data.tables.split_file import write_split
    from xray_tf.jobs.classifier.train_classifier import train_classifier

    training, net, _ = RECIPES[given.recipe]
    with tempfile.TemporaryDirectory() as folder:
        rows = divided(_records(given), given.group, given.test, given.seed)
        options = DataOptions(split=str(write_split(rows, Path(folder) / "split.csv")))
        model = train_classifier(
            given.data,
            Path(folder) / "model",
            options,
            replace(BASE_MODEL, **net),
            replace(BASE_TRAIN, seed=given.seed, **training),
            EvaluateOptions(bootstrap=0),
        )
        answered = Predictions.read_csv(model.folder / "predictions.csv")
    scored, validated = answered.of_split("test"), answered.of_split("val")
    result = {
        "recipe": given.recipe,
        "test": given.test,
        "group": given.group,
        "seed": given.seed,
        "val_auroc": auroc(validated.probabilities[:, 1], validated.labels == 1),
        "rows": {
            "patient": list(scored.patients),
            "label": scored.labels.tolist(),
            "decided": scored.predicted.tolist(),
            "probability": np.round(scored.probabilities[:, 1], 4).tolist(),
        },
    }
    target = Path(given.work) / f"{given.recipe}-{given.test}-{given.group}-{given.seed}.json"
    target.write_text(json.dumps(result) + "\n", encoding="utf-8")


def left_out(records: Records) -> list[str]:
    """Return the groups with enough normals to be left out, largest number of normals first."""
    normals = defaultdict(int)
    for row in records:
        normals[row.acquisition] += row.label == "normal"
    return [g for g in sorted(normals, key=lambda g: -normals[g]) if normals[g] >= FEWEST_NORMALS]


def divided(records: Records, group: str, test: str, seed: int) -> Records:
    """Return the rows of one run with their part: whole patients, drawn until each class has its
    share. A patient with a row in the test part has none in the others.
    """

    def tested(row) -> bool:
        return row.acquisition == group and (test == "group" or row.label == "normal")

    patients = defaultdict(list)
    for row in records:
        patients[row.patient].append(row)
    order = sorted(patients)
    np.random.default_rng(seed).shuffle(order)
    left = {
        (part, normal): count // 3 if normal else count - count // 3
        for part, count in (("train", TRAIN_ROWS), ("val", VAL_ROWS))
        for normal in (True, False)
    }
    left |= {("test", True): TEST_ROWS, ("test", False): TEST_ROWS}
    kept = []
    for patient in order:
        rows, normal = patients[patient], patients[patient][0].label == "normal"
        if any(map(tested, rows)):
            rows = [r for r in rows if tested(r)]
            part = "test"
        else:  # validation first, so that it is full however few normals are left
            part = "val" if left["val", normal] > 0 else "train"
        if left[part, normal] > 0:
            left[part, normal] -= len(rows)
            kept += [replace(r, split=part) for r in rows]
    return records.with_rows(kept)


def table(given: argparse.Namespace) -> None:
    """Write the JSON of all runs and print the table: specificity on the left-out normals, mean and
    worst over groups, and the paired difference from the reference.
    """
    runs = [json.loads(p.read_text(encoding="utf-8")) for p in Path(given.work).glob("*.json")]
    results, lines = [], []
    for test in TESTS:
        of = [r for r in runs if r["test"] == test]
        for name in (n for n in RECIPES if any(r["recipe"] == n for r in of)):
            result = summary(name, test, of)
            results.append(result)
            lines.append(_line(result))
    told = {"side": SIDE, "train_rows": TRAIN_ROWS, "replicates": REPLICATES, "results": results}
    Path(given.out).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print("| left out | recipe | seeds | mean specificity | worst | its change | AUROC, group |")
    print("\n".join(["| --- " * 7 + "|", *lines]))


def summary(name: str, test: str, runs: list[dict]) -> dict:
    """Return specificities by group, their mean and least, and the paired change of both from the
    reference, with 95 % intervals by patient over the seeds' mean.
    """
    groups = sorted({r["group"] for r in runs})
    mine, theirs = _drawn(name, groups, runs), _drawn(REFERENCE, groups, runs)
    change = {}
    for word, reduce in (("mean", np.mean), ("worst", np.min)):
        difference = reduce(mine, axis=0) - reduce(theirs, axis=0)
        change[word] = with_interval(difference)
    rows = [r["rows"] for r in runs if r["recipe"] == name]
    areas = [auroc(r["probability"], np.array(r["label"]) == 1) for r in rows]
    return {
        "recipe": name,
        "text": RECIPES[name][2],
        "test": test,
        "seeds": sorted({r["seed"] for r in runs if r["recipe"] == name}),
        "groups": {g: with_interval(mine[i]) for i, g in enumerate(groups)},
        "mean": with_interval(mine.mean(axis=0)),
        "worst": with_interval(mine.min(axis=0)),
        "change": change,
        "auroc": float(np.mean(areas)) if np.isfinite(areas).all() else None,
        "val_auroc": float(np.mean([r["val_auroc"] for r in runs if r["recipe"] == name])),
    }


def _drawn(name: str, groups: list[str], runs: list[dict]) -> np.ndarray:
    """Return the specificity (G, 1 + R) of each group, mean over seeds: as it is, then with
    patients drawn with replacement. Recipes are drawn alike, so their differences are paired.
    """
    out = []
    for group in groups:
        seeds = []
        for r in (r for r in runs if (r["recipe"], r["group"]) == (name, group)):
            normal = np.array(r["rows"]["label"]) == 0
            right = (np.array(r["rows"]["decided"])[normal] == 0).astype(np.float64)
            patients = patient_groups(np.array(r["rows"]["patient"])[normal], len(right))
            drawn = cluster_weights(patients, REPLICATES, r["seed"])
            weights = np.concatenate([np.ones((1, len(right))), *drawn])
            seeds.append(weights @ right / weights.sum(axis=1))
        out.append(np.mean(seeds, axis=0))
    return np.array(out)


def _line(result: dict) -> str:
    def shown(cell, sign=""):
        return "{:{s}.3f} [{:{s}.3f}, {:{s}.3f}]".format(*cell.values(), s=sign)

    same = result["recipe"] == REFERENCE
    cells = [
        result["test"],
        result["text"],
        str(len(result["seeds"])),
        shown(result["mean"]),
        shown(result["worst"]),
        "" if same else shown(result["change"]["worst"], "+"),
        "" if result["auroc"] is None else f"{result['auroc']:.3f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _records(given: argparse.Namespace) -> Records:
    """Return the rows of the data with their acquisition groups."""
    from xray_tf.jobs.corpus import read_corpus

    options = DataOptions(groups=given.groups)
    records = read_corpus(given.data, "binary", options, SIDE, "squash", False).records
    return records.where(lambda r: r.label and r.acquisition)


def main() -> None:
    """Parse and run one part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(required=True)
    for part in (run, one, table):
        sub = parts.add_parser(part.__name__)
        sub.set_defaults(part=part)
        sub.add_argument("--work", default="benchmarks/results/acquisition_runs")
        if part is table:
            sub.add_argument("--out", default="benchmarks/results/acquisitions.json")
            continue
        sub.add_argument("--data", default="../shared/data/chest_xray")
        sub.add_argument("--groups", required=True, help="records.csv of audit --acquisitions")
        if part is run:
            sub.add_argument("--recipes", default=",".join(RECIPES))
            sub.add_argument("--tests", default=",".join(TESTS))
            sub.add_argument("--seeds", default="0,1")
        else:
            sub.add_argument("--recipe", required=True, choices=RECIPES)
            sub.add_argument("--test", required=True, choices=TESTS)
            sub.add_argument("--group", required=True)
            sub.add_argument("--seed", type=int, required=True)
    given = parser.parse_args()
    given.part(given)


if __name__ == "__main__":
    main()
