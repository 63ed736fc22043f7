"""The report tells what the folder holds, needs nothing else, and trusts no text in it."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from xray_tf.artifact import ArtifactError, Card
from xray_tf.data.predictions import Predictions
from xray_tf.pages.classifier.mistakes import surest
from xray_tf.pages.classifier.model_card import render_model_card
from xray_tf.pages.classifier.report import render_report, render_summary, write_report
from xray_tf.pages.kit.words import IMAGE_SPLIT, NOTICE
from xray_tf.stats.metrics import score

VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """Collect text, tags and attributes, and refuse tags that do not close in order."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(page)
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def all(self, tag):
        return [a for t, a in self.tags if t == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.mark.parametrize("task", ["binary", "three-class"])
def test_the_report_says_what_the_folder_says(finished, task):
    card, metrics, page = finished[task]
    page = Page(page)
    for name, cell in metrics["metrics"].items():
        assert (
            f"{cell['value']:.3f}" in page.text
            and f"[{cell['low']:.3f}, {cell['high']:.3f}]" in page.text
        ), name
    assert (
        f"Measured on 120 test rows of {metrics['patients']} patients, at the operating point "
        "“balanced”."
    ) in page.text
    assert NOTICE in page.text and IMAGE_SPLIT not in page.text
    assert "No patient key is in two parts." in page.text
    assert card.provenance["command_line"] in page.text and "lower is better" in page.text
    assert [a["id"] for a in page.all("section")] == [
        "mistakes",
        "data",
        "training",
        "metrics",
        "decisions",
        "curves",
        "findings",
        "provenance",
    ]
    counts = metrics["class_counts"]
    assert re.search(r"test " + " ".join(f"{c}" for c in counts.values()) + r" 120", page.text)
    for point in card.operating_points.values():
        assert point.criterion in page.text


def test_the_report_is_one_file_that_loads_and_runs_nothing(finished):
    source = finished["three-class"][2]
    page = Page(source)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    for image in page.all("img"):
        assert image["src"].startswith("data:image/png;base64,") and len(image["alt"]) > 20
    assert all(a["href"].startswith("#") for a in page.all("a"))
    ids = {a["id"] for _, a in page.tags if "id" in a}
    assert {a["href"][1:] for a in page.all("a")} <= ids
    assert not any(name.startswith("on") for _, a in page.tags for name in a)
    style = source.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style
    for medium in ("prefers-color-scheme: dark", "@media print", "max-width", ":focus-visible"):
        assert medium in style
    assert page.all("meta")[1] == {
        "name": "viewport",
        "content": "width=device-width, initial-scale=1",
    }
    assert all(a.get("tabindex") == "0" for a in page.all("div") if a.get("class") == "scroll")


def test_a_split_by_image_is_shown_on_every_page(tmp_path, build, unpainted):
    card, metrics = build(tmp_path / "run", split_by="image")
    assert IMAGE_SPLIT in Page(render_report(tmp_path / "run")).text
    assert IMAGE_SPLIT in render_model_card(card, metrics)
    assert IMAGE_SPLIT.split(":")[0] in render_summary(card)


def test_patients_in_two_parts_are_counted(folder, unpainted):
    rows = (folder / "split.csv").read_text().splitlines()
    row = rows[1].split(",")
    row[5] = "test" if row[5] != "test" else "train"
    (folder / "split.csv").write_text("\n".join([*rows, ",".join(row)]) + "\n")
    assert (
        "1 patient keys are in two parts." in Page(render_report(folder, read_card_of(folder))).text
    )


def read_card_of(folder):
    return Card.from_dict(json.loads((folder / "card.json").read_text()))


def test_every_text_is_escaped(tmp_path, build, unpainted):
    evil = '<script>alert("x")</script>&|`'
    card, metrics = build(tmp_path / "run", name="evil", notes=(evil,))
    (tmp_path / "run/audit.csv").write_text(
        f'kind,severity,path,detail,related\nodd,warning,"{evil.replace(chr(34), chr(34) * 2)}",detail,\n'  # noqa: E501
    )
    history = (tmp_path / "run/history.csv").read_text().replace("fine-tune", "<i>tune")
    (tmp_path / "run/history.csv").write_text(history)
    page = Page(render_report(tmp_path / "run", card))
    assert "script" not in {tag for tag, _ in page.tags} and "i" not in {
        t for t, a in page.tags if not a
    }
    assert page.text.count(evil) == 2
    assert "<script>" not in render_model_card(card, metrics) and "<script>" not in render_summary(
        card
    )


def test_undecodable_file_names_do_not_break_the_page(folder, unpainted):
    text = (folder / "predictions.csv").read_bytes().replace(b"person", b"person\xff")
    (folder / "predictions.csv").write_bytes(text)
    assert b"<html" in render_report(folder, read_card_of(folder)).encode("utf-8")


@pytest.mark.parametrize(
    "missing, gone",
    [
        (("history.csv",), {"training"}),
        (("predictions.csv",), {"curves", "mistakes"}),
        (("audit.csv",), {"findings"}),
        (("metrics.json",), {"metrics"}),
        (
            ("split.csv", "history.csv", "audit.csv", "predictions.csv", "metrics.json"),
            {"training", "curves", "mistakes", "findings", "metrics", "data"},
        ),
    ],
)
def test_a_part_without_its_file_is_left_out(folder, missing, gone, unpainted):
    card = read_card_of(folder)
    whole = {a["id"] for a in Page(render_report(folder)).all("section")}
    for name in missing:
        (folder / name).unlink()
    assert {a["id"] for a in Page(render_report(folder, card)).all("section")} == whole - gone


def test_the_surest_mistakes_come_first_with_pictures_where_they_were_made(folder, unpainted):
    card, rows = read_card_of(folder), Predictions.read_csv(folder / "predictions.csv")
    rows = rows.of_split("test")
    wrong = [row for row, _ in surest(rows, 2)]
    bare = Page(render_report(folder, card)).text
    assert "Their pictures are not here" in bare and "this page was made from its folder" in bare
    near = [{"label": "viral", "distance": 0.25, "picture": "bmVhcg=="}]
    cells = [
        {"path": row.path, "picture": "cGljdHVyZQ==", "heat": "aGVhdA==", "empty": k, "near": near}
        for k, row in enumerate(wrong)
    ]
    told = {"near": "all training radiographs", "cells": cells}
    (folder / "mistakes.json").write_text(json.dumps(told))
    source = render_report(folder, card)
    page = Page(source)
    gallery = source[source.index('id="mistakes"') : source.index("<nav")]
    assert gallery.count("<img") == 6 and "are not here" not in page.text
    for row, probability in surest(rows, 2):
        assert f"{row.label}, called {row.predicted} with {probability:.3f}" in page.text.replace(
            " ,", ","
        )
    assert "viral 0.25" in page.text and "nearest among all training radiographs" in page.text
    assert "its heat map is empty" in gallery
    options = {"DataOptions": {"attribution": "Jo Doe, CC BY 4.0"}}
    card = replace(card, provenance={**card.provenance, "options": options})
    assert "Radiographs: Jo Doe, CC BY 4.0" in Page(render_report(folder, card)).text
    (folder / "split.csv").unlink()  # an evaluation of other data
    assert "Pictures of training radiographs: Jo Doe" in Page(render_report(folder, card)).text


def test_metrics_that_are_not_defined_give_their_reason(folder, unpainted):
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["metrics"]["auroc"] = {
        "value": None,
        "low": None,
        "high": None,
        "reason": "not defined: no row is pneumonia",
    }
    metrics["patients"] = None
    (folder / "metrics.json").write_text(json.dumps(metrics))
    card = read_card_of(folder)
    assert Page(render_report(folder, card)).text.count("not defined: no row is pneumonia") >= 2
    assert "| AUROC | – | not defined: no row is pneumonia |" in render_model_card(card, metrics)


@pytest.mark.parametrize("task", ["binary", "three-class"])
def test_an_evaluation_of_one_class_only_has_a_report(tmp_path, build, task):
    card, _ = build(tmp_path / "model", task)
    rows = Predictions.read_csv(tmp_path / "model/predictions.csv")
    rows = rows.where(rows.labels == 0)
    metrics = score(
        rows.probabilities,
        rows.labels,
        rows.predicted,
        rows.patients,
        card.class_names,
        20,
        split="all rows",
        operating_point="balanced",
    )
    out = tmp_path / "evaluation"
    out.mkdir()
    rows.write_csv(out / "predictions.csv")
    (out / "metrics.json").write_text(json.dumps(metrics))
    page = Page(write_report(out, card).read_text(encoding="utf-8"))
    assert (
        f"Measured on {len(rows)} labelled rows" in page.text
        and "not defined: no row is" in page.text
    )
    assert [a["id"] for a in page.all("section")] == [
        "mistakes",
        "data",
        "metrics",
        "decisions",
        "curves",
        "provenance",
    ]


def test_the_report_is_written_once_and_only_for_a_sound_artifact(folder, tmp_path, unpainted):
    path = write_report(folder)
    assert path.read_text(encoding="utf-8") == render_report(folder)
    with pytest.raises(FileExistsError, match="never overwritten"):
        write_report(folder)
    with pytest.raises(ArtifactError, match=r"not an xray_tf artifact"):
        render_report(tmp_path)


def test_the_notebook_summary_names_task_rule_and_numbers(folder):
    card = read_card_of(folder)
    text = Page(render_summary(card)).text
    assert (
        "binary: normal, pneumonia" in text
        and "pneumonia from a probability of" in text
        and NOTICE in text
    )
    assert f"{card.metrics['auroc']['value']:.3f}" in text
