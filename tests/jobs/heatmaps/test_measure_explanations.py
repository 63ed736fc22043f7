import csv
import json
import shutil

import numpy as np
import pytest

from xray_tf.data.chest.regions import FILLS, REGIONS, region_masks, without
from xray_tf.jobs.corpus import read_corpus
from xray_tf.jobs.heatmaps.faithfulness_report import (
    CONTROLS,
    decided_classes,
    measure_randomisation,
)
from xray_tf.jobs.heatmaps.measure_explanations import add_examination, measure_explanations
from xray_tf.jobs.heatmaps.shortcut_report import measure_shortcuts
from xray_tf.models.load import load
from xray_tf.models.lungs import find_fields
from xray_tf.nets.heatmaps.gradcam import GradCAM
from xray_tf.options import DataOptions, ExamineOptions
from xray_tf.stats.heatmaps.faithfulness import deletion
from xray_tf.stats.heatmaps.localisation import inside

SMALL = ExamineOptions(rows=5, steps=3, random_rows=4, depths=3, shortcut_rows=12, bootstrap=30)


@pytest.fixture(scope="module")
def corpus(binary, phantoms, cache):
    prep = binary.card.preprocessing
    return read_corpus(
        str(phantoms),
        "binary",
        DataOptions(cache=str(cache)),
        prep["image_size"],
        prep["resize"],
        progress=False,
    )


@pytest.fixture(scope="module")
def examined(binary, phantoms, cache, tmp_path_factory):
    out = tmp_path_factory.mktemp("examined") / "out"
    before = [w.copy() for w in binary.model.get_weights()]
    found = measure_explanations(
        binary, str(phantoms), out, DataOptions(cache=str(cache)), SMALL, progress=False
    )
    for one, other in zip(before, binary.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    return out, found


def test_the_folder_is_whole_and_holds_what_is_returned(examined):
    out, found = examined
    assert {p.name for p in out.iterdir()} == {
        "faithfulness.json",
        "faithfulness.csv",
        "faithfulness.npz",
        "faithfulness.png",
        "randomisation.png",
        "shortcuts.json",
        "shortcuts.csv",
        "shortcuts.png",
        "lungs.png",
        "examination.html",
        "audit.csv",
    }
    for name in ("faithfulness", "shortcuts"):
        assert json.loads((out / f"{name}.json").read_text()) == json.loads(json.dumps(found[name]))


def test_figures_are_those_of_the_statistics_on_the_same_maps(binary, corpus, examined):
    out, found = examined
    with np.load(out / "faithfulness.npz") as arrays:
        paths, decided, values = (
            arrays["paths"],
            arrays["decided"],
            arrays["grad_cam/deletion_mean"],
        )
    position = {r.path: i for i, r in enumerate(corpus.records)}
    images = np.asarray(corpus.pixels[corpus.rows[[position[p] for p in paths]]])
    np.testing.assert_array_equal(decided, decided_classes(binary, images, None, 8))
    maps = GradCAM(binary.model)(images, decided)

    def predict(pixels):
        return binary.probabilities_of(
            binary.forward(np.rint(pixels[..., 0]).astype(np.uint8))["logits"]
        )

    np.testing.assert_allclose(
        values, deletion(images, maps, predict, 3, class_index=decided)[0], atol=1e-4
    )
    result = found["faithfulness"]
    assert result["maps"]["grad_cam"]["figures"]["deletion_mean"]["value"] == pytest.approx(
        values.mean()
    )
    assert (
        result["rows"] == 5
        and set(result["maps"]) == {"grad_cam", *CONTROLS}
        and set(result["maps"]["grad_cam"]["against"]) == set(CONTROLS)
    )
    with open(out / "faithfulness.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 5 * 4 and float(rows[0]["deletion_mean"]) == pytest.approx(
        values[0], abs=1e-6
    )


def test_what_survives_a_region_is_the_score_of_pictures_without_it(binary, corpus, examined):
    out, found = examined
    with open(out / "shortcuts.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    position = {r.path: i for i, r in enumerate(corpus.records)}
    images = np.asarray(corpus.pixels[corpus.rows[[position[r["path"]] for r in rows]]])
    lungs = find_fields(images)
    gone = np.stack(
        [
            without(i, region_masks(i, m)["lungs"], "mean", np.random.default_rng(0))
            for i, m in zip(images, lungs.masks, strict=True)
        ]
    )
    np.testing.assert_allclose(
        [float(r["lungs/mean/pneumonia"]) for r in rows],
        binary.probabilities_of(binary.forward(gone)["logits"])[:, 1],
        atol=1e-4,
    )
    result = found["shortcuts"]
    assert len(rows) == result["rows"] == 12 and result["class_counts"] == {
        "normal": 6,
        "pneumonia": 6,
    }
    assert [(c["region"], c["fill"]) for c in result["cells"]] == [
        (r, f) for r in REGIONS for f in FILLS
    ]
    decided = [binary.card.class_names.index(r["decided"]) for r in rows]
    elsewhere = np.array([float(r["surroundings/pneumonia"]) for r in rows])
    other = np.stack([1 - elsewhere, elsewhere], axis=1)
    changed = np.mean(binary.card.point(result["operating_point"]).decide(other) != decided)
    assert result["surroundings"]["decisions"]["value"] == pytest.approx(changed)
    energy = inside(GradCAM(binary.model)(images, decided), lungs.masks)["energy"]
    np.testing.assert_allclose([float(r["energy_lungs"]) for r in rows], energy, atol=1e-3)


def test_a_classifier_of_the_border_alone_is_found_out(binary, corpus, monkeypatch):
    """A net that reads the class from one bright border pixel keeps its score without lungs and
    loses it without the border.
    """
    images = np.array(corpus.pixels[corpus.rows])
    images[:, 0, 0] = np.where(corpus.labels == 1, 255, 0)
    regions = map(region_masks, images, find_fields(images).masks)
    away = np.array([not r["lungs_box"][0, 0] for r in regions])  # it does not reach that pixel
    rows = np.concatenate([np.flatnonzero(away & (corpus.labels == k))[:10] for k in (0, 1)])
    labels, images = corpus.labels[rows], images[rows]
    assert np.bincount(labels).tolist() == [10, 10]
    monkeypatch.setattr(
        type(binary),
        "forward",
        lambda self, pixels, **more: {
            "logits": np.stack(
                [
                    (np.asarray(pixels[i]).reshape(-1)[:1].astype(np.float32) - 128) / 16
                    for i in range(len(pixels))
                ]
            )
        },
    )
    result, _ = measure_shortcuts(
        binary, images, [corpus.records[int(i)] for i in rows], labels, SMALL
    )
    auroc = {(c["region"], c["fill"]): c["auroc"] for c in result["cells"]}
    assert (
        result["unchanged"]["auroc"]["value"] == 1
        and auroc["lungs_box", "mean"]["value"] == 1
        and auroc["lungs", "noise"]["change"] == 0
    )
    assert auroc["border", "smooth"]["value"] < 0.9


def test_the_randomisation_check_starts_at_one_and_ends_away_from_it(binary, corpus):
    images, records = (
        np.asarray(corpus.pixels[corpus.rows[:6]]),
        [corpus.records[i] for i in range(6)],
    )
    found, arrays = measure_randomisation(binary, images, records, SMALL)
    one = found["methods"]["grad_cam"]
    assert (
        [d["share"] for d in one["depths"]][-1] == 1
        and len(one["depths"]) == 3
        and arrays["grad_cam/ssim"].shape == (3, 6)
    )
    assert one["depths"][-1]["rank_correlation"]["value"] < 0.9
    assert one["depths"][0]["layer"] == "logits"
    with pytest.raises(ValueError, match="at least two"):
        measure_randomisation(binary, images[:1], records[:1], SMALL)


def test_three_classes_and_one_part_alone(three_class, phantoms, cache, tmp_path):
    options = ExamineOptions(parts="shortcuts", shortcut_rows=9, bootstrap=10)
    found = measure_explanations(
        three_class,
        str(phantoms),
        tmp_path / "out",
        DataOptions(cache=str(cache)),
        options,
        progress=False,
    )
    assert set(found) == {"shortcuts"} and not (tmp_path / "out" / "faithfulness.json").exists()
    assert {"recall/normal", "recall/bacterial", "recall/viral"} <= set(
        found["shortcuts"]["cells"][0]
    )
    with open(tmp_path / "out" / "shortcuts.csv", newline="", encoding="utf-8") as stream:
        row = next(csv.DictReader(stream))
    assert sum(
        float(row[f"border/mean/{n}"]) for n in three_class.card.class_names
    ) == pytest.approx(1, abs=1e-5)


def test_an_examination_goes_into_the_artifact_without_any_pixel(binary, phantoms, cache, tmp_path):
    copy = shutil.copytree(binary.folder, tmp_path / "model")
    options = ExamineOptions(
        parts="shortcuts,randomisation", shortcut_rows=4, random_rows=3, depths=2, bootstrap=5
    )
    data = DataOptions(cache=str(cache))
    found = add_examination(copy, str(phantoms), data, options, progress=False)
    assert found["shortcuts"]["split"] == binary.card.metrics_split
    card = load(copy).card  # every file has the sha256 on the card
    assert {
        "shortcuts.json",
        "shortcuts.csv",
        "shortcuts.png",
        "faithfulness.json",
        "randomisation.png",
    } <= set(card.files)
    assert not {"lungs.png", "examination.html", "faithfulness.npz"} & set(card.files)
    with pytest.raises(ValueError, match="its own split.csv"):
        add_examination(copy, str(phantoms), DataOptions(split="other.csv"), options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": "grad_cam,tea_leaves"}, "methods must be some of"),
        ({"methods": " , "}, "methods must be some of"),
        ({"parts": "lungs"}, "parts must be all, or some of"),
        ({"layer": "conv9"}, "Usable layers"),
    ],
)
def test_bad_options_are_named_before_or_while_nothing_is_left(
    binary, phantoms, cache, tmp_path, options, message
):
    with pytest.raises(ValueError, match=message):
        measure_explanations(
            binary,
            str(phantoms),
            tmp_path / "out",
            DataOptions(cache=str(cache)),
            ExamineOptions(rows=2, random_rows=2, **options),
            progress=False,
        )
    assert not list(tmp_path.iterdir())
