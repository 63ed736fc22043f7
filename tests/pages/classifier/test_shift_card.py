"""The shift card shows the numbers of shift.json, all of them, for two classes and for three."""

import json

import numpy as np
import pytest
from inputs.shift import made_up

from xray_tf.data.synthetic.stresses import STRESSES
from xray_tf.pages.classifier.model_card import render_model_card
from xray_tf.pages.classifier.report import render_report
from xray_tf.pages.classifier.shift_card import (
    shift_alt,
    shift_curves,
    shift_markdown,
    shift_sentences,
    shift_summary,
    shift_table,
)
from xray_tf.pages.kit.figures import CLASS_COLOURS, to_png_bytes


@pytest.mark.parametrize("classes", [2, 3])
def test_every_stress_has_a_panel_with_every_value(classes):
    result = made_up(classes)
    figure = shift_curves(result)
    panels = [a for a in figure.axes if a.get_title(loc="left")]
    assert [a.get_title(loc="left") for a in panels] == ["darker", "noise", "jpeg"]
    for axes, stress in zip(panels, result["stresses"], strict=True):
        for line, metric in zip(axes.get_lines(), result["metrics"][:-2], strict=True):
            np.testing.assert_allclose(
                line.get_ydata(), [c[metric]["value"] for c in [result["clean"], *stress["cells"]]]
            )
        assert [t.get_text() for t in axes.get_xticklabels()] == [
            "clean",
            *(f"{s:g}" for s in stress["severities"]),
        ]
        assert axes.get_ylim()[0] <= min(
            c[m]["value"] for c in stress["cells"] for m in result["metrics"][:-2]
        )
    first = [line.get_color() for line in panels[0].get_lines()]
    assert first[:-1] == (
        [CLASS_COLOURS[1], CLASS_COLOURS[0]] if classes == 2 else list(CLASS_COLOURS[:3])
    )
    assert to_png_bytes(figure, 40)[:4] == b"\x89PNG"


def test_the_whole_table_of_stresses_can_be_drawn():
    assert len(
        [a for a in shift_curves(made_up(names=tuple(STRESSES))).axes if a.get_title(loc="left")]
    ) == len(STRESSES)


def test_what_lies_below_the_axis_is_written_at_its_foot():
    result = made_up()
    result["stresses"][1]["cells"][2]["specificity"]["value"] = 0.123
    axes = next(a for a in shift_curves(result).axes if a.get_title(loc="left") == "noise")
    assert axes.get_ylim()[0] == 0.5 and [t.get_text() for t in axes.texts] == ["0.12"]


def test_the_axis_goes_down_to_0_where_many_values_lie_low():
    result = made_up()
    for stress in result["stresses"]:
        stress["cells"][2]["specificity"]["value"] = 0.123
    axes = [a for a in shift_curves(result).axes if a.get_title(loc="left")]
    assert axes[0].get_ylim()[0] == 0 and not any(a.texts for a in axes)


def test_tables_hold_the_values_of_every_cell():
    result = made_up()
    head, rows = shift_table(result)
    assert head[3:] == ["Sensitivity", "Specificity", "AUROC"] and [r[0] for r in rows] == [
        "unchanged",
        "darker",
        "noise",
        "jpeg",
    ]
    assert rows[2][2] == "6, 12, 24 grey levels, sigma"
    assert rows[2][4] == ", ".join(
        f"{c['specificity']['value']:.3f}" for c in result["stresses"][1]["cells"]
    )
    head, rows = shift_summary(result)
    mean = result["mean"]["auroc"]
    assert (
        rows[2][0] == "AUROC"
        and rows[2][2] == (f"{mean['value']:.3f} [{mean['low']:.3f}, {mean['high']:.3f}]")
        and rows[2][4] == "0.700 (darker)"
    )


def test_the_sentences_and_the_markdown_say_rows_point_and_numbers():
    result = made_up(3)
    text = " ".join(shift_sentences(result))
    assert (
        "300 test radiographs of 200 patients" in text
        and "3 graded changes, 9 settings" in text
        and "“balanced”" in text
        and ("Recall of viral") in text
    )
    lines = shift_markdown(result)
    assert lines[0] == "## Shift card"
    tables = [x for x in lines if x.startswith("|")]
    assert len(tables) == 2 + 6 + 2 + 4 and len({x.count("|") for x in tables[:8]}) == 1
    assert "Recall of bacterial" in shift_alt(result)


def test_a_metric_that_does_not_exist_is_left_out_without_failing():
    result = made_up(missing=("auroc", "sensitivity"))
    assert "AUROC" not in " ".join(shift_sentences(result)) and "Specificity" in " ".join(
        shift_sentences(result)
    )
    assert ["Sensitivity", "–", "–", "–", "–"] == [
        c.split(" ")[0] for c in shift_summary(result)[1][0]
    ]
    shift_curves(result)


def test_a_report_and_a_model_card_show_the_bench_where_there_is_one(tmp_path, build, unpainted):
    card, metrics = build(tmp_path / "run")
    assert 'id="shift"' not in render_report(
        tmp_path / "run"
    ) and "Shift card" not in render_model_card(card, metrics)
    (tmp_path / "run" / "shift.json").write_text(json.dumps(made_up()))
    page = render_report(tmp_path / "run")
    assert 'id="shift"' in page and "0.700 (darker)" in page and shift_alt(made_up()) in page
    assert "## Shift card" in render_model_card(card, metrics, {"shift.json": made_up()})


def test_a_card_measured_where_its_threshold_was_fitted_says_so():
    told = "the numbers of this card are optimistic"
    result = made_up()
    assert (
        told not in shift_markdown(result)[2]
        and told not in shift_markdown({**result, "operating_point": "steady"})[2]
    )
    assert told in shift_markdown({**result, "operating_point": "steady", "split": "val"})[2]
