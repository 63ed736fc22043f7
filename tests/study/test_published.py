"""The figures a study is set beside are those of their sources."""

from pathlib import Path

import pytest

from xray_tf.study.published import PUBLISHED

ANCHORS = Path(__file__).parents[3] / "shared" / "anchors" / "numbers.md"


def test_every_figure_is_named_once_and_has_its_source():
    assert len({(p.task, p.reader, p.metric) for p in PUBLISHED}) == len(PUBLISHED)
    for figure in PUBLISHED:
        assert figure.report or figure.best is not None
        assert (figure.best is None) == (figure.by == "") == (figure.protocol == "") and (
            figure.best is None or 0 < figure.best < 1
        )


@pytest.mark.parametrize("figure", PUBLISHED, ids=lambda p: f"{p.task} {p.reader} {p.metric}")
def test_figures_stand_in_the_collected_sources(figure):
    if not ANCHORS.is_file():
        pytest.skip("needs ../shared/anchors, which is not here")
    text = ANCHORS.read_text(encoding="utf-8")
    if figure.best is not None:
        assert f"{figure.best:g}".lstrip("0") in text
    for share in figure.report.split("-") if figure.report else ():
        assert (
            f"{100 * float(share):.0f}"
            in text.split("the course report this project started from")[1].split("\n")[0]
        )
