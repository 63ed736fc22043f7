import copy
import json
import re

import pytest
from inputs.examination import FAITHFULNESS, NONE, OPEN, SHORTCUTS

from xray_tf.pages.heatmaps.measures import (
    faithfulness_rows,
    faithfulness_sentences,
    shortcut_rows,
    shortcut_summary,
)
from xray_tf.pages.heatmaps.page import render_examination
from xray_tf.pages.heatmaps.parts import examination_part


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "shortcuts.json").write_text(json.dumps(SHORTCUTS))
    (tmp_path / "faithfulness.json").write_text(json.dumps(FAITHFULNESS))
    return tmp_path


def test_the_summary_holds_both_files_and_lines_for_a_card(folder, tmp_path_factory):
    found = shortcut_summary(folder)
    assert found["shortcuts"] == SHORTCUTS and found["faithfulness"] == FAITHFULNESS
    text = "\n".join(found["markdown"])
    assert (
        "## Shortcuts" in text
        and "12 test radiographs of 9 patients" in text
        and ("## Heat maps, measured") in text
    )
    assert (
        "35% is inside the lungs, against 20% by chance" in text and "11 fitted, 1 template" in text
    )
    widths = [
        {line.count(" | ") for line in block.splitlines() if line.startswith("| ")}
        for block in text.split("\n\n")
    ]
    assert all(len(w) <= 1 for w in widths)  # every row of a table has as many cells
    assert shortcut_summary(tmp_path_factory.mktemp("empty")) == {
        "shortcuts": None,
        "faithfulness": None,
        "markdown": [],
    }


def test_better_and_worse_follow_the_figures_direction():
    sentences = faithfulness_sentences(FAITHFULNESS)
    # deletion lower, gap higher
    assert "against the random control: better in 2 of 2" in sentences[1]
    assert (
        "against the centre control: better in 1 of 2 measures, worse in gap_mean" in sentences[2]
    )
    assert (
        "0.600 [0.580, 0.620] after the top layer, 0.050 [0.030, 0.070] after all (1 heat maps are "
        "then empty"
    ) in sentences[3]
    assert "between different radiographs 0.400" in sentences[3]
    _, rows = faithfulness_rows(FAITHFULNESS)
    assert (
        rows[0][2].endswith("*") and not rows[1][2].endswith("*") and not rows[0][3].endswith("*")
    )
    tied = copy.deepcopy(FAITHFULNESS)
    tied["maps"]["grad_cam"]["against"]["random"]["deletion_mean"] = OPEN
    assert not faithfulness_rows(tied)[1][0][2].endswith("*")


def test_the_table_says_what_was_lost():
    head, rows = shortcut_rows(SHORTCUTS)
    assert len(rows) == 1 + 8 * 3 and head[0] == "removed"
    assert rows[1][:4] == ["lungs", "20%", "mean", "0.900 [0.880, 0.920], -0.050 [-0.060, -0.040]"]


def test_numbers_that_are_not_there_leave_a_dash(folder):
    thin = copy.deepcopy(SHORTCUTS)
    for one in (thin["unchanged"], *thin["cells"]):
        one["auroc"] = {
            "value": None,
            "low": None,
            "high": None,
            "change": None,
            "change_low": None,
            "change_high": None,
        }
    thin["maps"]["of"] = {
        "grad_cam": {"empty": 12, "regions": {r: NONE for r in ("lungs", "border", "markers")}}
    }
    (folder / "shortcuts.json").write_text(json.dumps(thin))
    page = render_examination(folder, "thin")
    assert "–" in page and "is inside the lungs" not in page


def test_the_page_is_self_contained_and_escaped(folder):
    page = render_examination(folder, "a <model>")
    assert "a &lt;model&gt;" in page and "stem&lt;b&gt;" in page and "stem<b>" not in page
    assert not re.search(r'(src|href)="(?!data:|#)', page) and "<script" not in page
    assert page.count('src="data:image/png') == 3 and all(
        f'id="{k}"' in page for k in ("shortcuts", "faithfulness", "randomisation")
    )


def test_what_was_not_measured_is_left_out(tmp_path):
    assert examination_part(tmp_path) is None
    (tmp_path / "faithfulness.json").write_text(
        json.dumps({"randomisation": FAITHFULNESS["randomisation"]})
    )
    page = render_examination(tmp_path, "one")
    assert (
        'id="randomisation"' in page
        and 'id="faithfulness"' not in page
        and 'id="shortcuts"' not in page
    )
    assert "## Heat maps, measured" in shortcut_summary(tmp_path)["markdown"]
