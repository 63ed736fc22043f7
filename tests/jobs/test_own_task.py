"""A task of a person's own is trained, evaluated, embedded, explained and shown like any other."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest

from xray_tf.artifact import read_card
from xray_tf.data.predictions import Predictions
from xray_tf.jobs.classifier.evaluate_model import evaluate_model
from xray_tf.jobs.classifier.predict_files import predict_files
from xray_tf.jobs.classifier.train_classifier import train_classifier
from xray_tf.jobs.heatmaps.explain_files import explain_files
from xray_tf.jobs.neighbors.embed_radiographs import embed_radiographs
from xray_tf.models.load import load
from xray_tf.options import (
    DataOptions,
    EmbedOptions,
    EvaluateOptions,
    ExplainOptions,
    ModelOptions,
    TrainOptions,
)
from xray_tf.registry import CUSTOM

NAMES = ("clear", "lobar", "diffuse")
WORDS = {"healthy": "clear"}


@pytest.fixture(scope="module")
def study(phantoms, tmp_path_factory):
    """The phantoms in folders of other names, and one folder of no class."""
    folder = tmp_path_factory.mktemp("study")
    for file in sorted(phantoms.glob("train/*/*.png")):
        kind = "Healthy" if "NORMAL" in file.parts else "lobar"
        kind = "DIFFUSE" if "virus" in file.name else kind
        (folder / kind).mkdir(exist_ok=True)
        os.symlink(file, folder / kind / file.name)
    (folder / "rotated").mkdir()
    os.symlink(file, folder / "rotated" / "x.png")
    return folder


@pytest.fixture(scope="module")
def own(study, cache, tmp_path_factory):
    """A classifier of three classes of its own."""
    return train_classifier(
        str(study),
        tmp_path_factory.mktemp("own") / "model",
        DataOptions(cache=str(cache), classes="healthy=clear,lobar,diffuse"),
        ModelOptions("tiny", image_size=32, weights=None, standardize=False, region="whole"),
        TrainOptions(
            epochs=3,
            batch_size=8,
            fine_tune="none",
            keep="best",
            steady_rows=20,
            precision="float32",
        ),
        EvaluateOptions(bootstrap=20),
        progress=False,
    )


def test_the_card_carries_the_classes_and_what_folders_call_them(own):
    card = read_card(own.folder)
    assert (card.task, card.class_names, card.class_words["healthy"]) == (CUSTOM, NAMES, "clear")
    task = card.to_task()
    assert task.class_names == NAMES and task.class_words["healthy"] == ("clear", "")
    table = Predictions.read_csv(own.folder / "predictions.csv")
    assert table.class_names == NAMES and set(table.labels.tolist()) == {0, 1, 2}
    for page in ("README.md", "report.html"):
        text = (own.folder / page).read_text(encoding="utf-8")
        assert all(name in text for name in NAMES)
        assert "pneumonia" not in text.lower()


def test_the_folders_are_read_by_the_card_alone_and_further_words_can_be_given(
    own, study, cache, tmp_path
):
    metrics, _ = evaluate_model(
        own, str(study), tmp_path / "e", DataOptions(cache=str(cache)), progress=False
    )
    assert metrics["class_names"] == list(NAMES) and metrics["rows"] > 30
    os.symlink(study / "Healthy", tmp_path / "gesund")
    (tmp_path / "other").mkdir()
    os.rename(tmp_path / "gesund", tmp_path / "other" / "Gesund")
    options = DataOptions(cache=str(cache), classes="gesund=clear")
    metrics, table = evaluate_model(
        own, str(tmp_path / "other"), tmp_path / "f", options, progress=False
    )
    assert set(table.labels.tolist()) == {0}
    with pytest.raises(ValueError, match="must lead to one of"):
        evaluate_model(
            own, str(study), tmp_path / "g", replace(options, classes="x=y"), progress=False
        )


def test_files_are_predicted_and_labelled_by_their_folders(own, study, tmp_path):
    predict_files(own, [study / "Healthy", study / "rotated"], tmp_path / "p", progress=False)
    table = Predictions.read_csv(tmp_path / "p" / "predictions.csv")
    assert set(table.labels[:-1].tolist()) == {0} and table.labels[-1] == -1


def test_it_is_embedded_and_its_neighbours_vote_for_its_classes(own, study, cache, tmp_path):
    metrics = embed_radiographs(
        own,
        str(study),
        tmp_path / "n",
        DataOptions(cache=str(cache)),
        EmbedOptions(neighbors=3, components=8, perplexity=5.0),
        EvaluateOptions(bootstrap=20),
        progress=False,
    )
    assert metrics["task"] == CUSTOM and metrics["class_names"] == list(NAMES)
    assert (tmp_path / "n" / "page.html").is_file() and metrics["knn"]["metrics"]["accuracy"]


def test_its_decisions_are_explained_and_shown_by_what_was_right(own, study, tmp_path):
    explain_files(own, [study], tmp_path / "x", ExplainOptions(grid_columns=2), progress=False)
    page = (tmp_path / "x" / "explanations.html").read_text(encoding="utf-8")
    assert "Of right and of wrong decisions" in page and "abnormal" not in page
    with np.load(tmp_path / "x" / "maps.npz", allow_pickle=False) as stored:
        assert stored["class_names"].tolist() == list(NAMES)


def test_the_evidence_on_one_radiograph_names_its_classes(own, study):
    image = next((study / "lobar").iterdir())
    evidence = load(own.folder).read(image)
    assert evidence.prediction.predicted in NAMES
    assert json.dumps([c.kind for c in evidence.caveats])
