"""Compare the default training recipe with recipes that differ from it in one part.

python benchmarks/recipe.py run --data DIR --work benchmarks/results/recipe_runs \\
    [--recipes NAME,...] [--seeds 0,1]
python benchmarks/recipe.py table --work benchmarks/results/recipe_runs \\
    --out benchmarks/results/recipe.json

All recipes are fine-tuned on the same rows. Every seed draws its own patients, order, augmentation
and head. Training and validation rows have the normals of one acquisition (IM-), the test rows
those of the other (NORMAL2-IM-), and pneumonia is split by patient: so the frozen threshold meets a
natural shift. Then the shift bench runs on the same test rows. There are many runs, so they are
small (see rows, pixels and epochs below): they rank recipes, and say nothing about the quality of
the shipped model. Each run writes one JSON into --work, and is skipped if that exists.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from xray_tf.options import DataOptions, EvaluateOptions, ModelOptions, ShiftOptions, TrainOptions

SIDE, TRAIN_ROWS, VAL_ROWS, TEST_ROWS, SHIFT_ROWS = 128, 1200, 400, 500, 60
METRICS = ("auroc", "sensitivity", "specificity", "balanced_accuracy")  # what `_numbers` returns
BASE_MODEL = ModelOptions(image_size=SIDE, resize="squash", region="whole", standardize=True)
BASE_TRAIN = TrainOptions(
    task="binary",
    method="warm",
    epochs=20,
    fine_tune="all",
    fine_tune_epochs=4,
    batch_size=16,
    fine_tune_learning_rate=5e-4,
    layer_decay=0.9,
    weight_decay=0.01,
    label_smoothing=0.05,
    augment="robust",
    swapped=0.0,
    emptied=0.0,
    ema=0.98,
    keep="last",
    steady_rows=150,
    precision="float32",
)
# name -> (changes of the training, changes of the model, what it says in the table)
RECIPES: dict[str, tuple[dict, dict, str]] = {
    "full": ({}, {}, "the recipe"),
    "probe": (
        {"fine_tune": "none", "augment": "none"},
        {"standardize": False},
        "frozen trunk, last layer only",
    ),
    "plain": (
        {
            "augment": "light",
            "label_smoothing": 0.0,
            "ema": 0.0,
            "layer_decay": 1.0,
            "weight_decay": 1e-4,
            "fine_tune_learning_rate": 1e-4,
            "keep": "best",
        },
        {"standardize": False},
        "fine-tuning as usually done: light augmentation, nothing else",
    ),
    "light": ({"augment": "light"}, {}, "light augmentation instead of robust"),
    "strong": ({"augment": "strong"}, {}, "strong augmentation: no borders, blanks, shrinking"),
    "unstandardised": ({}, {"standardize": False}, "without standardising each image"),
    "no-smoothing": ({"label_smoothing": 0.0}, {}, "without label smoothing"),
    "no-average": ({"ema": 0.0}, {}, "without the weights' moving average"),
    "one-rate": ({"layer_decay": 1.0}, {}, "one learning rate for all stages"),
    "last-stages": ({"fine_tune": "3"}, {}, "only the last three stages learn"),
    "long": ({"fine_tune_epochs": 12}, {}, "the recipe, three times as long"),
    "light-long": (
        {"fine_tune_epochs": 12, "augment": "light"},
        {},
        "light augmentation, three times as long",
    ),
}
REFERENCE = "full"
REPLICATES = 2000  # of the bootstrap by patient
# What the stresses are asked to tell apart: trainings that differ in augmentation; within a group
# in something else, as a measure of chance.
GROUPS = {
    "robust": ("full", "no-smoothing", "no-average", "one-rate", "unstandardised"),
    "strong": ("strong",),
    "light or none": ("light", "plain", "probe"),
}


def run(given: argparse.Namespace) -> None:
    """Run each recipe and seed in a process of its own."""
    work = Path(given.work)
    work.mkdir(parents=True, exist_ok=True)
    for seed in given.seeds.split(","):
        for name in given.recipes.split(","):
            target = work / f"{name}-{seed}.json"
            if not target.exists():
                subprocess.run(
                    [
                        sys.executable,
                        __file__,
                        "one",
                        "--data",
                        given.data,
                        "--work",
                        given.work,
                        "--recipe",
                        name,
                        "--seed",
                        seed,
                    ],
                    check=True,
                )


def one(given: argparse.Namespace) -> None:
    """Train one recipe with one seed, score it, write its JSON."""
    from xray_tf.data.tables.split_file import write_split
    from xray_tf.jobs.classifier.evaluate_model import evaluate_model
    from xray_tf.jobs.classifier.train_classifier import train_classifier

    train_changes, model_changes, text = RECIPES[given.recipe]
    with tempfile.TemporaryDirectory() as folder:
        split = write_split(small_split(given.data, given.seed), Path(folder) / "split.csv")
        data = DataOptions(split=str(split))
        start = time.perf_counter()
        model = train_classifier(
            given.data,
            Path(folder) / "model",
            data,
            replace(BASE_MODEL, **model_changes),
            replace(BASE_TRAIN, seed=given.seed, **train_changes),
            EvaluateOptions(bootstrap=0),
        )
        trained = time.perf_counter() - start
        shift_options = ShiftOptions(shift=True, shift_rows=SHIFT_ROWS)
        metrics, predictions = evaluate_model(
            model,
            given.data,
            Path(folder) / "scores",
            data,
            EvaluateOptions(bootstrap=1000),
            shift_options,
            part="test",
        )
        shift = json.loads((Path(folder) / "scores" / "shift.json").read_text(encoding="utf-8"))
        held = model.card.operating_points
        stressed = stressed_validation(model, given.data, data)
        flips = flipped(model, given.data, data)
        val = json.loads(
            json.dumps(
                {
                    n: {k: getattr(p, k) for k in ("threshold", "sensitivity", "specificity")}
                    for n, p in held.items()
                }
            )
        )
        result = {
            "recipe": given.recipe,
            "text": text,
            "seed": given.seed,
            "seconds": round(trained, 1),
            "test_rows": len(predictions),
            "val": val,
            "val_scores": stressed,
            "flips": flips,
            "test": metrics["metrics"],
            "shift_mean": shift["mean"],
            "shift_clean": shift["clean"],
            "stresses": {s["name"]: s["mean"] for s in shift["stresses"]},
            "scores": {
                "label": predictions.labels.tolist(),
                "patient": list(predictions.patients),
                "probability": np.round(predictions.probabilities[:, 1], 4).tolist(),
            },
            "options": {
                "ModelOptions": asdict(replace(BASE_MODEL, **model_changes)),
                "TrainOptions": asdict(replace(BASE_TRAIN, **train_changes)),
            },
        }
    (Path(given.work) / f"{given.recipe}-{given.seed}.json").write_text(
        json.dumps(result) + "\n", encoding="utf-8"
    )


def corpus_of(data: str, options: DataOptions):
    """Return the rows of a run, divided as it was."""
    from xray_tf.jobs.corpus import divide, read_corpus

    return divide(read_corpus(data, "binary", options, SIDE, "squash", False), options, 0)


def flipped(model, data: str, options: DataOptions) -> dict[str, float]:
    """Return the numbers on the test rows when logits are averaged over the image and its mirror
    image, threshold (Youden's) from validation rows.
    """
    from xray_tf.stats.operating_points import fit_operating_points

    corpus, probability = corpus_of(data, options), {}
    parts = {part: corpus.of_split(part) for part in ("val", "test")}
    for part, rows in parts.items():
        pixels = np.stack([corpus.pixels[int(i)] for i in corpus.rows[rows]])
        logits = np.mean(
            [model.forward(view)["logits"] for view in (pixels, pixels[:, :, ::-1])], axis=0
        )
        probability[part] = model.probabilities_of(logits)
    labels = {part: corpus.labels[rows] for part, rows in parts.items()}
    threshold = fit_operating_points(
        probability["val"], labels["val"], ["val"] * len(labels["val"]), ("normal", "pneumonia")
    )["balanced"].threshold
    numbers = _numbers(labels["test"], probability["test"][:, 1], threshold)
    return dict(zip(METRICS, numbers.tolist(), strict=True))


def stressed_validation(model, data: str, options: DataOptions) -> dict:
    """Return labels and probabilities of the validation rows, unchanged and under every stress at
    its middle severity, to try threshold policies on.
    """
    from xray_tf.data.sample import draw_rows
    from xray_tf.data.synthetic.stresses import STRESSES, StressGrid

    corpus = corpus_of(data, options)
    val = corpus.of_split("val")
    val = val[draw_rows(corpus.labels[val], [corpus.records[i].patient for i in val], 150, 0)]
    cells = [None, *((name, stress.severities[1]) for name, stress in STRESSES.items())]
    grid = StressGrid(
        corpus.pixels, corpus.rows[val], [corpus.records[i].sha256 for i in val], cells, 1
    )
    probability = model.probabilities_of(model.forward(grid)["logits"])[:, 1].reshape(
        len(cells), len(val)
    )
    return {"label": corpus.labels[val].tolist(), "probability": np.round(probability, 4).tolist()}


def small_split(data: str, seed: int):
    """Return the rows of one seed, with their part: whole patients, drawn until each class has its
    share of each part.
    """
    from natural_splits import natural_splits

    from xray_tf.data.records import Records
    from xray_tf.jobs.corpus import read_corpus

    corpus = read_corpus(data, "binary", DataOptions(), SIDE, "squash", False)
    records = natural_splits(corpus.records, seed=seed)["acquisition-normal2"]
    wanted = {
        "train": (TRAIN_ROWS // 3, TRAIN_ROWS * 2 // 3),
        "val": (VAL_ROWS // 3, VAL_ROWS * 2 // 3),
        "test": (TEST_ROWS // 2, TEST_ROWS // 2),
    }
    left = {
        (part, label): n
        for part, (normal, sick) in wanted.items()
        for label, n in (("normal", normal), ("pneumonia", sick))
    }
    patients = sorted({r.patient for r in records})
    np.random.default_rng(seed).shuffle(patients)
    by_patient: dict[str, list] = {p: [] for p in patients}
    for row in records:
        by_patient[row.patient].append(row)
    kept = []
    for patient in patients:
        rows = by_patient[patient]
        key = (rows[0].split, rows[0].label)
        if left[key] > 0:
            left[key] -= len(rows)
            kept += rows
    return Records(kept, records.root, records.split_by)


def table(given: argparse.Namespace) -> None:
    """Write the JSON of all runs and print the tables: means over seeds with intervals by patient,
    and paired differences from the recipe.
    """
    runs = [
        json.loads(p.read_text(encoding="utf-8")) for p in sorted(Path(given.work).glob("*-*.json"))
    ]
    draws = draws_of(runs)
    rows = [
        summary([r for r in runs if r["recipe"] == name], draws)
        for name in dict.fromkeys([*RECIPES, *(r["recipe"] for r in runs)])
        if any(r["recipe"] == name for r in runs)
    ]
    stresses = separation(runs)
    Path(given.out).write_text(
        json.dumps(
            {
                "side": SIDE,
                "train_rows": TRAIN_ROWS,
                "test_rows": TEST_ROWS,
                "shift_rows": SHIFT_ROWS,
                "base_train": asdict(BASE_TRAIN),
                "base_model": asdict(BASE_MODEL),
                "recipes": rows,
                "stresses": stresses,
            },
            indent=1,
        )
        + "\n",
        encoding="utf-8",
    )
    print(
        "| recipe | seeds | AUROC, other acquisition | sensitivity | specificity | balanced "
        "accuracy | its difference from the recipe's | "
        "under the bench: sensitivity | specificity | AUROC | of each seed |"
    )
    print("| --- " * 11 + "|")
    for row in rows:
        cells = [
            f"{row[k]['mean']:.3f} [{row[k]['low']:.3f}, {row[k]['high']:.3f}]" for k in METRICS
        ]
        cells.append(
            ""
            if row["recipe"] == REFERENCE
            else "{mean:+.3f} [{low:+.3f}, {high:+.3f}]".format(
                **row["difference"]["balanced_accuracy"]
            )
        )
        cells += [
            f"{row[k]:.3f}" for k in ("shift_sensitivity", "shift_specificity", "shift_auroc")
        ]
        cells.append(", ".join(f"{v:.3f}" for v in row["shift_auroc_each_seed"]))
        print(f"| {row['text']} | {row['seeds']} | " + " | ".join(cells) + " |")
    print(
        "\n| recipe | "
        + " | ".join(
            f"{p}: sensitivity / specificity / balanced accuracy" for p in rows[0]["thresholds"]
        )
        + " "
        "|\n" + "| --- " * 5 + "|"
    )
    for row in rows:
        print(
            f"| {row['text']} | "
            + " | ".join(
                " / ".join(f"{v:.3f}" for v in p.values()) for p in row["thresholds"].values()
            )
            + " "
            "|"
        )
    print(
        "\n| stress | " + " | ".join(GROUPS) + " | gap, in deviations within robust |\n" + "| "
        "--- " * 5 + "|"
    )
    for row in stresses:
        print(
            f"| {row['stress']} | "
            + " | ".join(
                f"{row[g]['sensitivity']:.2f} / {row[g]['specificity']:.2f}" for g in GROUPS
            )
            + f" | {row['gap']:+.3f}, {row['deviations']:.1f} |"
        )


def separation(runs: list[dict]) -> list[dict]:
    """Return for each stress the mean sensitivity and specificity of the trainings of each group,
    and how far balanced accuracy is apart, widest first.

    `gap` is robust minus light or none, `deviations` the gap in standard deviations between the
    robust group's trainings.
    """
    rows = []
    for stress in runs[0]["stresses"]:
        found, balanced = {}, {}
        for group, recipes in GROUPS.items():
            cells = [r["stresses"][stress] for r in runs if r["recipe"] in recipes]
            values = np.array([[c[m] for m in ("sensitivity", "specificity")] for c in cells])
            found[group] = dict(
                zip(("sensitivity", "specificity"), values.mean(axis=0).tolist(), strict=True)
            )
            balanced[group] = values.mean(axis=1)
        gap = float(balanced["robust"].mean() - balanced["light or none"].mean())
        rows.append(
            {
                "stress": stress,
                **found,
                "gap": gap,
                "deviations": gap / float(balanced["robust"].std(ddof=1)),
                "trainings": {g: len(b) for g, b in balanced.items()},
            }
        )
    return sorted(rows, key=lambda row: -row["gap"])


def draws_of(runs: list[dict]) -> dict[tuple[str, int], dict[str, np.ndarray]]:
    """Return (recipe, seed) -> metric -> (1 + replicates,): each run on the other acquisition, and
    on patients drawn again, the same ones for all runs.

    The seeds' rows share patients, so a patient who is drawn twice counts twice in every seed's
    rows.

    Raises:
        ValueError: runs of one seed were not scored on the same rows.
    """
    from xray_tf.stats.metrics import cluster_weights
    from xray_tf.stats.paired import Conditions, paired_draws

    by_seed = {
        seed: [r for r in runs if r["seed"] == seed] for seed in sorted({r["seed"] for r in runs})
    }
    patients = [p for mine in by_seed.values() for p in mine[0]["scores"]["patient"]]
    weights = np.concatenate(
        list(cluster_weights(np.unique(patients, return_inverse=True)[1], REPLICATES, 0))
    )
    found, start = {}, 0
    for mine in by_seed.values():
        rows = mine[0]["scores"]
        for one_run in mine:
            if any(one_run["scores"][key] != rows[key] for key in ("label", "patient")):
                raise ValueError(
                    f"{one_run['recipe']}, seed {one_run['seed']}: it was scored on "
                    f"other rows than {mine[0]['recipe']}."
                )
        sick = np.array([r["scores"]["probability"] for r in mine])
        called = sick >= np.array([[r["val"]["balanced"]["threshold"]] for r in mine])
        drawn = weights[:, start : (start := start + len(rows["label"]))]
        conditions = Conditions(
            np.stack([1 - sick, sick], axis=2),
            called.astype(int),
            rows["label"],
            None,
            ("normal", "pneumonia"),
        )
        draws = paired_draws(conditions, metrics=METRICS, weights=drawn)
        found |= {(r["recipe"], r["seed"]): one for r, one in zip(mine, draws, strict=True)}
    return found


def summary(runs: list[dict], draws: dict[tuple[str, int], dict[str, np.ndarray]]) -> dict:
    """Return one recipe's means over its seeds, and its differences from the reference over the
    seeds that both have, with 95 % intervals by patient.
    """
    own = [draws[r["recipe"], r["seed"]] for r in runs]
    apart = [
        {m: values - draws[REFERENCE, r["seed"]][m] for m, values in one.items()}
        for r, one in zip(runs, own, strict=True)
        if (REFERENCE, r["seed"]) in draws
    ]
    out = {
        "recipe": runs[0]["recipe"],
        "text": runs[0]["text"],
        "seeds": len(runs),
        "seconds": round(float(np.mean([r["seconds"] for r in runs])), 1),
        **{m: _over_seeds([one[m] for one in own]) for m in METRICS},
        "difference": {m: _over_seeds([one[m] for one in apart]) for m in METRICS},
    }
    out["thresholds"] = {
        policy: dict(zip(METRICS[1:], np.mean(rows, axis=0)[1:].tolist(), strict=True))
        for policy, rows in _policies(runs).items()
    }
    out["flips"] = {
        metric: float(np.mean([r["flips"][metric] for r in runs])) for metric in METRICS
    }
    for metric in ("sensitivity", "specificity", "auroc"):
        each = [r["shift_mean"][metric]["value"] for r in runs]
        out |= {f"shift_{metric}": float(np.mean(each)), f"shift_{metric}_each_seed": each}
    return out


def _over_seeds(draws: list[np.ndarray]) -> dict[str, float | list[float]]:
    mean = np.mean(draws, axis=0)
    low, high = np.percentile(mean[1:], [2.5, 97.5])
    return {
        "mean": float(mean[0]),
        "low": float(low),
        "high": float(high),
        "each_seed": [float(one[0]) for one in draws],
    }


def _policies(runs: list[dict]) -> dict[str, list[np.ndarray]]:
    """Return threshold policy -> one row of numbers a seed, on the other acquisition; every
    threshold comes from validation rows alone.
    """
    from xray_tf.stats.operating_points import fit_operating_points, fit_steady_point

    found: dict[str, list[np.ndarray]] = {
        "balanced": [],
        "one half": [],
        "best under changes": [],
        "steady": [],
    }
    for one_run in runs:
        held, scores = one_run["val_scores"], one_run["scores"]
        changed, names = np.array(held["probability"]), ("normal", "pneumonia")
        changed = np.stack([1 - changed, changed], axis=2)
        point = fit_steady_point(changed, held["label"], ["val"] * len(held["label"]), names)
        labels = np.tile(held["label"], len(changed))
        best = fit_operating_points(changed.reshape(-1, 2), labels, ["val"] * len(labels), names)[
            "balanced"
        ]
        label, probability = np.array(scores["label"]), np.array(scores["probability"])
        for policy, threshold in (
            ("balanced", one_run["val"]["balanced"]["threshold"]),
            ("one half", 0.5),
            ("best under changes", best.threshold),
            ("steady", point.threshold),
        ):
            found[policy].append(_numbers(label, probability, threshold))
    return found


def _numbers(label: np.ndarray, probability: np.ndarray, threshold: float) -> np.ndarray:
    """Return AUROC, sensitivity, specificity and balanced accuracy."""
    from sklearn.metrics import roc_auc_score

    called = probability >= threshold
    sensitivity, specificity = called[label == 1].mean(), 1 - called[label == 0].mean()
    return np.array(
        [
            roc_auc_score(label, probability),
            sensitivity,
            specificity,
            (sensitivity + specificity) / 2,
        ]
    )


def main() -> None:
    """Parse, and run one of the three."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    for job in (run, one, table):
        command = commands.add_parser(job.__name__)
        command.add_argument("--work", required=True, metavar="DIR")
        if job is table:
            command.add_argument("--out", required=True, metavar="FILE.json")
        else:
            command.add_argument("--data", required=True, metavar="DIR")
        command.set_defaults(job=job)
        if job is run:
            command.add_argument("--recipes", default=",".join(RECIPES))
            command.add_argument("--seeds", default="0,1")
        if job is one:
            command.add_argument("--recipe", required=True, choices=tuple(RECIPES))
            command.add_argument("--seed", type=int, required=True)
    given = parser.parse_args()
    given.job(given)


if __name__ == "__main__":
    main()
