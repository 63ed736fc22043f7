"""The shipped lung segmenter: what it promises of shapes, sizes, backends, and of lungs."""

import importlib.util
import json
import os
import subprocess
import sys
import zipfile

import cv2
import keras
import numpy as np
import pytest

import xray_tf
from xray_tf.artifact import ArtifactError
from xray_tf.data.chest.lung_lessons import draw_phantoms
from xray_tf.data.chest.lung_masks import intersection_over_union
from xray_tf.data.chest.lung_table import NO_LUNGS
from xray_tf.data.synthetic.not_chests import TURNED
from xray_tf.data.tables.split_file import read_split
from xray_tf.models import lungs
from xray_tf.models.load import load
from xray_tf.models.lungs import shipped_segmenter

BACKENDS = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}


@pytest.fixture(scope="module")
def drawn():
    return draw_phantoms(6, 77, 224)


def test_it_finds_the_lungs_of_phantoms(drawn):
    images, masks = drawn
    found = xray_tf.segment_lungs(images)
    overlaps = [intersection_over_union(a, b) for a, b in zip(found, masks, strict=True)]
    assert found.shape == images.shape and found.dtype == np.float32
    assert 0 <= found.min() and found.max() <= 1 and min(overlaps) > 0.85


def test_batches_change_nothing(drawn):
    images, _ = drawn
    whole = xray_tf.segment_lungs(images)
    for size in (1, 4):
        assert np.abs(xray_tf.segment_lungs(images, batch_size=size) - whole).max() < 1e-4


def test_one_image_is_a_batch_of_one(drawn):
    image = drawn[0][0]
    assert np.abs(xray_tf.segment_lungs(image) - xray_tf.segment_lungs(image[None])).max() == 0


def test_lungs_lie_at_the_same_place_at_every_size(drawn):
    image = drawn[0][1]
    small = xray_tf.segment_lungs(image)[0]
    for shape in ((448, 448), (300, 500), (1000, 700)):
        large = cv2.resize(image, shape[::-1], interpolation=cv2.INTER_LINEAR)
        found = xray_tf.segment_lungs(large)[0]
        assert found.shape == shape
        back = cv2.resize(found, (224, 224), interpolation=cv2.INTER_AREA)
        both, either = (back > 0.5) & (small > 0.5), (back > 0.5) | (small > 0.5)
        assert both.sum() / either.sum() > 0.95


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 8, 8, 3), np.uint8),
        np.zeros((8, 8), np.float32),
        np.zeros((0, 8), np.uint8),
    ],
    ids=["colour", "float", "empty"],
)
def test_what_is_no_grey_image_is_refused(images):
    with pytest.raises(ValueError, match="uint8"):
        xray_tf.segment_lungs(images)


def test_no_images_are_no_lungs():
    assert xray_tf.segment_lungs(np.zeros((0, 9, 7), np.uint8)).shape == (0, 9, 7)


def test_the_score_tells_upright_chests_from_turned_ones(drawn):
    segmenter, rng = shipped_segmenter(), np.random.default_rng(0)
    upright = [found.chest for found in segmenter.stream(drawn[0])]
    assert min(upright) >= segmenter.threshold
    for kind in ("turned by 90 degrees", "upside down", "negative"):
        turned = [TURNED[kind](image, rng) for image in drawn[0]]
        assert max(found.chest for found in segmenter.stream(turned)) < segmenter.threshold


def test_predictions_and_scores_warn_where_no_two_upright_lungs_are(drawn, tmp_path):
    image = drawn[0][0]
    cv2.imwrite(str(tmp_path / "chest.png"), image)
    cv2.imwrite(str(tmp_path / "turned.png"), np.rot90(image))
    (tmp_path / "unread.png").write_bytes(b"no picture")
    for table in (load("pneumonia-binary").predict(tmp_path), load("normal-chest").score(tmp_path)):
        assert [NO_LUNGS in w for w in table.warnings] == [False, True, False] and table.errors[2]
        table.write_csv(tmp_path / "table.csv")
        again = type(table).read_csv(tmp_path / "table.csv")
        (tmp_path / "table.csv").unlink()
        assert list(again.warnings) == list(table.warnings)


def test_without_the_segmenter_there_are_no_warnings(drawn, monkeypatch):
    def absent():
        raise ArtifactError("no model is shipped")

    monkeypatch.setattr(lungs, "shipped_segmenter", absent)
    assert lungs.lung_warnings([np.rot90(drawn[0][0])]) == [""]


def test_it_knows_no_validation_patient_of_the_shipped_classifiers():
    split = xray_tf.shipped_models()["pneumonia-three-class"] / "split.csv"
    held_out = {row["patient"] for row in read_split(split) if row["split"] == "val"}
    rows = read_split(shipped_segmenter().folder / "split.csv")
    assert not held_out & {row["patient"] for row in rows if row["split"] in ("train", "val")}
    assert {row["patient"] for row in rows if row["split"] == "test"} <= held_out


def test_it_is_small_stock_float32_and_its_own_kind():
    segmenter = shipped_segmenter()
    assert sum(p.stat().st_size for p in segmenter.folder.iterdir()) < 1_000_000 + 700_000
    assert (segmenter.folder / "model.keras").stat().st_size < 1_000_000
    for layer in segmenter.model.layers:
        assert type(layer) is getattr(keras.layers, type(layer).__name__)
        assert layer.dtype_policy.name == "float32"
    with pytest.raises(ArtifactError, match="classifier"):
        load("lungs", kind="classifier")


def test_its_file_names_nothing_that_older_keras_refuses():
    with zipfile.ZipFile(shipped_segmenter().folder / "model.keras") as archive:
        text = archive.read("config.json").decode()
    for key in ("input_axes", "output_axes", "quantization_config", "ragged"):
        assert f'"{key}"' not in text


def test_the_readme_carries_the_numbers_of_its_metrics():
    folder = shipped_segmenter().folder
    metrics = json.loads((folder / "metrics.json").read_text())
    text = (folder / "README.md").read_text()
    assert f"{metrics['iou']['mean']['value']:.4f}"[:5] in text
    assert "V7 Labs" in text and "Kermany" in text and "CC BY 4.0" in text


CODE = """
import sys
import numpy as np
import xray_tf
images = np.load(sys.argv[1])
np.save(sys.argv[2], xray_tf.segment_lungs(images))
import keras
print(keras.backend.backend())
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_masks_agree_under_every_backend(backend, drawn, tmp_path):
    if importlib.util.find_spec(BACKENDS[backend]) is None:
        pytest.skip(f"needs {BACKENDS[backend]}, which is not installed")
    np.save(tmp_path / "images.npy", drawn[0])
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path / "images.npy"), str(tmp_path / "lungs.npy")],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.stdout.strip().endswith(backend), done.stderr[-2000:]
    difference = np.abs(np.load(tmp_path / "lungs.npy") - xray_tf.segment_lungs(drawn[0]))
    assert difference.max() < 1e-3
