"""What tests of pages share: made-up folders, and pages rendered once."""

import pytest
from inputs.classifier import made_up_history, made_up_predictions, make_folder

from xray_tf.registry import TASKS


@pytest.fixture
def folder(tmp_path):
    make_folder(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def build():
    return make_folder


@pytest.fixture
def table():
    return lambda *args, **kwargs: made_up_predictions(*args, **kwargs)[0]


@pytest.fixture
def history():
    return made_up_history()


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Give task -> (card, metrics, page) of an untouched folder, rendered once a session."""
    from xray_tf.pages.classifier.report import render_report

    out = {}
    for task in TASKS:
        folder = tmp_path_factory.mktemp("finished") / "run"
        out[task] = (*make_folder(folder, task), render_report(folder))
    return out


@pytest.fixture
def unpainted(monkeypatch):
    """Leave the pictures' pixels out, for tests about the text around them: painting takes most of
    a report's time.
    """
    monkeypatch.setattr("xray_tf.pages.kit.canvas.to_png_bytes", lambda figure, dpi=150: b"png")
