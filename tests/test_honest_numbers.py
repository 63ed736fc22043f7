"""Every measured number in README.md and docs/ comes from a result file.

`python docs/figures.py` writes the blocks that hold such numbers; text outside of them tells none.
A size, a rate or a threshold is code (`0.05`), which is not checked.
"""

import importlib.util
import json
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("figures", REPOSITORY / "docs" / "figures.py")
figures = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(figures)
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
CARDS = sorted((REPOSITORY / "saved_models").glob("*/README.md"))
LUNG_CARDS = [path for path in CARDS if path.parent.name == "lungs"]
# a decimal, a count with thousands, or a share in per cent
CLAIM = re.compile(r"(?<![\w.,/:-])(\d+\.\d+(?!\w|\.\d)|\d{1,3}(?:,\d{3})+|\d+ %)")
NO_CLAIM = (
    r"(?:Python|TensorFlow|Keras|OpenCV|NumPy|pydicom|CUDA|PS3) ?\d+\.\d+[\d.]*",
    r"\d\d % (?:percentile )?(?:interval|confidence interval|bootstrap)",
    r"CC BY 4\.0|Apache-2\.0|doi:\S+",
)


def unsourced(text):
    """Return the numbers that no block, no code and no link contains."""
    for pattern in (figures.BLOCK.pattern, r"```.*?```", r"`[^`]*`", r"\]\([^)]*\)", *NO_CLAIM):
        text = re.sub(pattern, "~", text, flags=re.S)
    return CLAIM.findall(text)


@pytest.mark.parametrize("path", figures.pages(), ids=lambda p: p.name)
def test_every_block_is_what_the_result_files_say(path):
    text = path.read_text(encoding="utf-8")
    assert figures.renewed(text) == text, "run python docs/figures.py"
    assert text.count("<!--") == 2 * len(figures.BLOCK.findall(text)), "a comment is not a block's"


# the numbers of inputs.md are those of the inputs; tests/nets/test_inputs.py writes and holds them
TOLD = [path for path in figures.pages() if path.name != "inputs.md"]


@pytest.mark.parametrize("path", TOLD, ids=lambda p: p.name)
def test_no_number_is_without_its_source(path):
    assert unsourced(path.read_text(encoding="utf-8")) == []


def test_the_readme_shows_the_shipped_models_the_patients_and_the_commands():
    assert {match["name"] for match in figures.BLOCK.finditer(README)} == set(figures.BLOCKS)
    for model in figures.SHIPPED:
        assert f"| `{model}`" in README or not figures.MODELS.exists()


def test_a_block_that_is_out_of_date_is_written_again():
    stale = re.sub(r"\d\.\d{3} \[", "0.123 [", README)
    assert figures.renewed(stale) == (README if figures.MODELS.exists() else stale)


@pytest.mark.parametrize("path", LUNG_CARDS, ids=lambda p: p.parent.name)
def test_a_lung_segmenters_table_is_its_metrics_file(path):
    metrics = json.loads((path.parent / "metrics.json").read_text(encoding="utf-8"))
    for group in (metrics["iou"], *metrics["classes"].values()):
        cells = [
            f"{group[k]['value']:.3f} [{group[k]['low']:.3f}, {group[k]['high']:.3f}]"
            for k in ("mean", "median", "fifth_percentile")
        ]
        assert " | ".join(cells) in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path", [p for p in CARDS if p not in LUNG_CARDS], ids=lambda p: p.parent.name
)
def test_a_model_cards_table_is_its_metrics_file(path):
    metrics = json.loads((path.parent / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    names = {
        name: key
        for key in metrics
        for name in (key, key.replace("_", " "), f"{key} score", key.replace("macro_", "macro "))
    }
    rows = re.findall(
        r"^\| ([^|]+) \| ([\d.]+) \| \[([\d.]+), ([\d.]+)\] \|",
        path.read_text(encoding="utf-8"),
        re.M,
    )
    compared = [(names[name.lower()], numbers) for name, *numbers in rows if name.lower() in names]
    assert len(compared) >= 4
    for key, numbers in compared:
        assert numbers == [f"{metrics[key][k]:.3f}" for k in ("value", "low", "high")], key


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("an AUROC of 0.997.", ["0.997"]),
        ("| AUROC | 0.997 | [0.995, 0.999] |", ["0.997", "0.995", "0.999"]),
        ("sensitivity **0.97**", ["0.97"]),
        ("97 % of them, 5,216 radiographs", ["97 %", "5,216"]),
        ("`--dropout 0.2` at a rate of `0.9`", []),
        ("<!-- models: written by docs/figures.py -->\n0.9\n<!-- end -->\nthen 0.8", ["0.8"]),
        ("Python 3.11, a 95 % interval, CC BY 4.0, 224 x 224, version 1.2.3", []),
    ],
)
def test_what_counts_as_a_number(text, expected):
    assert unsourced(text) == expected
