import copy
import json
import re

import pytest

from xray_tf.pages.heatmaps.measures import (
    explanation_part,
    faithfulness_rows,
    faithfulness_sentences,
    render_examination,
    shortcut_rows,
    shortcut_summary,
)


def cell(value, change=None):
    low, high = (None, None) if value is None else (value - 0.02, value + 0.02)
    out = {"value": value, "low": low, "high": high}
    return (
        out
        if change is None
        else {**out, "change": change, "change_low": change - 0.01, "change_high": change + 0.01}
    )


def metrics(*more):
    return {m: cell(0.9, *more) for m in ("auroc", "sensitivity", "specificity")}


INSIDE = {
    "rows": 12,
    "chance": 0.2,
    **{k: {"value": 0.35, "over_chance": 0.15, "low": 0.1, "high": 0.2} for k in ("energy", "hit")},
}
NONE = {"rows": 0, "chance": None, "energy": None, "hit": None}
REGIONS = (
    "lungs",
    "usual_lungs",
    "lungs_box",
    "outside",
    "border",
    "inside_border",
    "markers",
    "displaced",
)
SHORTCUTS = {
    "rows": 12,
    "patients": 9,
    "class_names": ["normal", "pneumonia"],
    "class_counts": {"normal": 6, "pneumonia": 6},
    "split": "test",
    "operating_point": "balanced",
    "split_by": "patient",
    "seed": 0,
    "interval": {"kind": "95 % percentile bootstrap by patient", "replicates": 10},
    "metrics": ["auroc", "sensitivity", "specificity"],
    "lungs": {"flags": {"fitted": 11, "template": 1}, "share": 0.21, "limits": "Estimated."},
    "regions": {r: {"what": "", "share": 0.2, "rows": 12} for r in REGIONS},
    "fills": {"mean": "", "smooth": "", "noise": ""},
    "unchanged": metrics(),
    "cells": [
        {"region": r, "fill": f, **metrics(-0.05)}
        for r in REGIONS
        for f in ("mean", "smooth", "noise")
    ],
    "maps": {
        "method": "grad_cam",
        "layer": "features",
        "target": "",
        "of": {
            "grad_cam": {
                "empty": 1,
                "regions": {"lungs": INSIDE, "border": INSIDE, "markers": NONE},
            },
            "centre": {"empty": 0, "regions": {"lungs": INSIDE, "border": INSIDE, "markers": NONE}},
        },
    },
}
GOOD, BAD, OPEN = (
    {"difference": d, "low": d - 0.05, "high": d + 0.05, "p": 0.1, "groups": 9}
    for d in (-0.1, 0.1, 0.0)
)
FAITHFULNESS = {
    "rows": 5,
    "patients": None,
    "class_names": ["normal", "pneumonia"],
    "split": "all rows",
    "operating_point": "balanced",
    "split_by": "patient",
    "layer": "features",
    "score": "probability",
    "steps": 2,
    "seed": 0,
    "interval": {"kind": "95 % percentile bootstrap by image", "replicates": 10},
    "figures": {
        "deletion_mean": {"better": "low", "what": "area"},
        "gap_mean": {"better": "high", "what": "gap"},
    },
    "maps": {
        "grad_cam": {
            "kind": "method",
            "empty": 0,
            "figures": {"deletion_mean": cell(0.3), "gap_mean": cell(0.1)},
            "against": {
                "random": {"deletion_mean": GOOD, "gap_mean": BAD},
                "centre": {"deletion_mean": GOOD, "gap_mean": GOOD},
            },
        },
        "random": {
            "kind": "control",
            "empty": 0,
            "figures": {"deletion_mean": cell(0.4), "gap_mean": cell(0.0)},
            "against": {},
        },
        "centre": {
            "kind": "control",
            "empty": 0,
            "figures": {"deletion_mean": cell(0.4), "gap_mean": cell(0.2)},
            "against": {},
        },
    },
    "curves": {
        "shares": [0, 0.5, 1],
        **{
            m: {"mean_most": [0.9, 0.5, 0.1], "mean_least": [0.9, 0.8, 0.1]}
            for m in ("grad_cam", "random", "centre")
        },
    },
    "randomisation": {
        "rows": 4,
        "seed": 0,
        "layers": 9,
        "what": "shuffled",
        "methods": {
            "grad_cam": {
                "depths": [
                    {
                        "layer": "logits",
                        "share": 0.1,
                        "empty": 0,
                        "rank_correlation": cell(0.6),
                        "ssim": cell(0.5),
                    },
                    {
                        "layer": "stem<b>",
                        "share": 1.0,
                        "empty": 1,
                        "rank_correlation": cell(0.05),
                        "ssim": cell(0.1),
                    },
                ],
                "between_radiographs": {"rank_correlation": cell(0.4), "ssim": cell(0.4)},
                "random_maps": {"rank_correlation": cell(0.0), "ssim": cell(0.1)},
            }
        },
    },
}


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
    assert "35% lies inside the lungs, by chance 20%" in text and "11 fitted, 1 template" in text
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
    assert "against the centre control: better in 1 of 2 figures, worse in gap_mean" in sentences[2]
    assert (
        "0.600 [0.580, 0.620] after the top layer, 0.050 [0.030, 0.070] after all (1 maps are empty"
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
    assert len(rows) == 1 + 8 * 3 and head[0] == "taken away"
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
    assert "–" in page and "lies inside the lungs" not in page


def test_the_page_is_self_contained_and_escaped(folder):
    page = render_examination(folder, "a <model>")
    assert "a &lt;model&gt;" in page and "stem&lt;b&gt;" in page and "stem<b>" not in page
    assert not re.search(r'(src|href)="(?!data:|#)', page) and "<script" not in page
    assert page.count('src="data:image/png') == 3 and all(
        f'id="{k}"' in page for k in ("shortcuts", "faithfulness", "randomisation")
    )


def test_what_was_not_measured_is_left_out(tmp_path):
    assert explanation_part(tmp_path) == ""
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
