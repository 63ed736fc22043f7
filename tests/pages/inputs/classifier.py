"""A made-up artifact folder: everything a report reads, nothing that needs a net."""

import csv
import json

import numpy as np

from xray_tf import artifact
from xray_tf.data.predictions import Predictions
from xray_tf.data.records import Finding, Findings
from xray_tf.registry import TASKS
from xray_tf.stats.metrics import score
from xray_tf.stats.operating_points import fit_operating_points
from xray_tf.stats.temperature import calibrated_probabilities

SUBTYPE = {"bacterial": "bacterial", "viral": "viral"}


def made_up_predictions(
    task="binary", n=240, seed=0, path="chest_xray/train/{label}/person{i}.jpeg"
):
    rng = np.random.default_rng(seed)
    names = TASKS[task].class_names
    y = rng.choice(len(names), n, p=[0.27, 0.73] if len(names) == 2 else [0.27, 0.47, 0.26])
    p = calibrated_probabilities(
        rng.normal(size=(n, len(names))) * 1.2 + 2.2 * np.eye(len(names))[y], 1.0
    )
    splits = np.where(np.arange(n) < n // 2, "val", "test")
    points = fit_operating_points(p[splits == "val"], y[splits == "val"], ["val"] * (n // 2), names)
    table = Predictions(
        names,
        [path.format(label=names[k], i=i) for i, k in enumerate(y)],
        p,
        points["balanced"].decide(p),
        patients=[f"p{i // 2}" for i in range(n)],
        splits=splits,
        labels=y,
    )
    return table, points


def made_up_history(epochs=(12, 8)):
    rows, i = [], 0
    for phase, count in zip(("warm", "fine-tune"), epochs, strict=True):
        for epoch in range(count):
            rows.append(
                {
                    "phase": phase,
                    "epoch": epoch + 1,
                    "loss": 0.6 * 0.9**i + 0.05,
                    "val_loss": 0.6 * 0.9**i + 0.1 + 0.004 * max(0, i - 14) ** 1.5,
                    "val_accuracy": 0.95 - 0.4 * 0.8**i,
                    "val_auroc": 0.99 - 0.3 * 0.8**i,
                    "learning_rate": 1e-3 * 0.85**i,
                    "seconds": 3.2,
                }
            )
            i += 1
    return rows


def make_folder(
    folder, task="binary", split_by="patient", n=240, seed=0, name="lite0-head", **card
):
    """Write an artifact as train does, less the model."""
    table, points = made_up_predictions(task, n, seed)
    names = TASKS[task].class_names
    test = table.of_split("test")
    metrics = score(
        test.probabilities,
        test.labels,
        test.predicted,
        test.patients,
        names,
        replicates=60,
        operating_point="balanced",
        split_by=split_by,
    )
    folder.mkdir(parents=True, exist_ok=True)
    table.write_csv(folder / "predictions.csv")
    (folder / "metrics.json").write_text(json.dumps(metrics))
    with (folder / "split.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "sha256", "patient", "label", "subtype", "split", "split_by"])
        for row in table:
            for copy in range(4):  # a training part as well
                split = "train" if copy else row.split
                label = "normal" if row.label == "normal" else "pneumonia"
                writer.writerow(
                    [
                        f"{copy}/{row.path}",
                        "",
                        f"{copy}{row.patient}",
                        label,
                        SUBTYPE.get(row.label, ""),
                        split,
                        split_by,
                    ]
                )
    with (folder / "history.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(made_up_history()[0]))
        writer.writeheader()
        writer.writerows(made_up_history())
    Findings(
        [
            Finding(
                "exact-duplicate",
                "warning",
                "NORMAL/IM-0001.jpeg",
                "same bytes as NORMAL/IM-0002.jpeg; kept together",
                "NORMAL/IM-0002.jpeg",
            ),
            Finding("unreadable", "error", "<b>bad</b>.jpeg", "not an image; set aside"),
            Finding("irregular-name", "note", "x.jpeg", "no patient number"),
        ]
    ).write_csv(folder / "audit.csv")
    options = {
        "DataOptions": {
            "source": "kaggle-folder",
            "patient_key": "namespaced",
            "split_by": split_by,
            "validation": 0.2,
            "test": 0.15,
        },
        "ModelOptions": {
            "backbone": "efficientnet_lite0",
            "weights": "imagenet",
            "image_size": 224,
            "resize": "crop",
        },
        "TrainOptions": {
            "task": task,
            "method": "warm",
            "fine_tune": "none",
            "augment": "light",
            "batch_size": 32,
            "schedule": "cosine",
            "precision": "float32",
            "seed": 0,
        },
    }
    command = f"python -m xray_tf.train --data DATA --out runs/{name} --task {task}"
    card = {"notes": ("Mixed precision was tried and not kept: 21 against 24 images/s.",), **card}
    return artifact.seal(
        folder,
        artifact.Card(
            kind="classifier",
            name=name,
            task=task,
            class_names=names,
            temperature=1.31,
            operating_points=points,
            default_operating_point="balanced",
            preprocessing={
                "image_size": 224,
                "resize": "crop",
                "decoding": 1,
                "decoding_rule": "area resize, integer DCT",
            },
            split_by=split_by,
            metrics={
                k: v for k, v in metrics["metrics"].items() if k in ("auroc", "balanced_accuracy")
            },
            provenance={
                "command_line": command,
                "options": options,
                "versions": {"xray_tf": "0.1.0", "keras": "3.15.0"},
                "commit": "0123456789abcdef",
                "data": {"fingerprint": "ab" * 32, "radiographs": 960},
                "time": "2026-01-01T00:00:00+00:00",
            },
            **card,
        ),
    ), metrics
