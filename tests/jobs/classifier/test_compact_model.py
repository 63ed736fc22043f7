"""A classifier stored in less space answers as before, and says so."""

import shutil

import numpy as np
import pytest

from xray_tf.artifact import read_card
from xray_tf.jobs.classifier.compact_model import compact_model
from xray_tf.models.load import load


def test_it_answers_as_before_and_its_card_and_readme_tell(binary, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(binary.folder, folder)
    size = (folder / "model.keras").stat().st_size
    moved = compact_model(folder, progress=False)
    assert 0 < moved < 1e-3
    assert (folder / "model.keras").stat().st_size < 0.85 * size
    pixels = np.random.default_rng(0).integers(0, 255, (4, 32, 32), np.uint8)
    before, after = (m.forward(pixels, ("logits",))["logits"] for m in (binary, load(folder)))
    np.testing.assert_allclose(after, before, atol=1e-2)
    (note,) = (n for n in read_card(folder).notes if n.startswith("model.keras holds"))
    assert note.split(";")[0] in (folder / "README.md").read_text(encoding="utf-8")
    assert compact_model(folder, progress=False) == 0
    assert sum(n.startswith("model.keras holds") for n in read_card(folder).notes) == 1


def test_what_was_made_from_its_weights_comes_after(binary, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(binary.folder, folder)
    (folder / "reference").mkdir()
    with pytest.raises(FileExistsError, match="Compact a model first"):
        compact_model(folder)
    assert (folder / "model.keras").read_bytes() == (binary.folder / "model.keras").read_bytes()


def test_a_model_that_would_answer_otherwise_is_left_alone(binary, tmp_path, monkeypatch):
    from xray_tf.nets import keras_file

    folder = tmp_path / "model"
    shutil.copytree(binary.folder, folder)
    monkeypatch.setattr(keras_file, "SIGNIFICANT_BITS", 1)
    monkeypatch.setattr("xray_tf.jobs.classifier.compact_model.TOLERANCE", 1e-9)
    with pytest.raises(ValueError, match="would move"):
        compact_model(folder)
    assert read_card(folder) == read_card(binary.folder)
