"""A trunk that learned from another one: what it learned, and that a classifier starts from it."""

import csv
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from xray_tf.artifact import ArtifactError, read_card
from xray_tf.data.tables.split_file import read_split
from xray_tf.jobs.distil_trunk import distil_trunk
from xray_tf.jobs.known_rows import refuse_seen
from xray_tf.jobs.provenance import started_from
from xray_tf.models.load import load
from xray_tf.options import ModelOptions

SMALL = {"image_size": 64, "resize": "squash", "batch_size": 8, "epochs": 2, "progress": False}


@pytest.fixture(scope="module")
def trunk(phantoms, cache, tmp_path_factory):
    out = tmp_path_factory.mktemp("trunk") / "start"
    path = distil_trunk(str(phantoms), out, cache=str(cache), command_line="line", **SMALL)
    return SimpleNamespace(folder=out, path=path)


def test_it_learns_to_give_the_teachers_maps(trunk):
    with open(trunk.folder / "history.csv", encoding="utf-8") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < 0.9 * losses[0]


def test_a_classifier_takes_its_weights_over(trunk):
    from xray_tf.nets.classifier import build_classifier
    from xray_tf.nets.keras_file import load_model

    options = ModelOptions(
        backbone="resnet18", weights=str(trunk.path), image_size=96, region="whole"
    )
    ours = {layer.name: layer for layer in build_classifier(options, ("a", "b")).layers}
    theirs = [layer for layer in load_model(trunk.path).layers if layer.weights]
    assert len(theirs) > 30
    for layer in theirs:
        for a, b in zip(ours[layer.name].get_weights(), layer.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_chain_of_weights_names_the_teacher_and_its_licence(trunk):
    from xray_tf.pages.classifier.credits import weights_credit

    chain = started_from(str(trunk.path))
    assert [link["weights"] for link in chain] == ["distilled from efficientnet_lite0"]
    card = SimpleNamespace(
        provenance={"started_from": chain, "options": {"ModelOptions": {"a": 1}}}
    )
    for text in (weights_credit(card), (trunk.folder / "README.md").read_text(encoding="utf-8")):
        assert "Apache-2.0" in text and "Random ones" in text


def test_rows_it_learned_from_are_refused_as_held_out(trunk, phantoms):
    from xray_tf.data.sources.scan import scan

    parts = read_split(trunk.folder / "split.csv")
    records = scan(str(phantoms)).records
    assert {row["split"] for row in parts} >= {"train", "val"}
    with pytest.raises(ValueError, match="training rows of"):
        refuse_seen(records.with_rows(replace(r, split="val") for r in records), str(trunk.path))


def test_it_is_no_model_that_answers(trunk):
    assert read_card(trunk.folder).kind == "trunk"
    with pytest.raises(ArtifactError, match="--weights"):
        load(trunk.folder)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [({"image_size": 100}, "multiple of 32"), ({"backbone": "resnet19"}, "Unknown backbone")],
)
def test_what_cannot_be_distilled_is_told(wrong, why, phantoms, cache, tmp_path):
    with pytest.raises(ValueError, match=why):
        distil_trunk(str(phantoms), tmp_path / "no", cache=str(cache), **{**SMALL, **wrong})
    assert not (tmp_path / "no").exists()
