"""Every command: what it leaves on disk, its exit status, and what it says when something is
wrong.
"""

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from tiny import WITH_TINY
from undrawn import undrawn

from xray_tf import audit, evaluate, export, predict, train
from xray_tf.data.predictions import Predictions
from xray_tf.exit_status import run
from xray_tf.models.load import load

SMALL = (
    "--backbone tiny --image-size 32 --weights none --epochs 2 --fine-tune none --steady-rows 0 "
    "--batch-size 8 --bootstrap 20 --precision float32"
).split()


def test_train_leaves_an_artifact_that_names_its_command(phantoms, cache, tmp_path, capsys):
    args = [
        "--data",
        str(phantoms),
        "--out",
        str(tmp_path / "model"),
        "--cache",
        str(cache),
        "--task",
        "three-class",
        *SMALL,
    ]
    assert train.main(args) == 0
    card = load(tmp_path / "model").card
    assert card.provenance["command_line"].startswith(
        "python -m xray_tf.train --data"
    ) and card.class_names == ("normal", "bacterial", "viral")
    said = capsys.readouterr().out
    assert said.count("warm      epoch") == 2 and str(tmp_path / "model") in said.splitlines()[-1]
    assert train.main(args) == 2 and "never overwritten" in capsys.readouterr().err


def test_evaluate_and_predict_agree(binary, phantoms, cache, tmp_path, capsys):
    model = ["--model", str(binary.folder)]
    assert (
        evaluate.main(
            [
                *model,
                "--data",
                str(phantoms),
                "--out",
                str(tmp_path / "e"),
                "--cache",
                str(cache),
                "--bootstrap",
                "20",
            ]
        )
        == 0
    )
    assert predict.main([*model, "--out", str(tmp_path / "p"), str(phantoms / "train")]) == 0
    scored, predicted = (Predictions.read_csv(tmp_path / name / "predictions.csv") for name in "ep")
    by_name = {
        p.rsplit("/", 1)[-1]: q
        for p, q in zip(predicted.paths, predicted.probabilities, strict=True)
    }
    np.testing.assert_allclose(
        [by_name[p.rsplit("/", 1)[-1]] for p in scored.paths], scored.probabilities, atol=1e-5
    )
    assert [p.name for p in (tmp_path / "p").iterdir()] == ["predictions.csv"]
    assert "auroc" in capsys.readouterr().out


def test_predict_keeps_order_takes_globs_and_survives_bad_files(binary, phantoms, tmp_path, capsys):
    folder = tmp_path / "with space é"
    folder.mkdir()
    sources = sorted((phantoms / "train" / "NORMAL").iterdir())[:3]
    for i, file in zip((10, 2, 1), sources, strict=True):
        shutil.copy(file, folder / f"scan{i}.png")
    (folder / "scan3.jpeg").write_text("not a picture")
    model = ["--model", str(binary.folder)]
    assert (
        predict.main(
            [
                *model,
                "--out",
                str(tmp_path / "out"),
                "--batch-size",
                "2",
                str(folder / "scan10.png"),
                str(folder / "*"),
            ]
        )
        == 0
    )
    with open(tmp_path / "out" / "predictions.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [os.path.basename(r["path"]) for r in rows] == [
        "scan10.png",
        "scan1.png",
        "scan2.png",
        "scan3.jpeg",
    ]
    assert rows[3]["error"] and not rows[3]["predicted"] and not rows[0]["error"]
    assert "1 could not be read" in capsys.readouterr().out
    assert (
        predict.main([*model, "--out", str(tmp_path / "strict"), "--strict", str(folder / "*")])
        == 2
    )
    assert "scan3.jpeg" in capsys.readouterr().err and not (tmp_path / "strict").exists()
    assert predict.main([*model, "--out", str(tmp_path / "bad"), str(folder / "scan3.jpeg")]) == 1


def test_export_adds_a_saved_model_once_and_the_artifact_stays_valid(three_class, tmp_path, capsys):
    copy = tmp_path / "model"
    shutil.copytree(three_class.folder, copy)
    assert export.main(["--model", str(copy)]) == 0
    parity = json.loads((copy / "saved_model" / "parity.json").read_text())
    assert parity["pixels"] <= 1e-4 and parity["encoded"] <= 1e-2
    assert load(copy).card == three_class.card
    assert export.main(["--model", str(copy)]) == 2 and "exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "args", "message"),
    [
        (train, ["--data", "no/such/folder", "--out", "OUT"], "no/such/folder does not exist"),
        (train, ["--data", "EMPTY", "--out", "OUT"], "EMPTY"),
        (
            train,
            ["--data", "PHANTOMS", "--out", "OUT", *SMALL, "--backbone", "resnet19"],
            "resnet19",
        ),
        (train, ["--data", "PHANTOMS", "--out", "OUT", "--split", "no.csv", *SMALL], "no.csv"),
        (
            train,
            ["--data", "PHANTOMS", "--out", "OUT", "--validation", "1.5", *SMALL],
            "validation",
        ),
        (
            evaluate,
            ["--model", "EMPTY", "--data", "PHANTOMS", "--out", "OUT"],
            "not an xray_tf artifact",
        ),
        (
            evaluate,
            [
                "--model",
                "MODEL",
                "--data",
                "PHANTOMS",
                "--out",
                "OUT",
                "--operating-point",
                "lucky",
            ],
            "lucky",
        ),
        (predict, ["--model", "MODEL", "--out", "OUT", "no_such_file.jpeg"], "no_such_file"),
        (predict, ["--model", "EMPTY", "--out", "OUT", "README.md"], "not an xray_tf artifact"),
        (export, ["--model", "EMPTY"], "not an xray_tf artifact"),
        (audit, ["--data", "no/such/folder"], "does not exist"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_status_2(
    command, args, message, binary, phantoms, cache, tmp_path, capsys
):
    (tmp_path / "EMPTY").mkdir()
    places = {
        "OUT": str(tmp_path / "OUT"),
        "EMPTY": str(tmp_path / "EMPTY"),
        "PHANTOMS": str(phantoms),
        "MODEL": str(binary.folder),
    }
    extra = ["--cache", str(cache)] if command in (train, evaluate) else []
    assert command.main([places.get(a, a) for a in args] + extra) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error
    assert not (tmp_path / "OUT").exists()


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EROFS, "name another"),
        (errno.EACCES, "name another"),
        (errno.ENOSPC, "Free some space"),
    ],
)
def test_what_the_system_refuses_is_told_with_what_to_do(number, advice, capsys):
    def job():
        raise OSError(number, os.strerror(number), "out/model")

    assert run(job) == 2
    error = capsys.readouterr().err
    assert "out/model" in error and advice in error


def test_an_output_that_cannot_be_written_is_told(phantoms, cache, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert (
        train.main(
            [
                "--data",
                str(phantoms),
                "--out",
                str(tmp_path / "file" / "model"),
                "--cache",
                str(cache),
                *SMALL,
            ]
        )
        == 2
    )
    assert "file" in capsys.readouterr().err


# the third epoch has moved the weights when it dies, and is not yet in the checkpoint
DIES = (
    WITH_TINY
    + """
import os, signal
from xray_tf.nets.training.loop import Training
from xray_tf.train import main
epoch_of = Training._epoch
def epoch_that_dies(self, phase, number, epoch):
    if (phase.name, epoch) == ("fine-tune", 2):
        phase.validate = lambda: os.kill(os.getpid(), signal.SIGKILL)
    epoch_of(self, phase, number, epoch)
Training._epoch = epoch_that_dies
main(sys.argv[1:])
"""
)


def test_a_run_killed_with_sigkill_resumes_bit_for_bit(phantoms, cache, tmp_path, capsys):
    def line(out):
        args = ["--data", str(phantoms), "--out", str(out), "--cache", str(cache), *SMALL]
        args += "--fine-tune 1 --fine-tune-epochs 4 --augment strong --ema 0.9".split()
        return [*args, "--region", "whole", "--mistakes", "0"]

    cut, whole = tmp_path / "cut", tmp_path / "whole"
    killed = subprocess.run(
        [sys.executable, "-c", DIES, *line(cut)], capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert not cut.exists()
    assert train.main(line(cut)) == 2 and "--resume" in capsys.readouterr().err
    other = [*line(cut), "--epochs", "4", "--resume"]
    assert train.main(other) == 2 and "TrainOptions.epochs" in capsys.readouterr().err
    with undrawn():
        assert train.main([*line(cut), "--resume"]) == 0 and train.main(line(whole)) == 0
    weights = [load(folder).model.get_weights() for folder in (cut, whole)]
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)
    predictions = [(folder / "predictions.csv").read_text() for folder in (cut, whole)]
    assert predictions[0] == predictions[1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut", "whole"]


@pytest.mark.parametrize(
    ("command", "args"),
    [
        (train, ["--data", "no such data", "--out", "x", "--backbone", "resnet5O"]),
        (train, ["--data", "no such data", "--out", "/dev/null/x"]),
        (predict, ["no such file", "--out", "/dev/null/x"]),
        (evaluate, ["--model", "no such", "--data", "no such data", "--out", "/dev/null/x"]),
        (audit, ["--data", "no such data", "--out", "/dev/null/x"]),
    ],
)
def test_a_bad_option_is_told_before_anything_is_read(command, args, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command.main(args) == 2
    said = capsys.readouterr().err
    assert ("backbone" in said or "cannot be created" in said) and "no such" not in said
