"""A loaded classifier answers the same everywhere: arrays, files, plain Keras, another process,
another backend.
"""

import importlib.util
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from xray_tf.data.predictions import Predictions
from xray_tf.models.load import load


@pytest.fixture(scope="module")
def files(phantoms):
    return (
        sorted((phantoms / "train" / "NORMAL").iterdir())[:3]
        + sorted((phantoms / "train" / "PNEUMONIA").iterdir())[:4]
    )


@pytest.mark.parametrize("which", ["binary", "three_class"])
def test_files_and_their_pixels_give_the_same_answers_in_order(which, request, files):
    classifier = request.getfixturevalue(which)
    by_file = classifier.predict(files, batch_size=3)
    arrays = [cv2.imread(os.fspath(f), cv2.IMREAD_GRAYSCALE) for f in files]
    by_array = [classifier.predict(a).probabilities[0] for a in arrays]
    assert list(by_file.paths) == [os.fspath(f) for f in files]
    np.testing.assert_allclose(by_file.probabilities, by_array, atol=1e-5)


def test_a_fresh_process_and_plain_keras_agree_with_stored_predictions(binary, phantoms):
    stored = Predictions.read_csv(binary.folder / "predictions.csv")
    paths = [os.fspath(phantoms / p) for p in stored.paths]
    assert load(binary.folder).predict(paths).probabilities == pytest.approx(
        stored.probabilities, abs=1e-5
    )
    code = (
        "import sys, keras, numpy as np\n"
        "model = keras.saving.load_model(sys.argv[1])\n"
        "assert not any(m.startswith('xray_tf') for m in sys.modules)\n"
        "print(float(model.predict(np.full((1, 32, 32, 1), 100.0, 'float32'), verbose=0)[0, "
        "0]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, os.fspath(binary.folder / "model.keras")],
        capture_output=True,
        text=True,
        check=True,
    )
    here = binary.model.predict(np.full((1, 32, 32, 1), 100.0, "float32"), verbose=0)[0, 0]
    assert float(done.stdout.strip().split("\n")[-1]) == pytest.approx(float(here), abs=1e-6)


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_other_keras_backends_give_the_same_probabilities(backend, three_class, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 1)).astype(np.float32)
    np.save(tmp_path / "pixels.npy", pixels)
    code = (
        "import sys, keras, numpy as np\n"
        "p = keras.saving.load_model(sys.argv[1]).predict(np.load(sys.argv[2]), verbose=0)\n"
        "np.save(sys.argv[3], p)"
    )
    subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            code,
            three_class.folder / "model.keras",
            tmp_path / "pixels.npy",
            tmp_path / "out.npy",
        ],
        check=True,
        env={**os.environ, "KERAS_BACKEND": backend},
    )
    np.testing.assert_allclose(
        np.load(tmp_path / "out.npy"), three_class.model.predict(pixels, verbose=0), atol=1e-4
    )


def test_an_unreadable_file_becomes_a_row_with_its_error(binary, files, tmp_path):
    bad = tmp_path / "bad.jpeg"
    bad.write_bytes(b"")
    predictions = binary.predict([files[0], bad, files[1]])
    assert (
        predictions.errors[1].startswith("empty") and np.isnan(predictions.probabilities[1]).all()
    )
    np.testing.assert_allclose(
        predictions.probabilities[[0, 2]], binary.predict(files[:2]).probabilities, atol=1e-6
    )


def test_a_picture_of_one_grey_is_refused_as_a_file_and_as_an_array(binary, tmp_path):
    grey = np.full((50, 60), 7, np.uint8)
    cv2.imwrite(str(tmp_path / "flat.png"), grey)
    answer = binary.predict(str(tmp_path / "flat.png"))
    assert (
        answer.errors[0].startswith("constant: Every pixel has the grey level 7")
        and answer.predicted[0] == -1
    )
    assert binary.predict(grey).errors[0].startswith("constant: ")
    with pytest.raises(ValueError, match="constant: Every pixel"):
        binary.read(grey)


def test_another_operating_point_changes_decisions_not_probabilities(binary, files):
    a, b = binary.predict(files), binary.predict(files, operating_point="sensitivity_95")
    np.testing.assert_array_equal(a.probabilities, b.probabilities)
    with pytest.raises(ValueError, match="sensitivity_95"):
        binary.predict(files, operating_point="lucky")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 8, 8), np.float32), "uint8"),
        (np.zeros((2, 8, 8, 4), np.uint8), "channel"),
        (np.zeros((8, 8, 4), np.uint8), "channel"),  # not eight radiographs four pixels wide
        (np.full((8, 8), np.nan), "round them to uint8"),
        (None, "Received: NoneType"),
        ([np.zeros((8, 8, 8), np.uint8)], r"Received: shape \(8, 8, 8\)"),
        (np.zeros((0, 8, 8), np.uint8), r"\(0, 8, 8\)"),
        (np.zeros(5, np.uint8), r"\(5,\)"),
        ("no such file.jpeg", "no such file"),
        ([], "no radiograph"),
    ],
)
def test_input_that_does_not_fit_is_refused(binary, images, message):
    with pytest.raises((ValueError, OSError), match=message):
        binary.predict(images)


@pytest.mark.parametrize("images", [np.zeros((2, 8, 8), np.uint8), "files"])
def test_a_batch_of_nothing_is_refused(binary, files, images):
    with pytest.raises(ValueError, match="batch_size must be at least 1. Received: batch_size=0"):
        binary.predict(files if isinstance(images, str) else images, batch_size=0)


def test_a_notebook_shows_the_card(binary):
    html = binary._repr_html_()
    assert "pneumonia" in html and "not a medical device" in html.lower()
    assert "balanced" in repr(binary)
