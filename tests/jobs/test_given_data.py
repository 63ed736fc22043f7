"""Arrays, data frames and tf.data train and evaluate as files do."""

import csv

import cv2
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from xray_tf.data.records import SPLITS
from xray_tf.data.synthetic.phantom import draw_phantom
from xray_tf.jobs.classifier.evaluate_model import evaluate_model
from xray_tf.jobs.classifier.train_classifier import train_classifier
from xray_tf.jobs.given_data import given_data
from xray_tf.registry import TASKS

BINARY = TASKS["binary"]


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """Paths, pixels, class names and patients of phantoms of one size."""
    folder, kinds = tmp_path_factory.mktemp("held"), ("normal", "bacterial")
    names = [BINARY.class_names[i % 2] for i in range(36)]
    pixels = [
        draw_phantom(kinds[i % 2], seed=i, patient=i, height=48, width=48).image for i in range(36)
    ]
    paths = [str(folder / f"{i}.png") for i in range(36)]
    assert all(map(cv2.imwrite, paths, pixels))
    return paths, np.stack(pixels), names, [f"p{i}" for i in range(36)]


def _forms(held):
    paths, pixels, names, patients = held
    indices = [BINARY.class_names.index(n) for n in names]
    frame = pd.DataFrame({"path": paths, "label": names, "patient": patients})
    colour = np.repeat(pixels[..., None], 3, axis=-1).astype(np.float32)
    return {
        "a data frame": frame,
        "arrays": (pixels, names, patients),
        "paths": (paths, indices, patients),
        "one-hot rows": (colour, np.eye(2)[indices], patients),
        "tf.data": tf.data.Dataset.from_tensor_slices((colour, indices)).batch(7),
        "tf.data of one-hot rows": tf.data.Dataset.from_tensor_slices(
            (colour, np.eye(2, dtype=np.float32)[indices])
        ),
    }


FORMS = ("a data frame", "arrays", "paths", "one-hot rows", "tf.data", "tf.data of one-hot rows")


@pytest.mark.parametrize("form", FORMS)
def test_what_a_program_holds_is_scored_as_its_files_are(form, held, binary, tmp_path):
    how = {"cache": str(tmp_path), "bootstrap": 0, "progress": False}
    got, table = evaluate_model(binary, _forms(held)[form], **how)
    by_file = binary.predict(held[0])
    assert np.abs(table.probabilities - by_file.probabilities).max() < 1e-6
    assert table["label"].tolist() == held[2] and got["rows"] == len(held[0])
    assert len(set(table.patients)) == (1 if "tf.data" in form else len(set(held[3])))


def test_arrays_and_frames_train_by_patient_and_tf_data_by_image(held, tmp_path):
    how = {"cache": str(tmp_path / "cache"), "bootstrap": 0, "progress": False, "steady_rows": 0}
    how["precision"] = "float32"
    small = {"backbone": "tiny", "weights": "none", "image_size": 32, "region": "whole"}
    small["method"] = "none"
    forms = _forms(held)
    for form, more in (("arrays", {}), ("a data frame", {}), ("tf.data", {"split_by": "image"})):
        out = tmp_path / form
        model = train_classifier(forms[form], out, fine_tune_epochs=1, **small, **how, **more)
        assert model.class_names == BINARY.class_names
        with (out / "split.csv").open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        parts = {p: {r["patient"] for r in rows if r["split"] == p} for p in SPLITS}
        assert form == "tf.data" or not parts["train"] & (parts["val"] | parts["test"])
    with pytest.raises(ValueError, match="split-by image"):
        train_classifier(forms["tf.data"], tmp_path / "z", **small, **how)


def test_the_same_content_is_written_once_and_a_failure_leaves_nothing(held, tmp_path):
    arrays = _forms(held)["arrays"]
    assert given_data(arrays, BINARY, tmp_path) == given_data(arrays, BINARY, tmp_path)
    with pytest.raises(ValueError, match="same number"):
        given_data((arrays[0], arrays[1][:-1]), BINARY, tmp_path)
    assert len(list((tmp_path / "given").iterdir())) == 1


WRONG = {
    "a number": (lambda held: 3, "Received: int"),
    "labels that are no class": (lambda held: (held[1], [7] * len(held[1])), "Received: .*7"),
    "a frame without labels": (lambda held: pd.DataFrame({"path": held[0]}), "path and label"),
    "pixels in [0, 1]": (lambda held: (held[1] / 255, held[2]), r"Scale pixels to \[0, 255\]"),
    "tf.data without labels": (
        lambda held: tf.data.Dataset.from_tensor_slices(held[1]),
        r"elements \(image, label\)",
    ),
    "nothing": (lambda held: pd.DataFrame({"path": [], "label": []}), "no row"),
}


@pytest.mark.parametrize("what", WRONG)
def test_data_that_does_not_fit_is_told(what, held, tmp_path):
    make, message = WRONG[what]
    with pytest.raises(ValueError, match=message):
        given_data(make(held), BINARY, tmp_path)
