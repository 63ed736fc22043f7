"""From `storescu` over the listener into Orthanc, and back over DICOMweb: each radiograph is
answered once, although the listener is killed and Orthanc comes late.
"""

import os

import listener as bench
import pytest
from clinic_identifiers import PLANTED_WORDS, holding

from xray_tf import listen
from xray_tf.clinic.extra import quiet_libraries

RADIOGRAPHS, KILLS = 16, 1


@pytest.mark.skipif(bool(bench.missing()), reason=f"not installed: {bench.missing()}")
def test_each_radiograph_is_answered_once_and_nobody_is_named(binary, dicom, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    (tmp_path / "dicom").mkdir()
    files = []
    with quiet_libraries():
        for i in range(RADIOGRAPHS):
            uids = {"SOPInstanceUID": f"1.2.826.77.1.{i}", "StudyInstanceUID": f"1.2.826.77.2.{i}"}
            files.append(tmp_path / "dicom" / f"{i}.dcm")
            files[-1].write_bytes(dicom(**uids))
    model = ["--model", str(binary.folder)]
    result = bench.trouble(tmp_path, files, KILLS, 0, *model)
    assert result["answered_once"] == RADIOGRAPHS
    assert result["instances"] == len(bench.KINDS) * RADIOGRAPHS
    assert result["left"] == {"waiting": 0, "sending": 0, "dead": 0}
    assert result["status_after_term"] == 143
    # a killed listener may have accepted one and not told it
    told = (tmp_path / "listener" / "log").read_text().count("accepted ")
    assert RADIOGRAPHS - KILLS <= told <= RADIOGRAPHS
    assert holding(tmp_path / "listener", PLANTED_WORDS) == []


def test_an_address_that_is_taken_and_a_missing_receiver_are_told_in_one_line(
    binary, tmp_path, capsys
):
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        args = ["--model", str(binary.folder), "--port", str(other.getsockname()[1])]
        args += ["--queue", str(tmp_path / "queue"), "--key", str(tmp_path / "key")]
        assert listen.main(args) == 2
        assert "send must be AET@HOST:PORT" in capsys.readouterr().err
        assert listen.main([*args, "--send", "PACS@127.0.0.1:1"]) == 2
        assert "in use" in capsys.readouterr().err
