"""--device and --threads choose what computes, before it is loaded."""

import os
import subprocess
import sys

import pytest

from xray_tf.commands import find_commands
from xray_tf.data.pixels.reading import each
from xray_tf.machine import cores, settings
from xray_tf.options import MachineOptions

NOT_COMPUTING = {"export", "to-dicom"}


def test_one_gpu_is_counted_among_those_that_are_shown():
    assert settings(MachineOptions(device="gpu:1"), {}) == {"CUDA_VISIBLE_DEVICES": "1"}
    shown = {"CUDA_VISIBLE_DEVICES": "4,7"}
    assert settings(MachineOptions(device="gpu:1"), shown) == {"CUDA_VISIBLE_DEVICES": "7"}
    with pytest.raises(ValueError, match="shows 2 GPUs"):
        settings(MachineOptions(device="gpu:2"), shown)


def test_what_is_not_chosen_is_left_alone():
    assert settings(MachineOptions(), {"CUDA_VISIBLE_DEVICES": "3"}) == {}
    assert settings(MachineOptions(device="gpu"), {"CUDA_VISIBLE_DEVICES": "3"}) == {}


@pytest.mark.parametrize("device", ["tpu", "gpu:", "gpu:x", "cuda:0", "cpu:1"])
def test_a_device_of_another_name_is_refused(device):
    with pytest.raises(ValueError, match="device must be cpu, gpu"):
        MachineOptions(device=device)


def test_decoding_has_as_many_threads_as_were_chosen(monkeypatch):
    for name, value in settings(MachineOptions(threads=3), {}).items():
        monkeypatch.setenv(name, value)
    assert cores() == 3
    assert list(each(str, range(5))) == list("01234")
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert cores() >= 1


@pytest.mark.parametrize("name", sorted(set(find_commands()) - NOT_COMPUTING))
def test_every_command_that_computes_can_be_told_on_what(name, capsys):
    from importlib import import_module

    main = import_module(f"xray_tf.{name.replace('-', '_')}").main
    for line in [["fit", "--help"], ["score", "--help"]] if name == "detect" else [["--help"]]:
        with pytest.raises(SystemExit):
            main(line)
        said = capsys.readouterr().out
        assert "--device DEVICE" in said and "--threads N" in said


CODE = """
import os, sys
from xray_tf import predict
status = predict.main([sys.argv[1], "--device", "gpu:99", "--threads", "1"])
assert status == 2
import tensorflow as tf
before = len(os.listdir("/proc/self/task"))
tf.linalg.matmul(tf.ones((600, 600)), tf.ones((600, 600)))
tf.nn.conv2d(tf.ones((8, 64, 64, 8)), tf.ones((3, 3, 8, 8)), 1, "SAME")
print("threads", len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads in /proc")
def test_a_gpu_that_is_not_there_is_told_and_tensorflow_has_the_threads_chosen(tmp_path):
    from xray_tf.data.examples import example_radiographs

    environment = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    done = subprocess.run(
        [sys.executable, "-c", CODE, example_radiographs()[0]],
        env={**environment, "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
    )
    assert "finds no such GPU" in done.stderr and "--device cpu" in done.stderr, done.stderr
    assert int(done.stdout.split()[-1]) <= 4, done.stdout  # 17 with eight of them
