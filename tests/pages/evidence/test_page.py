"""The evidence page: everything it shows is in the file, the scale is where the numbers say, and a
notebook's styles stay in their cell.
"""

import html.parser
import re
from dataclasses import replace

import numpy as np
import pytest
from inputs.browser import told_in_browser
from inputs.evidence import CARD, make_evidence

from xray_tf.data.predictions import Prediction
from xray_tf.operating_point import OperatingPoint
from xray_tf.pages.evidence.page import (
    EvidencePage,
    place_text,
    scoped,
)

VOID = {"meta", "img", "br", "hr", "input", "link"}


@pytest.fixture
def evidence():
    return make_evidence()


class Checked(html.parser.HTMLParser):
    """Holds that elements close in order, ids are unique, pictures have a text, and headings do not
    skip a level.
    """

    def __init__(self, page):
        super().__init__()
        self.open, self.ids, self.headings, self.pictures = [], [], [], []
        self.feed(page)
        assert not self.open and len(self.ids) == len(set(self.ids))
        assert all(b <= a + 1 for a, b in zip(self.headings, self.headings[1:], strict=False))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.headings += [int(tag[1])] if re.fullmatch(r"h\d", tag) else []
        if tag == "img":
            assert given["alt"] and given["src"].startswith("data:image/")
            self.pictures.append(given["alt"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def render_evidence(*args, **more):
    return EvidencePage(*args, **more).render()


def test_one_page_holds_everything_and_nothing_comes_from_elsewhere(evidence):
    page = render_evidence([evidence])
    checked = Checked(page)
    assert len(checked.pictures) == 4 and any("upper right" in alt for alt in checked.pictures)
    assert (
        "not a medical device" in page
        and "default-src 'none'" in page
        and not re.search(r"(src|href)=\"(?!data:|#)", page)
    )
    for said in (
        "0.800",
        "97 %",
        "virus:person1",
        "no picture",
        "not in the given folder",
        "It is &lt;odd&gt;.",
        "&lt;reason&gt;",
        "&lt;b&gt;&amp;.jpeg",
        "99.0",
    ):
        assert said in page
    assert "<b>&.jpeg" not in page and page.index("It is &lt;odd&gt;") < page.index(
        "It is in colour"
    )


def test_the_scale_is_drawn_where_the_numbers_say(evidence):
    decision = render_evidence([evidence]).split("What to distrust")[0]
    assert (
        '<i style="left:25.00%"></i><b style="left:80.00%"></b>' in decision
        and decision.count('class="track"') == 1
    )
    assert (
        "Probability of pneumonia 0.800 on a scale from 0 to 1; called pneumonia from 0.250 on"
        in decision
    )
    three = replace(
        CARD,
        task="three-class",
        class_names=("normal", "bacterial", "viral"),
        operating_points={"balanced": OperatingPoint("balanced", offsets=(0, 0, 0.5))},
    )
    page = render_evidence(
        [
            replace(
                evidence,
                card=three,
                prediction=Prediction("x", "", "", "", (0.1, 0.3, 0.6), "viral"),
                called_from=(0.5, 0.4, 0.3),
                anomaly=None,
            )
        ]
    )
    assert (
        page.count('class="track"') == 3
        and ('<i style="left:30.00%"></i><b style="left:60.00%"></b>') in page
        and "probability of viral" in page
    )


def test_a_slider_fades_the_heat_map_and_without_a_script_it_stays_at_half(evidence, tmp_path):
    probe = (
        "const layer = document.querySelector('.layer'), slider = document.querySelector("
        "'.slider input'), shown = () => getComputedStyle(layer).opacity; const before = shown();"
        "slider.value = 20; slider.dispatchEvent(new Event('input'));"
        "document.title = [before, shown(), slider.offsetWidth > 0].join(' ');"
    )
    assert told_in_browser(render_evidence([evidence]), probe, tmp_path) == "0.5 0.2 true"
    cell = re.search(r"<style>(.*?)</style>", evidence._repr_html_(), re.S)[1]
    assert ".slider { display: none; }" in cell and "opacity: 0.5" in cell


def test_the_detectors_verdict_has_its_own_scale(evidence):
    page = render_evidence([evidence])
    assert (
        "Anomaly score 0.830 on a scale from 0 to 1; called anomalous from 0.500 on" in page
        and ("unlike normal radiographs") in page
    )
    assert "Anomaly" not in render_evidence([replace(evidence, anomaly=None)])


def test_what_is_missing_is_left_out_or_said(evidence):
    page = render_evidence(
        [
            replace(
                evidence,
                heatmap=np.zeros((32, 32), np.float32),
                neighbors=None,
                anomaly=None,
                caveats=(),
            )
        ]
    )
    assert (
        "The heat map is empty" in page
        and "Nearest training" not in page
        and "This does not prove" in page
    )
    assert len(Checked(page).pictures) == 1
    nobody = replace(evidence, neighbors=replace(evidence.neighbors, pictures={}, folder=False))
    assert "The model keeps no pictures of some of these" in render_evidence([nobody])


def test_several_radiographs_get_a_table_that_leads_to_each(evidence):
    page = render_evidence(
        [evidence, replace(evidence, name="second.png", caveats=())],
        [("bad.png", "truncated: it ends early")],
        total=9,
    )
    Checked(page)
    assert page.count('href="#r') == 2 and 'id="r2"' in page
    assert all(
        words in page
        for words in (
            "nothing serious was found",
            "truncated: it ends early",
            "The first 3 of 9",
        )
    )
    only = render_evidence([], [("bad.png", "truncated: it ends early")])
    assert "Not read (1)" in only and Checked(only)


def test_in_a_notebook_the_styles_stay_in_their_cell(evidence):
    shown = evidence._repr_html_()
    Checked(shown)
    style = re.search(r"<style>(.*?)</style>", shown, re.S)[1]
    assert (
        style.startswith(".xray-evidence {")
        and style.count("{") == style.count("}")
        and ("not a medical device") in shown
    )
    assert not re.search(r"(?<![\w-])(:root|body|html)\s*\{", style)
    assert scoped("body { color: red; } tbody th { color: blue; } html { x: y; }") == (
        ".xray-evidence {& { color: red; } tbody th { color: blue; } padding: 1rem; "
        "border-radius: 0.6rem; }"
    )


def test_saved_once_and_never_overwritten(evidence, tmp_path):
    path = evidence.save(tmp_path / "page.html")
    assert path.read_text() == render_evidence([evidence])
    with pytest.raises(FileExistsError, match="never overwritten"):
        evidence.save(path)


def test_it_says_the_essentials_in_a_line(evidence):
    assert repr(evidence) == (
        "Evidence('folder/<b>&.jpeg': pneumonia 0.800; caveats: 1 serious, 1 minor)"
    )


@pytest.mark.parametrize(
    ("row", "column", "words"),
    [(0, 0, "upper left"), (15, 15, "middle centre"), (31, 31, "lower right")],
)
def test_the_maps_place_is_said_in_words(row, column, words):
    heat = np.zeros((32, 32), np.float32)
    heat[row, column] = 1
    assert words in place_text(heat)


def test_undecodable_names_are_shown_escaped(evidence):
    assert "\\udcff" in render_evidence([replace(evidence, name="a\udcff.png")])
