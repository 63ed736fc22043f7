"""Odd consoles: no escape sequence and no forged line is printed, and streams may be missing."""

import os
import subprocess
import sys

import pytest

from xray_tf.exit_status import run
from xray_tf.progress import ProgressLine, printable

POSIX = pytest.mark.skipif(os.name == "nt", reason="needs POSIX names and signals")
PATIENCE_S = 600  # only a hang takes as long


def start(*code, **options):
    return subprocess.run(
        [sys.executable, *code], capture_output=True, timeout=PATIENCE_S, **options
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("scan.png", "scan.png"),
        ("ümläut 肺.png", "ümläut 肺.png"),
        ("a\x1b]0;owned\x07b", r"a\x1b]0;owned\x07b"),
        ("a\nb\rc\td", r"a\nb\rc\td"),
        ("gnp.\u202etxt", r"gnp.\u202etxt"),
        ("a\u2028b\x85c\x9b31m", r"a\u2028b\x85c\x9b31m"),
        (os.fsdecode(b"scan\xff.png"), r"scan\udcff.png"),
    ],
)
def test_controls_are_shown_escaped(text, shown):
    assert printable(text) == shown


@POSIX
def test_a_name_can_neither_forge_an_answer_nor_move_the_cursor(tmp_path):
    name = tmp_path / "x\x1b]0;owned\x07\n  scan2.png: normal (normal 1.000).png"
    name.write_bytes(b"no image")
    ran = start("-m", "xray_tf.predict", os.fspath(name))
    assert ran.returncode == 1 and b"\x1b" not in ran.stdout + ran.stderr
    assert not [x for x in ran.stdout.splitlines() if x.startswith(b"  scan2.png")]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_missing_stream_costs_nothing(stream, monkeypatch):
    monkeypatch.setattr(sys, stream, None)

    def job():
        with ProgressLine("working", 1) as line:
            line.step()
        print("done")

    assert run(job) == 0
    getattr(sys, stream).close()


@POSIX
@pytest.mark.parametrize(
    ("ends", "status"),
    [
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", 143),
        ("os.kill(os.getpid(), signal.SIGINT); time.sleep(9)", 130),
        ("raise BrokenPipeError(32, 'Broken pipe')", 141),
        ("raise ValueError('no')", 2),
        ("pass", 0),
    ],
)
def test_whatever_ends_a_command_it_cleans_up_and_says_how_it_ended(ends, status, tmp_path):
    code = (
        "import os, signal, sys, time\nfrom xray_tf.exit_status import run\n"
        "from xray_tf.writing import new_folder\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's & ignores it
        "def job():\n"
        f"    with new_folder({os.fspath(tmp_path / 'made')!r}) as draft:\n        {ends}\n"
        "sys.exit(run(job))"
    )
    ran = start("-c", code)
    assert ran.returncode == status and b"Traceback" not in ran.stderr
    assert [p.name for p in tmp_path.iterdir()] == (["made"] if not status else [])


@POSIX
def test_a_reader_that_goes_away_ends_a_command_quietly():
    code = (
        "import sys\nfrom xray_tf.exit_status import run\n"
        "def job():\n    for i in range(100000):\n        print('row', i)\n"
        "sys.exit(run(job))"
    )
    job = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    job.stdout.readline()
    job.stdout.close()
    said = job.stderr.read()
    job.stderr.close()
    assert job.wait(PATIENCE_S) == 141 and said == b""


def test_a_console_of_another_code_page_shows_escapes():
    code = "from xray_tf.exit_status import run\nrun(lambda: print('\\u80ba'))"
    ran = start("-c", code, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert ran.returncode == 0 and ran.stdout.strip() == rb"\u80ba"
