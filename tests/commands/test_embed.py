"""The command: one call from radiographs to the page, one from files to their nearest cases."""

import shutil

import pytest

from xray_tf import embed


@pytest.fixture(scope="module")
def model(binary, tmp_path_factory):
    return shutil.copytree(binary.folder, tmp_path_factory.mktemp("command") / "model")


def test_it_embeds_then_finds_nearest_cases(model, phantoms, cache, tmp_path, capsys):
    quick = ["--cache", str(cache), "--bootstrap", "20", "--map-rows", "20", "--neighbors", "3"]
    assert (
        embed.main(
            [
                "--model",
                str(model),
                "--data",
                str(phantoms),
                "--out",
                str(tmp_path / "a"),
                "--add-reference",
                *quick,
            ]
        )
        == 0
    )
    said = capsys.readouterr().out
    assert (
        "nearest neighbours" in said
        and "the network's head" in said
        and said.strip().endswith("page.html")
    )
    files = sorted((phantoms / "train" / "NORMAL").iterdir())[:2]
    assert (
        embed.main(
            [
                "--model",
                str(model),
                "--nearest",
                *map(str, files),
                "--count",
                "2",
                "--out",
                str(tmp_path / "b"),
            ]
        )
        == 0
    )
    assert (
        capsys.readouterr().out.count("nearest ") == 2
        and (tmp_path / "b" / "nearest.csv").read_text().count("\n") == 5
    )
    assert "python -m xray_tf.embed --model" in (tmp_path / "a" / "reference.json").read_text()


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        ([], 2, "--data is required"),
        (["--data", "none such"], 2, "none such"),
        (["--data", "x", "--weights", "even"], 2, "invalid choice"),
    ],
)
def test_what_does_not_fit_is_told_in_a_line(binary, tmp_path, capsys, flags, status, message):
    try:
        found = embed.main(["--model", str(binary.folder), "--out", str(tmp_path / "out"), *flags])
    except SystemExit as error:
        found = error.code
    assert (
        found == status and message in capsys.readouterr().err and not (tmp_path / "out").exists()
    )
