"""The demo: the shipped models on the examples first, then a study of phantoms."""

from xray_tf import demo
from xray_tf.pages.study.page import StudyPage


def test_it_reads_the_examples_then_runs_the_study_and_names_the_pages(
    tmp_path, capsys, monkeypatch
):
    asked = []

    def study(data, out, options, command_line):
        asked.append((data, options.preset))
        out.mkdir(parents=True)
        return []

    monkeypatch.setattr("xray_tf.study.reproduce_study.reproduce_study", study)
    monkeypatch.setattr("xray_tf.study.results.format_results", lambda rows: "the table")
    told = {"data": {"used": 9}, "words": "the page of the study", "notes": []}
    page = StudyPage(told, True, (), [])
    monkeypatch.setattr("xray_tf.pages.study.page.study_page", lambda folder, place: page)
    monkeypatch.setattr(demo, "CLASSIFIERS", demo.CLASSIFIERS[:1])
    files = demo.example_radiographs("viral")[:1]
    monkeypatch.setattr(demo, "example_radiographs", lambda: files)
    assert demo.main(["--out", str(tmp_path / "demo"), "--children", "7"]) == 0
    said = capsys.readouterr().out
    assert asked == [("phantom:7", "demo")]
    assert said.index(files[0].name) < said.index("The whole study") < said.index("the table")
    page = tmp_path / "demo" / "report.html"
    assert f"Open {page}" in said
    shown = page.read_text()
    evidence = f"{demo.CLASSIFIERS[0]}/evidence.html"
    assert f'href="./{evidence}#r1"' in shown and (tmp_path / "demo" / evidence).is_file()
    assert "Truly pneumonia" in shown and "the page of the study" in shown
    assert demo.main(["--out", str(tmp_path / "demo"), "--children", "0"]) == 2
