"""No output names a patient: identifiers are planted in headers and file names, and looked for in
everything that is written or said.
"""

import pytest
from clinic_identifiers import PLANTED_WORDS, holding

from xray_tf import explain, predict

NAME = "Plantedname_HOSP-4711_20210704"  # of a file


@pytest.fixture
def scans(dicom, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / f"{NAME}.dcm").write_bytes(dicom())
    (folder / f"{NAME}_side.dcm").write_bytes(dicom(ViewPosition="LL", SOPInstanceUID="1.2.826.77"))
    (folder / f"{NAME}_cut.dcm").write_bytes(dicom()[:700])
    return folder


def test_headers_and_names_of_dicom_files_are_in_no_page_picture_log_or_cache(
    scans, binary, tmp_path, monkeypatch, capfd, caplog
):
    monkeypatch.setenv("XRAY_TF_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(scans)  # paths as given are what a person typed
    model, files = ["--model", str(binary.folder)], ["*.dcm"]
    answers = ["--out", str(tmp_path / "out" / "p"), "--report"]
    objects = ["--dicom-out", str(tmp_path / "objects")]
    with caplog.at_level("DEBUG"):
        assert predict.main([*files, *model, *answers, *objects]) == 0
        assert explain.main([*files, *model, "--out", str(tmp_path / "out" / "e")]) == 0
    printed = "".join(capfd.readouterr()) + caplog.text
    for word in PLANTED_WORDS:
        assert word not in printed.replace(NAME, ""), word
    assert "not frontal" in printed and "3 objects on 1 radiographs, 2 not answered" in printed
    tables = ("predictions.csv", "maps.npz")  # these have the paths, to find a result again
    assert {f.split(":")[0] for f in holding(tmp_path / "out")} <= set(tables)
    in_headers = [w for w in PLANTED_WORDS if w not in NAME and not NAME.startswith(w)]
    in_headers.remove("HOSP-4711") if "HOSP-4711" in in_headers else None
    assert holding(tmp_path / "out", in_headers) == []
    assert not (tmp_path / "cache").exists() or holding(tmp_path / "cache") == []
    names = [p.name for p in (tmp_path / "objects").iterdir()]
    assert len(names) == 3 and all(n.startswith("2.25.") for n in names)


def test_names_are_kept_where_that_is_asked_for(scans, binary, tmp_path):
    model, keep = ["--model", str(binary.folder)], "--keep-identifiers"
    where = ["--out", str(tmp_path / "p"), "--report", keep]
    assert predict.main([str(scans), *model, *where]) == 0
    assert NAME in (tmp_path / "p" / "evidence.html").read_text(encoding="utf-8")
    assert explain.main([str(scans), *model, "--out", str(tmp_path / "e"), keep]) == 0
    assert any(NAME in p.name for p in (tmp_path / "e" / "overlays").iterdir())


def test_the_same_folder_is_written_again_byte_for_byte_and_never_over_another(
    scans, binary, tmp_path, capsys
):
    line = [str(scans), "--model", str(binary.folder), "--dicom-out"]
    assert predict.main([*line, str(tmp_path / "a")]) == predict.main([*line, str(tmp_path / "b")])
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("a", "b"))
    assert first == second and len(first) == 3
    assert predict.main([*line, str(tmp_path / "a")]) == 2
    assert "never overwritten" in capsys.readouterr().err
    other = scans / "other.dcm"
    other.write_bytes((scans / f"{NAME}.dcm").read_bytes() + b"\0\0")
    predict.main([*line, str(tmp_path / "c")])
    assert "the same SOP Instance UID" in capsys.readouterr().out
