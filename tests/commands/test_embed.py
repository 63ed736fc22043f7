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


def test_the_earlier_spelling_still_works(model, phantoms, tmp_path, monkeypatch):
    asked = []

    def stand_in(of, files, out, k, data):
        asked.append((files, data))
        raise ValueError("enough")

    monkeypatch.setattr("xray_tf.jobs.neighbors.nearest_cases.nearest_cases", stand_in)
    line = ["--model", str(model), "--out", str(tmp_path / "out")]
    embed.main([*line, "--nearest", "a.png", "b.png", "--data", str(phantoms)])
    embed.main([*line, "a.png", "b.png", "--pictures", str(phantoms)])
    assert asked == [(["a.png", "b.png"], str(phantoms))] * 2


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        ([], 2, "give FILES, or a labelled data set as --data"),
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
