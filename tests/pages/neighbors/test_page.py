"""The page of dots: everything in one file, nothing from elsewhere, and no text in it is ever
code.
"""

import base64
import hashlib
import html
import json
import re

import cv2
import numpy as np
import pytest
from inputs.atlas import NAMES, make
from inputs.browser import told_in_browser

from xray_tf.artifact import Card
from xray_tf.pages.kit.figures import to_png_bytes
from xray_tf.pages.neighbors.figures import draw_map, draw_nearest
from xray_tf.pages.neighbors.page import SHEET, THUMBNAIL, AtlasPage, thumbnail_sheets


def data_of(page):
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1]
    )


def test_the_data_in_the_page_are_those_given():
    page = make()
    data = data_of(page)
    assert (
        data["classes"] == list(NAMES)
        and len(data["points"]) == 12
        and data["titles"]["tsne"] == ("t-SNE, perplexity 30")
    )
    point = data["points"][3]
    assert (
        point[4] == 1
        and point[6] == 0
        and point[10] == "train/x3.png"
        and point[11] == "person1"
        and point[9] == 61.0
    )
    assert point[12] == [["train/elsewhere.png", 1, 0.25], [4, 0, 0.5]]


def test_both_confusion_matrices_are_on_the_page_with_their_counts_as_text():
    page = make()
    found = re.findall(
        r'alt="Confusion matrix of (.*?)\. true normal: (\d+) decided normal, (\d+) '
        r"decided pneumonia; true pneumonia: (\d+) decided normal, (\d+)",
        html.unescape(page),
    )
    assert [f[0] for f in found] == ["nearest neighbours", "the network's head"] and all(
        sum(map(int, f[1:])) == 12 for f in found
    )


def test_nothing_comes_from_elsewhere_and_only_the_named_script_may_run():
    page = make()
    assert (
        not re.search(r'(?:src|href)="(?!data:|#)', page)
        and "//cdn" not in page
        and "fetch(" not in page
        and "innerHTML" not in page
    )
    script = re.search(r"</script>\n<script>(.*?)</script>", page, re.S)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src "
        f"'sha256-{digest}'"
    )


@pytest.mark.parametrize(
    "name",
    [
        "</script><script>alert(1)</script>{i}",
        '"><img src=x onerror=alert(1)>{i}',
        "a\udcff{i}.png",
        "é & <b>{i}",
    ],
)
def test_no_file_name_ends_the_element_it_lies_in(name):
    page = make(name=name)
    page.encode("utf-8")
    assert (
        page.count("<script") == 2
        and "onerror=alert(1)>" not in page.replace("\\u003e", ">").split("<script")[0]
    )
    assert data_of(page)["points"][5][10] == "train/" + name.format(i=5)


def test_warnings_and_text_alternatives_are_there():
    assert "Split by image" in make(split_by="image") and "Split by image" not in make(
        split_by="patient"
    )
    page = make()
    assert "Fitted on &lt;these&gt; rows." in page.split('id="compare-title"')[1]
    assert (
        "<noscript>" in page
        and 'tabindex="0" role="application"' in page
        and 'aria-live="polite"' in page
        and ("not a medical device") in page
    )


def test_thumbnails_lie_where_the_script_looks_for_them():
    count = SHEET * SHEET + 3
    pixels = np.repeat(
        np.linspace(0, 255, count).astype(np.uint8)[:, None, None], 24, axis=1
    ).repeat(24, axis=2)
    sheets = [
        cv2.imdecode(np.frombuffer(s, np.uint8), cv2.IMREAD_GRAYSCALE)
        for s in thumbnail_sheets(pixels)
    ]
    assert [s.shape for s in sheets] == [
        (SHEET * THUMBNAIL, SHEET * THUMBNAIL),
        (THUMBNAIL, SHEET * THUMBNAIL),
    ]
    for i in (0, 1, SHEET, SHEET * SHEET - 1, SHEET * SHEET + 2):
        k = i % (SHEET * SHEET)
        top, left = THUMBNAIL * (k // SHEET), THUMBNAIL * (k % SHEET)
        assert (
            np.abs(
                sheets[i // (SHEET * SHEET)][top : top + THUMBNAIL, left : left + THUMBNAIL].astype(
                    int
                )
                - pixels[i, 0, 0]
            ).max()
            <= 2
        )


def test_points_without_radiographs_are_refused():
    with pytest.raises(ValueError, match="0 points"):
        AtlasPage(Card("classifier", "demo"), {}, [], np.zeros((0, 8, 8), np.uint8), {}, "")


def test_in_a_browser_a_pointed_dot_shows_its_radiograph(tmp_path):
    probe = (
        "const m = document.getElementById('map'), b = m.getBoundingClientRect(), p = places[3];"
        "m.dispatchEvent(new PointerEvent('pointermove', {clientX: b.left + p[0], clientY: "
        "b.top + p[1]})); const one = card.innerText;"
        "m.dispatchEvent(new KeyboardEvent('keydown', {key: 'n', bubbles: true})); "
        "document.title = one + ' || ' + card.innerText;"
    )
    one, two = told_in_browser(make(), probe, tmp_path).split(" || ")
    for words in (
        "x3.png",
        "person1",
        "pneumonia",
        "votes",
        "elsewhere.png",
        "distance 0.250",
        "x4.png",
    ):
        assert words in one
    assert two.startswith("x4.png")  # N goes to the nearest neighbour that is a dot


def test_maps_and_panels_are_drawn():
    rng = np.random.default_rng(0)
    figure = draw_map(
        rng.normal(size=(50, 2)),
        rng.integers(-1, 2, 50),
        rng.integers(0, 2, 50),
        NAMES,
        "t-SNE, perplexity 30, seed 0",
    )
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:2] == ["true class", "decided by the network's head"] and re.fullmatch(
        r"errors: \d+ of "
        r"\d+",
        titles[2],
    )
    assert figure.get_suptitle() == "t-SNE, perplexity 30, seed 0"
    panel = draw_nearest(
        np.zeros((16, 16), np.uint8), "asked", [np.full((16, 16), 9, np.uint8), None], ["1", "2"]
    )
    assert [a.get_title() for a in panel.axes] == ["asked", "1", "2\n(no picture)"]
    assert to_png_bytes(panel).startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"\(5, 3\)"):
        draw_map(np.zeros((5, 3)), np.zeros(5, int), np.zeros(5, int), NAMES, "")


def test_acquisition_groups_are_drawn_beside_the_classes():
    points = np.random.default_rng(0).normal(size=(50, 2))
    groups = [str(i % 3) for i in range(40)] + [""] * 10
    labels = np.arange(50) % 2
    figure = draw_map(points, labels, labels, NAMES, "", groups=groups)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:2] == ["true class", "acquisition group"] and len(titles) == 4
    key = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert key == ["0: 14", "1: 13", "2: 13", "others: 10"]
    assert len(draw_map(points, labels, labels, NAMES, "", groups=[""] * 50).axes) == 3
    with pytest.raises(ValueError, match=r"\(7,\)"):
        draw_map(points, labels, labels, NAMES, "", groups=["1"] * 7)


def test_the_errors_panel_counts_what_is_known_and_wrong():
    figure = draw_map(np.arange(10).reshape(5, 2), [0, 1, 1, -1, 0], [0, 0, 1, 1, 1], NAMES, "")
    assert figure.axes[2].get_title(loc="left") == "errors: 2 of 4"
