"""DICOM files become the grey that the standard says, or a finding that says why not; nothing that
names a patient gets out.
"""

import importlib
import io
import os
import re
import stat
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xray_tf.data.pixels import dicom, header
from xray_tf.data.pixels.cache import CacheError
from xray_tf.data.pixels.decoding import decode, read_header
from xray_tf.data.pixels.header import DecodeError
from xray_tf.data.pixels.reading import read_file
from xray_tf.data.pixels.square import RESIZE_MODES, resize_pixels
from xray_tf.data.sources.dicom_headers import KEY_NAME, patient_key, patient_secret
from xray_tf.data.sources.files import list_files
from xray_tf.data.sources.names import SourceError
from xray_tf.data.sources.scan import scan

pydicom = pytest.importorskip("pydicom")
from dicom_files import (  # noqa: E402
    BYTES,
    COLOUR,
    GREY,
    NAMES,
    RAMP,
    REFUSED,
    SIDE,
    VARIANTS,
    WHOLE,
    WINDOW,
    X,
    encapsulated,
    half_up,
    make,
)
from pydicom.uid import JPEG2000, JPEG2000Lossless, JPEGBaseline8Bit  # noqa: E402


def jpeg2000(values, **more):
    if not pydicom.pixels.get_decoder(JPEG2000Lossless).is_available:
        pytest.skip("no JPEG 2000 decoder here")
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(values).save(
        stream, "JPEG2000", no_jp2=True, **({"irreversible": False} | more)
    )
    return stream.getvalue()


@pytest.mark.parametrize("data, expected", VARIANTS.values(), ids=VARIANTS)
def test_grey_is_what_the_standard_says(data, expected):
    grey = dicom.decode_grey(data)
    assert grey.dtype == np.uint8 and grey.shape == (SIDE, SIDE)
    if expected is None:
        seen = RAMP >= 2000
        low, high = np.percentile(RAMP[seen], [0.5, 99.5], method="inverted_cdf")
        expected = np.where(seen, half_up((X - low) / (high - low)), 0)
    # PNG's weights in 15 bits may round otherwise than 0.299, 0.587, 0.114
    np.testing.assert_allclose(
        grey.astype(int), expected.astype(int), atol=1 if expected is GREY else 0
    )


@pytest.mark.parametrize(
    "name",
    [
        "12 bits, a window of everything",
        "the first of two windows",
        "LINEAR_EXACT",
        "SIGMOID",
        "rescaled, then windowed",
        "signed",
        "VOI LUT before window",
    ],
)
def test_grey_agrees_with_pydicoms_own_transforms(name):
    file = pydicom.dcmread(io.BytesIO(VARIANTS[name][0]))
    shown = pydicom.pixels.apply_voi_lut(
        pydicom.pixels.apply_modality_lut(file.pixel_array, file), file
    ).astype(float)
    reference = 255 * (shown - shown.min()) / np.ptp(shown)
    # pydicom's range there is that of all 12-bit values, not of those that occur
    if name not in ("rescaled, then windowed", "SIGMOID"):
        assert np.abs(decode(VARIANTS[name][0], SIDE, "crop") - reference).max() <= 1
    assert (
        np.corrcoef(decode(VARIANTS[name][0], SIDE, "crop").ravel(), reference.ravel())[0, 1]
        > 0.9999
    )


@pytest.mark.parametrize("resize", RESIZE_MODES)
def test_then_the_same_resize_rule_as_for_every_file(resize):
    wide = np.tile(BYTES, (1, 2))
    np.testing.assert_array_equal(
        decode(make(wide, 8), 20, resize), resize_pixels(wide, 20, resize)
    )
    assert read_header(make(wide, 8)) == header.Header("dicom", 64, 32, "L")
    assert [read_header(make(p, b)).mode for p, b in ((RAMP, 12), (RAMP, 16), (COLOUR, 8))] == [
        "L12",
        "L16",
        "RGB",
    ]


def test_jpeg_2000_is_read_where_a_decoder_is_there():
    data = encapsulated(jpeg2000(BYTES), JPEG2000Lossless, pixels=BYTES, bits=8)
    np.testing.assert_array_equal(decode(data, SIDE, "crop"), BYTES)


@pytest.mark.parametrize("window", [{}, {"WindowCenter": "8192", "WindowWidth": "16384"}])
@pytest.mark.parametrize("kept", [8, 10, 12, 14])
def test_a_codestream_deeper_than_declared_is_shown_as_deep_as_it_is(kept, window):
    """White used to wrap round to black: 14 bits cut to the 12 that BitsStored said."""
    values = (RAMP << 2).astype(np.uint16)
    seen = {"syntax": JPEG2000Lossless, "bits": kept}
    data = encapsulated(jpeg2000(values), pixels=values, **seen, **window)
    whole = encapsulated(jpeg2000(values), JPEG2000Lossless, pixels=values, bits=14, **window)
    np.testing.assert_array_equal(decode(data, SIDE, "crop"), decode(whole, SIDE, "crop"))
    assert np.corrcoef(decode(data, SIDE, "crop").ravel(), values.ravel())[0, 1] > 0.999


def test_whites_that_a_lossy_codec_overshoots_stay_white():
    values = np.where(np.indices((SIDE, SIDE)).sum(axis=0) % 7 < 3, 4095, 20).astype(np.uint16)
    lossy = jpeg2000(values, irreversible=True, quality_mode="rates", quality_layers=[8])
    data = encapsulated(lossy, JPEG2000, pixels=values, **WINDOW)
    stored = pydicom.dcmread(io.BytesIO(data)).pixel_array
    assert stored.max() > 4095
    assert decode(data, SIDE, "crop")[stored > 3500].min() > 200


@pytest.mark.parametrize("data, kind, message", REFUSED.values(), ids=REFUSED)
def test_refuses_with_a_finding_that_names_nobody(data, kind, message, capfd):
    with pytest.raises(DecodeError, match=message) as caught:
        decode(data, SIDE, "crop")
    assert caught.value.kind == kind and kind in header.KINDS
    assert names_in(str(caught.value) + "".join(capfd.readouterr())) == []
    assert caught.value.__cause__ is None or not names_in(repr(caught.value.__cause__))


def names_in(text):
    said = text.lower() if isinstance(text, str) else text.decode("latin-1").lower()
    return [
        name
        for name, value in NAMES.items()
        if any(part.lower() in said for part in value.split("^") + [value])
    ]


def test_hostile_files_end_in_a_finding(capfd):
    chance = np.random.default_rng(0)
    sources = [
        VARIANTS[n][0]
        for n in (
            "12 bits, a window of everything",
            "RLE",
            "modality LUT",
            "RGB by the weights of PNG",
            "implicit VR",
        )
    ]
    hostile = [WHOLE[:length] for length in range(0, len(WHOLE), 37)]
    for data in sources:
        for _ in range(40):
            spoilt = np.frombuffer(data, np.uint8).copy()
            spoilt[chance.integers(132, min(len(data), 1400), 6)] = chance.integers(0, 256, 6)
            hostile.append(spoilt.tobytes())
    nested = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 4000
    hostile.append(WHOLE[: WHOLE.index(b"\x08\x00\x16\x00")] + nested)
    for data in hostile:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pydicom's on damaged values
                grey = decode(data, SIDE, "crop")
        except DecodeError as error:
            assert error.kind in header.KINDS and not names_in(str(error))
        else:
            assert grey.shape == (SIDE, SIDE)
    assert not names_in("".join(capfd.readouterr()))


# ---- data sets


def fill(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def study(folder, patients=8):
    """Write two radiographs of each of some patients, sick where the number is odd, some without
    suffix; DICOMDIR and a text beside them.
    """
    files = {
        "train/DICOMDIR": make(drop=["PixelData"]),
        "train/NORMAL/notes.txt": b"nothing to see",
    }
    for i in range(2 * patients):
        pixels = np.roll(RAMP, 67 * i, axis=0) ^ np.uint16(i)
        name = (
            f"train/{'PNEUMONIA' if i // 2 % 2 else 'NORMAL'}/{['', 'IMG', '1.2.3.'][i % 3]}{i:04d}"
            + (".dcm" if i % 3 == 0 else "")
        )
        files[name] = make(
            pixels,
            PatientID=f"HOSP-{i // 2}",
            **(WINDOW if i % 4 else {}),
            BurnedInAnnotation="YES" if i == 5 else "NO",
        )
    return fill(folder, files)


def test_a_folder_of_dicom_files_has_patients_that_nobody_can_name(tmp_path):
    records, findings = scan(study(tmp_path / "study"), cache=tmp_path / "cache")
    assert len(records) == 16 and {r.label for r in records} == {"normal", "pneumonia"}
    assert (
        all(re.fullmatch("dicom:[0-9a-f]{16}", r.patient) for r in records)
        and len({r.patient for r in records}) == 8
    )
    assert {f.kind for f in findings} == {"burned-in-annotation", "no-window", "not-an-image"}
    assert [f.path for f in findings if f.kind == "burned-in-annotation"] == [
        "train/NORMAL/1.2.3.0005"
    ]
    assert "4 of 16" in next(f.detail for f in findings if f.kind == "no-window")
    again, other = (
        scan(tmp_path / "study", cache=tmp_path / c)[0].column("patient")
        for c in ("cache", "other")
    )
    assert again == records.column("patient") and not set(other) & set(again)


def test_the_key_of_a_patient_is_a_keyed_hash():
    import hashlib
    import hmac

    expected = hmac.new(b"k" * 32, b"\0\0\0\x02ABHOSP-1", hashlib.sha256).hexdigest()[:16]
    assert patient_key(b"HOSP-1", b"AB", b"k" * 32) == f"dicom:{expected}"
    # the issuer's length is part of it
    assert patient_key(b"BHOSP-1", b"A", b"k" * 32) != f"dicom:{expected}"


def test_the_secret_is_made_once_and_is_its_owners(tmp_path):
    secret = patient_secret(tmp_path / "cache")
    assert (
        len(secret) == 32
        and patient_secret(tmp_path / "cache") == secret
        and os.listdir(tmp_path / "cache") == [KEY_NAME]
    )
    assert stat.S_IMODE((tmp_path / "cache" / KEY_NAME).stat().st_mode) == 0o600
    (tmp_path / "cache" / KEY_NAME).write_text("not hexadecimal")
    with pytest.raises(CacheError, match="64 hex digits.*remove the file"):
        patient_secret(tmp_path / "cache")
    (tmp_path / "cache" / KEY_NAME).write_text("00ff")
    with pytest.raises(CacheError, match="Received: 4"):
        patient_secret(tmp_path / "cache")


@pytest.mark.parametrize(
    "ids, kinds, patients",
    [
        (["", ""], {"no-patient-key", "no-patient-id"}, 1),
        (["A", ""], {"no-patient-id"}, 2),
        (["ANON", "ANON"], {"one-patient-id"}, 1),
        (["nan", "None"], {"no-patient-key", "no-patient-id"}, 1),
        (["A", "B"], set(), 2),
    ],
)
def test_what_patient_ids_lack_is_said(tmp_path, ids, kinds, patients):
    folder = fill(
        tmp_path / "data",
        {
            f"{label}/x.dcm": make(PatientID=name, **WINDOW)
            for label, name in zip(("NORMAL", "PNEUMONIA"), ids, strict=True)
        },
    )
    records, findings = scan(folder, cache=tmp_path / "cache")
    assert {f.kind for f in findings} - {"irregular-name"} == kinds and len(
        set(records.column("patient"))
    ) == patients


def test_a_manifests_own_patient_column_wins(tmp_path):
    fill(tmp_path, {"a.dcm": make(), "b": make(), "c.dcm": b"no DICOM at all"})
    (tmp_path / "m.csv").write_text(
        "path,label,patient\na.dcm,normal,mine\nb,pneumonia,\nc.dcm,normal,\n"
    )
    patients = scan(tmp_path / "m.csv", cache=tmp_path / "cache")[0].column("patient")
    assert (
        patients[0].startswith("manifest:")
        and patients[1].startswith("dicom:")
        and patients[2] == ""
    )


def test_files_are_found_by_their_first_bytes(tmp_path):
    fill(
        tmp_path / "disc",
        {"IM0": make(), "1.2.840.77": make(), "x.DCM": make(), "DICOMDIR": make(), "y.json": b"{}"},
    )
    assert [Path(r.path).name for r in list_files(tmp_path / "disc")] == [
        "1.2.840.77",
        "IM0",
        "x.DCM",
    ]
    os.mkfifo(tmp_path / "disc" / "pipe")
    assert len(list_files(tmp_path / "disc")) == 3
    with pytest.raises(SourceError, match="leads to no image"):
        list_files(fill(tmp_path / "empty", {"DICOMDIR": make()}))


def test_without_pydicom_the_way_to_get_it_is_told(tmp_path, monkeypatch):
    fill(tmp_path / "data", {"NORMAL/a.dcm": make(), "PNEUMONIA/b.dcm": make()})

    def none(name, *rest, imported=importlib.import_module):
        if name.split(".")[0] == "pydicom":
            raise ModuleNotFoundError(name)
        return imported(name, *rest)

    monkeypatch.setattr(importlib, "import_module", none)
    for reads in (
        lambda: scan(tmp_path / "data", cache=tmp_path / "cache"),
        lambda: read_file(tmp_path / "data/NORMAL/a.dcm", SIDE, "crop"),
    ):
        with pytest.raises(
            ImportError,
            match=r"needs the package pydicom: pip install "
            r"'xray_tf\[dicom\]'",
        ):
            reads()


# ---- nothing that names a patient gets out


def test_no_identifier_reaches_anything_that_audit_train_and_predict_write(
    tmp_path, monkeypatch, capfd, binary
):
    from xray_tf import audit, explain, predict
    from xray_tf.jobs.classifier.train_classifier import train_classifier
    from xray_tf.options import DataOptions, EvaluateOptions, ModelOptions, TrainOptions

    data = study(tmp_path / "study", 12)
    fill(
        data,
        {
            "train/NORMAL/ct.dcm": make(Modality="CT"),
            "train/NORMAL/cut.dcm": WHOLE[:-500],
            "train/NORMAL/spoilt.dcm": WHOLE[:300],
        },
    )
    monkeypatch.setenv("XRAY_TF_CACHE", str(tmp_path / "out" / "cache"))
    assert audit.main(["--data", str(data), "--out", str(tmp_path / "out/audit")]) == 0
    train_classifier(
        str(data),
        tmp_path / "out/model",
        DataOptions(validation=0.3, test=0.3),
        ModelOptions("tiny", image_size=32, weights=None, region="whole"),
        TrainOptions(epochs=1, batch_size=8, fine_tune="none", steady_rows=0, precision="float32"),
        EvaluateOptions(bootstrap=10),
        progress=False,
    )
    assert (
        predict.main(
            ["--model", str(binary.folder), "--out", str(tmp_path / "out/answers"), str(data)]
        )
        == 0
    )
    assert (
        explain.main(
            [
                "--model",
                str(binary.folder),
                "--out",
                str(tmp_path / "out/maps"),
                str(data / "train/NORMAL"),
            ]
        )
        == 0
    )
    said = "".join(capfd.readouterr())
    assert "27 radiographs" in said and names_in(said) == []
    written = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert len(written) > 30
    ids = [f"HOSP-{i}".encode() for i in range(12)]
    for path in written:
        content = path.read_bytes()
        assert names_in(content) == [] and not any(i in content for i in ids), path
    answers = (tmp_path / "out/answers/predictions.csv").read_text()
    assert "not-a-radiograph" in answers and "truncated" in answers


def test_a_grey_picture_in_colour_is_read_whatever_colour_space_it_claims():
    grey = half_up(X / 255) if X.max() > 255 else X.astype(np.uint8)
    ycc = np.stack([grey, np.full_like(grey, 128), np.full_like(grey, 128)], axis=-1)
    rgb = np.stack([grey] * 3, axis=-1)
    table = {
        "luminance called RGB": make(
            ycc, 8, PhotometricInterpretation="RGB", PlanarConfiguration=0
        ),
        "RGB": make(rgb, 8, PhotometricInterpretation="RGB", PlanarConfiguration=0),
    }
    for mode, claims in (("RGB", ("RGB", "YBR_FULL_422", "YBR_FULL")), ("L", ("RGB", "YBR_FULL"))):
        for claim in claims:
            stream = io.BytesIO()
            picture = Image.fromarray(rgb)
            picture.save(stream, "JPEG", quality=95, subsampling=0, keep_rgb=mode == "L")
            table[f"JPEG of {mode} called {claim}"] = encapsulated(
                without_markers(stream.getvalue()),
                JPEGBaseline8Bit,
                pixels=rgb,
                bits=8,
                PhotometricInterpretation=claim,
                PlanarConfiguration=0,
            )
    for name, data in table.items():
        try:
            difference = np.abs(dicom.decode_grey(data).astype(int) - grey)
        except DecodeError:  # a decoder may not take RGB without a marker that says so
            assert "JPEG of L" in name
            continue
        assert difference.mean() < 4, (name, difference.mean())


def without_markers(data):
    """A JPEG without its application segments, which name the colour space."""
    at = 2
    while data[at + 1] in range(0xE0, 0xF0):
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data[:2] + data[at:]
