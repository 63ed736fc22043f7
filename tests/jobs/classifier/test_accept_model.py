"""Acceptance at a site: what is judged, what is grouped, and what an adapted artifact keeps."""

import csv
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from undrawn import undrawn

from xray_tf import accept
from xray_tf.artifact import read_card, read_manifest, seal, sha256_of
from xray_tf.data.predictions import Predictions
from xray_tf.data.records import Record, Records
from xray_tf.data.sources.phantom_folder import write_phantoms
from xray_tf.data.sources.scan import scan
from xray_tf.jobs.classifier.acceptance.accept_model import accept_model
from xray_tf.jobs.classifier.acceptance.adapted import _copy_reference
from xray_tf.jobs.classifier.acceptance.familiarity import measure_familiarity
from xray_tf.jobs.classifier.acceptance.prevalence import fitted_prevalence, read_prevalence
from xray_tf.jobs.classifier.evaluate_model import evaluate_model
from xray_tf.jobs.run import Run
from xray_tf.models.load import load
from xray_tf.pages.acceptance.words import summary_lines
from xray_tf.stats.acceptance.prior_shift import adapt

QUICK = {"bootstrap": 40, "acquisitions": False, "progress": False}
SECRETS = ("Ada Lovelace", "1815-12-10", "MRN-77", "op-")


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Leave out what costs most and is tested elsewhere: the shipped segmenter, and painting."""
    part = "xray_tf.jobs.classifier.acceptance.familiarity.lung_warnings"
    with undrawn(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(part, lambda pixels: [""] * len(pixels))
        yield


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A manifest of phantoms with columns that group them, and with some that must go nowhere."""
    folder = write_phantoms(tmp_path_factory.mktemp("site") / "data", patients=72, seed=5, size=64)
    path, head = folder / "local.csv", "path label subtype patient Site age PatientName birth_date"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*head.split(), "MRN", "operator"])
        for i, r in enumerate(scan(folder).records):
            where = ("north", "South", "south")[i % 3]
            about = [where, ("3", "040Y", "")[i % 3], *SECRETS[:3], f"op-{i}"]
            writer.writerow([r.path, r.label, r.subtype, r.patient, *about])
    return path


@pytest.fixture(scope="module")
def accepted(binary, site, cache, tmp_path_factory):
    """Everything at once, through the command."""
    out, old = tmp_path_factory.mktemp("accept") / "out", tmp_path_factory.mktemp("old") / "model"
    shutil.copytree(binary.folder, old)
    before = {p: p.read_bytes() for p in old.rglob("*") if p.is_file()}
    args = ["--model", str(old), "--data", str(site), "--out", str(out), "--cache", str(cache)]
    args += ["--require", "sensitivity>=0.2,specificity>=0.2", "--recalibrate", "--no-acquisitions"]
    args += ["--prevalence", "em", "--compare", str(binary.folder), "--bootstrap", "40"]
    assert accept.main(args) == 0
    assert before == {p: p.read_bytes() for p in old.rglob("*") if p.is_file()}, "the old changed"
    return out, json.loads((out / "acceptance.json").read_text())


def test_its_figures_are_those_of_evaluate(accepted, binary, site, cache):
    out, told = accepted
    metrics, rows = evaluate_model(binary, str(site), cache=str(cache), bootstrap=0, progress=False)
    assert (
        Predictions.read_csv(out / "predictions.csv").predicted.tolist() == rows.predicted.tolist()
    )
    for name in ("sensitivity", "specificity", "accuracy", "npv"):
        assert told["shares"][name]["value"] == pytest.approx(metrics["metrics"][name]["value"])
    assert told["rows"] == told["labelled"] == len(rows) == told["comparison"]["rows"]
    size = told["sample_size"]["sensitivity"]
    assert size["now"] == (rows.labels == 1).sum() and size["likely"] <= size["cautious"]
    large = told["calibration"]["in_the_large"]["pneumonia"]
    assert large["observed"] - large["mean_probability"] == pytest.approx(large["value"])
    verdict = told["verdict"]
    assert [row["metric"] for row in verdict["limits"]] == ["sensitivity", "specificity"]
    assert verdict["verdict"] in ("accepted", "rejected", "undecided")


def test_a_manifests_columns_group_the_figures(accepted):
    groups = accepted[1]["groups"]
    by = {column["column"]: column["groups"] for column in groups["columns"]}
    assert set(by) == {"site", "age"}
    assert [g["group"] for g in by["site"]] == ["south", "north"]
    assert {g["group"] for g in by["age"]} == {"2 to 5 years", "40 to 64 years", "not given"}
    for told in by.values():
        assert sum(g["rows"] for g in told) == accepted[1]["labelled"]
        hits = sum(g["shares"]["sensitivity"]["hits"] for g in told)
        assert hits == accepted[1]["shares"]["sensitivity"]["hits"]
    left = {row["column"]: row["reason"] for row in groups["left_out"]}
    assert set(left) == {"operator"} and "different values" in left["operator"]


def test_small_groups_are_said_to_be_small(accepted):
    warnings = [g["warning"] for c in accepted[1]["groups"]["columns"] for g in c["groups"]]
    assert any("fewer than 20 patients of" in w for w in warnings)


def test_what_may_identify_people_goes_nowhere(accepted):
    out, _ = accepted
    for path in (p for p in out.rglob("*") if p.is_file() and p.suffix != ".keras"):
        text = path.read_bytes()
        assert not [s for s in SECRETS if s.encode() in text], path


def test_the_recalibrated_model_is_judged_on_patients_it_was_not_fitted_on(accepted):
    out, told = accepted
    model, said = load(out / "recalibrated"), told["recalibration"]
    rows = Predictions.read_csv(model.folder / "predictions.csv")
    fitted, judged = rows.of_split("val"), rows.of_split("test")
    assert not set(fitted.patients) & set(judged.patients)
    assert (len(fitted), len(judged)) == (said["fitted_on"]["rows"], said["judged_on"]["rows"])
    assert len(fitted) + len(judged) == told["labelled"]
    assert abs(len(fitted) - len(judged)) < 0.3 * len(rows)
    after = said["metrics"]["sensitivity"]["one"]["value"]
    assert after == pytest.approx((judged.predicted[judged.labels == 1] == 1).mean())


@pytest.fixture(scope="module")
def adapted(accepted):
    return {name: load(accepted[0] / name) for name in ("recalibrated", "prior-shifted")}


def test_an_adapted_model_answers_what_was_fitted(accepted, adapted, site):
    """The intercept lies in the network itself, so every way of opening it has it."""
    out, told = accepted
    old = Predictions.read_csv(out / "predictions.csv")
    odds = np.log(old.probabilities[:, 1] / old.probabilities[:, 0])
    chosen = slice(0, 24)
    files = [str(site.parent / p) for p in old.paths[chosen]]
    said = told["recalibration"]
    before, after = said["temperature"]
    expected = 1 / (1 + np.exp(-(odds * before / after + said["intercepts"][0])))
    kept = Predictions.read_csv(adapted["recalibrated"].folder / "predictions.csv")
    of = dict(zip(kept.paths, kept.probabilities[:, 1], strict=True))
    np.testing.assert_allclose([of[p] for p in old.paths], expected, atol=1e-9)
    new = adapted["recalibrated"].predict(files)
    np.testing.assert_allclose(new.probabilities[:, 1], expected[chosen], atol=1e-5)
    shift = told["prior_shift"]
    here = np.array([cell["value"] for cell in shift["here"].values()])
    expected = adapt(old.probabilities, list(shift["fitted"].values()), here)[:, 1]
    assert here[1] == pytest.approx(expected.mean(), abs=1e-3)  # what EM converges to
    new = adapted["prior-shifted"].predict(files)
    np.testing.assert_allclose(new.probabilities[:, 1], expected[chosen], atol=1e-5)
    assert new.predicted.tolist() == old.predicted[chosen].tolist(), "decisions stay"


def test_an_adapted_models_card_says_what_it_is(accepted, binary):
    out, _ = accepted
    for name in ("recalibrated", "prior-shifted"):
        card = read_card(out / name, kind="classifier")
        origin = card.provenance
        assert card.name == name and origin["started_from"][0]["name"] == binary.card.name
        assert origin["adaptation"]["kind"] == name and origin["time"]
        assert origin["adaptation"]["data"]["radiographs"] > 50
        assert origin["command_line"].startswith("python -m xray_tf.accept --model")
        assert (
            origin["options"]["TrainOptions"] == binary.card.provenance["options"]["TrainOptions"]
        )
        text = (out / name / "README.md").read_text()
        assert binary.card.name in text and "Assumed" in text or "one site" in text
        assert (out / name / "report.html").is_file()


def test_rows_of_the_site_are_known_to_the_recalibrated_model(
    accepted, adapted, site, cache, tmp_path
):
    told = accept_model(
        adapted["recalibrated"],
        str(site),
        tmp_path / "again",
        require="sensitivity>=0.1",
        prevalence="0.05",
        cache=str(cache),
        **QUICK,
    )
    before = accepted[1]["recalibration"]
    assert any("thresholds were fitted on" in note for note in told["notes"])
    assert told["seen"] == before["fitted_on"]["rows"] and accepted[1]["seen"] == 0
    assert "counts for nothing" in (tmp_path / "again" / "report.html").read_text()
    fitted = before["fitted_on"]
    expected = fitted["class_counts"]["pneumonia"] / fitted["rows"]
    assert told["prior_shift"]["fitted"]["pneumonia"] == pytest.approx(expected)
    assert told["decision_curve"]["prevalence"] == pytest.approx(0.05)


def test_a_model_beside_itself_differs_by_nothing(accepted):
    told = accepted[1]["comparison"]
    assert all(cell["difference"]["value"] == 0 for cell in told["metrics"].values())
    assert told["auroc"]["pneumonia"]["p"] == 1 and not told["agreement"]["only_one_right"]
    assert told["net_benefit"]["one"] == told["net_benefit"]["other"]


def test_more_classes_are_judged_by_their_recalls(three_class, site, cache, tmp_path, monkeypatch):
    part = "xray_tf.jobs.classifier.acceptance.recalibrate.FEWEST_PATIENTS"
    monkeypatch.setattr(part, 4)
    looks = "xray_tf.jobs.classifier.acceptance.accept_model.acquisition_groups"
    found = lambda records, *_: SimpleNamespace(groups=np.arange(len(records)) % 2)  # noqa: E731
    monkeypatch.setattr(looks, found)
    shares = "normal=0.8,bacterial=0.1,viral=0.1"
    told = accept_model(
        three_class,
        str(site),
        tmp_path / "out",
        require="recall/normal>=0.1",
        recalibrate=True,
        prevalence=shares,
        cache=str(cache),
        **{**QUICK, "acquisitions": True},
    )
    columns = {c["column"]: c["groups"] for c in told["groups"]["columns"]}
    assert {g["group"] for g in columns["acquisition"]} == {"group 0", "group 1"}
    assert set(told["sample_size"]) == {
        "margin",
        *(f"recall/{n}" for n in told["prior_shift"]["here"]),
    }
    assert len(told["recalibration"]["intercepts"]) == 3
    assert told["prior_shift"]["ppv"] is None
    old, new = three_class, load(tmp_path / "out" / "prior-shifted")
    files = [
        str(site.parent / p)
        for p in Predictions.read_csv(tmp_path / "out" / "predictions.csv").paths[:12]
    ]
    before, after = old.predict(files), new.predict(files)
    assert before.predicted.tolist() == after.predicted.tolist()
    assert after.probabilities[:, 0].mean() != pytest.approx(before.probabilities[:, 0].mean())


def test_without_labels_distance_and_prevalence_are_still_told(binary, site, cache, tmp_path):
    folder = tmp_path / "bare"
    folder.mkdir()
    for i, path in enumerate(sorted(site.parent.glob("train/*/*.png"))[::4]):
        shutil.copy(path, folder / f"{i}.png")
    how = {**QUICK, "source": "flat", "cache": str(cache)}
    told = accept_model(binary, str(folder), tmp_path / "out", prevalence="em", **how)
    assert told["labelled"] == 0 and told["metrics"] is None and told["verdict"] is None
    assert told["familiarity"]["rows"] == told["rows"] > 15
    assert told["prior_shift"]["observed"] is None
    assert "low" in told["prior_shift"]["here"]["normal"]
    assert summary_lines(told)[0].startswith("No verdict")
    assert "No verdict" in (tmp_path / "out" / "report.html").read_text()
    with pytest.raises(ValueError, match="need labelled"):
        accept_model(binary, str(folder), tmp_path / "no", require="sensitivity>=0.9", **how)
    assert not (tmp_path / "no").exists()


def test_the_distance_is_that_of_the_reference():
    unusual = np.array([2.0, 40.0, 96.0, 99.0])
    reference = SimpleNamespace(ask=lambda vectors, records: SimpleNamespace(unusual=unusual))
    pixels = np.full((4, 16, 16), 90, np.uint8)
    pixels[0, :8] = 250
    records = Records([Record(f"{i}.png", patient=f"p{i // 2}") for i in range(4)])
    sample = SimpleNamespace(
        classifier=SimpleNamespace(finder=SimpleNamespace(reference=reference)),
        corpus=SimpleNamespace(records=records, rows=np.arange(4), pixels=pixels),
        embeddings=np.zeros((4, 2)),
    )
    said = measure_familiarity(sample, 0, Run(progress=False))
    assert (said["unusual"]["hits"], said["unusual"]["patients"], said["flat"]["hits"]) == (2, 2, 3)
    assert said["farther"]["value"] == pytest.approx(unusual.mean() / 100)
    assert said["percentiles"] == unusual.tolist() and not said["reason"]


def test_an_adapted_model_keeps_the_reference_of_its_training_radiographs(tmp_path):
    old, new = tmp_path / "old" / "reference", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir(parents=True)
    (new / "model.keras").write_bytes(b"other biases")
    (old / "reference.npz").write_bytes(b"embeddings")
    (old / "reference.json").write_text(json.dumps({"model_sha256": "that of the old", "k": 5}))
    files = {name: sha256_of(old / name) for name in ("reference.json", "reference.npz")}
    (old / "manifest.json").write_text(json.dumps({"files": files}))
    _copy_reference(old, new)
    read_manifest(new / "reference")
    about = json.loads((new / "reference" / "reference.json").read_text())
    assert about == {"model_sha256": sha256_of(new / "model.keras"), "k": 5}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"require": "sensitivity>9"}, "limits must be like"),
        ({"require": "sensitivty>=0.9"}, "sensitivity"),
        ({"prevalence": "1.2"}, "prevalence must be"),
        ({"recalibrate": True}, "out is None"),
    ],
)
def test_what_does_not_fit_is_refused(options, message, binary, site, cache):
    with pytest.raises(ValueError, match=message):
        accept_model(binary, str(site), cache=str(cache), **{**QUICK, **options})


def test_models_of_other_classes_are_not_compared(binary, three_class, site, cache):
    with pytest.raises(ValueError, match="same classes"):
        accept_model(binary, str(site), cache=str(cache), compare=three_class, **QUICK)


def test_prevalences_are_read():
    names = ("normal", "pneumonia")
    np.testing.assert_allclose(read_prevalence("0.1", names), [0.9, 0.1])
    np.testing.assert_allclose(read_prevalence("pneumonia=0.2,normal=0.8", names), [0.8, 0.2])
    assert read_prevalence("EM", names) == "em" and read_prevalence(None, names) is None
    for text in ("normal=0.5", "0", "a=0.5,b=0.5", "normal=0.5,pneumonia=0.4", "0.1,0.2"):
        with pytest.raises(ValueError, match="prevalence must be"):
            read_prevalence(text, names)


def test_a_model_that_does_not_say_its_rows_is_not_adapted(binary, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(binary.folder, model)
    (model / "predictions.csv").unlink()
    seal(model, replace(binary.card, files={}))
    with pytest.raises(ValueError, match="no predictions of its validation rows"):
        fitted_prevalence(load(model))
