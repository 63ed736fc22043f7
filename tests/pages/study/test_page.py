"""The page of a study shows what its folder holds, names no file and no patient, and says what was
not run.
"""

import json
import re

import pytest
from inputs.study import MODEL, SECRET, make_study

from xray_tf.pages.study.page import PARTS, render_study
from xray_tf.study.published import PUBLISHED
from xray_tf.study.results import collect_results, format_results, write_results


@pytest.fixture
def study(tmp_path, build, unpainted):
    metrics = make_study(tmp_path / "study", build)
    return tmp_path / "study", metrics, render_study(tmp_path / "study")


def test_every_part_that_was_run_is_there_in_order_and_one_line_says_what_was_not(study):
    page = study[2]
    order = [key for key, _, _ in PARTS]
    shown = re.findall(r'<section id="([a-z]+)"', page)
    assert shown == [key for key in order if key in shown]
    assert {
        "explanations",
        "models",
        "neighbours",
        "results",
        "audit",
        "provenance",
    } <= set(shown)
    for key, title, _ in PARTS:
        assert (f"{title}: not run in this study." in page) == (key not in shown), key
    assert "Anomalies: not run" in page


def test_it_leads_with_radiographs_and_links_the_pages_that_have_the_rest(study):
    folder, _, page = study
    assert page.index("<img") < page.index('id="models"') and 'id="training"' not in page
    places = re.findall(r'href="\./([^"]+)"', page)
    assert places and all((folder / place).is_file() for place in places)
    assert f"models/{MODEL}/report.html" in places


def test_phantoms_are_compared_with_nobodys_figures(study):
    folder = study[0]
    about = json.loads((folder / "study.json").read_text())
    about["data"]["source"] = "phantom"
    (folder / "study.json").write_text(json.dumps(about))
    rows = collect_results(folder)
    assert any(r["value"] for r in rows)
    assert not any(r["report"] or r["best"] or r["by"] for r in rows)
    assert "best published" not in format_results(rows) and "0.994" not in format_results(rows)
    write_results(rows, folder)
    page = render_study(folder)
    assert "published" not in page and "synthetic radiographs" in page


def test_the_page_names_no_file_and_no_patient(study):
    assert SECRET not in study[2] and "person" not in study[2]
    assert "Radiograph 3fa2c1d0" in study[2]


def test_the_page_is_one_file_that_loads_nothing_and_describes_its_pictures(study):
    page = study[2]
    assert "<script" not in page and "default-src 'none'" in page
    assert not re.findall(r'(?:src|href)="(?!data:image/|#|\./)', page)
    pictures = re.findall(r"<img [^>]*>", page)
    assert pictures and all(re.search(r'alt="[^"]{30,}"', p) for p in pictures)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    levels = [int(n) for n in re.findall(r"<h([1-6])", page)]
    assert levels[0] == 1 and all(b <= a + 1 for a, b in zip(levels, levels[1:], strict=False))


def test_a_limited_study_says_so_first_and_in_every_cell_of_ours(study):
    page = study[2]
    assert page.index("Row-limited: 60 of 600") < page.index("<section")
    assert page.count("row-limited study (60 of 600)") == sum(
        p.task == "binary" and p.reader in ("head", "knn") for p in PUBLISHED
    )


def test_results_hold_our_figures_and_leave_empty_what_was_not_run(study):
    folder, metrics, _ = study
    rows = {
        (r["task"], r["reader"], r["metric"]): r
        for r in json.loads((folder / "results.json").read_text())
    }
    assert len(rows) == len(PUBLISHED)
    ours = rows["binary", "head", "auroc"]
    cell = metrics["metrics"]["auroc"]
    assert (ours["value"], ours["low"], ours["high"], ours["rows"]) == (
        cell["value"],
        cell["low"],
        cell["high"],
        metrics["rows"],
    )
    for key, row in rows.items():
        if key[0] != "binary":
            assert row["value"] is None and row["kind"] == "" and row["model"] == ""
    text = format_results(list(rows.values()))
    assert (
        f"{cell['value']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]" in text and "0.994" in text
    )
    lines = (folder / "results.csv").read_text().splitlines()
    assert len(lines) == len(PUBLISHED) + 1 and "None" not in "".join(lines)


def test_a_study_whose_stages_are_unfinished_shows_none_of_their_files(tmp_path, build, unpainted):
    make_study(tmp_path / "study", build, kinds=("audit",), limited=False)
    page = render_study(tmp_path / "study")
    assert (
        re.findall(r'<section id="([a-z]+)"', page) == ["audit", "provenance"]
        and ("Classifiers: not run") in page
    )
    assert "Row-limited" not in page
