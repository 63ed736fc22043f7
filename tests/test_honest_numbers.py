"""Every figure we tell is the one in a result file: `0.972<!-- figure: FILE PATH FORMAT -->`, in
README.md, docs/ and the model cards.

`python docs/figures.py` writes the figures anew and says what FILE, PATH and FORMAT are. A figure
of somebody else's is marked `<!-- cited: WHERE -->`, a number that is none (a size, a rule) `<!--
given: WHAT -->`.
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
STRICT = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
CARDS = sorted((REPOSITORY / "saved_models").glob("*/README.md"))
# A decimal, a count with thousands, or a share in per cent; what follows in a comment says where it
# is from.
CLAIM = re.compile(
    r"(?<![\w.,/:-])(\d+\.\d+(?!\w|\.\d)|\d{1,3}(?:,\d{3})+|\d+ %)(?:\*\*)?( "
    r"?%)?(?!<!-- (?:figure|cited|given): )(?! ?%<!--)(?!\*\*<!--)"
)
NO_FIGURE = re.compile(
    r"(?:Python|TensorFlow|Keras|OpenCV|NumPy|pydicom|CUDA|PS3) "
    r"?(?:\d+\.\d+[\d.]*)|\d\d % (?:percentile )?(?:interval|bootstrap)|CC BY 4\.0"
    r"|Apache-2\.0|doi:\S+"
)


def plain(text):
    """Blank out code, links' targets and what is no figure, so that positions stay."""
    for pattern in (r"```.*?```", r"`[^`\n]*`", r"\]\([^)]*\)", NO_FIGURE.pattern):
        text = re.sub(pattern, lambda m: re.sub(r"[^\n]", "~", m[0]), text, flags=re.S)
    return text


def unsourced(text):
    return [m[0] for m in CLAIM.finditer(plain(text))]


def wrong(text):
    """Return the figures of a text that are not those of their file."""
    said = (
        (shown, figures.figure(*where), where) for shown, _, *where in figures.FIGURE.findall(text)
    )
    return [
        f"{shown} is {expected} in {' '.join(where)}"
        for shown, expected, where in said
        if expected not in (None, shown)
    ]


@pytest.mark.parametrize(
    "path", figures.pages(), ids=lambda p: p.relative_to(REPOSITORY).as_posix()
)
def test_every_figure_is_the_one_in_its_result_file(path):
    text = path.read_text(encoding="utf-8")
    assert wrong(text) == [], "run python docs/figures.py"
    assert len(figures.FIGURE.findall(text)) == text.count("<!-- figure:"), (
        "a figure's comment does not follow its number, or is not FILE PATH FORMAT"
    )


@pytest.mark.parametrize("path", STRICT, ids=lambda p: p.relative_to(REPOSITORY).as_posix())
def test_no_figure_is_without_its_source(path):
    assert unsourced(path.read_text(encoding="utf-8")) == []


def test_the_readme_has_figures():
    assert len(figures.FIGURE.findall((REPOSITORY / "README.md").read_text(encoding="utf-8"))) >= 5


@pytest.mark.parametrize("path", CARDS, ids=lambda p: p.parent.name)
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


RESULT = "benchmarks/results/shift_pneumonia_binary.json"


@pytest.mark.parametrize(
    "text, unsaid, false",
    [
        (f"keeps 0.970<!-- figure: {RESULT} mean.sensitivity.value .3f --> on average", [], 0),
        (f"keeps **0.970**<!-- figure: {RESULT} mean.sensitivity.value .3f --> on average", [], 0),
        (f"keeps 97 %<!-- figure: {RESULT} mean.sensitivity.value .0% --> on average", [], 0),
        (f"of {300}<!-- figure: {RESULT} rows d --> rows", [], 0),
        (f"keeps 0.980<!-- figure: {RESULT} mean.sensitivity.value .3f --> on average", [], 1),
        ("an AUROC of 0.997", ["0.997"], 0),
        ("| AUROC | 0.997 | [0.995, 0.999] |", ["0.997", "0.995", "0.999"], 0),
        ("an AUROC of 0.997.", ["0.997"], 0),
        ("sensitivity **0.97**", ["0.97"], 0),
        ("97 % of them, 5,216 radiographs", ["97 %", "5,216"], 0),
        ("0.926<!-- cited: He 2016 --> and 0.4<!-- given: a threshold -->", [], 0),
        (
            "Python 3.11, a 95 % interval, CC BY 4.0, `--dropout 0.2`, 224 x 224, version 1.2.3",
            [],
            0,
        ),
    ],
)
def test_what_counts_as_a_figure(text, unsaid, false):
    assert [t.rstrip("*") for t in unsourced(text)] == unsaid and len(wrong(text)) == false
    assert wrong(figures.renewed(text)) == []
