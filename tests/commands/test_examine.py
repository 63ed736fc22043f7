"""python -m xray_tf.examine: what it leaves, its exit status, and what it says."""

import json

from xray_tf import examine


def test_examine_leaves_figures_and_a_page(binary, phantoms, cache, tmp_path, capsys):
    args = [
        "--model",
        str(binary.folder),
        "--data",
        str(phantoms),
        "--cache",
        str(cache),
        "--out",
        str(tmp_path / "out"),
        "--parts",
        "shortcuts",
        "--shortcut-rows",
        "6",
        "--bootstrap",
        "5",
        "--split",
        str(binary.folder / "split.csv"),
        "--part",
        "test",
    ]
    assert examine.main(args) == 0
    assert "examination.html" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "shortcuts.json").read_text())["split"] == "test"
    assert examine.main(args) == 2 and "never overwritten" in capsys.readouterr().err


def test_examine_says_what_it_could_not_do(binary, phantoms, cache, tmp_path, capsys):
    args = [
        "--model",
        str(binary.folder),
        "--data",
        str(phantoms),
        "--cache",
        str(cache),
        "--out",
        str(tmp_path / "out"),
    ]
    assert (
        examine.main([*args, "--methods", "tea_leaves"]) == 2
        and "methods must be some of" in capsys.readouterr().err
    )
    assert (
        examine.main([*args, "--operating-point", "lucky"]) == 2
        and "lucky" in capsys.readouterr().err
    )
    assert (
        examine.main([*args, "--steps", "1"]) == 2
        and "steps must be at least 2" in capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()
