"""A detector: normals only are fitted to, thresholds come from held-out normals only, pneumonia is
looked at in the test report alone.
"""

import base64
import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

import xray_tf
from xray_tf.artifact import ArtifactError, read_card, seal
from xray_tf.data.chest.lung_fields import LungFields, places_of
from xray_tf.data.scores import Scores
from xray_tf.data.synthetic.phantom import draw_phantom
from xray_tf.jobs.detector import fit_detector as job
from xray_tf.jobs.detector.fit_detector import fit_detector
from xray_tf.jobs.detector.score_files import score_files
from xray_tf.models.load import load
from xray_tf.options import DataOptions, DetectOptions, EvaluateOptions, ScoreOptions
from xray_tf.pages.detector.page import write_detector_report
from xray_tf.stats.detector.or_rule import BESIDE_COMMITTEE, calibrate

FILES = {
    "model.keras",
    "features.keras",
    "reference.npz",
    "card.json",
    "split.csv",
    "scores.csv",
    "history.csv",
    "metrics.json",
    "statistics.csv",
    "audit.csv",
    "README.md",
    "report.html",
    "examples.json",
}
OPTIONS = DetectOptions(
    report_on_pneumonia=True,
    image_size=32,
    latent=4,
    epochs=2,
    batch_size=4,
    components=2,
    folds=2,
    budget=0.85,
    detectors="zones",
    backbone="tiny",
    weights="none",
    examples=True,
)
PLAIN = replace(OPTIONS, detectors="none", examples=False)
NUMBERS = EvaluateOptions(bootstrap=20)


def shares(cache, **more):
    return DataOptions(cache=str(cache), validation=0.45, test=0.2, **more)


@pytest.fixture(scope="module")
def detector(phantoms, cache, tmp_path_factory):
    return fit_detector(
        str(phantoms),
        tmp_path_factory.mktemp("detector") / "model",
        shares(cache),
        OPTIONS,
        NUMBERS,
        command_line="python -m xray_tf.detect fit",
        progress=False,
    )


@pytest.fixture
def untrained(monkeypatch, not_trained):
    """Leave the training out: what follows it does not depend on how well it went."""
    monkeypatch.setattr(job, "train", not_trained)


def split_of(folder):
    lines = [line.split(",") for line in (folder / "split.csv").read_text().splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def test_the_artifact_is_complete_and_opens_by_its_kind(detector, binary):
    card = read_card(detector.folder, kind="detector")
    assert {p.name for p in detector.folder.iterdir()} == FILES and set(card.files) == FILES - {
        "card.json"
    }
    opened = xray_tf.load(detector.folder)
    assert (
        type(opened).__name__ == "Detector"
        and type(xray_tf.load(binary.folder)).__name__ == "Classifier"
    )
    assert opened.rule.names == (
        "reconstruction_error",
        "log_density",
        "features",
    ) and "Detector(" in repr(opened)
    assert "anomalous if" in opened._repr_html_()
    for page in ("README.md", "report.html"):  # which detectors are behind the score features
        assert "zones (Mahalanobis distance" in (detector.folder / page).read_text()
    with pytest.raises(ArtifactError, match="'detector' artifact"):
        load(detector.folder, kind="classifier")


def test_no_patient_is_in_two_parts_and_pneumonia_is_in_the_test_part_alone(detector):
    rows = split_of(detector.folder)
    patients = {
        part: {r["patient"] for r in rows if r["split"] == part}
        for part in ("train", "val", "test")
    }
    assert (
        all(patients.values())
        and not patients["train"] & patients["val"]
        and not (patients["train"] | patients["val"]) & patients["test"]
    )
    assert {r["label"] for r in rows if r["split"] != "test"} == {"normal"} and {
        r["label"] for r in rows if r["split"] == "test"
    } == {"normal", "pneumonia"}


def test_thresholds_are_those_of_the_held_out_normals_alone(detector):
    scores = Scores.read_csv(detector.folder / "scores.csv")
    held_out = scores.where(scores.splits == "val")
    rule = calibrate(
        scores.names,
        held_out.values,
        list(held_out.patients),
        OPTIONS.budget,
        OPTIONS.seed,
        weights={"reconstruction_error": BESIDE_COMMITTEE, "log_density": BESIDE_COMMITTEE},
    )
    np.testing.assert_array_equal(rule.thresholds, detector.rule.thresholds)
    np.testing.assert_array_equal(rule.normals, detector.rule.normals)
    assert len(rule.normals) == len(set(held_out.patients))


def test_files_and_their_pixels_score_as_stored_in_order(detector, phantoms):
    stored = Scores.read_csv(detector.folder / "scores.csv")
    tested = stored.where(np.flatnonzero(stored.splits == "test")[:5])
    files = [phantoms / p for p in tested.paths]
    again = detector.score(files, batch_size=2)
    np.testing.assert_allclose(again.values, tested.values, rtol=1e-3)
    assert list(again.paths) == list(map(str, files)) and list(again.labels) == list(tested.labels)
    from_array = detector.score(cv2.imread(str(files[0]), cv2.IMREAD_GRAYSCALE))
    np.testing.assert_allclose(from_array.values[0], again.values[0], rtol=1e-3)


def test_examples_of_every_outcome_are_shown_with_what_is_said_of_them(detector):
    cells = json.loads((detector.folder / "examples.json").read_text())["cells"]
    scores = Scores.read_csv(detector.folder / "scores.csv")
    tested = scores.where(scores.splits == "test")
    page = (detector.folder / "report.html").read_text()
    assert 2 < len(cells) <= 12
    for cell in cells:
        row = int(np.argmin(np.abs(tested.anomaly - cell["anomaly"])))
        assert cell["verdict"] == tested.verdicts[row] and cell["reason"] == tested.reasons[row]
        sick, called = tested.labels[row] == "pneumonia", tested.verdicts[row] == "anomalous"
        assert cell["outcome"].startswith("true") == (sick == called)
        height, width = cv2.imdecode(
            np.frombuffer(base64.b64decode(cell["picture"]), np.uint8), cv2.IMREAD_COLOR
        ).shape[:2]
        assert width == 3 * height + 16 and cell["picture"] in page


def test_a_page_that_shows_radiographs_says_whose_they_are(detector, tmp_path):
    folder, provenance = tmp_path / "detector", detector.card.provenance
    shutil.copytree(detector.folder, folder)
    (folder / "report.html").unlink()
    stated = {"options": {"DataOptions": {"attribution": "Jo Doe, CC BY 4.0"}}}
    card = replace(detector.card, provenance={**provenance, **stated})
    assert "Radiographs: Jo Doe, CC BY 4.0" in write_detector_report(folder, card).read_text()


def test_metrics_are_of_the_test_rows_and_chance_stands_beside_them(detector):
    metrics = json.loads((detector.folder / "metrics.json").read_text())
    scores = Scores.read_csv(detector.folder / "scores.csv")
    tested = scores.where(scores.splits == "test")
    sick, flagged = tested.labels == "pneumonia", tested.verdicts == "anomalous"
    assert metrics["rows"] == len(tested) and metrics["metrics"]["sensitivity"][
        "value"
    ] == pytest.approx(flagged[sick].mean())
    assert metrics["false_alarms"]["value"] == pytest.approx(flagged[~sick].mean())
    wins = (tested.anomaly[sick][:, None] > tested.anomaly[~sick]) + 0.5 * (
        tested.anomaly[sick][:, None] == tested.anomaly[~sick]
    )
    assert (
        metrics["metrics"]["auroc"]["value"]
        == pytest.approx(wins.mean())
        == pytest.approx(metrics["scores"]["anomaly_score"]["auroc"]["value"])
    )
    share = sick.mean()
    assert metrics["chance"]["accuracy"] == pytest.approx(max(share, 1 - share))
    assert metrics["chance"]["f1_always_pneumonia"] == pytest.approx(2 * share / (1 + share))
    assert (
        "brier" not in metrics["metrics"]
        and "chance" in (detector.folder / "report.html").read_text()
    )


def test_maps_have_the_size_of_the_image_and_one_scale(detector):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32), np.uint8)
    maps = detector.maps(pixels)
    assert maps.shape == (3, 32, 32) and maps.dtype == np.float32
    assert 0 <= maps.min() and maps.max() <= 1
    np.testing.assert_array_equal(detector.maps(pixels[1:]), maps[1:])
    assert detector.registered(pixels).shape == (3, 32, 32)


def test_nothing_outside_the_lungs_reaches_a_score(detector):
    """Blanked or swapped, everything outside the lungs leaves scores as they were."""
    drawn = [draw_phantom("normal", 8, i, height=32, width=32) for i in range(6)]
    pixels = np.stack([p.image for p in drawn])
    lungs = np.stack([p.lungs for p in drawn])
    found = LungFields(lungs, np.ones(6), places_of(lungs), np.ones(6, bool))
    chest = detector.normal_chest
    chest = replace(chest, reader=replace(chest.reader, find_lungs=lambda images: found))
    before, heat = chest.scores(pixels), chest.unusual(pixels)
    for outside in (np.zeros_like(pixels), np.full_like(pixels, 200), pixels[::-1]):
        changed = np.where(lungs, pixels, outside)
        np.testing.assert_array_equal(chest.scores(changed), before)
        np.testing.assert_array_equal(chest.unusual(changed), heat)


def test_a_detector_of_whole_radiographs_says_that_it_has_to_be_fitted_again(detector, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(detector.folder, old)
    with np.load(old / "reference.npz") as arrays:
        kept = {name: values for name, values in arrays.items() if name != "map_range"}
    np.savez(old / "reference.npz", **kept)
    seal(old, replace(detector.card, files={}))
    with pytest.raises(ArtifactError, match="before lungs were registered. Fit the detector again"):
        load(old).maps(np.zeros((1, 32, 32), np.uint8))


def test_a_score_folder_has_a_row_a_file_maps_and_a_page(detector, phantoms, tmp_path):
    folder = tmp_path / "mixed é"
    folder.mkdir()
    for i, file in enumerate(sorted((phantoms / "train" / "NORMAL").iterdir())[:3]):
        shutil.copy(file, folder / f"scan{i}.png")
    (folder / "scan3.jpeg").write_text("not a picture")
    cv2.imwrite(str(tmp_path / "flat.png"), np.full((50, 60), 7, np.uint8))
    shutil.move(tmp_path / "flat.png", folder / "scan4.png")
    scores, metrics = score_files(
        detector, str(folder), tmp_path / "out", options=ScoreOptions(page_rows=2), progress=False
    )
    assert metrics is None and [p.rsplit("/", 1)[-1] for p in scores.paths] == [
        "scan0.png",
        "scan1.png",
        "scan2.png",
        "scan3.jpeg",
        "scan4.png",
    ]
    assert list(scores.read) == [True] * 3 + [False] * 2 and scores.errors[4].startswith(
        "constant: Every pixel has the grey level 7"
    )
    np.testing.assert_array_equal(
        Scores.read_csv(tmp_path / "out" / "scores.csv").anomaly, scores.anomaly
    )
    with np.load(tmp_path / "out" / "maps.npz", allow_pickle=False) as stored:
        assert (
            stored["maps"].shape == (5, 32, 32)
            and stored["maps"][0].any()
            and not stored["maps"][3:].any()
        )
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == 3
    page = (tmp_path / "out" / "scores.html").read_text()
    assert page.count("<figcaption") == 2 and "scan3.jpeg" in page and "medical device" in page


def test_labelled_rows_are_measured_with_the_thresholds_given(detector, phantoms, cache, tmp_path):
    by_hand = "reconstruction_error=1e9,log_density=-1e9,features=-1e9"
    scores, metrics = score_files(
        detector,
        str(phantoms),
        tmp_path / "out",
        DataOptions(cache=str(cache), split=str(detector.folder / "split.csv")),
        ScoreOptions(maps=False),
        NUMBERS,
        part="test",
        thresholds=by_hand,
        progress=False,
    )
    assert (
        set(scores.splits) == {"test"}
        and set(scores.verdicts) == {"normal"}
        and metrics["metrics"]["sensitivity"]["value"] == 0
    )
    assert (
        "test pneumonia" in (tmp_path / "out" / "statistics.csv").read_text()
        and not (tmp_path / "out" / "maps.npz").exists()
    )


def test_rows_that_the_detector_knows_are_told_wherever_they_lie(detector, phantoms, tmp_path):
    for folder in ("NORMAL", "PNEUMONIA"):
        (tmp_path / "copied" / folder).mkdir(parents=True)
        for i, file in enumerate(sorted((phantoms / "train" / folder).iterdir())[:8]):
            shutil.copy(file, tmp_path / "copied" / folder / f"scan{i}.png")
    _, metrics = score_files(
        detector,
        str(tmp_path / "copied"),
        tmp_path / "out",
        ScoreOptions(maps=False),
        NUMBERS,
        progress=False,
    )
    assert any("are training rows of" in note for note in metrics["notes"])


def test_a_folder_of_normals_is_enough_and_one_without_labels_only_when_said_so(
    phantoms, cache, tmp_path, untrained
):
    normals, loose = tmp_path / "data" / "NORMAL", tmp_path / "loose"
    shutil.copytree(phantoms / "train" / "NORMAL", normals)
    shutil.copytree(phantoms / "train" / "NORMAL", loose)
    made = fit_detector(
        str(normals.parent),
        tmp_path / "a",
        shares(cache),
        replace(PLAIN, report_on_pneumonia=False),
        NUMBERS,
        progress=False,
    )
    assert not list(made.folder.glob("*.png")), "an artifact carries no radiograph unless asked to"
    assert {r["label"] for r in split_of(made.folder)} == {"normal"}
    metrics = json.loads((made.folder / "metrics.json").read_text())
    assert (
        metrics["metrics"]["auroc"]["value"] is None
        and metrics["false_alarms"]["value"] is not None
    )
    with pytest.raises(ValueError, match="not in Kaggle's layout"):
        fit_detector(str(loose), tmp_path / "b", shares(cache), PLAIN, NUMBERS, progress=False)
    flat = fit_detector(
        str(loose),
        tmp_path / "c",
        shares(cache),
        replace(PLAIN, all_normal=True),
        NUMBERS,
        progress=False,
    )
    # the same children are in the same parts, with and without pneumonia or folders
    assert {(r["patient"], r["split"]) for r in split_of(flat.folder)} == {
        (r["patient"], r["split"]) for r in split_of(made.folder)
    }


def test_thresholds_by_hand_are_kept_and_promise_nothing(phantoms, cache, tmp_path, untrained):
    options = replace(PLAIN, thresholds="reconstruction_error=0.5,log_density=-99")
    made = fit_detector(
        str(phantoms), tmp_path / "out", shares(cache), options, NUMBERS, progress=False
    )
    assert (
        made.rule.thresholds.tolist() == [0.5, -99.0]
        and made.card.default_operating_point == "by_hand"
    )
    assert "no false-alarm rate is guaranteed" in (made.folder / "README.md").read_text()


def test_a_run_that_died_after_training_goes_on_without_training_again(
    phantoms, cache, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(job, "learn_normals", lambda *a: (_ for _ in ()).throw(MemoryError))
        fit_detector(str(phantoms), tmp_path / "out", shares(cache), PLAIN, NUMBERS, progress=False)
    with pytest.raises(FileExistsError, match="--resume"):
        fit_detector(str(phantoms), tmp_path / "out", shares(cache), PLAIN, NUMBERS, progress=False)
    with pytest.raises(ValueError, match="DetectOptions.latent"):
        fit_detector(
            str(phantoms),
            tmp_path / "out",
            shares(cache),
            replace(PLAIN, latent=5),
            NUMBERS,
            resume=True,
            progress=False,
        )
    from xray_tf.nets.training import loop as training

    monkeypatch.setattr(training.Training, "_epoch", lambda *a: pytest.fail("it trains again"))
    made = fit_detector(
        str(phantoms), tmp_path / "out", shares(cache), PLAIN, NUMBERS, resume=True, progress=False
    )
    assert len((made.folder / "history.csv").read_text().splitlines()) == 3 and [
        p.name for p in tmp_path.iterdir()
    ] == ["out"]


@pytest.mark.parametrize(
    ("change", "data", "message"),
    [
        (
            {"report_on_pneumonia": False},
            {},
            "labelled pneumonia, and a detector learns from normals only.*--report-on-pneumonia",
        ),
        ({"all_normal": True}, {}, "some are labelled pneumonia"),
        (
            {"budget": 0.1},
            {},
            "too few to promise a false-alarm share of 0.1.*29 patients are needed",
        ),
        ({"folds": 40}, {}, "40 folds need fit normals of at least 80 patients"),
        ({"image_size": 40}, {}, "multiple of 32"),
        ({"thresholds": "0.3"}, {}, "name=value"),
        (
            {"detectors": "zones,psychic"},
            {},
            "detectors must be default, none, or some of .*lungs_nearest",
        ),
        ({}, {"validation": 0.0}, "0 calibration normals"),
    ],
)
def test_what_cannot_be_fitted_is_refused_and_leaves_nothing(
    change, data, message, phantoms, cache, tmp_path
):
    with pytest.raises(ValueError, match=message):
        fit_detector(
            str(phantoms),
            tmp_path / "out",
            replace(shares(cache), **data),
            replace(PLAIN, **change),
            NUMBERS,
            progress=False,
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 4, 4, 1), np.uint8), "one or more radiographs"),
        (np.zeros((4, 4)), "round them to uint8"),
        (np.zeros((0, 4, 4), np.uint8), "one or more radiographs"),
    ],
)
def test_pixels_of_another_form_are_refused(detector, image, message):
    with pytest.raises(ValueError, match=message):
        detector.score(image)
