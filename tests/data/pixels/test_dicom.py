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
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset  # noqa: E402
from pydicom.sequence import Sequence  # noqa: E402
from pydicom.uid import (  # noqa: E402
    JPEG2000,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
)

SIDE = 32
RAMP = np.linspace(0, 4095, SIDE * SIDE).round().astype(np.uint16).reshape(SIDE, SIDE)
NAMES = {
    "PatientName": "Quixote^Dulcinea",
    "PatientID": "HOSP-7734512",
    "PatientBirthDate": "19870623",
    "StudyDate": "20210917",
    "StudyTime": "113355.778899",
    "AccessionNumber": "ACC5550123",
    "StudyInstanceUID": "1.2.826.0.1.3680043.2.1125.77001",
    "SeriesInstanceUID": "1.2.826.0.1.3680043.2.1125.77002",
    "SOPInstanceUID": "1.2.826.0.1.3680043.2.1125.77003",
    "ReferringPhysicianName": "Panza^Sancho",
    "InstitutionName": "Toboso General",
    "OtherPatientIDs": "ALT-998877",
    "PatientComments": "lives in La Mancha",
    "IssuerOfPatientID": "TobosoADT",
    "StationName": "ROCINANTE9",
}


def make(pixels=RAMP, bits=12, syntax=ExplicitVRLittleEndian, drop=(), overlay=None, **more):
    """Return the bytes of a DICOM file that names a patient; a value of None leaves its tag out."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = (
        "1.2.840.10008.5.1.4.1.1.1",
        NAMES["SOPInstanceUID"],
        syntax,
    )
    file = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    file.SOPClassUID, file.Modality = meta.MediaStorageSOPClassUID, "CR"
    for name, value in NAMES.items():
        setattr(file, name, value)
    signed = pixels.dtype.kind == "i"
    file.Rows, file.Columns = pixels.shape[:2]
    file.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    file.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit = 8 * pixels.itemsize, bits, bits - 1
    file.PixelRepresentation = int(signed)
    file.PixelData = pixels.tobytes()
    file["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
    for name, value in more.items():
        setattr(file, name, value)
    for name in drop:
        delattr(file, name)
    if overlay is not None:
        file.add_new(0x60020102, "US", overlay)
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def lut(entries, first=0, bits=16, name="LUTDescriptor"):
    item = Dataset()
    item.add_new(0x00283002, "US" if first >= 0 else "SS", [len(entries), first, bits])
    item.add_new(0x00283006, "OW", np.asarray(entries, "<u2").tobytes())
    return Sequence([item])


def encapsulated(data, syntax, **more):
    return make(syntax=syntax, PixelData=pydicom.encaps.encapsulate([data]), **more)


def rle(pixels, bits=12, **more):
    file = pydicom.dcmread(io.BytesIO(make(pixels, bits, **more)))
    file.compress(RLELossless, generate_instance_uid=False)
    stream = io.BytesIO()
    file.save_as(stream)
    return stream.getvalue()


def half_up(share):
    return np.floor(np.clip(share, 0, 1) * 255 + 0.5).astype(np.uint8)


WINDOW = {"WindowCenter": "2048", "WindowWidth": "4096"}
X = RAMP.astype(float)
SIGNED = RAMP.astype(np.int16) - 2048
BYTES = (RAMP >> 4).astype(np.uint8)
COLOUR = np.stack([BYTES, BYTES.T, 255 - BYTES], axis=-1)
GREY = (0.299 * COLOUR[..., 0] + 0.587 * COLOUR[..., 1] + 0.114 * COLOUR[..., 2] + 0.5).astype(
    np.uint8
)
FULL = half_up(
    (X - np.percentile(X, 0.5, method="inverted_cdf"))
    / np.subtract(*np.percentile(X, [99.5, 0.5], method="inverted_cdf"))
)
PADDED = np.where(RAMP < 400, 3000, RAMP).astype(np.uint16)
DRAWN_ON = np.where(np.eye(SIDE, dtype=bool), RAMP | 0x8000, RAMP).astype(np.uint16)
GAMMA = np.round(65535 * np.linspace(0, 1, 4096) ** 2).astype(np.uint16)
VARIANTS = {
    "12 bits, a window of everything": (make(**WINDOW), half_up((X - 2047.5) / 4095 + 0.5)),
    "implicit VR": (
        make(syntax=ImplicitVRLittleEndian, **WINDOW),
        half_up((X - 2047.5) / 4095 + 0.5),
    ),
    "MONOCHROME1 is inverted": (
        make(PhotometricInterpretation="MONOCHROME1", **WINDOW),
        half_up(1 - ((X - 2047.5) / 4095 + 0.5)),
    ),
    "the first of two windows": (
        make(WindowCenter=["1000", "3000"], WindowWidth=["501", "11"]),
        half_up((X - 999.5) / 500 + 0.5),
    ),
    "LINEAR_EXACT": (
        make(WindowCenter="1000", WindowWidth="500", VOILUTFunction="LINEAR_EXACT"),
        half_up((X - 1000) / 500 + 0.5),
    ),
    "SIGMOID": (
        make(WindowCenter="1000", WindowWidth="500", VOILUTFunction="SIGMOID"),
        half_up(1 / (1 + np.exp(-4 * (X - 1000) / 500))),
    ),
    "width 1 is a threshold": (
        make(WindowCenter="2000.5", WindowWidth="1"),
        np.where(X > 2000, 255, 0),
    ),
    "rescaled, then windowed": (
        make(RescaleSlope="0.5", RescaleIntercept="-100", WindowCenter="400", WindowWidth="801"),
        half_up((X / 2 - 499.5) / 800 + 0.5),
    ),
    "a falling slope": (
        make(RescaleSlope="-1", RescaleIntercept="4095", **WINDOW),
        half_up((4095 - X - 2047.5) / 4095 + 0.5),
    ),
    "an intercept alone": (
        make(RescaleIntercept="-2048", WindowCenter="0", WindowWidth="4096"),
        half_up((X - 2047.5) / 4095 + 0.5),
    ),
    "signed": (
        make(SIGNED, WindowCenter="0", WindowWidth="4096"),
        half_up((X - 2047.5) / 4095 + 0.5),
    ),
    "no window: percentiles": (make(), FULL),
    "no window, signed": (make(SIGNED), FULL),
    "a window of width 0 is none": (make(WindowCenter="5", WindowWidth="0"), FULL),
    "8 bits and no window: as they are": (make(BYTES, 8), BYTES),
    "8 bits, MONOCHROME1": (make(BYTES, 8, PhotometricInterpretation="MONOCHROME1"), 255 - BYTES),
    "16 bits": (
        make((RAMP * 16).astype(np.uint16), 16, WindowCenter="32768", WindowWidth="65536"),
        half_up((X * 16 - 32767.5) / 65535 + 0.5),
    ),
    "overlay bits above the high bit": (
        make(RAMP | 0xF000, **WINDOW),
        half_up((X - 2047.5) / 4095 + 0.5),
    ),
    "stored in the upper bits": (
        make((RAMP << 4).astype(np.uint16), HighBit=15, **WINDOW),
        half_up((X - 2047.5) / 4095 + 0.5),
    ),
    "padding is black": (
        make(PADDED, PixelPaddingValue=3000, PhotometricInterpretation="MONOCHROME1", **WINDOW),
        np.where(PADDED == 3000, 0, half_up(1 - ((PADDED - 2047.5) / 4095 + 0.5))),
    ),
    "a range of padding": (
        make(PixelPaddingValue=0, PixelPaddingRangeLimit=400, **WINDOW),
        np.where(RAMP <= 400, 0, half_up((X - 2047.5) / 4095 + 0.5)),
    ),
    "signed padding": (
        make(SIGNED, PixelPaddingValue=-2048, WindowCenter="0", WindowWidth="4096"),
        half_up((X - 2047.5) / 4095 + 0.5),
    ),
    "padding has no part in the percentiles": (
        make(np.where(RAMP < 2000, 0, RAMP).astype(np.uint16), PixelPaddingValue=0),
        None,
    ),
    "VOI LUT before window": (make(VOILUTSequence=lut(GAMMA), **WINDOW), half_up((X / 4095) ** 2)),
    "VOI LUT of 8 bits": (
        make(VOILUTSequence=lut(np.arange(256), 1000, 8)),
        half_up((X - 1000) / 255),
    ),
    "modality LUT": (
        make(ModalityLUTSequence=lut(np.arange(4096)[::-1], 0, 12), **WINDOW),
        half_up((4095 - X - 2047.5) / 4095 + 0.5),
    ),
    "modality LUT of signed values": (
        make(SIGNED, ModalityLUTSequence=lut(np.arange(4096), -2048, 12), **WINDOW),
        half_up((X - 2047.5) / 4095 + 0.5),
    ),
    "RGB by the weights of PNG": (make(COLOUR, 8), GREY),
    "RGB, plane by plane": (
        make(COLOUR, 8, PlanarConfiguration=1, PixelData=np.moveaxis(COLOUR, -1, 0).tobytes()),
        GREY,
    ),
    "VOI LUT of 12 bits declared as 16": (
        make(VOILUTSequence=lut(np.arange(4096))),
        half_up(X / 4095),
    ),
    "VOI LUT of 12 bits declared as 8": (
        make(VOILUTSequence=lut(np.arange(4096), bits=8)),
        half_up(X / 4095),
    ),
    "RLE": (rle(RAMP, **WINDOW), half_up((X - 2047.5) / 4095 + 0.5)),
    "RLE, stored in the upper bits": (
        rle((RAMP << 4).astype(np.uint16), HighBit=15, **WINDOW),
        half_up((X - 2047.5) / 4095 + 0.5),
    ),
    "an overlay that is declared": (
        make(DRAWN_ON, overlay=15, **WINDOW),
        half_up((X - 2047.5) / 4095 + 0.5),
    ),
    "RLE with a declared overlay": (
        rle(DRAWN_ON, overlay=15, **WINDOW),
        half_up((X - 2047.5) / 4095 + 0.5),
    ),
    "no Modality": (make(drop=["Modality"], **WINDOW), half_up((X - 2047.5) / 4095 + 0.5)),
    "a preamble that is TIFF": (b"II*\0" + make(**WINDOW)[4:], half_up((X - 2047.5) / 4095 + 0.5)),
}


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


def jpeg2000(values, **more):
    if not pydicom.pixels.get_decoder(JPEG2000Lossless).is_available:
        pytest.skip("no JPEG 2000 decoder here")
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(values).save(
        stream, "JPEG2000", no_jp2=True, **({"irreversible": False} | more)
    )
    return stream.getvalue()


WHOLE = VARIANTS["12 bits, a window of everything"][0]
REFUSED = {
    "several frames": (
        make(NumberOfFrames=4, PixelData=np.tile(RAMP, (4, 1)).tobytes()),
        "multi-frame",
        "4 frames; one radiograph a file",
    ),
    "no frame": (make(NumberOfFrames=0), "multi-frame", "0 frames"),
    "no photometric interpretation": (
        make(drop=["PhotometricInterpretation"]),
        "missing-tag",
        "no PhotometricInterpretation; without it",
    ),
    "no size": (make(drop=["Rows", "Columns"]), "missing-tag", "no Rows, Columns"),
    "no sign": (make(drop=["PixelRepresentation"]), "missing-tag", "no PixelRepresentation"),
    "no pixels": (make(drop=["PixelData"]), "no-pixels", "describes pixels and holds none"),
    "a report": (make(drop=["PixelData", *dicom._REQUIRED]), "no-pixels", "no image"),
    "a palette": (
        make(BYTES, 8, PhotometricInterpretation="PALETTE COLOR"),
        "unsupported-mode",
        "PALETTE COLOR",
    ),
    "bare YBR": (
        make(COLOUR, 8, PhotometricInterpretation="YBR_FULL"),
        "unsupported-mode",
        "YBR and not compressed",
    ),
    "two samples": (make(COLOUR, 8, SamplesPerPixel=2), "unsupported-mode", "2 sample"),
    "32 bits": (make(RAMP.astype(np.uint32), 32), "unsupported-mode", "32 of 32 bits"),
    "a bit mask": (make(BYTES, 1), "unsupported-mode", "1 of 8 bits"),
    "12 of 8 bits": (make(BYTES, 12), "unsupported-mode", "12 of 8 bits"),
    "16-bit RGB": (make(COLOUR.astype(np.uint16), 16), "unsupported-mode", "16 of 16 bits"),
    "a CT slice": (make(Modality="CT"), "not-a-radiograph", "Modality is none of .*CR, DX"),
    "no height": (make(Rows=0), "unreadable", "32 x 0"),
    "too few bytes": (make(Rows=64), "truncated", r"2,048 bytes of pixels cannot fill 32 x 64"),
    "huge": (make(Rows=65000, Columns=65000), "too-large", "65000 x 65000"),
    "tiny": (make(BYTES[:8, :8].copy(), 8), "too-small", "8 x 8"),
    "a window that is no number": (
        WHOLE.replace(b"2048", b"ABCD"),
        "unreadable",
        "WindowCenter is no number",
    ),
    "another VOI function": (
        make(VOILUTFunction="CUBIC", **WINDOW),
        "unsupported-mode",
        "none of LINEAR",
    ),
    "a LUT that is too short": (
        make(VOILUTSequence=lut([1, 2])).replace(b"\2\0\0\0\x10\0", b"\xff\0\0\0\x10\0"),
        "unreadable",
        "promises 255",
    ),
    "a LUT that ends in the dark": (
        make(VOILUTSequence=lut(np.arange(4096) // 128)),
        "low-depth",
        "ends at 31 of 65535",
    ),
    "14 bits, declared as 12": (
        make((RAMP << 2).astype(np.uint16)),
        "unsupported-mode",
        "bits above the 12 that BitsStored declares",
    ),
    "an overlay that nothing declares": (make(DRAWN_ON), "unsupported-mode", "name no overlay"),
    "RLE of 14 bits, declared as 12": (
        rle((RAMP << 2).astype(np.uint16)),
        "unsupported-mode",
        "bits above the 12",
    ),
    "no decoder": (
        encapsulated(b"\xff\xd8\xff\xd9", JPEGLosslessSV1),
        "no-decoder",
        "JPEG Lossless.*needs another package: .*pylibjpeg",
    ),
    "damaged JPEG 2000": (
        encapsulated(b"\xff\x4f\xff\xd9" * 9, JPEG2000Lossless),
        "unreadable",
        "cannot be decoded",
    ),
    "big endian": (
        WHOLE.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.2\0"),
        "unsupported-format",
        "big endian",
    ),
    "deflated": (
        WHOLE[:132]
        + WHOLE[132:]
        .replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99", 1)
        .replace(b"UI\x14\x00", b"UI\x16\x00"),
        "unsupported-format",
        "deflated",
    ),
    "a syntax nobody knows": (
        WHOLE.replace(b"1.2.840.10008.1.2.1\0", b"9.9.999.77777.7.7.7\0"),
        "unsupported-format",
        "none that pydicom knows",
    ),
    "no transfer syntax": (bytes(128) + b"DICM" + WHOLE[400:], "missing-tag", "no transfer syntax"),
    "a data set without preamble": (WHOLE[132:], "not-an-image", "nor DICOM with its preamble"),
}


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
    assert patients[0] == "mine" and patients[1].startswith("dicom:") and patients[2] == ""


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
        ModelOptions(image_size=32, weights=None, region="whole"),
        TrainOptions(epochs=1, batch_size=8, fine_tune="none", steady_rows=0),
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
