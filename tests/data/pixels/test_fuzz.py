"""Spoilt files of every format end in pixels or a refusal, soon and in little memory; the files
that pydicom ships, and every kind of PNG, go through the audit.
"""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from image_files import others, png_suite

from xray_tf.data.pixels.decoding import decode
from xray_tf.data.pixels.header import KINDS, DecodeError
from xray_tf.jobs.audit.audit_data import audit_records

pydicom = pytest.importorskip("pydicom")
HERE = Path(__file__).parent
SPOILT = 2000


def test_spoilt_files_of_every_format_end_in_pixels_or_a_refusal():
    path = os.pathsep.join([str(HERE), str(HERE.parents[2])])
    done = subprocess.run(
        [sys.executable, HERE / "fuzz.py", "0", str(SPOILT)],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=1200,  # of a busy machine; fuzz.py limits the processor's time
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr[-4000:]
    found = json.loads(done.stdout)
    assert len(found["counted"]) >= 8 and found["megabytes"] < 1024
    for name, (read, refused, _, slowest) in found["counted"].items():
        assert slowest < 10, name
        if name != "large sides":
            assert read + refused == SPOILT
            # the decoders were reached, or nothing is decoded
            assert min(read, refused) > 100 or name == "another format", name


def audited(folder, caplog, capfd):
    audit = audit_records(folder, cache=folder.parent / "cache", progress=False)
    said = "".join((*capfd.readouterr(), caplog.text))
    assert "Traceback" not in said and len(audit.findings)
    return audit


def test_the_files_that_pydicom_ships_are_audited(tmp_path, caplog, capfd):
    shipped = [p for p in Path(pydicom.data.__file__).parent.rglob("*") if p.suffix != ".py"]
    shipped = [p for p in shipped if p.is_file() and "__pycache__" not in p.parts]
    assert len(shipped) > 100
    for number, path in enumerate(shipped):
        place = tmp_path / "data" / ("NORMAL", "PNEUMONIA")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}-{path.name}").symlink_to(path)
    audit = audited(tmp_path / "data", caplog, capfd)
    errors = {
        f.path.split("-", 1)[1]: f for f in audit.findings if f.severity == "error" and f.path
    }
    assert {f.kind for f in errors.values()} <= set(KINDS)
    assert errors["JPEG-lossy.dcm"].kind == "not-a-radiograph"


def test_files_that_pydicom_cannot_decode_are_refused_by_name(caplog, capfd):
    expected = {
        "JPEG-lossy.dcm": ("no-decoder", "JPEG Extended .* more than 8 bits, .* pylibjpeg"),
        "JPEG2000-embedded-sequence-delimiter.dcm": ("unreadable", "1024 x 256|256 x 1024"),
    }
    for name, (kind, message) in expected.items():
        found = next(Path(pydicom.data.__file__).parent.rglob(name))
        file, stream = pydicom.dcmread(found), io.BytesIO()
        file.Modality = "CR"
        file.save_as(stream)
        with pytest.raises(DecodeError, match=message) as caught:
            decode(stream.getvalue(), 64, "crop")
        assert caught.value.kind == kind
    assert not caplog.records and "Traceback" not in "".join(capfd.readouterr())


def test_every_kind_of_png_and_other_formats_are_audited(tmp_path, caplog, capfd):
    files = [*png_suite().items(), *others().items()]
    for number, (name, data) in enumerate(files):
        place = tmp_path / "data" / ("NORMAL", "PNEUMONIA")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        suffix = ".tif" if "TIFF" in name else ".png"
        (place / f"IM-{number:04d}-0001{suffix}").write_bytes(data)
    audit = audited(tmp_path / "data", caplog, capfd)
    refused = [f for f in audit.findings if f.severity == "error" and f.path]
    assert len(audit.records) + len(refused) == len(files)
    assert len(audit.records) >= 16 and {f.kind for f in refused} <= set(KINDS)
