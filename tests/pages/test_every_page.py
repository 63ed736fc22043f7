"""What every page promises: text stays text wherever it comes from, nothing is loaded from
elsewhere, and whoever adds a page adds it here.
"""

import csv
import html.parser
import importlib
import json
import pkgutil
import re
from dataclasses import replace
from functools import cache

import markdown_it
import numpy as np
import pytest
from inputs import acceptance, atlas, audit, detector, evidence, examination, shift
from inputs.classifier import make_folder
from inputs.study import make_study

from xray_tf import pages
from xray_tf.data.predictions import Prediction, Predictions
from xray_tf.data.records import Finding, Findings
from xray_tf.operating_point import OperatingPoint
from xray_tf.pages.acceptance.page import AcceptancePage, render_acceptance
from xray_tf.pages.audit import AuditText, describe
from xray_tf.pages.classifier.model_card import ModelCard, render_model_card
from xray_tf.pages.classifier.report import Report, render_report, render_summary
from xray_tf.pages.detector.page import (
    DetectorCard,
    DetectorReport,
    ScoresPage,
    Shown,
    render_detector_card,
    render_detector_summary,
    write_detector_report,
)
from xray_tf.pages.detector.parts import MeasuredPart, StatisticsPart
from xray_tf.pages.evidence.page import Cell, EvidencePage
from xray_tf.pages.heatmaps.page import ExaminationPage, ExplanationsPage, render_examination
from xray_tf.pages.heatmaps.page import Shown as Explained
from xray_tf.pages.kit.filters import markdown_text
from xray_tf.pages.kit.parts import Summary
from xray_tf.pages.kit.render import Page
from xray_tf.pages.neighbors.figures import draw_nearest
from xray_tf.pages.neighbors.nearest import NearestPage, Query
from xray_tf.pages.neighbors.page import AtlasPage
from xray_tf.pages.study.demo import DemoPage
from xray_tf.pages.study.page import StudyPage, render_study
from xray_tf.pages.viewer.page import ApiPage, ExportPage, ViewerPage

# HTML, an attribute that ends, an entity, Markdown, a template; no slash, so it can name a file.
EVIL = "<img src=x onerror=\"alert('1')\"><script>&amp; *b* _i_ [a](b) {{ 7 * 7 }} | # x"
PATH = f"train/{{label}}/{EVIL}{{i}}.png".replace("{{ 7 * 7 }}", "{{{{ 7 * 7 }}}}")
VOID = {"meta", "img", "br", "hr", "input", "link"}
PICTURE = np.zeros((16, 16, 3), np.uint8)


def haunted(value):
    """Put `EVIL` for the class of the sick, and into some free texts, of a JSON layout."""
    if isinstance(value, dict):
        return {haunted(k): haunted(v) for k, v in value.items()}
    if isinstance(value, list):
        return [haunted(v) for v in value]
    if value in ("pneumonia", "viral", "Estimated.", "probability", "logits", "darker", "random"):
        return EVIL
    return f"recall/{EVIL}" if value == "recall/viral" else value


def haunt(folder):
    """Put `EVIL` into every file of an artifact's folder that a page reads, and into its card."""
    card, metrics = make_folder(folder, name=EVIL, notes=(EVIL,))
    metrics = haunted(metrics)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    rows = Predictions.read_csv(folder / "predictions.csv")
    names = ("normal", EVIL)
    table = Predictions(
        names,
        [f"{EVIL}{p}" for p in rows.paths],
        rows.probabilities,
        rows.predicted,
        patients=rows.patients,
        splits=rows.splits,
        labels=rows.labels,
    )
    table.write_csv(folder / "predictions.csv")
    with (folder / "history.csv").open() as stream:
        history = [{**row, "phase": EVIL} for row in csv.DictReader(stream)]
    with (folder / "history.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(history[0]))
        writer.writeheader()
        writer.writerows(history)
    Findings([Finding(EVIL, "error", EVIL, EVIL)]).write_csv(folder / "audit.csv")
    for name, layout in (
        ("shift.json", shift.made_up(classes=3)),
        ("shortcuts.json", examination.SHORTCUTS),
        ("faithfulness.json", examination.FAITHFULNESS),
    ):
        (folder / name).write_text(json.dumps(haunted(layout)))
    points = {"balanced": OperatingPoint("balanced", EVIL, threshold=0.4, sensitivity=0.9)}
    origin = {**card.provenance, "command_line": f"python {EVIL}", "commit": EVIL}
    card = replace(card, class_names=names, operating_points=points, provenance=origin)
    return card, metrics


def report(folder):
    return render_report(folder, haunt(folder)[0])


def model_card(folder):
    card, metrics = haunt(folder)
    names = ("shift.json", "shortcuts.json", "faithfulness.json")
    found = {name: json.loads((folder / name).read_text()) for name in names}
    return render_model_card(card, metrics, found)


def detector_report(folder):
    card = detector.make_folder(folder, PATH, EVIL, name=EVIL, note=EVIL)
    return write_detector_report(folder, card).read_text(encoding="utf-8")


def scores_page(folder):
    detector.make_folder(folder)
    scores, metrics = detector.make_scores(PATH, EVIL), detector.make_metrics(EVIL, EVIL)
    statistics = StatisticsPart.of(folder, scores, detector.THRESHOLDS)
    card, shown = detector.make_card(EVIL), [Shown(i, PICTURE) for i in (1, 3)]
    return ScoresPage(card, scores, shown, MeasuredPart.of(metrics), statistics).render()


def one_evidence():
    known = evidence.make_evidence()
    names = ("normal", EVIL)
    vote = Prediction("x", "", "", "", (0.4, 0.6), EVIL)
    rows = tuple(evidence.neighbor(k, label=EVIL, patient=EVIL, path=EVIL) for k in (1, 2))
    near = replace(known.neighbors, rows=rows, vote=vote, class_names=names, recipe=EVIL)
    return replace(
        known,
        name=EVIL,
        card=replace(evidence.CARD, name=EVIL, class_names=names),
        prediction=Prediction("x", "", "", "", (0.2, 0.8), EVIL),
        neighbors=near,
        anomaly=replace(known.anomaly, name=EVIL, reason=EVIL, picture=PICTURE),
        mode=EVIL,
    )


def evidence_page(folder):
    return EvidencePage([one_evidence(), one_evidence()], [(EVIL, EVIL)]).render()


def nearest_page(folder):
    row = evidence.neighbor(1, label=EVIL, subtype=EVIL, patient=EVIL, path=EVIL, unusual=97.0)
    panel = draw_nearest(np.zeros((16, 16), np.uint8), "asked", [None], ["1"])
    vote = Prediction(EVIL, "", "", "", (0.4, 0.6), EVIL)
    queries = [Query(vote, [row], panel, known, True) for known in (True, False)]
    card = replace(evidence.CARD, name=EVIL)
    return NearestPage(card, ("normal", EVIL), EVIL, queries, "folder", 1).render()


def explanations_page(folder):
    shown = [Explained(EVIL, EVIL, 0.7, EVIL, empty, EVIL, PICTURE) for empty in (True, False)]
    card = replace(evidence.CARD, name=EVIL)
    return ExplanationsPage(card, [EVIL], shown, 9, [(EVIL, EVIL)], PICTURE, EVIL).render()


def examination_page(folder):
    haunt(folder)
    return render_examination(folder, EVIL)


def demo_page(folder):
    study = StudyPage({"data": {"used": 9}, "words": EVIL, "notes": [EVIL]}, True, (), [])
    return DemoPage([(EVIL, EvidencePage([one_evidence()]))] * 2, study).render()


def study_page(folder):
    make_study(folder, make_folder)
    for name in ("study.json", "results.json", "explanations", "embeddings"):
        for path in [folder / name, *(folder / name).rglob("*.json")]:
            if path.is_file():
                text = path.read_text().replace("the most typical", json.dumps(EVIL)[1:-1])
                path.write_text(text.replace("5 nearest", json.dumps(EVIL)[1:-1]))
    about = json.loads((folder / "study.json").read_text())
    about["notes"], about["words"] = [EVIL], EVIL
    (folder / "study.json").write_text(json.dumps(about))
    return render_study(folder)


def audit_text(folder):
    findings = [Finding(EVIL, "warning", EVIL, EVIL), Finding("kind", "note", "", EVIL)]
    return describe(audit.make_summary(EVIL, EVIL, EVIL, EVIL), Findings(findings))


def acceptance_page(folder):
    findings = Findings([Finding(EVIL, "error", EVIL, EVIL)])
    return render_acceptance(*acceptance.make(EVIL, EVIL, EVIL), findings)


PAGES = {
    AcceptancePage: acceptance_page,
    Report: report,
    DetectorReport: detector_report,
    ScoresPage: scores_page,
    EvidencePage: evidence_page,
    AtlasPage: lambda folder: atlas.make(
        name=EVIL.replace("{", "{{").replace("}", "}}") + "{i}", names=("normal", EVIL), model=EVIL
    ),
    NearestPage: nearest_page,
    ExplanationsPage: explanations_page,
    ExaminationPage: examination_page,
    DemoPage: demo_page,
    StudyPage: study_page,
    ExportPage: lambda folder: ExportPage(replace(evidence.CARD, name=EVIL)).render(),
}
# pages of a running server, which may ask it for more
SERVED = {
    ViewerPage: lambda folder: ViewerPage(replace(evidence.CARD, name=EVIL), EVIL, EVIL).render(),
    ApiPage: lambda folder: ApiPage(haunted(API)).render(),
}
FRAGMENTS = {
    Cell: lambda folder: one_evidence()._repr_html_(),
    Summary: lambda folder: (
        render_summary(haunt(folder)[0]) + render_detector_summary(detector.make_card(EVIL))
    ),
}
TEXTS = {
    ModelCard: model_card,
    DetectorCard: lambda folder: render_detector_card(
        detector.make_card(EVIL, EVIL), detector.make_metrics(EVIL)
    ),
    AuditText: audit_text,
}
# the scripts that each page may hold: its own, and data
SCRIPTS = {AtlasPage: 2, EvidencePage: 1, ExportPage: 1, ViewerPage: 1}


API = {
    "info": {"description": "probability"},
    "paths": {"/api/read": {"post": {"summary": "logits", "responses": {}}}},
    "components": {
        "schemas": {"Answer": {"properties": {"decision": {"type": "viral", "description": ""}}}}
    },
}


class Checked(html.parser.HTMLParser):
    """Holds that elements close in order, that ids are unique, that pictures lie in the page and
    have a text, and that no attribute is code.
    """

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.text, self.tags = [], [], [], []
        self.feed(text)
        assert not self.open and len(self.ids) == len(set(self.ids))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.ids += [given["id"]] if "id" in given else []
        assert not [name for name in given if name.startswith("on")]
        if tag == "img":
            assert given["src"].startswith("data:image/") and (given["alt"] or "hidden" in given)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Give kind -> text, each rendered once and without painting."""
    makers = {**PAGES, **SERVED, **FRAGMENTS, **TEXTS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xray_tf.pages.kit.canvas.to_png_bytes", lambda figure, dpi=150: b"png")
        yield cache(lambda kind: makers[kind](tmp_path_factory.mktemp("page") / "made"))


@pytest.mark.parametrize("kind", [*PAGES, *SERVED, *FRAGMENTS], ids=lambda kind: kind.__name__)
def test_text_stays_text(kind, rendered):
    page = rendered(kind)
    checked = Checked(page)
    said = " ".join("".join(checked.text).split())
    assert " ".join(EVIL.split()) in said and "49" not in re.findall(r"\{\{.*?\}\}", said)
    assert checked.tags.count("script") == SCRIPTS.get(kind, 0)


@pytest.mark.parametrize("kind", PAGES, ids=lambda kind: kind.__name__)
def test_a_page_is_one_file_that_loads_nothing(kind, rendered):
    page = rendered(kind)
    page.encode("utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    assert policy.count("script-src 'sha256-") == bool(SCRIPTS.get(kind))
    assert not re.search(r"@import|url\((?!data:)|fetch\(|XMLHttpRequest", page)
    # these link the pages of stages and models, which lie beside them
    places = re.findall(r'<[^>]*\s(?:src|href)="(?!data:|#)([^"]*)', page)
    assert not places or (kind in (StudyPage, DemoPage) and all(p.startswith("./") for p in places))
    assert page.count("<h1>") == 1 and "not a medical device" in page
    assert re.search(r"<title>\s*\S.*</title>", page)


@pytest.mark.parametrize("kind", SERVED, ids=lambda kind: kind.__name__)
def test_a_served_page_asks_its_own_server_and_no_other(kind, rendered):
    page = rendered(kind)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'") and "http" not in policy
    assert not re.search(r'<[^>]*\s(?:src|href)="(?!data:|#|/)', page)
    assert page.count("<h1>") == 1 and "not a medical device" in page


@pytest.mark.parametrize("kind", TEXTS, ids=lambda kind: kind.__name__)
def test_text_stays_text_in_markdown(kind, rendered):
    made = rendered(kind)
    said, tags = read_markdown(made)
    assert " ".join(EVIL.split()) in said
    assert not tags & {"html_block", "html_inline", "image", "s"}


@pytest.mark.parametrize(
    "text",
    [
        EVIL,
        "# heading",
        "- item",
        "* item",
        "+ item",
        "12. item",
        "3) item",
        "> quote",
        "---",
        "***",
        "===",
        "[a]: https://example.org",
        "![a](b)",
        "[a][b]",
        "_a_ __b__ a_b_c *c* **d** ~~e~~ `f` ``g``",
        "<b>x</b> <!-- y --> &lt; &#65; &amp;",
        "C:\\data\\*.png",
        "$x$ | y",
        "-0.05 [-0.06, +0.04]: below",
    ],
)
def test_any_text_survives_markdown_as_a_paragraph_an_item_and_a_cell(text):
    escaped = markdown_text(text)
    for block in (f"{escaped}\n", f"before\n\n* {escaped}\n", f"| h |\n| --- |\n| {escaped} |\n"):
        said, tags = read_markdown(block)
        assert said.removeprefix("before ").removeprefix("h ") == text, block
        assert tags <= {"paragraph", "list_item", "bullet_list", "text", "table", "tr", "th", "td",
                        "thead", "tbody", "inline"}, block  # fmt: skip


def read_markdown(text):
    """Return what a reader sees, white space collapsed, and the kinds of what it is made of."""
    reader = markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = [t for block in reader.parse(text) for t in (block, *(block.children or ()))]
    kinds = {re.sub(r"_(open|close)$", "", t.type) for t in tokens}
    lines = [
        "".join(c.content for c in t.children or () if c.type in ("text", "code_inline"))
        for t in tokens
        if t.type == "inline"
    ]
    return " ".join(" ".join(lines).split()), kinds - {"softbreak"}


def test_every_page_is_in_this_contract():
    for module in pkgutil.walk_packages(pages.__path__, "xray_tf.pages."):
        importlib.import_module(module.name)
    assert set(Page.__subclasses__()) == {*PAGES, *SERVED}
