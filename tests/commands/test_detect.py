"""The command: fit leaves a detector, score applies it, and what the user can mend is one line."""

import csv

import pytest

from xray_tf import detect
from xray_tf.jobs.detector import fit_detector as job

SMALL = (
    "--validation 0.45 --test 0.2 --report-on-pneumonia --image-size 32 --latent 4 "
    "--components 2 --folds 2 --budget 0.8 "
    "--detectors none --bootstrap 20"
).split()


@pytest.fixture(scope="module")
def model(phantoms, cache, tmp_path_factory, not_trained):
    """A detector around an untrained autoencoder: for contracts, not for figures."""
    out = tmp_path_factory.mktemp("detect") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "train", not_trained)
        assert (
            detect.main(
                ["fit", "--data", str(phantoms), "--out", str(out), "--cache", str(cache), *SMALL]
            )
            == 0
        )
    return out


def test_score_says_a_verdict_a_reason_and_what_chance_would_reach(
    model, phantoms, tmp_path, capsys
):
    args = [
        "score",
        "--model",
        str(model),
        "--data",
        str(phantoms),
        "--split",
        str(model / "split.csv"),
        "--part",
        "test",
        "--out",
        str(tmp_path / "out"),
        "--no-maps",
        "--bootstrap",
        "20",
    ]
    assert detect.main(args) == 0
    said = capsys.readouterr().out
    assert (
        "AUROC" in said
        and said.count("(chance ") == 2
        and said.splitlines()[-1].startswith("Finished: ")
        and said.endswith("scores.html\n")
    )
    with open(tmp_path / "out" / "scores.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert {
        "path",
        "reconstruction_error",
        "log_density",
        "anomaly_score",
        "verdict",
        "reason",
    } <= set(rows[0])
    assert all(
        (float(r["anomaly_score"]) > 0.5) == (r["verdict"] == "anomalous") == bool(r["reason"])
        for r in rows
    )
    assert detect.main(args) == 2 and "never overwritten" in capsys.readouterr().err


def test_the_card_names_the_command(model):
    assert "python -m xray_tf.detect fit --data" in (model / "README.md").read_text()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["fit", "--data", "PHANTOMS", "--out", "OUT"], "--report-on-pneumonia"),
        (["fit", "--data", "no/such/folder", "--out", "OUT"], "does not exist"),
        (
            ["fit", "--data", "PHANTOMS", "--out", "OUT", "--report-on-pneumonia"],
            "5 folds need fit normals",
        ),
        (
            ["score", "--model", "BINARY", "--data", "PHANTOMS", "--out", "OUT"],
            "holds a 'classifier' artifact. Expected a detector, such as",
        ),
        (
            ["score", "--model", "MODEL", "--data", "no/such/folder", "--out", "OUT"],
            "leads to no image",
        ),
        (
            ["score", "--model", "MODEL", "--data", "PHANTOMS", "--out", "OUT", "--part", "val"],
            "no radiograph of the part 'val'",
        ),
        (
            [
                "score",
                "--model",
                "MODEL",
                "--data",
                "PHANTOMS",
                "--out",
                "OUT",
                "--thresholds",
                "log_density=1",
            ],
            "one finite number for each",
        ),
        (
            [
                "score",
                "--model",
                "MODEL",
                "--data",
                "PHANTOMS",
                "--out",
                "OUT",
                "--colormap",
                "loud",
            ],
            "colormap must be one of",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_status_2(
    args, message, model, binary, phantoms, cache, tmp_path, capsys
):
    places = {
        "OUT": str(tmp_path / "OUT"),
        "PHANTOMS": str(phantoms),
        "MODEL": str(model),
        "BINARY": str(binary.folder),
    }
    assert detect.main([places.get(a, a) for a in args] + ["--cache", str(cache)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error and not (tmp_path / "OUT").exists()


@pytest.mark.parametrize("given", [[], ["a.jpeg", "--data", "folder"]])
def test_score_takes_files_or_a_labelled_data_set(given, capsys):
    with pytest.raises(SystemExit) as ended:
        detect.main(["score", *given, "--model", "m", "--out", "o"])
    assert ended.value.code == 2 and "give FILES, or" in capsys.readouterr().err
