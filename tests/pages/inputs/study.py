"""A made-up study."""

import json

import cv2
import numpy as np

from xray_tf.artifact import seal
from xray_tf.data.records import Finding, Findings
from xray_tf.study.results import collect_results, write_results

MODEL = "binary-efficientnet_lite0"
SECRET = "DOE_JANE"


def stage(kind, folder, model="", task=""):
    return {
        "name": f"{kind}-{model}" if model else kind,
        "kind": kind,
        "folder": folder,
        "model": model,
        "task": task,
        "backbone": "efficientnet_lite0" if model else "",
        "weights": "imagenet" if model else "",
    }


def make_study(folder, build, kinds=("audit", "train", "embed", "explain"), limited=True):
    stages = [
        stage("audit", "audit"),
        stage("train", f"models/{MODEL}", MODEL, "binary"),
        stage("embed", f"embeddings/{MODEL}", MODEL, "binary"),
        stage("shift", f"shift/{MODEL}", MODEL, "binary"),
        stage("explain", f"explanations/{MODEL}", MODEL, "binary"),
        stage("detector", "detector"),
    ]
    folder.mkdir()
    about = {
        "preset": "best",
        "words": "the recipe of the shipped models",
        "notes": ["Row-limited: 60 of 600 radiographs."] if limited else [],
        "split_by": "patient",
        "stages": stages,
        "provenance": {"command_line": "python -m xray_tf.reproduce --data x --out y"},
        "data": {
            "source": "kaggle-folder",
            "radiographs": 600,
            "used": 60 if limited else 600,
            "limited": limited,
            "fingerprint": "ab" * 32,
            "test_part": "carved out by patient",
        },
    }
    (folder / "study.json").write_text(json.dumps(about))
    card, metrics = build(folder / "models" / MODEL, name=MODEL)
    for row in (folder / "models" / MODEL).glob("*.csv"):  # what a careless archive calls its files
        row.write_text(row.read_text().replace("person", f"{SECRET}_"))
    (folder / "models" / MODEL / "report.html").write_text("<html></html>")
    seal(folder / "models" / MODEL, card)
    _audit(folder / "audit")
    _embed(folder / "embeddings" / MODEL, metrics)
    _explain(folder / "explanations" / MODEL)
    (folder / "stages").mkdir()
    for row in stages:
        done = row["kind"] in kinds
        (folder / "stages" / f"{row['name']}.json").write_text(
            json.dumps({"finished": "2026-01-01T00:00:00+00:00" if done else "", "seconds": 12.0})
        )
    write_results(collect_results(folder), folder)
    return metrics


def _audit(folder):
    folder.mkdir()
    summary = {
        "source": "kaggle-folder",
        "files": 600,
        "usable": 599,
        "classes": {"train": {"normal": 200, "pneumonia, viral": 399}},
        "patients": {
            "namespaced": {
                "patients": 400,
                "with_several": 90,
                "images_of_those": 290,
                "without_key": 0,
            }
        },
        "duplicates": {
            k: {
                "groups": 2,
                "files": 4,
                "across_labels": 0,
                "across_patients": 1,
                "across_splits": 0,
            }
            for k in ("exact", "near")
        },
        "sizes": {"width": {"normal": 1654.0, "pneumonia": 1160.0, "auroc": 0.12}},
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    Findings(
        [
            Finding("mode-leak", "warning", "", "x"),
            Finding("irregular-name", "note", f"{SECRET}.jpeg", "y"),
        ]
    ).write_csv(folder / "audit.csv")


def _embed(folder, metrics):
    folder.mkdir(parents=True)
    png = cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1].tobytes()
    for name in ("tsne", "pca", "confusion_knn", "confusion_head"):
        (folder / f"{name}.png").write_bytes(png)
    (folder / "metrics.json").write_text(
        json.dumps(
            {
                "dimensions": 1280,
                "recipe_text": "5 nearest",
                "knn": metrics,
                "head": metrics,
                "class_names": metrics["class_names"],
            }
        )
    )


def _explain(folder):
    (folder / "gallery").mkdir(parents=True)
    (folder / "gallery" / "00.jpeg").write_bytes(
        cv2.imencode(".jpeg", np.zeros((8, 24), np.uint8))[1].tobytes()
    )
    cell = {
        "picture": "gallery/00.jpeg",
        "outcome": "false positive",
        "label": "normal",
        "decided": "pneumonia",
        "probability": 0.71,
        "map_of": "pneumonia",
        "empty": False,
        "radiograph": "3fa2c1d0",
    }
    about = {
        "rule": "the most typical",
        "explained": 24,
        "empty": 1,
        "options": {"method": "grad_cam"},
        "cells": [cell],
    }
    (folder / "gallery.json").write_text(json.dumps(about))
