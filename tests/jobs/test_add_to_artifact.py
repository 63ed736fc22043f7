"""What is put into a finished artifact appears on its pages, and the folder stays sound; the card's
ways of use give the stored answers.
"""

import csv
import json
import re
import shutil

import cv2
import numpy as np
import pytest

from xray_tf import evaluate
from xray_tf.artifact import read_card
from xray_tf.data.predictions import Predictions
from xray_tf.jobs.add_to_artifact import add_mistakes, add_shift_card, add_to_artifact
from xray_tf.models.asked.queries import array_batches
from xray_tf.models.load import load
from xray_tf.options import DataOptions, ShiftOptions

PAGE = "report.html"
LITTLE = ["--stresses", "darker", "--shift-rows", "6", "--shift-bootstrap", "5"]


@pytest.fixture
def copy(binary, tmp_path):
    return shutil.copytree(binary.folder, tmp_path / "home" / "model")


def test_the_shift_card_of_the_own_test_rows_goes_into_the_folder_and_onto_its_pages(
    binary, exported, phantoms, cache, tmp_path, capsys
):
    copy = shutil.copytree(exported(binary), tmp_path / "home" / "model")
    args = [
        "--model",
        str(copy),
        "--data",
        str(phantoms),
        "--cache",
        str(cache),
        "--shift",
        "--into-artifact",
    ]
    assert evaluate.main([*args, *LITTLE]) == 0
    shift = json.loads((copy / "shift.json").read_text())
    assert (
        shift["split"] == "test"
        and shift["rows"] == 6
        and [s["name"] for s in shift["stresses"]] == ["darker"]
    )
    card = read_card(copy)
    assert set(card.files) == set(binary.card.files) | {"shift.json", "shift.csv", "shift.png"}
    assert {
        k: v
        for k, v in card.files.items()
        if k in binary.card.files and not k.endswith((".md", ".html"))
    } == {k: v for k, v in binary.card.files.items() if not k.endswith((".md", ".html"))}
    assert (
        card.operating_points == binary.card.operating_points
        and card.metrics == binary.card.metrics
    )
    assert (
        "## Shift card" in (copy / "README.md").read_text()
        and 'id="shift"' in (copy / "report.html").read_text()
    )
    assert (copy / "saved_model" / "manifest.json").is_file() and [
        p.name for p in copy.parent.iterdir()
    ] == ["model"]
    # measured again, it is replaced
    assert evaluate.main([*args, *LITTLE[:3], "4", *LITTLE[4:]]) == 0
    assert (
        json.loads((copy / "shift.json").read_text())["rows"] == 4
        and load(copy).card.files["shift.json"] != card.files["shift.json"]
    )


def test_a_folder_whose_pages_are_made_anew_says_the_same_as_before(copy):
    before = {
        p.name: p.read_bytes() for p in copy.iterdir() if p.name not in ("card.json", "report.html")
    }
    add_to_artifact(copy)
    assert {
        p.name: p.read_bytes() for p in copy.iterdir() if p.name not in ("card.json", "report.html")
    } == before
    read_card(copy)


def test_the_own_mistakes_go_into_the_folder_as_training_would_have_put_them(
    copy, binary, phantoms, cache, tmp_path, capsys
):
    def own(path):
        return {p.name: p.read_bytes() for p in path.iterdir() if p.name not in ("card.json", PAGE)}

    trained, page = own(copy), (copy / PAGE).read_text()
    assert json.loads(trained["mistakes.json"])["cells"]
    args = ["--model", str(copy), "--cache", str(cache), "--into-artifact"]
    assert evaluate.main([*args, "--data", str(phantoms), "--mistakes", "0"]) == 0
    assert "mistakes.json" not in read_card(copy).files and "image/jpeg" not in (
        (copy / PAGE).read_text()
    )
    # the radiographs lie elsewhere and have other names
    moved = tmp_path / "moved"
    for file in (file for file in phantoms.rglob("*") if file.is_file()):
        place = moved / file.relative_to(phantoms).with_suffix(file.suffix.upper())
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    assert evaluate.main([*args, "--data", str(moved)]) == 0
    assert "mistakes, README.md and report.html" in capsys.readouterr().out
    assert own(copy) == trained and (copy / PAGE).read_text() == page
    assert set(load(copy).card.files) == set(binary.card.files)


def test_what_fails_leaves_the_artifact_as_it_was(copy):
    before = {p.name: p.read_bytes() for p in copy.iterdir()}

    def half(draft):
        (draft / "shift.json").write_text("{")

    with pytest.raises(ValueError):
        add_to_artifact(copy, half)  # the report cannot be made from it
    assert {p.name: p.read_bytes() for p in copy.iterdir()} == before and [
        p.name for p in copy.parent.iterdir()
    ] == ["model"]


def test_rows_that_are_not_the_models_own_are_refused(copy, phantoms, cache, capsys):
    with pytest.raises(ValueError, match="its own split.csv"):
        add_shift_card(
            copy,
            str(phantoms),
            DataOptions(cache=str(cache), split="other.csv"),
            shift_options=ShiftOptions(shift=True),
            progress=False,
        )
    args = ["--model", str(copy), "--data", str(phantoms), "--into-artifact"]
    for wrong, said in (
        (["--shift", "--part", "train"], "chooses the rows itself"),
        (["--shift", "--out", "somewhere"], "not allowed with"),
        (["--part", "train"], "chooses the rows itself"),
        (["--operating-point", "balanced"], "shows the decisions in the model's folder"),
    ):
        with pytest.raises(SystemExit):
            evaluate.main([*args, *wrong])
        assert said in capsys.readouterr().err
    with pytest.raises(ValueError, match="its own split.csv"):
        add_mistakes(copy, str(phantoms), cache=str(cache), split="other.csv", progress=False)
    assert not (copy / "shift.json").exists()


@pytest.mark.parametrize("which", ["binary", "three_class"])
def test_the_three_ways_of_use_on_the_card_give_the_stored_answers(
    which, request, exported, phantoms, tmp_path, monkeypatch
):
    classifier = request.getfixturevalue(which)
    folder = shutil.copytree(exported(classifier), tmp_path / classifier.card.name)
    monkeypatch.chdir(tmp_path)
    with (folder / "predictions.csv").open(newline="") as stream:
        row = next(csv.DictReader(stream))
    stored = [float(v) for k, v in row.items() if k.startswith("prob_")]
    shutil.copy(phantoms / row["path"], "radiograph.jpeg")
    pixels = next(
        array_batches(cv2.imread("radiograph.jpeg", cv2.IMREAD_GRAYSCALE), classifier.card, 1)
    )[1][0][None, :, :, None].astype("float32")
    answers = []
    for block in re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S):
        names = {"pixels": pixels}
        exec(compile(block, "README.md", "exec"), names)
        answer = names.get("answer", names.get("probability"))
        answer = (
            answer.probabilities
            if isinstance(answer, Predictions)
            else answer["probability"]
            if isinstance(answer, dict)
            else answer
        )
        answers.append(np.asarray(answer)[0])
    for answer, tolerance in zip(answers, (1e-5, 1e-5, 1e-2), strict=True):
        np.testing.assert_allclose(
            answer if len(answer) > 1 else [1 - answer[0], answer[0]], stored, atol=tolerance
        )
