"""python -m xray_tf.explain: what it leaves, its exit status, and what it says."""

from xray_tf import explain


def test_explain_leaves_maps_overlays_and_a_page(binary, phantoms, tmp_path, capsys):
    files = [str(p) for p in sorted((phantoms / "train" / "PNEUMONIA").iterdir())[:2]]
    args = ["--model", str(binary.folder), "--out", str(tmp_path / "out"), *files]
    assert explain.main(args) == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "overlays",
        "maps.npz",
        "predictions.csv",
        "explanations.html",
    }
    assert "2 radiographs" in capsys.readouterr().out
    assert explain.main(args) == 2 and "never overwritten" in capsys.readouterr().err


def test_explain_says_what_it_could_not_do(binary, tmp_path, capsys):
    broken = tmp_path / "broken.png"
    broken.write_text("not a picture")
    model = ["--model", str(binary.folder), "--out", str(tmp_path / "out")]
    assert (
        explain.main([*model, "--layer", "conv9", str(broken)]) == 2
        and "Usable layers" in capsys.readouterr().err
    )
    assert (
        explain.main([*model, str(tmp_path / "nowhere")]) == 2
        and "nowhere" in capsys.readouterr().err
    )
    assert (
        explain.main([*model, str(broken)]) == 1
        and "1 could not be read" in capsys.readouterr().out
    )
