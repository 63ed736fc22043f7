"""Calibration at another site: the budget holds among its normals, what was learned stays."""

import json
import shutil

import cv2
import numpy as np
import pytest

from xray_tf.artifact import read_card
from xray_tf.data.scores import Scores
from xray_tf.data.synthetic.phantom import draw_phantom
from xray_tf.data.tables.split_file import SPLIT, read_split
from xray_tf.jobs.detector import fit_detector as job
from xray_tf.jobs.detector.calibrate_detector import calibrate_detector
from xray_tf.jobs.detector.fit_detector import fit_detector
from xray_tf.options import DataOptions, DetectOptions, EvaluateOptions
from xray_tf.stats.detector.or_rule import OrRule

OPTIONS = DetectOptions(
    report_on_pneumonia=True,
    image_size=32,
    latent=4,
    components=2,
    folds=2,
    budget=0.85,
    detectors="none",
    backbone="tiny",
    weights="none",
)


@pytest.fixture(scope="module")
def detector(phantoms, cache, tmp_path_factory, not_trained):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "train", not_trained)
        return fit_detector(
            str(phantoms),
            tmp_path_factory.mktemp("detector") / "model",
            DataOptions(cache=str(cache), validation=0.45, test=0.2),
            OPTIONS,
            EvaluateOptions(bootstrap=20),
            progress=False,
        )


@pytest.fixture(scope="module")
def normals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "normals"
    folder.mkdir()
    for i in range(24):
        image = draw_phantom("normal", seed=77, patient=i, height=64, width=64).image
        cv2.imwrite(str(folder / f"IM-{i:04}-0001.png"), image)
    return folder


def test_the_budget_holds_among_the_normals_given_and_what_was_learned_stays(
    detector, normals, tmp_path
):
    made = calibrate_detector(detector, str(normals), tmp_path / "ours", budget=0.3, progress=False)
    scores = Scores.read_csv(made.folder / "scores.csv")
    assert len(scores) == len(list(normals.iterdir())) and set(scores.labels) == {"normal"}
    flagged = made.rule.judge(made.rule.normals).anomalous
    assert flagged.mean() <= 0.3 < flagged.mean() + 2 / len(flagged)
    again, before = made.score(str(normals)), detector.score(str(normals))
    np.testing.assert_array_equal(again.values, before.values)
    step = (made.rule.thresholds - detector.rule.thresholds) / [1, -1]
    width = np.subtract(*np.percentile(detector.rule.normals, [75, 25], axis=0))
    np.testing.assert_allclose(step[0] / width[0], step[1] / width[1], rtol=1e-6)
    card = read_card(made.folder, kind="detector")
    assert card.name == "ours" and not card.metrics and "another site" in card.notes[0]
    assert card.point().budget == 0.3 and not (made.folder / "metrics.json").exists()
    assert "another site" in (made.folder / "README.md").read_text()
    assert set(json.loads((made.folder / "card.json").read_text())["files"]) == {
        p.name for p in made.folder.iterdir()
    } - {"card.json"}


def test_sick_or_too_few_are_refused_and_leave_nothing(detector, phantoms, normals, tmp_path):
    with pytest.raises(ValueError, match="not labelled normal"):
        calibrate_detector(detector, str(phantoms), tmp_path / "a", progress=False)
    few = sorted(normals.iterdir())[:3]
    with pytest.raises(ValueError, match="too few to promise.*19 patients are needed"):
        calibrate_detector(detector, few, tmp_path / "b", budget=0.05, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_normals_that_it_was_fitted_on_are_refused_wherever_they_lie(
    detector, phantoms, normals, tmp_path
):
    lines = read_split(detector.folder / SPLIT)
    fitted = next(r["path"] for r in lines if (r["split"], r["label"]) == ("train", "normal"))
    mixed = shutil.copytree(normals, tmp_path / "mixed")
    shutil.copy(phantoms / fitted, mixed / "another-name.png")
    with pytest.raises(ValueError, match="1 of the 25 .*was fitted on, such as .*another-name"):
        calibrate_detector(detector, str(mixed), tmp_path / "a", budget=0.3, progress=False)


def test_a_moved_rule_keeps_its_promise_over_draws_of_another_sites_normals():
    rng, alarms = np.random.default_rng(0), []
    names = ("reconstruction_error", "log_density")
    rule = OrRule(names, np.array([2.0, -2.0]), rng.normal(size=(200, 2)), 0.05)
    for _ in range(300):
        site = rng.normal(size=(60, 2)) * 1.5 + (1.0, -2.0)
        moved = rule.moved(site[:40], None)
        alarms.append(moved.judge(site[40:]).anomalous.mean())
    assert 0.03 < np.mean(alarms) <= 0.055
    assert rule.judge(site).anomalous.mean() > 0.3
