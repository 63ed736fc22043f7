"""predict --report: one page beside the predictions, and flags that belong to it refused without
it.
"""

import pytest

from xray_tf import predict


def test_it_leaves_the_page_beside_the_predictions(binary, phantoms, tmp_path, capsys):
    files = sorted((phantoms / "train" / "PNEUMONIA").iterdir())[:2]
    (tmp_path / "bad.png").write_bytes(b"")
    out = tmp_path / "out"
    assert (
        predict.main(
            [
                *map(str, files),
                str(tmp_path / "bad.png"),
                "--model",
                str(binary.folder),
                "--out",
                str(out),
                "--report",
            ]
        )
        == 0
    )
    assert capsys.readouterr().out.strip().endswith(f"Evidence: {out}/evidence.html")
    page = (out / "evidence.html").read_text()
    assert (
        page.count("<article") == 2
        and all(f.name in page for f in files)
        and "Not read (1)" in page
        and "--add-reference" in page
        and page.count("The detector normal-chest finds it") == 2
    )
    assert sorted(p.name for p in out.iterdir()) == [
        "evidence.html",
        "predictions.csv",
    ]


def test_the_page_starts_with_the_radiographs_and_a_detector_can_be_switched_off(
    binary, phantoms, tmp_path
):
    files = sorted((phantoms / "train" / "PNEUMONIA").iterdir())[:2]
    line = [*map(str, files), "--model", str(binary.folder), "--report", "--detector", "none"]
    assert predict.main([*line, "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "evidence.html").read_text()
    body = page[page.index("</header>") :]
    assert "The detector" not in body and body.index("<img") < body.index("<p")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--report"], "--report needs --out"),
        (["--out", "x", "--data", "y"], "need --report"),
        (["--detector", "y"], "need --report"),
        (["--out", "x", "--report", "--data", "none such"], "none such is not a folder"),
        (["--out", "x", "--report", "--pictures", "none such"], "none such is not a folder"),
        (
            ["--out", "x", "--report", "--detector", "none such"],
            "none such is not an xray_tf artifact",
        ),
    ],
)
def test_flags_that_do_not_fit_are_told_before_anything_is_written(
    binary, phantoms, tmp_path, capsys, monkeypatch, flags, message
):
    monkeypatch.chdir(tmp_path)
    try:
        status = predict.main([str(phantoms), "--model", str(binary.folder), *flags])
    except SystemExit as error:
        status = error.code
    assert status == 2 and message in capsys.readouterr().err and not any(tmp_path.iterdir())
