"""The models in the repository: whole, small, and answering today what they answered when they were made."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xray_tf.artifact import check_files, read_card

FOLDER = Path(__file__).parents[1] / "saved_models"
MODELS = sorted(p.parent for p in FOLDER.glob("*/card.json"))
STORED = Path(__file__).with_name("saved_models.json")
CODE = """
import json, sys
import numpy as np, xray_tf
model = xray_tf.load(sys.argv[1])
images = [xray_tf.draw_phantom(kind, seed=11, patient=i, height=300, width=320).image for i, kind in enumerate(("normal", "bacterial", "viral"))]
print(json.dumps(np.concatenate([model.predict(image).probabilities for image in images]).tolist()))
"""


@pytest.mark.parametrize("model", MODELS, ids=lambda p: p.name)
def test_a_shipped_model_answers_as_stored_in_a_fresh_process(model):
    done = subprocess.run([sys.executable, "-c", CODE, model], capture_output=True, text=True, check=True)
    np.testing.assert_allclose(json.loads(done.stdout.splitlines()[-1]), json.loads(STORED.read_text())[model.name], atol=1e-4)


@pytest.mark.parametrize("model", MODELS, ids=lambda p: p.name)
def test_a_shipped_model_is_whole_small_and_says_where_it_comes_from(model):
    card = read_card(model)
    check_files(model / "saved_model", json.loads((model / "saved_model" / "manifest.json").read_text())["files"])
    assert sum(p.stat().st_size for p in model.rglob("*") if p.is_file()) < 40e6
    assert card.preprocessing["resize"] == "squash" and card.split_by == "patient" and card.provenance["data"]["radiographs"] == 5216
    text = "".join(p.read_text(encoding="utf-8") for p in model.glob("*.*") if p.suffix in (".json", ".md", ".csv"))
    assert "--data ../" in card.provenance["command_line"] and "/root/" not in text and "/home/" not in text


def test_every_stored_answer_has_its_model():
    if not MODELS:
        pytest.skip("needs saved_models/, which is not here")
    assert {m.name for m in MODELS} == set(json.loads(STORED.read_text()))
