"""The page of a site acceptance: it says the verdict, and only what was measured."""

import pytest
from inputs import acceptance

from xray_tf.pages.acceptance.page import render_acceptance
from xray_tf.pages.acceptance.words import (
    calibration_text,
    chance_text,
    familiarity_text,
    recalibration_text,
    summary_lines,
    verdict_text,
)

ALL = "limits point groups calibration distance size worth comparison recalibrated prevalence"


@pytest.fixture(autouse=True)
def unpainted(monkeypatch):
    monkeypatch.setattr("xray_tf.pages.kit.canvas.to_png_bytes", lambda figure, dpi=150: b"png")


def test_every_part_that_was_measured_is_on_the_page():
    told, rows = acceptance.make()
    page = render_acceptance(told, rows)
    for key in ALL.split():
        assert f'<section id="{key}"' in page
    assert "counts for nothing: the model was made with 3" in page
    assert "Estimated" not in page and "not a medical device" in page


def test_what_was_not_measured_is_not_on_the_page():
    told, rows = acceptance.make()
    bare = dict.fromkeys(told) | {k: told[k] for k in "model rows familiarity provenance".split()}
    bare |= {"labelled": 0, "seen": 0, "notes": []}
    page = render_acceptance(bare, rows)
    assert '<section id="distance"' in page and "No verdict" in page
    assert not any(f'<section id="{key}"' in page for key in ALL.split() if key != "distance")
    assert summary_lines(bare)[0].startswith("No verdict") and len(summary_lines(bare)) == 2


@pytest.mark.parametrize(
    ("limits", "word"),
    [("sensitivity>=0.2", "Accepted"), ("sensitivity>=0.999", "Rejected")],
)
def test_the_verdict_comes_with_the_chance_that_it_is_wrong(limits, word):
    told, _ = acceptance.make(limits=limits)
    said = verdict_text(told["verdict"])
    assert said.startswith(word) and "chance that" in said
    value = told["shares"]["sensitivity"]["value"]
    open_ = verdict_text(acceptance.make(limits=f"sensitivity>={value:.3f}")[0]["verdict"])
    assert open_.startswith("Undecided") and "cannot tell" in open_


def test_sentences_say_only_what_intervals_show():
    told, _ = acceptance.make()
    assert calibration_text(told["calibration"]) == (
        "The probabilities here are of pneumonia too low by 0.050 on average and too sure."
    )
    calm = {"in_the_large": {"sick": {**acceptance.cell(0.05, -0.1, 0.2)}}, "slope": None}
    assert calibration_text(calm) == "No misfit can be told from chance here."
    assert "are farther" in familiarity_text(told["familiarity"])
    for low, high, word in ((0.4, 0.6, "among"), (0.1, 0.3, "closer")):
        assert word in familiarity_text({"farther": acceptance.cell(0.5, low, high)})
    assert "worse" in recalibration_text(told["recalibration"])
    assert [chance_text(c) for c in (0, 0.012, 1)] == ["under 0.1 %", "1.2 %", "over 99.9 %"]
    assert any("Prevalence: normal 0.800" in line for line in summary_lines(told))
