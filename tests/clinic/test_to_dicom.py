"""Files and phantoms become DICOM files that a PACS takes and the listener answers."""

import shutil
import subprocess

import cv2
import numpy as np
import pydicom
import pytest

from xray_tf import to_dicom
from xray_tf.clinic.objects.source import read_source
from xray_tf.data.pixels.dicom import decode_grey


def test_phantoms_and_files_keep_their_pixels_and_get_made_up_identifiers(tmp_path, chest, capsys):
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "Plantedname.png"), chest)
    cv2.imwrite(str(tmp_path / "in" / "b.jpg"), chest[:-1, :-1])
    (tmp_path / "in" / "c.png").write_bytes(b"no picture")
    assert to_dicom.main([str(tmp_path / "in"), "--out", str(tmp_path / "a")]) == 0
    assert "2 radiographs, 1 could not be read" in capsys.readouterr().out
    assert to_dicom.main([str(tmp_path / "in"), "--out", str(tmp_path / "again")]) == 0
    assert to_dicom.main(["phantom:2", "--out", str(tmp_path / "p")]) == 0
    assert to_dicom.main(["--example", "--out", str(tmp_path / "e")]) == 0
    assert len(list((tmp_path / "e").iterdir())) == 12
    files = sorted(tmp_path.glob("[ap]/*.dcm"))
    assert len(files) == 4
    sets = [pydicom.dcmread(f) for f in files]
    assert len({s.StudyInstanceUID for s in sets} | {s.SOPInstanceUID for s in sets}) == 8
    for file, made in zip(files, sets, strict=True):
        assert read_source(file.read_bytes()).header.PatientID.startswith("SYN-")
        assert made.PatientIdentityRemoved == "YES" and b"Planted" not in file.read_bytes()
        if shutil.which("dciodvfy"):
            done = subprocess.run(["dciodvfy", file], capture_output=True, text=True)
            assert "Error" not in done.stderr, done.stderr
    for one in ("0001.dcm", "0002.dcm"):
        assert (tmp_path / "a" / one).read_bytes() == (tmp_path / "again" / one).read_bytes()
    lossless = next(f for f, s in zip(files, sets, strict=True) if s.Rows == chest.shape[0])
    assert np.array_equal(decode_grey(lossless.read_bytes()), chest)
    lossy = next(s for s in sets if s.Rows == chest.shape[0] - 1)
    assert lossy.LossyImageCompression == "01" and lossy.Columns == chest.shape[1] - 1


def test_a_dicom_file_is_not_made_again(tmp_path, dicom, capsys):
    (tmp_path / "a.dcm").write_bytes(dicom())
    assert to_dicom.main([str(tmp_path / "a.dcm"), "--out", str(tmp_path / "out")]) == 2
    assert "a DICOM file already" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["phantom:0", "no_such_file"])
def test_nothing_to_make_is_an_error(name, tmp_path, capsys):
    assert to_dicom.main([name, "--out", str(tmp_path / "out")]) == 2
    assert "error: " in capsys.readouterr().err
