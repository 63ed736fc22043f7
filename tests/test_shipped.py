"""Models come along by name: from a clone, and from a wheel that was installed anywhere."""

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from xray_tf import predict, shipped
from xray_tf.artifact import ArtifactError
from xray_tf.models.load import load

REPOSITORY = Path(__file__).parents[1]
TRUNKS = REPOSITORY / "saved_models" / "trunks"
TEMPLATES = {
    p.relative_to(REPOSITORY).as_posix() for p in (REPOSITORY / "xray_tf").rglob("templates/*")
}
BUILD = (
    "import os, sys; from setuptools import build_meta; os.chdir(sys.argv[1]); "
    "print(build_meta.build_{}(sys.argv[2]))"
)


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """A clone of nothing but its `saved_models/`, empty as yet."""
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path / "clone" / "xray_tf")
    (tmp_path / "clone" / "saved_models").mkdir(parents=True)
    (tmp_path / "clone" / "setup.cfg").touch()
    return tmp_path / "clone" / "saved_models"


def place(model, folder, name="pneumonia-binary"):
    return Path(shutil.copytree(model.folder, folder / name))


def test_this_clones_models_are_those_in_saved_models():
    expected = {p.parent.name: p.parent for p in (REPOSITORY / "saved_models").glob("*/card.json")}
    if not expected:
        pytest.skip("needs saved_models/, which is not here")
    assert shipped.shipped_models() == expected and shipped.DEFAULT in expected


def test_a_model_is_found_by_name_by_folder_and_when_none_is_named(
    binary, three_class, beside, tmp_path, monkeypatch
):
    first, second = place(binary, beside), place(three_class, beside, "other")
    (beside / "no model").mkdir()
    assert shipped.shipped_models() == {"other": second, "pneumonia-binary": first}
    assert (
        load().folder == load("pneumonia-binary").folder == load(first).folder == first
        and load("other").card == three_class.card
    )
    monkeypatch.chdir(tmp_path)
    own = place(binary, tmp_path, "other")
    assert load("other").folder.resolve() == own  # a folder that is there comes before a name


def test_models_inside_the_package_come_first_and_a_stray_folder_in_site_packages_does_not_count(
    binary, beside
):
    place(binary, beside)
    (beside.parent / "setup.cfg").unlink()
    assert shipped.shipped_models() == {}
    inside = place(binary, beside.parent / "xray_tf" / "_saved_models")
    assert shipped.shipped_models() == {"pneumonia-binary": inside}


@pytest.mark.parametrize(
    ("model", "there", "message"),
    [
        (
            None,
            False,
            r"No model was named, and the shipped 'pneumonia-binary' is missing\. .*train "
            r"--out.*looked in .*_saved_models and .*saved_models\)",
        ),
        (
            "pneumonia-binary",
            False,
            r"pneumonia-binary is not an xray_tf artifact: there is no such "
            r"folder\. .*There is no shipped model either",
        ),
        (
            "pneumonia",
            True,
            r"pneumonia is not an xray_tf artifact: there is no such folder\. .*Shipped "
            r"models: pneumonia-binary\. Did you mean 'pneumonia-binary'\?",
        ),
        ("../saved_models", True, r"no such folder"),
    ],
)
def test_a_model_that_is_not_there_is_told_with_what_is(
    model, there, message, binary, beside, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    if there:
        place(binary, beside)
    with pytest.raises(ArtifactError, match=message):
        load(model)


def test_predict_without_a_model_or_folder_prints_all_answers_of_the_shipped_one_and_writes_nothing(
    binary, beside, phantoms, tmp_path, monkeypatch, capsys
):
    place(binary, beside)
    monkeypatch.chdir(tmp_path)
    files = [os.fspath(p) for p in sorted((phantoms / "train" / "NORMAL").iterdir())[:12]]
    before = sorted(tmp_path.rglob("*"))
    assert predict.main([*files, "--batch-size", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = binary.predict(files)
    warned = sum(row.warning != "" for row in table)
    assert lines[0] == f"Model: {binary.card.name}, operating point balanced" and lines[-1] == (
        "Finished: 12 radiographs" + (f", {warned} with a warning" if warned else "")
    )
    for line, row in zip(lines[1:-1], table, strict=True):
        said, _, warning = line.partition("; warning: ")
        assert said == (
            f"  {row.path}: {row.predicted} (normal {row.probabilities[0]:.3f}, "
            f"pneumonia {row.probabilities[1]:.3f})"
        )
        assert bool(warning) == bool(row.warning)
    assert sorted(tmp_path.rglob("*")) == before


def test_predict_says_in_one_line_that_no_model_came_along(beside, capsys):
    assert predict.main(["README.md"]) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1 and error[0].startswith("error: No model was named")


@pytest.fixture(scope="module")
def source(tmp_path_factory, binary):
    """A source tree whose only model is small, with pieces beside the card's files."""
    tree = tmp_path_factory.mktemp("source") / "tree"
    shutil.copytree(
        REPOSITORY / "xray_tf",
        tree / "xray_tf",
        ignore=shutil.ignore_patterns("__pycache__", "_saved_models"),
    )
    for name in (
        "setup.py",
        "setup.cfg",
        "pyproject.toml",
        "README.md",
        "NOTICE",
        "LICENSE",
        "MANIFEST.in",
    ):
        shutil.copy(REPOSITORY / name, tree)
    if TRUNKS.is_dir():
        shutil.copytree(TRUNKS, tree / "saved_models" / "trunks")
    model = place(binary, tree / "saved_models")
    for piece in ("saved_model/saved_model.pb", "reference/reference.npz"):
        (model / piece).parent.mkdir()
        (model / piece).write_bytes(b"piece")
    return tree


def build(source, what, out):
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("needs setuptools")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BUILD.format(what), source, out],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return out / done.stdout.splitlines()[-1]


def test_a_wheel_carries_every_room_and_the_models_and_answers_where_it_is_installed(
    source, binary, phantoms, tmp_path
):
    with zipfile.ZipFile(build(source, "wheel", tmp_path)) as wheel:
        wheel.extractall(tmp_path / "site")  # what installing a pure wheel does
        names = set(wheel.namelist())
        scripts = next(n for n in names if n.endswith("/entry_points.txt"))
        assert "xray-tf = xray_tf.__main__:main" in wheel.read(scripts).decode()
    package = REPOSITORY / "xray_tf"
    assert {n for n in names if n.endswith((".py", "py.typed"))} == {
        p.relative_to(REPOSITORY).as_posix() for p in (*package.rglob("*.py"), package / "py.typed")
    }
    model = "xray_tf/_saved_models/pneumonia-binary/"
    assert {n.removeprefix(model) for n in names if n.startswith(model)} == {
        *binary.card.files,
        "card.json",
        "reference/reference.npz",
    }
    weights = {"efficientnet_lite0.npz", "LICENSE.txt", "NOTICE.txt"} if TRUNKS.is_dir() else set()
    assert {Path(n).name for n in names if "_saved_models/trunks/" in n} == weights
    assert {n.rsplit("/", 1)[-1] for n in names if "dist-info/licenses/" in n} == {
        "LICENSE",
        "NOTICE",
    }
    assert not [n for n in names if not n.startswith(("xray_tf/", "xray_tf-"))]
    assert TEMPLATES and names >= TEMPLATES
    shutil.rmtree(tmp_path / "site" / model / "reference")  # what stood for one
    image = next((phantoms / "train" / "PNEUMONIA").iterdir())
    code = (
        "import sys, xray_tf; from xray_tf import predict\nassert "
        "xray_tf.__file__.startswith(sys.argv[1]), xray_tf.__file__\n"
        "assert list(xray_tf.shipped_models()) == "
        "['pneumonia-binary']\nsys.exit(predict.main(sys.argv[2:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "site", image, "--out", tmp_path / "out"],
        cwd=tmp_path.anchor,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.fspath(tmp_path / "site")},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answer = [
        float(x)
        for x in (tmp_path / "out" / "predictions.csv").read_text().splitlines()[1].split(",")[4:6]
    ]
    np.testing.assert_allclose(answer, binary.predict(image).probabilities[0], atol=1e-5)


def test_a_source_archive_carries_what_a_wheel_is_built_from(source, tmp_path):
    import tarfile

    with tarfile.open(build(source, "sdist", tmp_path)) as archive:
        names = {n.partition("/")[2] for n in archive.getnames()}
    model = "saved_models/pneumonia-binary/"
    assert {
        "setup.py",
        "setup.cfg",
        "pyproject.toml",
        "LICENSE",
        "NOTICE",
        "xray_tf/nets/classifier.py",
        model + "model.keras",
        model + "card.json",
        *TEMPLATES,
    } <= names
    assert model + "saved_model/saved_model.pb" not in names
