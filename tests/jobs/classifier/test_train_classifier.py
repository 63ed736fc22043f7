"""The main job: records in, a complete artifact out, nothing fitted on rows it should not have
seen.
"""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from undrawn import undrawn

from xray_tf import predict
from xray_tf.artifact import ArtifactError, read_card
from xray_tf.data.predictions import Predictions
from xray_tf.data.sources.phantom_folder import write_phantoms
from xray_tf.data.tables.split_file import read_split
from xray_tf.jobs.classifier import train_classifier as job
from xray_tf.jobs.classifier.evaluate_model import evaluate_model
from xray_tf.jobs.classifier.train_classifier import train_classifier
from xray_tf.models.load import load
from xray_tf.options import DataOptions, EvaluateOptions, ModelOptions, PageOptions, TrainOptions
from xray_tf.stats.operating_points import fit_operating_points
from xray_tf.stats.temperature import calibrated_probabilities, fit_temperature

FILES = {
    "model.keras",
    "card.json",
    "split.csv",
    "predictions.csv",
    "history.csv",
    "metrics.json",
    "audit.csv",
    "README.md",
    "report.html",
    "mistakes.json",
}
QUICK = TrainOptions(
    **{"epochs": 2, "batch_size": 8, "fine_tune": "none", "keep": "best", "ema": 0.0},
    **{"steady_rows": 0, "precision": "float32"},
)
MEASURED = replace(QUICK, precision="auto")
MODEL = ModelOptions("tiny", image_size=32, weights=None, region="whole", standardize=False)
NUMBERS = EvaluateOptions(bootstrap=20)


def train(phantoms, cache, out, model=MODEL, options=QUICK, data=None, **more):
    with undrawn():
        return train_classifier(
            str(phantoms),
            out,
            data or DataOptions(cache=str(cache)),
            model,
            options,
            NUMBERS,
            PageOptions(mistakes=0),
            progress=False,
            **more,
        )


@pytest.mark.parametrize("which", ["binary", "three_class"])
def test_the_artifact_is_complete_and_consistent(which, request):
    classifier = request.getfixturevalue(which)
    card = read_card(classifier.folder)
    assert {p.name for p in classifier.folder.iterdir()} == FILES and set(card.files) == FILES - {
        "card.json"
    }
    predictions = Predictions.read_csv(classifier.folder / "predictions.csv")
    assert (
        set(predictions.splits) == {"val", "test"} and predictions.class_names == card.class_names
    )
    np.testing.assert_array_equal(
        card.point("balanced").decide(predictions.probabilities), predictions.predicted
    )
    metrics = json.loads((classifier.folder / "metrics.json").read_text())
    test = predictions.of_split("test")
    assert metrics["rows"] == len(test) and metrics["metrics"]["accuracy"][
        "value"
    ] == pytest.approx((test.predicted == test.labels).mean())


def test_no_patient_is_on_two_sides(binary):
    predictions = Predictions.read_csv(binary.folder / "predictions.csv")
    sides = [set(predictions.of_split(split).patients) for split in ("val", "test")]
    assert sides[0] and sides[1] and not sides[0] & sides[1]


def test_temperature_and_thresholds_are_those_of_the_validation_rows_alone(
    three_class, phantoms, cache
):
    corpus = job.divide(
        job.read_corpus(
            str(phantoms), "three-class", DataOptions(cache=str(cache)), 32, "crop", False
        ),
        DataOptions(cache=str(cache)),
        0,
    )
    val = corpus.of_split("val")
    logits = three_class.forward(corpus.pixels[corpus.rows[val]])["logits"]
    temperature = fit_temperature(logits, corpus.labels[val])
    points = fit_operating_points(
        calibrated_probabilities(logits, temperature),
        corpus.labels[val],
        ["val"] * len(val),
        three_class.card.class_names,
    )
    assert three_class.card.temperature == pytest.approx(temperature, rel=1e-4)
    assert three_class.card.point("balanced").offsets == pytest.approx(
        points["balanced"].offsets, abs=0.02
    )


def test_a_split_given_back_gives_the_same_rows(binary, phantoms, cache, tmp_path):
    again = train(
        phantoms,
        cache,
        tmp_path / "again",
        options=replace(QUICK, seed=9),
        data=DataOptions(cache=str(cache), split=str(binary.folder / "split.csv")),
    )
    assert (again.folder / "split.csv").read_text() == (binary.folder / "split.csv").read_text()


def test_a_resumed_run_keeps_the_precision_that_was_measured(
    phantoms, cache, tmp_path, monkeypatch
):
    from xray_tf.jobs.classifier import phases

    answers = iter([("mixed_bfloat16", "measured once"), ("float32", "measured twice")])
    monkeypatch.setattr(phases, "_measured_precision", lambda *a: next(answers))
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(job, "fit_decisions", lambda *a: (_ for _ in ()).throw(MemoryError))
        train(phantoms, cache, tmp_path / "out", options=MEASURED)
    made = train(phantoms, cache, tmp_path / "out", options=MEASURED, resume=True)
    assert made.card.notes == ("measured once",)
    # saved in float32 all the same
    assert {layer.compute_dtype for layer in made.model.layers} == {"float32"}


def test_what_is_told_of_a_half_precision_run_is_told_of_the_net_that_is_saved(
    phantoms, cache, tmp_path
):
    made = train(
        phantoms, cache, tmp_path / "out", options=replace(QUICK, precision="mixed_bfloat16")
    )
    told = Predictions.read_csv(made.folder / "predictions.csv")
    again = made.predict([str(phantoms / path) for path in told.paths])
    np.testing.assert_allclose(again.probabilities, told.probabilities, atol=1e-5)


def test_a_killed_starts_measurement_is_not_taken_for_another_runs(
    phantoms, cache, tmp_path, monkeypatch
):
    from xray_tf.jobs.classifier import phases

    left = tmp_path / ".out.unfinished"
    left.mkdir()
    (left / "precision.json").write_text('["mixed_bfloat16", "of another net"]')
    monkeypatch.setattr(phases, "_measured_precision", lambda *a: ("float32", "measured now"))
    made = train(phantoms, cache, tmp_path / "out", options=MEASURED)
    assert made.card.notes == ("measured now",)


def test_weights_that_saw_held_out_radiographs_are_refused(binary, phantoms, cache, tmp_path):
    model = replace(MODEL, weights=str(binary.folder / "model.keras"))
    with pytest.raises(
        ValueError,
        match=r"\d+ of the \d+ validation and test "
        r"radiographs.*--split .*split.csv",
    ):
        train(phantoms, cache, tmp_path / "other", model=model, options=replace(QUICK, seed=9))
    made = train(
        phantoms,
        cache,
        tmp_path / "same",
        model=model,
        options=replace(QUICK, seed=9),
        data=DataOptions(cache=str(cache), split=str(binary.folder / "split.csv")),
    )
    assert made.card.provenance["started_from"][0]["name"] == binary.card.name
    # other children under the same keys
    others = write_phantoms(tmp_path / "others", patients=20, seed=3, size=64)
    elsewhere = train(others, cache, tmp_path / "elsewhere", model=model)
    assert (
        len(elsewhere.card.notes) == 1
        and "if they are the same patients" in elsewhere.card.notes[0]
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["elsewhere", "others", "same"]


def test_a_donor_that_lacks_a_file_is_told_before_anything_is_read(binary, tmp_path):
    donor = shutil.copytree(binary.folder, tmp_path / "donor")
    (donor / "README.md").unlink()
    with pytest.raises(ArtifactError, match="incomplete: README.md is missing"):
        train_classifier(
            str(tmp_path / "no data"),
            tmp_path / "out",
            replace(MODEL, weights=str(donor / "model.keras")),
            progress=False,
        )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["donor"]


def _edited_split(binary, path, **columns):
    """Write the fixture's split.csv with every row changed by the functions given, and return its
    path.
    """
    rows = read_split(binary.folder / "split.csv")
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(
            {**row, **{name: change(row) for name, change in columns.items()}} for row in rows
        )
    return DataOptions(cache=str(path.parent / "cache"), split=str(path))


def test_a_split_by_image_that_was_given_is_told(binary, phantoms, cache, tmp_path):
    made = train(
        phantoms,
        cache,
        tmp_path / "out",
        data=_edited_split(binary, tmp_path / "s.csv", split_by=lambda row: "image"),
    )
    assert (
        made.card.split_by == "image"
        and json.loads((made.folder / "metrics.json").read_text())["split_by"] == "image"
    )
    assert "Warning" in (made.folder / "report.html").read_text()


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_part_without_a_class_is_met_before_the_training(part, binary, phantoms, cache, tmp_path):
    data = _edited_split(
        binary,
        tmp_path / "s.csv",
        split=lambda row: (
            "test" if row["split"] == part and row["label"] == "normal" else row["split"]
        ),
    )
    with pytest.raises(ValueError, match=rf"none of \['normal'\] in the part '{part}'"):
        train(phantoms, cache, tmp_path / "out", data=data)
    assert not (tmp_path / ".out.unfinished").exists()


def test_without_test_rows_the_validation_rows_are_scored_and_every_page_says_so(
    phantoms, cache, tmp_path
):
    made = train(phantoms, cache, tmp_path / "out", data=DataOptions(cache=str(cache), test=0.0))
    assert made.card.metrics_split == "val" and "optimistic" in made.card.notes[-1]
    assert json.loads((made.folder / "metrics.json").read_text())["split"] == "val"
    assert (
        "optimistic" in (made.folder / "report.html").read_text()
        and "optimistic" in (made.folder / "README.md").read_text()
    )


def test_an_existing_result_is_not_touched(binary, phantoms, cache):
    before = (binary.folder / "card.json").read_bytes()
    with pytest.raises(FileExistsError, match="never overwritten"):
        train(phantoms, cache, binary.folder)
    assert (binary.folder / "card.json").read_bytes() == before


def test_a_source_without_patients_is_divided_by_image_only_when_told_and_says_so(
    phantoms, cache, tmp_path
):
    plain = tmp_path / "plain"
    for label in ("NORMAL", "PNEUMONIA"):
        (plain / label).mkdir(parents=True)
        for i, file in enumerate(sorted((phantoms / "train" / label).iterdir())[:12]):
            shutil.copy(file, plain / label / f"scan {i} é.png")
    with pytest.raises(ValueError, match="split-by image"):
        train(plain, cache, tmp_path / "a")
    made = train(plain, cache, tmp_path / "b", data=DataOptions(cache=str(cache), split_by="image"))
    assert made.card.split_by == "image" and "Warning" in (made.folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"options": replace(QUICK, method="none")}, "nothing to train"),
        ({"options": replace(QUICK, fine_tune="20")}, "fine_tune must be none, all"),
        ({"model": replace(MODEL, backbone="resnet19")}, "resnet19"),
    ],
)
def test_options_that_do_not_fit_are_refused_and_leave_nothing(
    change, message, phantoms, cache, tmp_path
):
    with pytest.raises(ValueError, match=message):
        train(phantoms, cache, tmp_path / "out", **change)
    assert list(tmp_path.iterdir()) == []


def test_one_class_only_is_refused(phantoms, cache, tmp_path):
    only = tmp_path / "only" / "NORMAL"
    only.mkdir(parents=True)
    for file in sorted((phantoms / "train" / "NORMAL").iterdir())[:6]:
        shutil.copy(file, only)
    with pytest.raises(ValueError, match="none of \\['pneumonia'\\]"):
        train(only.parent, cache, tmp_path / "out")


def test_a_model_with_a_foreign_layer_is_refused_on_load(binary, tmp_path):
    import zipfile

    copy = tmp_path / "copy"
    shutil.copytree(binary.folder, copy)
    path = copy / "model.keras"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = members["config.json"].replace(
        b'"class_name": "Dropout"', b'"class_name": "Lambda"'
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(ArtifactError, match="sha256"):
        load(copy)
    from xray_tf.nets.keras_file import load_model

    with pytest.raises(ArtifactError, match="Lambda"):
        load_model(path)


def test_the_default_decision_is_fitted_on_validation_rows_under_changes(phantoms, cache, tmp_path):
    made = train(phantoms, cache, tmp_path / "model", options=replace(QUICK, steady_rows=8))
    point = made.card.point("steady")
    assert (
        made.card.default_operating_point == "steady"
        and point.rows <= 8
        and point.conditions == 28
        and "balanced" in made.card.operating_points
    )
    predictions = Predictions.read_csv(made.folder / "predictions.csv")
    np.testing.assert_array_equal(point.decide(predictions.probabilities), predictions.predicted)
    assert json.loads((made.folder / "metrics.json").read_text())["operating_point"] == "steady"


def test_a_sum_of_sick_classes_also_tells_the_likelier_one(
    three_class, phantoms, cache, tmp_path, capsys
):
    net = replace(MODEL, weights=str(three_class.folder / "model.keras"))
    how = replace(QUICK, task="binary", method="sum")
    summed = train(phantoms, cache, tmp_path / "summed", net, how)
    assert (
        summed.card.subtypes == ("bacterial", "viral")
        and "subtypes" in read_card(summed.folder).to_dict()
    )
    answers = summed.predict(str(phantoms))
    fine = three_class.predict(str(phantoms)).probabilities[:, 1:]
    wanted = np.where(answers.predicted > 0, np.array(["bacterial", "viral"])[fine.argmax(1)], "")
    assert list(answers.subtypes) == list(wanted) and set(wanted) - {""}
    _, scored = evaluate_model(
        summed, str(phantoms), None, DataOptions(cache=str(cache)), NUMBERS, progress=False
    )
    known = dict(zip((p.split("/")[-1] for p in answers.paths), answers.subtypes, strict=True))
    assert list(scored.subtypes) == [known[p.split("/")[-1]] for p in scored.paths]
    sick = str(sorted((phantoms / "train" / "PNEUMONIA").iterdir())[0])
    row = summed.predict(sick)[0]
    predict.main([sick, "--model", str(summed.folder)])
    assert (f"pneumonia, likelier {row.subtype} (" in capsys.readouterr().out) == bool(row.subtype)
    assert row.subtype in str(summed.read(sick).prediction)
