"""DICOM files in memory: every form that is read, with the grey that the standard gives, and every
form that is refused.
"""

import io
import warnings

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
)

from xray_tf.data.pixels import dicom

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
    "VOI LUT of 14 bits declared as 16": (
        make(VOILUTSequence=lut(np.arange(4096) * 4)),
        half_up(4 * X / 16383),
    ),
    "VOI LUT of 12 bits declared as 16, inverted": (
        make(VOILUTSequence=lut(np.arange(4096)), PhotometricInterpretation="MONOCHROME1"),
        half_up(1 - X / 4095),
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
