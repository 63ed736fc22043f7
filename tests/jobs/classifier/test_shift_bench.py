"""The shift bench: the numbers of every cell are those of the changed pixels, and the summary is
their plain average.
"""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from xray_tf.data.sample import draw_rows
from xray_tf.data.synthetic.stresses import STRESSES, apply_stress
from xray_tf.data.tables.split_file import write_split
from xray_tf.evaluate import main
from xray_tf.jobs.classifier.evaluate_model import evaluate_model
from xray_tf.jobs.classifier.shift_bench import measure_shift, summarise
from xray_tf.jobs.corpus import read_corpus
from xray_tf.options import DataOptions, EvaluateOptions, ShiftOptions
from xray_tf.stats.metric_rows import under_change
from xray_tf.stats.metrics import score
from xray_tf.stats.paired import Conditions

FEW = ShiftOptions(shift=True, stresses="darker,noise", shift_rows=0, shift_bootstrap=20)
NUMBERS = EvaluateOptions(bootstrap=20)
ABOUT = {"split": "test", "operating_point": "balanced", "split_by": "patient"}


@pytest.fixture(scope="module")
def corpus(phantoms, cache):
    return read_corpus(
        str(phantoms), "binary", DataOptions(cache=str(cache)), 32, "crop", progress=False
    )


@pytest.fixture(scope="module")
def result(binary, corpus):
    return measure_shift(binary, corpus, FEW)


def test_a_cell_is_what_scoring_the_changed_pixels_gives(binary, corpus, cache, result):
    pixels = apply_stress(
        np.asarray(corpus.pixels[corpus.rows]), "noise", 24, 0, [r.sha256 for r in corpus.records]
    )
    probabilities = binary.probabilities_of(binary.forward(pixels)["logits"])
    decided = binary.card.point("balanced").decide(probabilities)
    direct = score(
        probabilities,
        corpus.labels,
        decided,
        corpus.records.column("patient"),
        binary.card.class_names,
        20,
    )
    noise = next(s for s in result["stresses"] if s["name"] == "noise")
    assert noise["severities"][2] == 24
    for metric, cell in noise["cells"][2].items():
        assert cell == {k: direct["metrics"][metric][k] for k in ("value", "low", "high")}
    clean, _ = evaluate_model(
        binary,
        str(corpus.records.root),
        None,
        DataOptions(cache=str(cache)),
        NUMBERS,
        progress=False,
    )
    assert all(
        result["clean"][m]["value"] == pytest.approx(clean["metrics"][m]["value"])
        for m in result["metrics"]
    )


def made_up(task_classes=2, cells=7, rows=60, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % task_classes
    logits = rng.normal(size=(cells, rows, task_classes)) + 1.5 * np.eye(task_classes)[labels]
    # tied scores for two classes
    probabilities = np.round(
        np.exp(logits) / np.exp(logits).sum(-1, keepdims=True), 1 if task_classes == 2 else 6
    )
    probabilities /= probabilities.sum(-1, keepdims=True)
    names = ("normal", "pneumonia") if task_classes == 2 else ("normal", "bacterial", "viral")
    return (
        probabilities,
        probabilities.argmax(-1),
        labels,
        [f"p{i // 2}" for i in range(rows)],
        names,
    )


@pytest.mark.parametrize("classes", [2, 3])
def test_mean_and_drop_are_plain_averages_over_the_cells(classes):
    made = made_up(classes)
    probabilities, decided, labels, patients, names = made
    out = summarise(Conditions(*made), ["darker", "noise"], FEW, ABOUT)
    assert out["metrics"] == under_change(names)
    for m in out["metrics"]:
        values = [c[m]["value"] for s in out["stresses"] for c in s["cells"]]
        assert len(values) == 6 and out["mean"][m]["value"] == pytest.approx(np.mean(values))
        assert out["drop"][m]["value"] == pytest.approx(out["clean"][m]["value"] - np.mean(values))
        assert out["mean"][m]["low"] <= out["mean"][m]["value"] <= out["mean"][m]["high"]
        means = {s["name"]: s["mean"][m] for s in out["stresses"]}
        assert out["worst"][m] == {
            "stress": min(means, key=means.get),
            "value": min(means.values()),
        }
        assert (
            out["groups"]["intensity"][m] == means["darker"]
            and out["groups"]["detail"][m] == means["noise"]
        )
    cell = score(probabilities[4], labels, decided[4], patients, names, 20)
    assert out["stresses"][1]["cells"][0]["auroc"]["value"] == cell["metrics"]["auroc"]["value"]


@pytest.mark.parametrize("classes", [2, 3])
def test_the_summarys_interval_is_that_of_resampling_patients_by_hand(classes):
    made = made_up(classes)
    probabilities, decided, labels, patients, names = made
    options = ShiftOptions(stresses="darker,noise", shift_bootstrap=60, shift_seed=4)
    out = summarise(Conditions(*made), ["darker", "noise"], options, ABOUT)
    # the bootstrap draws whole patients, in the order in which they are first seen, from
    # default_rng(seed); each has a pair of rows
    in_order = list(dict.fromkeys(patients))
    draws = np.random.default_rng(4).integers(0, 30, size=(60, 30))
    found = {m: [] for m in ("auroc", "balanced_accuracy", "drop")}
    for draw in draws:
        rows = np.concatenate(
            [[i for i, p in enumerate(patients) if p == in_order[d]] for d in draw]
        )
        each = [
            score(probabilities[c][rows], labels[rows], decided[c][rows], None, names, 0)["metrics"]
            for c in range(7)
        ]
        for m in ("auroc", "balanced_accuracy"):
            found[m].append(np.mean([e[m]["value"] for e in each[1:]]))
        found["drop"].append(each[0]["auroc"]["value"] - found["auroc"][-1])
    for m in ("auroc", "balanced_accuracy"):
        assert (out["mean"][m]["low"], out["mean"][m]["high"]) == pytest.approx(
            tuple(np.percentile(found[m], [2.5, 97.5]))
        )
    assert (out["drop"]["auroc"]["low"], out["drop"]["auroc"]["high"]) == pytest.approx(
        tuple(np.percentile(found["drop"], [2.5, 97.5]))
    )


def test_rows_of_one_class_leave_out_what_does_not_exist():
    probabilities, decided, _, patients, names = made_up()
    one_class = Conditions(probabilities, decided, np.zeros(60, np.int64), patients, names)
    out = summarise(one_class, ["darker", "noise"], FEW, ABOUT)
    for part in ("clean", "mean", "drop", "worst"):
        assert out[part]["auroc"]["value"] is None and out[part]["sensitivity"]["value"] is None
        assert out[part]["specificity"]["value"] is not None
    json.dumps(out, allow_nan=False)


@pytest.mark.parametrize(
    ("limit", "counts"),
    [
        (0, [70, 20, 10]),
        (30, [10, 10, 10]),
        (50, [20, 20, 10]),
        (200, [70, 20, 10]),
        (3, [1, 1, 1]),
    ],
)
def test_drawn_rows_are_as_even_as_the_classes_allow(limit, counts):
    labels = np.repeat([0, 1, 2, -1], [70, 20, 10, 5])
    patients = [f"p{i}" for i in range(len(labels))]
    rows = draw_rows(labels, patients, limit, 0)
    assert np.bincount(labels[rows], minlength=3).tolist() == counts and (np.diff(rows) > 0).all()
    assert set(draw_rows(labels, patients, 3, 0)) <= set(draw_rows(labels, patients, 30, 0))
    if limit == 30:
        assert not np.array_equal(rows, draw_rows(labels, patients, limit, 1))


def test_the_command_scores_one_part_of_an_earlier_split_and_writes_the_bench(
    binary, phantoms, cache, tmp_path, capsys
):
    out = tmp_path / "out"
    line = [
        "--model",
        str(binary.folder),
        "--data",
        str(phantoms),
        "--cache",
        str(cache),
        "--bootstrap",
        "20",
        "--out",
        str(out),
        "--part",
        "test",
        "--split",
        str(binary.folder / "split.csv"),
        "--shift",
        "--stresses",
        "jpeg,no-border",
        "--shift-rows",
        "8",
        "--shift-bootstrap",
        "10",
    ]
    assert main(line) == 0, capsys.readouterr().err
    metrics = json.loads((out / "metrics.json").read_text())
    trained = json.loads((binary.folder / "metrics.json").read_text())
    assert metrics["split"] == "test" and metrics["rows"] == trained["rows"]
    assert metrics["metrics"]["auroc"]["value"] == pytest.approx(
        trained["metrics"]["auroc"]["value"]
    )
    shift = json.loads((out / "shift.json").read_text())
    assert (shift["rows"], shift["split"], [s["name"] for s in shift["stresses"]]) == (
        8,
        "test",
        ["jpeg", "no-border"],
    )
    with (out / "shift.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(r["stress"], r["severity"]) for r in rows] == [
        ("clean", ""),
        *((n, str(s)) for n in ("jpeg", "no-border") for s in STRESSES[n].severities),
    ]
    assert float(rows[3]["specificity"]) == pytest.approx(
        shift["stresses"][0]["cells"][2]["specificity"]["value"], abs=1e-6
    )
    assert (out / "shift.png").read_bytes()[
        :4
    ] == b"\x89PNG" and "on average over the changes" in capsys.readouterr().out


def test_three_classes_give_a_recall_each(three_class, corpus):
    out = measure_shift(
        three_class, corpus, ShiftOptions(stresses="darker", shift_rows=9, shift_bootstrap=5)
    )
    assert out["metrics"] == [
        "recall/normal",
        "recall/bacterial",
        "recall/viral",
        "auroc",
        "balanced_accuracy",
        "accuracy",
    ]
    assert (
        out["class_counts"] == {"normal": 3, "bacterial": 3, "viral": 3}
        and out["clean"]["recall/viral"]["value"] is not None
    )


def test_a_split_decides_which_rows_are_scored(binary, corpus, phantoms, cache, tmp_path):
    half = list(corpus.records)[::2]
    half = corpus.records.with_rows(half).with_split(
        "val" if i % 2 else "test" for i in range(len(half))
    )
    options = DataOptions(cache=str(cache), split=str(write_split(half, tmp_path / "split.csv")))
    for part in ("val", "test", "all"):
        _, predictions = evaluate_model(
            binary, str(phantoms), None, options, NUMBERS, part=part, progress=False
        )
        wanted = [r for r in half if part in ("all", r.split)]
        assert list(predictions.paths) == [r.path for r in wanted]
        by_path = dict(zip(corpus.records.column("path"), corpus.rows, strict=True))
        direct = binary.probabilities_of(
            binary.forward(corpus.pixels[[by_path[r.path] for r in wanted]])["logits"]
        )
        np.testing.assert_allclose(predictions.probabilities, direct, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"part": "test"}, "no radiograph of the part 'test'"),
        ({"part": "holdout"}, "part must be one of"),
        ({"shift_options": FEW}, "out is None"),
    ],
)
def test_what_cannot_be_scored_is_refused(binary, phantoms, cache, arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluate_model(
            binary,
            str(phantoms),
            None,
            DataOptions(cache=str(cache)),
            NUMBERS,
            progress=False,
            **arguments,
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stresses": "fog"}, "stresses must be some of all"),
        ({"labels": False}, "no labelled radiograph"),
    ],
)
def test_a_bench_without_rows_or_stresses_is_refused(binary, corpus, change, message):
    if "labels" in change:
        nameless = (replace(r, label="", subtype="") for r in corpus.records)
        corpus = replace(corpus, records=corpus.records.with_rows(nameless))
    with pytest.raises(ValueError, match=message):
        measure_shift(binary, corpus, ShiftOptions(stresses=change.get("stresses", "darker")))
