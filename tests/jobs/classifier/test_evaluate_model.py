"""Scoring: nothing is fitted to what is scored, and any labelled folder will do."""

import base64
import json
import shutil
from collections import Counter

import cv2
import numpy as np
import pytest

from xray_tf.data.predictions import Predictions
from xray_tf.data.sources.phantom_folder import write_phantoms
from xray_tf.data.tables.split_file import read_split
from xray_tf.jobs.classifier.evaluate_model import evaluate_model
from xray_tf.options import DataOptions, EvaluateOptions
from xray_tf.pages.kit.words import worst_acquisition

NUMBERS = EvaluateOptions(bootstrap=20)


def test_scores_are_those_of_the_frozen_operating_point(binary, phantoms, cache, tmp_path):
    metrics, predictions = evaluate_model(
        binary.folder,
        str(phantoms),
        tmp_path / "out",
        DataOptions(cache=str(cache)),
        NUMBERS,
        progress=False,
    )
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics
    assert Predictions.read_csv(tmp_path / "out" / "predictions.csv") == predictions
    threshold = binary.card.point("balanced").threshold
    np.testing.assert_array_equal(
        predictions.predicted, predictions.probabilities[:, 1] >= threshold
    )
    assert "<html" in (tmp_path / "out" / "report.html").read_text()
    header = (tmp_path / "out" / "predictions.csv").read_text().split("\n")[0]
    assert header == (
        "path,patient,split,label,prob_normal,prob_pneumonia,predicted,warning,error,acquisition,"
        "subtype"
    )
    assert "acquisitions" not in metrics


def test_the_page_shows_as_many_of_the_surest_mistakes_as_asked_for(
    binary, phantoms, cache, tmp_path
):
    where, given = DataOptions(cache=str(cache)), {"progress": False, "bootstrap": 0}
    made = {
        most: evaluate_model(
            binary, str(phantoms), tmp_path / str(most), where, mistakes=most, **given
        )[1]
        for most in (2, 0)
    }
    wrong = made[2].where(made[2].labels != made[2].predicted)
    told = json.loads((tmp_path / "2" / "mistakes.json").read_text())
    assert len(wrong) and len(told["cells"]) == min(2, len(wrong))
    sure = [float(max(wrong[i].probabilities)) for i in range(len(wrong))]
    surest = wrong[int(np.argmax(sure))]
    assert told["cells"][0]["path"] == surest.path and told["near"].endswith("training radiographs")
    for cell in told["cells"]:
        for kind in ("picture", "heat"):
            data = np.frombuffer(base64.b64decode(cell[kind]), np.uint8)
            assert cv2.imdecode(data, cv2.IMREAD_COLOR).shape == (160, 160, 3)
        assert len(cell["near"]) == 4 and all(case["picture"] for case in cell["near"])
    page = (tmp_path / "2" / "report.html").read_text()
    assert page.index(told["cells"][0]["picture"]) < page.index('id="metrics"')
    assert not (tmp_path / "0" / "mistakes.json").exists()
    assert "image/jpeg" not in (tmp_path / "0" / "report.html").read_text()


def test_a_folder_with_only_a_test_part_of_one_class_is_scored(binary, phantoms, cache, tmp_path):
    part = tmp_path / "data" / "test" / "NORMAL"
    part.mkdir(parents=True)
    for file in sorted((phantoms / "train" / "NORMAL").iterdir())[:4]:
        shutil.copy(file, part)
    metrics, predictions = evaluate_model(
        binary, str(tmp_path / "data"), None, DataOptions(cache=str(cache)), NUMBERS, progress=False
    )
    assert set(predictions.splits) == {"test"} and metrics["rows"] == 4
    assert metrics["metrics"]["auroc"]["value"] is None and metrics["metrics"]["auroc"]["reason"]
    assert metrics["metrics"]["specificity"]["value"] == pytest.approx(
        (predictions.predicted == 0).mean()
    )


def test_a_bad_file_is_set_aside_and_strict_stops(binary, phantoms, cache, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(phantoms / "train", data / "train")
    (data / "train" / "NORMAL" / "IM-9999-0001.jpeg").write_bytes(b"not a picture")
    metrics, predictions = evaluate_model(
        binary, str(data), tmp_path / "out", DataOptions(cache=str(cache)), NUMBERS, progress=False
    )
    assert "IM-9999" in (tmp_path / "out" / "audit.csv").read_text() and not any(
        "9999" in p for p in predictions.paths
    )
    with pytest.raises(ValueError, match="IM-9999"):
        evaluate_model(
            binary,
            str(data),
            None,
            DataOptions(cache=str(cache), strict=True),
            NUMBERS,
            progress=False,
        )


def test_rows_that_the_model_was_trained_on_are_told_everywhere(
    binary, phantoms, cache, tmp_path, capsys
):
    counts = Counter(line["split"] for line in read_split(binary.folder / "split.csv"))
    metrics, _ = evaluate_model(
        binary, str(phantoms), tmp_path / "out", DataOptions(cache=str(cache)), NUMBERS
    )
    trained, fitted = metrics["notes"]
    assert (
        trained.startswith(f"{counts['train']} of these {counts.total()} radiographs")
        and ("are training rows of model") in trained
    )
    assert fitted.startswith(f"{counts['val']} of these") and "thresholds were fitted" in fitted
    assert (
        trained in capsys.readouterr().out
        and trained in (tmp_path / "out" / "report.html").read_text()
    )
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["notes"] == [trained, fitted]
    # other children under the same keys
    others = write_phantoms(tmp_path / "others", patients=20, seed=3, size=64)
    elsewhere = evaluate_model(
        binary, str(others), None, DataOptions(cache=str(cache)), NUMBERS, progress=False
    )[0]["notes"]
    assert len(elsewhere) == 2 and all(
        "if they are the same patients" in note for note in elsewhere
    )
    own = DataOptions(cache=str(cache), split=str(binary.folder / "split.csv"))
    assert (
        evaluate_model(binary, str(phantoms), None, own, NUMBERS, part="test", progress=False)[0][
            "notes"
        ]
        == []
    )


def test_rows_left_out_and_classes_that_are_not_there_are_told(
    three_class, phantoms, cache, tmp_path, capsys
):
    lines = ["path,label,subtype"]
    for label, subtypes in (("NORMAL", ("", "")), ("PNEUMONIA", ("bacterial", ""))):
        for file, subtype in zip(
            sorted((phantoms / "train" / label).iterdir()), subtypes, strict=False
        ):
            shutil.copy(file, tmp_path / file.name)
            lines.append(f"{file.name},{label.lower()},{subtype}")
    (tmp_path / "m.csv").write_text("\n".join([*lines, "gone.png,normal,"]) + "\n")
    metrics, predictions = evaluate_model(
        three_class,
        str(tmp_path / "m.csv"),
        tmp_path / "out",
        DataOptions(cache=str(cache)),
        NUMBERS,
    )
    said, findings = capsys.readouterr().out, (tmp_path / "out" / "audit.csv").read_text()
    assert (
        metrics["rows"] == 3
        and len(predictions) == 4
        and "1 not scored: no-class" in said
        and ("1 set aside: missing") in said
    )
    assert findings.count("no-class") == findings.count("missing,") == 1
    assert any("no radiograph of viral" in note for note in metrics["notes"]) and any(
        "intervals are too narrow" in note for note in metrics["notes"]
    )


def test_radiographs_without_a_class_of_the_model_are_refused_with_the_way_out(
    three_class, phantoms, cache, tmp_path
):
    shutil.copy(next((phantoms / "train" / "NORMAL").iterdir()), tmp_path / "x.png")
    data = tmp_path / "plain.csv"
    data.write_text("path,label\nx.png,pneumonia\n")  # of which kind is not said
    with pytest.raises(ValueError, match="no labelled radiograph.*xray-tf predict"):
        evaluate_model(
            three_class, str(data), None, DataOptions(cache=str(cache)), NUMBERS, progress=False
        )


def _table(path, rows):
    path.write_text("\n".join(["path,acquisition", *(f"{p},{a}" for p, a in rows)]) + "\n")
    return str(path)


def test_figures_are_given_by_acquisition_group(binary, phantoms, cache, tmp_path, capsys):
    whole, rows = evaluate_model(
        binary, str(phantoms), None, DataOptions(cache=str(cache)), NUMBERS, progress=False
    )
    of = {p: "north" if i % 3 else "south" for i, p in enumerate(rows.paths[:-1])}
    groups = _table(tmp_path / "groups.csv", of.items())
    options = DataOptions(cache=str(cache), groups=groups)
    metrics, grouped = evaluate_model(
        binary, str(phantoms), tmp_path / "out", options, NUMBERS, progress=False
    )
    assert list(grouped.acquisitions) == [of.get(p, "") for p in grouped.paths]
    assert metrics["metrics"] == whole["metrics"]
    first, second = metrics["acquisitions"]
    assert (first["group"], second["group"]) == ("north", "south")
    assert first["rows"] + second["rows"] == len(rows) - 1
    normal = (grouped.acquisitions == "south") & (grouped.labels == 0)
    assert second["class_counts"]["normal"] == normal.sum()
    recall = second["recall"]["normal"]
    assert recall["value"] == pytest.approx((grouped.predicted[normal] == 0).mean())
    assert recall["low"] <= recall["value"] <= recall["high"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "By acquisition group" in page and "south" in page
    assert "no acquisition group" in (tmp_path / "out" / "audit.csv").read_text()


def test_the_worst_acquisition_group_is_named():
    def cell(value):
        return {"value": value, "low": 0.0, "high": 1.0}

    def group(name, count, value):
        counts, recall = {"a": count, "b": 50}, {"a": cell(value), "b": cell(0.9)}
        return {"group": name, "class_counts": counts, "recall": recall}

    metrics = {
        "per_class": {"a": {"recall": cell(0.8)}, "b": {"recall": cell(0.9)}},
        "acquisitions": [group("0", 90, 0.95), group("1", 12, 0.25), group("2", 9, 0.0)],
    }
    said = worst_acquisition(metrics)
    assert "0.250 [0.000, 1.000] of the 12 radiographs of a in group 1" in said
    assert "over all groups it is 0.800" in said
    assert worst_acquisition({"per_class": {}}) == ""


def test_a_table_without_groups_is_refused(binary, phantoms, cache, tmp_path):
    options = DataOptions(cache=str(cache), groups=_table(tmp_path / "g.csv", [("a.png", "")]))
    with pytest.raises(ValueError, match="no acquisition groups"):
        evaluate_model(binary, str(phantoms), None, options, NUMBERS, progress=False)
