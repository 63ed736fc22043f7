"""python -m xray_tf.audit prints a summary a person can read, leaves what it says, and refuses what
it cannot do.
"""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from xray_tf.audit import main
from xray_tf.data.records import Findings, Records

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(tmp_path):
    for i in range(4):
        for path in (
            f"train/NORMAL/IM-{i:04d}-0001.png",
            f"train/PNEUMONIA/person{i}_virus_{i}.png",
        ):
            (tmp_path / "data" / path).parent.mkdir(parents=True, exist_ok=True)
            image = np.random.default_rng([i, len(path)]).integers(0, 256, (40, 40), np.uint8)
            (tmp_path / "data" / path).write_bytes(cv2.imencode(".png", image)[1].tobytes())
    (tmp_path / "data/train/NORMAL/IM-0009-0001.png").write_bytes(b"")
    return tmp_path / "data"


def test_it_prints_the_summary_and_leaves_three_files(data, tmp_path, capsys):
    assert main(["--data", str(data), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "audit.csv",
        "records.csv",
        "summary.md",
    ]
    assert (
        printed.startswith((tmp_path / "out/summary.md").read_text(encoding="utf-8"))
        and (f"Finished: {tmp_path / 'out'}/") in printed
    )
    assert "9 radiographs (read as kaggle-folder); 8 can be used" in printed
    findings = Findings.read_csv(tmp_path / "out/audit.csv")
    assert [(f.kind, f.severity, f.path) for f in findings] == [
        ("empty", "error", "train/NORMAL/IM-0009-0001.png")
    ]
    records = Records.read_csv(tmp_path / "out/records.csv")
    assert len(records) == 8 and all(r.sha256 and r.width == 40 for r in records)


def test_without_out_it_writes_nothing(data, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert main(["--data", str(data), "--patient-key", "bare"]) == 0
    assert (
        sorted(tmp_path.rglob("*")) == before and "the bare one was used" in capsys.readouterr().out
    )


def test_an_output_that_exists_is_never_overwritten(data, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    assert main(["--data", str(data), "--out", str(tmp_path / "out")]) == 2
    assert "never overwritten" in capsys.readouterr().err and [
        p.name for p in (tmp_path / "out").iterdir()
    ] == ["mine.txt"]


def test_an_output_that_cannot_be_made_is_an_error_line(data, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert main(["--data", str(data), "--out", str(tmp_path / "file/out")]) == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.skipif(not os.geteuid(), reason="root writes wherever it likes")
def test_a_read_only_output_is_an_error_line(data, tmp_path, capsys):
    (tmp_path / "shut").mkdir(mode=0o500)
    assert main(["--data", str(data), "--out", str(tmp_path / "shut/out")]) == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "args, message",
    [
        (["--data", "nowhere"], "nowhere does not exist"),
        (["--data", "phantom:none"], "phantom:PATIENTS"),
        (["--data", "."], "is not in Kaggle's layout"),
    ],
)
def test_data_that_cannot_be_read_are_an_error_line_and_status_2(
    tmp_path, monkeypatch, capsys, args, message
):
    monkeypatch.chdir(tmp_path)
    assert main(args) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and "Traceback" not in error


@pytest.mark.parametrize(
    "args", [[], ["--data", "x", "--source", "dicom"], ["--data", "x", "--patient-key", "name"]]
)
def test_wrong_flags_are_refused_by_the_parser(args, capsys):
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 2 and "usage: xray-tf audit" in capsys.readouterr().err


def test_help_neither_imports_numpy_nor_opencv():
    code = (
        "import sys; from xray_tf.audit import main\ntry: main(['--help'])\nexcept SystemExit: "
        "print({'numpy', 'cv2', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--patient-key" in done.stdout and done.stdout.endswith("set()\n")
