"""A made-up anomaly detector's folder: what its pages read, and nothing that needs a net."""

import csv
import json

import numpy as np

from xray_tf.artifact import Card, seal
from xray_tf.data.records import Finding, Findings
from xray_tf.data.scores import Scores
from xray_tf.operating_point import DetectorPoint
from xray_tf.pages.kit.filters import jpeg_text
from xray_tf.pages.kit.overlays import OUTCOMES
from xray_tf.stats.detector.statistics import score_statistics

NAMES = ("reconstruction_error", "log_density")
THRESHOLDS = {"reconstruction_error": 1.2, "log_density": -1.2}


def make_scores(path="train/{label}/person{i}.jpeg", reason="both", n=40):
    """Give scores of labelled radiographs, the last of which could not be read."""
    rng = np.random.default_rng(0)
    sick = np.arange(n) % 2 == 1
    labels = np.where(sick, "pneumonia", "normal")
    values = rng.normal(size=(n, 2)) + sick[:, None] * np.array([1.5, -1.5])
    anomaly = 1 / (1 + np.exp(1.5 - values[:, 0]))
    verdicts = np.where(anomaly > 0.5, "anomalous", "normal").astype(object)
    errors = np.full(n, "", object)
    values[-1], anomaly[-1], verdicts[-1] = np.nan, np.nan, ""
    errors[-1] = f"truncated: {path}"
    return Scores(
        NAMES,
        [path.format(label=label, i=i) for i, label in enumerate(labels)],
        values,
        np.clip(50 + 20 * values, 0, 100),
        anomaly,
        verdicts,
        np.where(verdicts == "anomalous", reason, ""),
        patients=[f"p{i}" for i in range(n)],
        splits=["test"] * n,
        labels=labels,
        errors=errors,
    )


def make_metrics(reason="both", note="Few rows."):
    """Give metrics in the layout of metrics.json."""
    cell = {"value": 0.8, "low": 0.7, "high": 0.9}
    names = ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "f1", "auroc", "auprc")
    return {
        "split": "test",
        "rows": 39,
        "patients": 39,
        "class_names": ["normal", "pneumonia"],
        "class_counts": {"normal": 20, "pneumonia": 19},
        "chance": {
            "class": "normal",
            "accuracy": 0.51,
            "f1_always_pneumonia": 0.66,
            "auroc": 0.5,
            "auprc": 0.49,
        },
        "interval": {"kind": "95 % percentile bootstrap by patient", "replicates": 20},
        "metrics": dict.fromkeys(names, cell),
        "false_alarms": cell,
        "scores": {name: {"auroc": cell, "auprc": cell} for name in (*NAMES, "anomaly_score")},
        "reasons": {"normal": {reason: 2}, "pneumonia": {reason: 11}},
        "notes": [note],
    }


def make_card(name="normal-chest", note="Few normals.", **card):
    """Give the card of a detector."""
    point = DetectorPoint(
        "budget",
        "any score beyond its threshold",
        THRESHOLDS,
        budget=0.05,
        calibration_patients=204,
        calibration_false_alarms={**dict.fromkeys(NAMES, 0.02), "any": 0.03},
        density={"bandwidth": 0.8, "components": 8, "variance": 0.93},
        radiographs={"fit": 100, "calibrate": 50, "test": 40},
    )
    options = {"DetectOptions": {"backbone": "efficientnet_lite0", "weights": "imagenet"}}
    return Card(
        kind="detector",
        name=name,
        preprocessing={"image_size": 32, "resize": "crop"},
        operating_points={"budget": point},
        default_operating_point="budget",
        metrics={"auroc": {"value": 0.8, "low": 0.7, "high": 0.9}},
        provenance={
            "options": options,
            "command_line": f"python -m xray_tf.detect fit --out {name}",
        },
        notes=(note,),
        **card,
    )


def make_folder(folder, path="train/{label}/person{i}.jpeg", reason="both", **card):
    """Write a detector's folder as `detect fit` does, less the models."""
    folder.mkdir(parents=True, exist_ok=True)
    scores = make_scores(path, reason)
    scores.write_csv(folder / "scores.csv")
    read = scores.where(scores.read)
    groups = [f"test, {label}" for label in read.labels]
    bounds = np.array(list(THRESHOLDS.values()))
    score_statistics(NAMES, read.values, groups, bounds).write_csv(folder / "statistics.csv")
    (folder / "metrics.json").write_text(json.dumps(make_metrics(reason)))
    with (folder / "history.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["epoch", "loss", "val_loss"])
        rows.writerows([i, 0.1 / i, 0.12 / i] for i in range(1, 6))
    found = Finding("unreadable", "error", path, f"not an image: {path}")
    Findings([found]).write_csv(folder / "audit.csv")
    picture = jpeg_text(np.zeros((16, 64, 3), np.uint8))
    cell = {"verdict": "anomalous", "reason": reason, "anomaly": 0.75, "picture": picture}
    cells = [{"outcome": outcome, **cell} for outcome in OUTCOMES for _ in range(2)]
    (folder / "examples.json").write_text(json.dumps({"cells": cells}))
    return seal(folder, make_card(**card))
