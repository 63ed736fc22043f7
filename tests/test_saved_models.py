"""The models in the repository: whole, small, and answering today what they answered when they were
made.

`python tests/test_saved_models.py` stores today's answers: after a model was trained anew, never to
make a test pass. The phantoms are stored too, because OpenCV 5 writes their letters in another font
than OpenCV 4.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xray_tf.artifact import check_files, read_card

FOLDER = Path(__file__).parents[1] / "saved_models"
MODELS = sorted(p.parent for p in FOLDER.glob("*/card.json"))
HERE = Path(__file__).with_name("saved_models")
PHANTOMS = [HERE / f"{kind}.png" for kind in ("normal", "bacterial", "viral")]
STORED = HERE / "answers.json"
CODE = """
import json, sys
import cv2, numpy as np, xray_tf
images = [cv2.imread(file, cv2.IMREAD_GRAYSCALE) for file in sys.argv[-3:]]
answer = {
    "classifier": lambda model, image: model.predict(image).probabilities,
    "detector": lambda model, image: model.score(image).anomaly[:, None],
    "lungs": lambda model, image: [[f.mask.mean(), f.mask.std(), f.chest] for f in model.stream([image])],
}
told = []
for path in sys.argv[1:-3]:
    model = xray_tf.load(path)
    answers = [answer[model.card.kind](model, image) for image in images]
    told.append(np.concatenate(answers).tolist())
print(json.dumps(told))
"""


def answers_of(models):
    """What models say of three phantoms, by name, in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, *models, *PHANTOMS], capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout.splitlines()[-1])
    return dict(zip((model.name for model in models), told, strict=True))


@pytest.fixture(scope="module")
def answers():
    return answers_of(MODELS)


@pytest.mark.parametrize("model", MODELS, ids=lambda p: p.name)
def test_a_shipped_model_answers_as_stored_in_a_fresh_process(model, answers):
    np.testing.assert_allclose(
        answers[model.name], json.loads(STORED.read_text())[model.name], atol=1e-4
    )


@pytest.mark.parametrize("model", MODELS, ids=lambda p: p.name)
def test_a_shipped_model_is_whole_small_and_says_where_it_comes_from(model):
    card = read_card(model)
    if card.kind == "classifier":
        check_files(
            model / "saved_model",
            json.loads((model / "saved_model" / "manifest.json").read_text())["files"],
        )
    assert sum(p.stat().st_size for p in model.rglob("*") if p.is_file()) < 40e6
    assert card.preprocessing["resize"] == "squash" and card.split_by == "patient"
    assert "Kermany, Kang Zhang" in (model / "README.md").read_text(encoding="utf-8")
    text = "".join(
        p.read_text(encoding="utf-8")
        for p in model.glob("*.*")
        if p.suffix in (".json", ".md", ".csv")
    )
    assert (
        re.search(r"--data (DATA|\.\./)", card.provenance["command_line"])
        and "/root/" not in text
        and "/home/" not in text
    )


@pytest.mark.parametrize("model", MODELS, ids=lambda p: p.name)
def test_a_shipped_page_says_whose_its_radiographs_are(model):
    for page in model.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "data:image/jpeg" not in text or "Kermany, Kang Zhang" in text, page.name


def test_every_stored_answer_has_its_model():
    if not MODELS:
        pytest.skip("needs saved_models/, which is not here")
    assert {m.name for m in MODELS} == set(json.loads(STORED.read_text()))


if __name__ == "__main__":
    STORED.write_text(json.dumps(answers_of(MODELS), indent=1) + "\n", encoding="utf-8")
