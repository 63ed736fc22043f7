"""TensorFlow's start-up lines stay off the terminal, and nothing else does."""

import os
import subprocess
import sys

import pytest

from xray_tf.quiet import is_usual


@pytest.mark.parametrize(
    ("line", "usual"),
    [
        ("I0000 00:00:1.5  1 port.cc:153] oneDNN custom operations are on. You may see", True),
        ("I0000 00:00:1.5  1 cudart_stub.cc:31] Could not find cuda drivers on your machine", True),
        ("W0000 cuda_dnn.cc] Cannot dlopen some GPU libraries. Skipping registering GPU", False),
        ("Error: out of memory", False),
    ],
)
def test_only_lines_that_say_nothing_are_usual(line, usual):
    assert is_usual(line) is usual


def test_a_missing_driver_is_told_where_there_is_a_gpu(monkeypatch):
    line = "E0000 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error"
    for found, usual in (([], True), (["/dev/nvidia0"], False)):
        monkeypatch.setattr("xray_tf.quiet.glob", lambda pattern, found=found: found)
        assert is_usual(line) is usual


def test_a_command_starts_tensorflow_without_its_lines_and_with_everything_else(tmp_path):
    code = (
        "import os, sys\n"
        "from xray_tf.exit_status import run\n"
        "def job():\n"
        "    import warnings, keras, tensorflow as tf\n"
        "    os.write(2, b'a line of a library\\n')\n"
        "    warnings.warn('a warning')\n"
        "    tf.zeros(1)\n"
        "sys.exit(run(job))\n"
    )
    env = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert ran.returncode == 0 and "a line of a library" in ran.stderr
    assert "a warning" in ran.stderr
    assert not [line for line in ran.stderr.splitlines() if is_usual(line)]


def test_what_a_library_says_while_it_is_imported_comes_through(tmp_path, monkeypatch):
    (tmp_path / "tensorflow.py").write_text(
        "import os\n"
        "os.write(2, b'oneDNN custom operations are on\\nDriver is too old\\n')\n"
        "class config:\n"
        "    list_physical_devices = print\n"
    )
    code = "from xray_tf.quiet import quiet_start; quiet_start(); import tensorflow"
    path = os.pathsep.join([str(tmp_path), *sys.path])
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert ran.stderr == "Driver is too old\n"
