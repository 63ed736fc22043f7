"""A classifier exported for OpenVINO answers as TensorFlow does, without TensorFlow."""

import json
import subprocess
import sys
from shutil import copytree

import numpy as np
import pytest

import xray_tf
from xray_tf import export

CODE = """
import sys
import numpy as np
import openvino

ask = openvino.compile_model(sys.argv[1], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
found = ask(np.load(sys.argv[2]))
np.savez(sys.argv[3], **{name: found[name] for name in ("probability", "decision")})
assert not {"tensorflow", "keras", "xray_tf"} & set(sys.modules)
"""


@pytest.fixture(scope="module", params=["of whole radiographs", "of lungs"])
def classifier(request):
    """A small one that sees the whole radiograph, and a shipped one that sees the lungs."""
    whole = request.param == "of whole radiographs"
    return request.getfixturevalue("three_class") if whole else xray_tf.load("pneumonia-binary")


def test_openvino_alone_answers_as_tensorflow_does(classifier, tmp_path):
    pytest.importorskip("openvino")
    model = copytree(classifier.folder, tmp_path / "model")
    assert export.main(["--model", str(model), "--openvino"]) == 0
    parity = json.loads((model / "openvino" / "parity.json").read_text())
    assert parity["probability"] <= 1e-3 and parity["decisions"] == 0 and parity["radiographs"]

    images = np.stack(
        [xray_tf.draw_phantom(kind, 5, 1, 90, 70).image for kind in ("normal", "viral")]
    )
    np.save(tmp_path / "images.npy", images)
    line = [model / "openvino" / "model.xml", tmp_path / "images.npy", tmp_path / "found.npz"]
    subprocess.run([sys.executable, "-c", CODE, *map(str, line)], check=True)
    found, table = np.load(tmp_path / "found.npz"), classifier.predict(images)
    np.testing.assert_allclose(found["probability"], table.probabilities, atol=1e-3)
    assert (found["decision"] == table.predicted).all()

    assert export.main(["--model", str(model), "--openvino"]) == 2  # it has one already


def test_without_openvino_the_extra_is_named(binary, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert export.main(["--model", str(binary.folder), "--openvino"]) == 2
    assert "xray_tf[openvino]" in capsys.readouterr().err
