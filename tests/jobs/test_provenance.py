"""Where a result comes from is told."""

import json
from dataclasses import replace

import pytest

from xray_tf.artifact import Card, new_folder, seal
from xray_tf.commands import command_line
from xray_tf.data.records import Record, Records
from xray_tf.jobs.provenance import provenance, shareable, started_from
from xray_tf.options import DataOptions, ModelOptions
from xray_tf.pages.classifier.model_card import render_model_card


def artifact(folder, name, weights):
    card = Card(
        kind="classifier",
        name=name,
        task="binary",
        class_names=("normal", "pneumonia"),
        preprocessing={},
        split_by="patient",
    )
    options = {"ModelOptions": {"weights": weights}}
    card = replace(
        card,
        provenance={
            "command_line": f"train --out {name}",
            "options": options,
            "started_from": started_from(weights),
        },
    )
    with new_folder(folder / name) as draft:
        (draft / "model.keras").write_bytes(b"weights")
        seal(draft, card)
    return str(folder / name / "model.keras")


def test_a_net_trained_further_names_every_model_before_it(tmp_path):
    first = artifact(tmp_path, "first", "imagenet")
    second = artifact(tmp_path, "second", first)
    wanted = [
        {"name": "second", "command_line": "train --out second", "weights": first},
        {"name": "first", "command_line": "train --out first", "weights": "imagenet"},
    ]
    assert started_from(second) == wanted


def test_other_weights_have_no_models_before_them(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"weights")
    assert (
        started_from("imagenet")
        == started_from(None)
        == started_from(str(tmp_path / "model.keras"))
        == started_from(str(tmp_path / "w.h5"))
        == []
    )


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("train --data /data/SMITH_JANE_1977 --out runs/a", "train --data DATA --out runs/a"),
        ("train --data=../SMITH_JANE --out runs/a", "train --data=DATA --out runs/a"),
        ("train --data phantom:60 --out /home/jane/a", "train --data phantom:60 --out a"),
        ("train --split=/home/jane/split.csv", "train --split=split.csv"),
        (r"train --out 'C:\Users\Jane\a' --cache ~jane/c", "train --out a --cache c"),
        ("train 'half", ""),
    ],
)
def test_a_card_keeps_no_place_of_the_machine(given, kept):
    assert shareable(given) == kept


def test_neither_options_nor_the_model_card_name_a_place(tmp_path):
    args = ["--data", "/data/SMITH_JANE", "--out", "runs/a", "--split", "/home/smith/split.csv"]
    options = (
        DataOptions(cache="/home/smith/cache", split="/home/smith/split.csv"),
        ModelOptions(weights="/home/smith/weights.h5"),
    )
    rows = Records([Record("a.png", sha256="0")], "/data/SMITH_JANE")
    origin = provenance(command_line("train", args), rows, *options)
    size = {"image_size": 48, "resize": "crop"}
    card = Card("classifier", "m", "binary", ("sick", "well"), size, provenance=origin)
    for text in (json.dumps(card.to_dict(), default=str), render_model_card(card)):
        assert "smith" not in text.lower() and "--data DATA" in text
