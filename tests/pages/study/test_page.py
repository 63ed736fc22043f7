"""The page of a study shows what its folder holds, names no file and no patient, and says what was
not run.
"""

import json
import re

import cv2
import numpy as np
import pytest

from xray_tf.artifact import seal
from xray_tf.data.records import Finding, Findings
from xray_tf.pages.study.page import PARTS, render_study
from xray_tf.study.published import PUBLISHED
from xray_tf.study.results import collect_results, format_results, write_results

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


@pytest.fixture
def study(tmp_path, build, unpainted):
    metrics = make_study(tmp_path / "study", build)
    return tmp_path / "study", metrics, render_study(tmp_path / "study")


def test_every_part_that_was_run_is_there_in_order_and_one_line_says_what_was_not(study):
    page = study[2]
    order = [key for key, _, _ in PARTS]
    shown = re.findall(r'<section id="([a-z]+)"', page)
    assert shown == [key for key in order if key in shown]
    assert {
        "audit",
        "split",
        "training",
        "metrics",
        "decisions",
        "curves",
        "neighbours",
        "explanations",
        "provenance",
    } <= set(shown)
    for key, title, _ in PARTS:
        assert (f"{title}: not run in this study." in page) == (key not in shown), key
    assert "Under changes: not run" in page and "Anomalies: not run" in page


def test_the_page_names_no_file_and_no_patient(study):
    assert SECRET not in study[2] and "person" not in study[2]
    assert "Radiograph 3fa2c1d0" in study[2]


def test_the_page_is_one_file_that_loads_nothing_and_describes_its_pictures(study):
    page = study[2]
    assert "<script" not in page and "default-src 'none'" in page
    assert not re.findall(r'(?:src|href)="(?!data:image/|#)', page)
    pictures = re.findall(r"<img [^>]*>", page)
    assert pictures and all(re.search(r'alt="[^"]{30,}"', p) for p in pictures)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    levels = [int(n) for n in re.findall(r"<h([1-6])", page)]
    assert levels[0] == 1 and all(b <= a + 1 for a, b in zip(levels, levels[1:], strict=False))


def test_a_limited_study_says_so_first_and_in_every_cell_of_ours(study):
    page = study[2]
    assert page.index("Row-limited: 60 of 600") < page.index("<section")
    assert page.count("row-limited study (60 of 600)") == sum(
        p.task == "binary" and p.reader in ("head", "knn") for p in PUBLISHED
    )


def test_results_hold_our_figures_and_leave_empty_what_was_not_run(study):
    folder, metrics, _ = study
    rows = {
        (r["task"], r["reader"], r["metric"]): r
        for r in json.loads((folder / "results.json").read_text())
    }
    assert len(rows) == len(PUBLISHED)
    ours = rows["binary", "head", "auroc"]
    cell = metrics["metrics"]["auroc"]
    assert (ours["value"], ours["low"], ours["high"], ours["rows"]) == (
        cell["value"],
        cell["low"],
        cell["high"],
        metrics["rows"],
    )
    for key, row in rows.items():
        if key[0] != "binary":
            assert row["value"] is None and row["kind"] == "" and row["model"] == ""
    text = format_results(list(rows.values()))
    assert (
        f"{cell['value']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]" in text and "0.994" in text
    )
    lines = (folder / "results.csv").read_text().splitlines()
    assert len(lines) == len(PUBLISHED) + 1 and "None" not in "".join(lines)


def test_a_study_whose_stages_are_unfinished_shows_none_of_their_files(tmp_path, build, unpainted):
    make_study(tmp_path / "study", build, kinds=("audit",), limited=False)
    page = render_study(tmp_path / "study")
    assert (
        re.findall(r'<section id="([a-z]+)"', page) == ["audit", "provenance"]
        and ("Metrics: not run") in page
    )
    assert "Row-limited" not in page
