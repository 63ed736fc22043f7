"""Progress: a bar with the time left on a terminal, a line a step elsewhere, lines of a job through
the logger, and silence on request.
"""

import io
import logging

import pytest

from xray_tf.jobs.run import Run
from xray_tf.progress import LOG, ProgressLine, shown


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    """A clock that is turned by hand."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def run_progress(stream, monkeypatch, **more):
    """1,000 steps of 0.01 s."""
    clock = Clock()
    monkeypatch.setattr("xray_tf.progress.time.monotonic", clock)
    monkeypatch.setattr("tqdm.std.time", clock)
    with ProgressLine("Decoding", 1000, stream=stream, **more) as line:
        assert line.drawn == (stream.isatty() and more.get("enabled", True))
        for _ in range(1000):
            clock.now += 0.01
            line.step()
    return stream.getvalue()


def test_progress_is_redrawn_a_few_times_a_second_on_a_terminal(monkeypatch):
    text = run_progress(Terminal(), monkeypatch)
    assert 10 <= text.count("\r") <= 60 and text.count("\n") == 1
    assert text.endswith("Decoding 1,000/1,000  100/s\n") and " left" in text


def test_progress_is_one_line_in_a_log_and_silent_on_request(monkeypatch):
    line = "Decoding 1,000/1,000  100/s\n"
    assert run_progress(io.StringIO(), monkeypatch) == line
    assert run_progress(io.StringIO(), monkeypatch, line=False) == ""
    assert run_progress(Terminal(), monkeypatch, enabled=False) == ""


def test_the_lines_of_a_job_are_shown_while_it_runs(capsys):
    with shown():
        Run().say("one")
        with shown():  # a job inside a job
            Run().say("two")
    Run().say("three")
    assert capsys.readouterr().out == "one\ntwo\n" and not LOG.handlers


def test_a_programs_own_handler_gets_the_lines_instead(capsys, caplog):
    with caplog.at_level(logging.INFO, logger="xray_tf"):
        with shown(False):
            Run().say("to the log")
        LOG.addHandler(caplog.handler)
        try:
            with shown():
                Run().say("to its own handler")
        finally:
            LOG.removeHandler(caplog.handler)
    assert caplog.messages[0] == "to the log" and "to its own handler" in caplog.messages
    assert capsys.readouterr().out == ""


def test_the_logger_is_left_as_it_was():
    before = LOG.level, LOG.propagate, list(LOG.handlers)
    with pytest.raises(RuntimeError), shown():
        raise RuntimeError
    assert (LOG.level, LOG.propagate, LOG.handlers) == before
