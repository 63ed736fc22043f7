"""What others made is bounded before it is unpacked, and vouched for before it is used."""

import shutil
import zipfile
from pathlib import Path

import pytest

from xray_tf.artifact import ArtifactError, Card
from xray_tf.models.detector import Detector
from xray_tf.untrusted import parse_json, read_json, refuse_bomb

SHIPPED = Path(__file__).parents[1] / "saved_models" / "pneumonia-binary"


def archive(path, name, size, unit=b"A" * (1 << 20)):
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made,
        made.open(name, "w", force_zip64=True) as stream,
    ):
        stream.write(b'{"x":"')
        for _ in range(size >> 20):
            stream.write(unit)
        stream.write(b'"}')
    return path


@pytest.mark.parametrize(("name", "size"), [("config.json", 64 << 20), ("weights", 300 << 20)])
def test_a_model_that_unpacks_to_too_much_is_refused_unread(name, size, tmp_path):
    from xray_tf.nets.keras_file import load_model

    with pytest.raises(ArtifactError, match="are read"):
        load_model(archive(tmp_path / "model.keras", name, size))


def test_a_detector_that_unpacks_to_too_much_is_refused(tmp_path):
    archive(tmp_path / "reference.npz", "normals.npy", 300 << 20)
    with pytest.raises(ArtifactError, match="are read"):
        _ = Detector(tmp_path, Card("detector", "d")).arrays


def test_what_is_large_on_disk_may_be_large_unpacked(tmp_path):
    path = archive(tmp_path / "a.npz", "a.npy", 20 << 20)
    with zipfile.ZipFile(path) as opened:
        assert refuse_bomb(opened, path) is None


@pytest.mark.parametrize(
    "text", ["NaN", "[Infinity]", "1e999", '{"a":1,"a":2}', "[" * 40 + "]" * 40, "{", ""]
)
def test_json_that_others_could_read_otherwise_is_refused(text, tmp_path):
    (tmp_path / "a.json").write_text(text)
    for read in (lambda: parse_json(text), lambda: read_json(tmp_path / "a.json")):
        with pytest.raises(ValueError):
            read()


def test_json_above_the_bound_is_not_read(tmp_path):
    (tmp_path / "a.json").write_text('"' + "x" * (1 << 20) + '"')
    with pytest.raises(ValueError, match="at most 1,048,576 are read"):
        read_json(tmp_path / "a.json")
    assert read_json(tmp_path / "a.json", 1 << 21).startswith("xxx")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: (p / "manifest.json").unlink(), "nothing vouches for it"),
        (lambda p: (p / "manifest.json").write_text('{"files": {}}'), "names no file"),
        (lambda p: (p / "manifest.json").write_text("[]"), "object"),
        (lambda p: (p / "manifest.json").write_text('{"files": null}'), "object"),
        (lambda p: (p / "reference.json").write_text("{}"), "damaged or was changed"),
        (lambda p: (p / "reference.npz").write_bytes(b"x"), "damaged or was changed"),
    ],
    ids=range(6),
)
def test_a_reference_that_nothing_vouches_for_is_refused(change, message, tmp_path):
    from xray_tf.models.reference import Reference

    (tmp_path / "card.json").write_text("{}")  # as inside an artifact
    shutil.copytree(SHIPPED / "reference", tmp_path / "reference")
    change(tmp_path / "reference")
    with pytest.raises(ArtifactError, match=message):
        Reference.read(tmp_path / "reference")
