"""From phantoms and their masks to a segmenter's folder: whole, divided by patient, honest."""

import csv
import json

import numpy as np
import pytest

from xray_tf.data.chest import lung_masks
from xray_tf.data.sources.phantom_folder import write_phantoms
from xray_tf.data.sources.scan import scan
from xray_tf.data.split import split_records
from xray_tf.data.synthetic.not_chests import DRAWN, TURNED
from xray_tf.data.synthetic.stresses import STRESSES
from xray_tf.data.synthetic.unseen_pictures import UNSEEN_DRAWN, UNSEEN_TURNED
from xray_tf.data.tables.split_file import read_split, write_split
from xray_tf.jobs.lungs import measure_lungs, train_segmenter
from xray_tf.jobs.lungs.masked_rows import mask_files, read_masked_rows
from xray_tf.models.load import load
from xray_tf.options import TrainLungsOptions


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Phantoms of eighteen children; the split of a classifier that was trained on them."""
    folder = write_phantoms(tmp_path_factory.mktemp("drawn") / "data", patients=18, size=64)
    records, _ = split_records(scan(folder).records, validation=0.3, test=0.0)
    write_split(records, folder.parent / "split.csv")
    for path in sorted((folder / "masks").glob("*_lungs.png"))[::9]:
        path.unlink()
    return folder


@pytest.fixture(scope="module")
def options(drawn, cache):
    return TrainLungsOptions(
        held_out=str(drawn.parent / "split.csv"),
        epochs=1,
        batch_size=8,
        phantoms=3,
        bootstrap=20,
        cache=str(cache),
    )


@pytest.fixture(scope="module")
def made(drawn, options, tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setattr(measure_lungs, "DRAWINGS", 4)
    patch.setattr(measure_lungs, "STRESSES", {k: STRESSES[k] for k in ("noise", "rotated")})
    yield train_segmenter.train_segmenter(
        str(drawn),
        drawn / "masks",
        tmp_path_factory.mktemp("made") / "lungs",
        options,
        command_line="xray-tf train-lungs ...",
        progress=False,
    )
    patch.undo()


def test_the_folder_is_whole_and_opens_as_a_segmenter(made):
    assert {p.name for p in made.folder.iterdir()} == {
        "model.keras",
        "card.json",
        "split.csv",
        "metrics.json",
        "lungs.csv",
        "history.csv",
        "audit.csv",
        "README.md",
    }
    again = load(made.folder, kind="lungs")
    image = np.random.default_rng(0).integers(0, 256, (70, 90)).astype(np.uint8)
    lungs = again.segment(image)
    assert lungs.shape == (1, 70, 90) and lungs.dtype == np.float32
    assert 0 < again.threshold <= 0.9


def test_no_held_out_patient_is_learnt_from(made, options):
    held_out = {r["patient"] for r in read_split(options.held_out) if r["split"] == "val"}
    patients = {part: set() for part in ("train", "val", "test")}
    for row in read_split(made.folder / "split.csv"):
        patients[row["split"]].add(row["patient"])
    assert patients["test"] and patients["test"] <= held_out
    assert patients["train"] and not patients["train"] & held_out
    assert not patients["val"] & (held_out | patients["train"])


def test_measuring_for_a_recipe_leaves_the_held_out_patients_alone(drawn, options, monkeypatch):
    monkeypatch.setattr(lung_masks, "ONE_IN", 3)  # of so few patients
    values = {**vars(options), "selection": "measure"}
    rows = read_masked_rows(str(drawn), drawn / "masks", TrainLungsOptions(**values), False)
    held_out = {r["patient"] for r in read_split(options.held_out) if r["split"] == "val"}
    assert not held_out & {r.patient for r in rows.records}
    train, test = (
        {r.patient for r in rows.records if r.split == part} for part in ("train", "test")
    )
    assert train and test and not train & test


def test_every_row_has_its_own_mask(drawn, options):
    import cv2

    rows = read_masked_rows(str(drawn), drawn / "masks", options, False)
    for record, mask in list(zip(rows.records, rows.masks, strict=False))[:5]:
        name = record.path.split("/")[-1].replace(".png", "_lungs.png")
        whole = cv2.imread(str(drawn / "masks" / name), cv2.IMREAD_GRAYSCALE)
        small = cv2.resize(whole, (224, 224), interpolation=cv2.INTER_LINEAR)
        assert ((mask == 255) == (small >= 128)).mean() > 0.99


def test_the_figures_are_those_of_the_table(made):
    metrics = json.loads((made.folder / "metrics.json").read_text())
    with (made.folder / "lungs.csv").open() as stream:
        ious = [float(row["iou"]) for row in csv.DictReader(stream)]
    assert len(ious) == metrics["rows"]
    assert np.isclose(np.mean(ious), metrics["iou"]["mean"]["value"])
    assert np.isclose(min(ious), metrics["worst"][0]["iou"])
    assert sum(c["rows"] for c in metrics["classes"].values()) == metrics["rows"]
    assert [s["name"] for s in metrics["stresses"]] == ["noise", "rotated"]
    kinds = [k["kind"] for k in metrics["score"]["not_chests"]]
    assert kinds == [*TURNED, *UNSEEN_TURNED, *DRAWN, *UNSEEN_DRAWN]
    assert made.card.metrics["iou_mean"] == metrics["iou"]["mean"]


def test_the_readme_says_how_well_and_how_it_was_made(made):
    text = (made.folder / "README.md").read_text()
    mean = made.card.metrics["iou_mean"]["value"]
    assert f"{mean:.3f}" in text and "xray-tf train-lungs" in text
    assert "upside down" in text and "rotated" in text


def test_an_unfinished_run_is_resumed_or_refused(drawn, options, made, tmp_path):
    out = made.folder.parent / "again"
    (out.parent / ".again.unfinished").mkdir()
    (out.parent / ".again.unfinished" / "checkpoint.npz").write_bytes(b"")
    with pytest.raises(FileExistsError, match="--resume"):
        train_segmenter.train_segmenter(str(drawn), drawn / "masks", out, options, progress=False)
    with pytest.raises(FileExistsError, match="never overwritten"):
        train_segmenter.train_segmenter(
            str(drawn), drawn / "masks", made.folder, options, progress=False
        )


def test_masks_that_fit_nothing_are_refused(drawn, tmp_path):
    records = list(scan(drawn).records)
    with pytest.raises(ValueError, match="holds no mask of these"):
        mask_files(records, tmp_path)


def test_the_threshold_refuses_at_most_the_share_asked_for():
    scores = np.linspace(0, 1, 1001)
    for refused in (0.01, 0.05):
        threshold = measure_lungs.choose_threshold(scores, refused)
        assert (scores < threshold).mean() <= refused
    assert measure_lungs.choose_threshold(np.full(50, 0.99999), 0.01) == 0.9
