"""A study goes on where it was killed, skips what is done, overwrites nothing unasked, and says
before hours are spent what it lacks.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_study import run_small_study
from tiny import WITH_TINY

from xray_tf.artifact import ArtifactError
from xray_tf.data.tables.split_file import read_split
from xray_tf.locks import BusyError, locked
from xray_tf.options import DataOptions, ModelOptions, ReproduceOptions, TrainOptions
from xray_tf.registry import TASKS
from xray_tf.shipped import find_model
from xray_tf.study import reproduce_study as engine
from xray_tf.study import runs
from xray_tf.study import stages as rows
from xray_tf.study.presets import PRESETS, Preset, Recipe, make_preset
from xray_tf.study.reproduce_study import reproduce_study
from xray_tf.study.runs import limit
from xray_tf.study.stages import Stage, stages_of
from xray_tf.study.study import Study

TINY = Preset(
    (
        Recipe(
            ModelOptions("tiny", image_size=32, weights=None, region="whole"),
            TrainOptions(epochs=1, fine_tune="none", steady_rows=0, precision="float32"),
        ),
    ),
    "tiny",
)


class Bench:
    """Four stages that write what they are told, and a log of what was run."""

    def __init__(self, out):
        self.out, self.ran, self.options, self.broken = (
            out,
            [],
            {"a": 1, "b": 1, "c": 1, "d": 1},
            "",
        )

    def stage(self, name, after=()):
        def run():
            self.ran.append(name)
            if name == self.broken:
                raise ValueError("broken on purpose")
            (self.out / name).mkdir()
            (self.out / name / "value").write_text(str(self.options[name]))

        return Stage(name, "letter", name, run, {"value": self.options[name]}, after)

    def stages(self, study):
        return [
            self.stage("a"),
            self.stage("b", ("a",)),
            self.stage("c", ("b",)),
            self.stage("d", ("a",)),
        ]


@pytest.fixture
def bench(tmp_path, phantoms, cache, monkeypatch):
    bench = Bench(tmp_path / "study")
    monkeypatch.setattr(engine, "stages_of", bench.stages)
    monkeypatch.setitem(PRESETS, "quick", TINY)

    def run(**more):
        bench.ran = []
        reproduce_study(
            str(phantoms),
            bench.out,
            ReproduceOptions(preset="quick"),
            DataOptions(cache=str(cache)),
            progress=False,
            **more,
        )
        return bench.ran

    bench.run = run
    return bench


def test_what_is_done_is_skipped(bench):
    assert bench.run() == ["a", "b", "c", "d"]
    before = (bench.out / "report.html").stat().st_mtime_ns
    assert bench.run() == [] and (bench.out / "report.html").stat().st_mtime_ns == before


def test_a_stage_that_failed_is_run_again_and_those_before_it_are_not(bench):
    bench.broken = "c"
    with pytest.raises(ValueError, match="on purpose"):
        bench.run()
    assert bench.ran == ["a", "b", "c"] and not (bench.out / "report.html").exists()
    bench.broken = ""
    assert bench.run() == ["c", "d"]


def test_a_changed_option_is_refused_by_name_and_made_again_with_force_as_is_all_that_rests_on_it(
    bench,
):
    bench.run()
    bench.options["b"] = 2
    with pytest.raises(
        FileExistsError, match=r"b \(value 1 -> 2\); 1 more depend on them.*--force"
    ):
        bench.run()
    assert (bench.out / "b" / "value").read_text() == "1"
    assert bench.run(force=True) == ["b", "c"] and (bench.out / "b" / "value").read_text() == "2"
    assert bench.run() == [] and not list(bench.out.glob(".*replaced"))


def test_force_alone_makes_nothing_again_that_has_not_changed(bench):
    bench.run()
    assert bench.run(force=True) == []
    assert bench.run(force=True, only=["d"]) == ["d"]
    assert bench.run(force=True, only=["b"]) == ["b", "c"]


def test_what_a_failed_replacement_stood_for_is_put_back(bench):
    bench.run()
    bench.options["d"], bench.broken = 2, "d"
    with pytest.raises(ValueError, match="on purpose"):
        bench.run(force=True)
    assert (bench.out / "d" / "value").read_text() == "1"
    bench.options["d"] = 1
    assert bench.run() == []


def test_only_runs_what_is_named_and_says_what_it_lacks(bench):
    with pytest.raises(ValueError, match="stage c needs the results of b"):
        bench.run(only=["a", "c"])
    assert bench.run(only=["a"]) == ["a"] and bench.run(only=["letter"]) == ["b", "c", "d"]
    assert bench.run(only=["report"]) == []
    with pytest.raises(ValueError, match="'nonsense'"):
        bench.run(only=["nonsense"])


def test_a_folder_without_a_record_is_not_touched(bench):
    bench.run(only=["a"])
    (bench.out / "b").mkdir()
    with pytest.raises(FileExistsError, match="b/ has no record"):
        bench.run()


def test_a_damaged_record_is_named_with_a_way_out_that_works(bench):
    bench.run()
    record = bench.out / "stages" / "b.json"
    record.write_text("{broken")
    with pytest.raises(
        ValueError, match="b.json is damaged .* Remove it and run again with --force"
    ):
        bench.run()
    record.unlink()
    assert bench.run(force=True) == ["b", "c"]


def test_a_stage_killed_between_its_folder_and_its_record_counts_as_done(bench):
    bench.run()
    path = bench.out / "stages" / "c.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "finished": ""}))
    assert bench.run() == [] and json.loads(path.read_text())["finished"]


def test_other_radiographs_are_refused(bench, tmp_path, cache):
    bench.run()
    with pytest.raises(FileExistsError, match="the radiographs"):
        reproduce_study(
            "phantom:9:4",
            bench.out,
            ReproduceOptions(preset="quick"),
            DataOptions(cache=str(cache)),
            progress=False,
        )


def test_two_runs_do_not_work_in_one_folder(bench):
    bench.run(only=["a"])
    with ThreadPoolExecutor(1) as other:
        lock = locked(bench.out)
        other.submit(lock.__enter__).result()
        with pytest.raises(BusyError, match="is being written by"):
            bench.run()
        other.submit(lock.__exit__, None, None, None).result()


def test_a_folder_of_something_else_is_refused(bench):
    bench.out.mkdir()
    (bench.out / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="never overwritten"):
        bench.run()


def test_a_dry_run_leaves_nothing(bench, capsys, monkeypatch):
    monkeypatch.setattr(engine, "stages_of", rows.stages_of)
    monkeypatch.setattr("xray_tf.study.estimates.measure_rate", lambda recipe: 10.0)
    reproduce_study("phantom:9:4", bench.out, ReproduceOptions(preset="quick"), dry_run=True)
    said = capsys.readouterr().out
    assert (
        not bench.out.exists()
        and "train-binary-tiny" in said
        and "to do, about" in said
        and ("10.0 forward passes a second") in said
    )
    assert "Synthetic radiographs without patients" in said


def test_missing_imagenet_weights_stop_the_study_before_anything_is_run(bench, monkeypatch):
    from xray_tf.nets import classifier
    from xray_tf.nets.trunks.weights import WeightsUnavailable

    def nothing(*args):
        raise WeightsUnavailable("no network")

    monkeypatch.setattr(classifier, "build_classifier", nothing)
    monkeypatch.setattr(engine, "stages_of", rows.stages_of)
    with pytest.raises(
        OSError,
        match=r"(?s)Nothing was "
        r"run.*resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5.*~/.keras/models.*--weights "
        r"none",
    ):
        reproduce_study(
            "phantom:9:4",
            bench.out,
            ReproduceOptions(preset="report"),
            DataOptions(cache=str(bench.out.parent / "c")),
            progress=False,
        )
    assert not bench.out.exists()


def test_weights_in_a_folder_that_lacks_a_file_stop_the_study_before_anything_is_run(
    bench, monkeypatch, tmp_path
):
    donor = tmp_path / "donor"
    donor.mkdir()
    for name in ("model.keras", "card.json"):
        shutil.copy(find_model("pneumonia-three-class") / name, donor)
    monkeypatch.setattr(engine, "stages_of", rows.stages_of)
    with pytest.raises(ArtifactError, match="donor is incomplete: .* is missing"):
        reproduce_study(
            "phantom:9:4",
            bench.out,
            ReproduceOptions(preset="best", weights=str(donor / "model.keras")),
            DataOptions(cache=str(bench.out.parent / "c")),
            progress=False,
        )
    assert not bench.out.exists()


def test_the_report_preset_is_the_reports_recipe():
    recipes = {r.name: r for r in PRESETS["report"].recipes}
    assert list(recipes) == ["binary-resnet101", "three-class-resnet18", "three-class-resnet101"]
    assert (
        recipes["three-class-resnet18"].model.adapter
        and not recipes["three-class-resnet101"].model.adapter
    )
    for recipe in recipes.values():
        assert (
            recipe.train.method,
            recipe.train.fine_tune,
            recipe.train.augment,
            recipe.model.weights,
        ) == ("head", "none", "light", "imagenet")
    assert PRESETS["best"].recipes[0] == Recipe(ModelOptions(), TrainOptions(task="binary"))


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (None, {"resnet101": "imagenet", "resnet18": "imagenet"}),
        ("none", {"resnet101": "none", "resnet18": "none"}),
        ("resnet18=some.h5,resnet101=none", {"resnet101": "none", "resnet18": "some.h5"}),
    ],
)
def test_weights_are_given_for_all_trunks_or_for_each(weights, expected):
    preset = make_preset(ReproduceOptions(weights=weights))
    assert {r.model.backbone: r.model.weights for r in preset.recipes} == expected


def test_the_demo_has_one_classifier_and_splits_for_the_detector_too(tmp_path):
    study = Study(tmp_path, "phantom:9", DataOptions(), ReproduceOptions(), PRESETS["demo"])
    kinds = [stage.kind for stage in stages_of(study)]
    assert len(kinds) == len(set(kinds)) == 8
    assert study.tasks == ("binary", "three-class")


def test_a_classifier_is_opened_once_for_all_stages_about_it(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(runs, "load", lambda folder, kind: opened.append(folder.name) or folder)
    study = Study(tmp_path, "phantom:9", DataOptions(), ReproduceOptions(), PRESETS["quick"])
    first, second = study.preset.recipes
    for recipe in (first, first, second, second, first):
        assert runs._opened(study, recipe) == tmp_path / "models" / recipe.name
    assert opened == [first.name, second.name, first.name] and len(study.opened) == 1


def test_options_change_every_recipe():
    options = ReproduceOptions(backbone="efficientnet_lite0", epochs=2, image_size=64, seed=5)
    preset = make_preset(options)
    assert [r.name for r in preset.recipes] == [
        "binary-efficientnet_lite0",
        "three-class-efficientnet_lite0",
    ]
    assert {(r.train.epochs, r.train.seed, r.model.adapter) for r in preset.recipes} == {
        (2, 5, False)
    } and preset.detect.epochs == 2
    assert {r.model.image_size for r in preset.recipes} == {preset.detect.image_size} == {64}
    with pytest.raises(ValueError, match="multiple of 32. Received: image_size=100"):
        make_preset(ReproduceOptions(image_size=100))


def test_options_of_a_phase_that_is_not_run_decide_nothing():
    study = rows.Study(None, "phantom", DataOptions(), ReproduceOptions(), PRESETS["report"])
    faster = replace(
        study,
        preset=replace(
            study.preset,
            recipes=tuple(
                replace(r, train=replace(r.train, fine_tune_learning_rate=0.5))
                for r in study.preset.recipes
            ),
        ),
    )
    slower = replace(
        study,
        preset=replace(
            study.preset,
            recipes=tuple(
                replace(r, train=replace(r.train, learning_rate=0.5)) for r in study.preset.recipes
            ),
        ),
    )
    same, other, changed = (
        [s.options for s in rows.stages_of(one) if s.kind == "train"]
        for one in (study, faster, slower)
    )
    assert same == other and same != changed


def test_a_study_takes_the_split_of_an_earlier_run_and_tells_when_it_is_another_one(
    tmp_path, phantoms, cache, monkeypatch
):
    monkeypatch.setitem(PRESETS, "quick", TINY)
    out, given = tmp_path / "out", tmp_path / "split.csv"

    def run(**options):
        data = DataOptions(cache=str(cache), **options)
        how = ReproduceOptions(preset="quick")
        reproduce_study(str(phantoms), out, how, data, only=["split"], progress=False)

    run(test=0.3)
    split = out / "split" / "binary.csv"
    lines = split.read_text().splitlines(keepends=True)
    names = [line.replace(",val,", ",TEST,").replace(",test,", ",val,") for line in lines]
    given.write_text("".join(name.replace(",TEST,", ",test,") for name in names))
    out = tmp_path / "again"
    run(split=str(given))
    parts = {row["path"]: row["split"] for row in read_split(given)}
    assert {r["path"]: r["split"] for r in read_split(out / "split" / "binary.csv")} == parts
    assert (
        json.loads((out / "study.json").read_text())["data"]["test_part"] == "given by a split.csv"
    )
    given.write_text("".join(lines))
    with pytest.raises(FileExistsError, match="split_sha256"):
        run(split=str(given))


def test_limited_rows_are_even_over_the_classes_and_the_same_for_a_seed(phantoms):
    from xray_tf.data.sources.scan import scan

    records = scan(str(phantoms)).records
    drawn = limit(records, 24, seed=3)
    assert np.bincount(drawn.class_indices(TASKS["three-class"])).tolist() == [8, 8, 8]
    assert drawn == limit(records, 24, seed=3) and drawn != limit(records, 24, seed=4)


@pytest.mark.parametrize(
    ("options", "data", "message"),
    [
        ({"weights": "resnet50=x.h5"}, {}, "NAME=VALUE"),
        ({"rows": 24}, {"split": "mine.csv"}, "Leave out one of them"),
        ({}, {"test": 0.0}, "none"),
    ],
)
def test_what_a_study_cannot_use_is_said(
    options, data, message, tmp_path, phantoms, cache, monkeypatch
):
    monkeypatch.setitem(PRESETS, "quick", TINY)
    with pytest.raises(ValueError, match=message):
        reproduce_study(
            str(phantoms),
            tmp_path / "out",
            replace(ReproduceOptions(preset="quick"), **options),
            DataOptions(cache=str(cache), **data),
            progress=False,
        )


# the second epoch has moved the weights when it dies, and is not yet in the checkpoint
DIES = (
    WITH_TINY
    + f"""
sys.path.insert(0, {str(Path(__file__).parent)!r})
import os, signal
from small_study import run_small_study
from xray_tf.nets.training.loop import Training
epoch_of = Training._epoch
def epoch_that_dies(self, phase, number, epoch):
    if epoch == 1:
        phase.validate = lambda: os.kill(os.getpid(), signal.SIGKILL)
    epoch_of(self, phase, number, epoch)
Training._epoch = epoch_that_dies
run_small_study(*sys.argv[1:])
"""
)


def test_a_training_killed_with_sigkill_goes_on_and_every_page_says_that_rows_were_limited(
    phantoms, cache, tmp_path, monkeypatch, capsys
):
    args = [str(phantoms), str(tmp_path / "out"), str(cache)]
    killed = subprocess.run([sys.executable, "-c", DIES, *args], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    training = tmp_path / "out" / ".training" / ".binary-tiny.unfinished"
    assert (training / "checkpoint.npz").is_file() and not (tmp_path / "out" / "models").exists()
    monkeypatch.setitem(PRESETS, "quick", None)  # and put back
    run_small_study(*args)
    said = capsys.readouterr().out
    assert "head      epoch   1 " not in said and "1/6 train-binary-tiny" in said
    out = tmp_path / "out"
    for page in (
        out / "report.html",
        out / "models" / "binary-tiny" / "report.html",
        out / "models" / "binary-tiny" / "README.md",
    ):
        assert "Row-limited: 54 of" in page.read_text(), page
    results = {
        (r["task"], r["reader"], r["metric"]): r
        for r in json.loads((out / "results.json").read_text())
    }
    ours = results["binary", "head", "auroc"]
    metrics = json.loads((out / "models" / "binary-tiny" / "metrics.json").read_text())
    assert (
        ours["value"] == metrics["metrics"]["auroc"]["value"]
        and "row-limited study (54 of" in ours["kind"]
        and ours["best"] == 0.994
    )
    assert all(
        results[key]["value"] is not None
        for key in (("binary", "knn", "accuracy"), ("anomaly", "detector", "auroc"))
    )
    assert not re.findall("not run in this study", (out / "report.html").read_text())
    assert results["three-class", "head", "accuracy"]["value"] is None
    assert not list(out.glob(".*")) or {p.name for p in out.glob(".*")} <= {".lock"}
    assert os.path.getsize(out / "report.html") < 10e6
