"""One DICOM file to grey pixels of 8 bits, by the rule that `DICOM_RULE` words; pydicom (an extra)
is imported on first use.

Only the tags named in `_TAGS` are ever looked at, as raw bytes, and no value of one is repeated in
a message: names, numbers, UIDs and dates of a patient cannot get from here into a table, a cache, a
page or an error. `data.dicom_headers` makes patient keys, keyed hashes of what it reads.
"""

from __future__ import annotations

import importlib
import io
import math
import os
import struct
from typing import Any, BinaryIO

import numpy as np

from xray_tf.data.pixels.header import GREY_SHIFT, GREY_WEIGHTS, DecodeError, Header, check_header

SUFFIXES = (".dcm", ".dicom")
NEEDS_PYDICOM = "Reading DICOM files needs the package pydicom: pip install 'xray_tf[dicom]'."
# of the pixels on either side, where no window is given: a few dead or burned-in pixels shall not
# set the range
RANGE_SHARE = 0.005
# What a projection radiograph's Modality may be; empty where the file does not say.
MODALITIES = ("", "CR", "DX", "DR", "RG", "RF", "OT", "SC")
DICOM_RULE = (
    "DICOM: one frame of a projection radiograph, 8 to 16 bits; modality LUT or rescale slope and "
    "intercept, then the VOI LUT if there is one, else the first "
    "window (LINEAR, LINEAR_EXACT or SIGMOID), else 8-bit values as they are and others from the "
    "0.5th to the 99.5th percentile; MONOCHROME1 inverted; "
    "padding black; RGB to grey with the weights of PNG; other colour, palettes and several "
    "frames refused."
)
_TAGS = {
    "SOPClassUID": 0x00080016,
    "Modality": 0x00080060,
    "SamplesPerPixel": 0x00280002,
    "PhotometricInterpretation": 0x00280004,
    "PlanarConfiguration": 0x00280006,
    "NumberOfFrames": 0x00280008,
    "Rows": 0x00280010,
    "Columns": 0x00280011,
    "BitsAllocated": 0x00280100,
    "BitsStored": 0x00280101,
    "HighBit": 0x00280102,
    "PixelRepresentation": 0x00280103,
    "PixelPaddingValue": 0x00280120,
    "PixelPaddingRangeLimit": 0x00280121,
    "WindowCenter": 0x00281050,
    "WindowWidth": 0x00281051,
    "RescaleIntercept": 0x00281052,
    "RescaleSlope": 0x00281053,
    "VOILUTFunction": 0x00281056,
    "ModalityLUTSequence": 0x00283000,
    "LUTDescriptor": 0x00283002,
    "LUTData": 0x00283006,
    "VOILUTSequence": 0x00283010,
    "FloatPixelData": 0x7FE00008,
    "DoubleFloatPixelData": 0x7FE00009,
    "PixelData": 0x7FE00010,
}
_REQUIRED = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
)
_MEASURES = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "SamplesPerPixel",
    "PixelRepresentation",
    "PlanarConfiguration",
)
_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")  # implicit and explicit VR, little endian
_REFUSED = {
    "1.2.840.10008.1.2.2": "big endian (retired)",
    "1.2.840.10008.1.2.1.99": "deflated",
    "1.2.840.10008.1.2.4.95": "a link to another place",
    "1.2.840.10008.1.2.8.1": "deflated",
}
_MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


def is_dicom(head: bytes) -> bool:
    """Tell whether the first 132 bytes are those of a DICOM file (PS3.10, 7.1)."""
    return head[128:132] == b"DICM"


def is_dicom_file(path: str | os.PathLike) -> bool:
    """Tell whether a regular file starts as a DICOM file does, whatever its name; False where it
    cannot be read.
    """
    try:
        if not os.path.isfile(path):  # a pipe would wait for ever
            return False
        with open(path, "rb") as stream:
            return is_dicom(stream.read(132))
    except OSError:
        return False


def read_header(data: bytes) -> Header:
    """Read size and mode of a DICOM file: `L` or `RGB`, followed by the bits stored where they are
    not 8 (`L12`).

    Raises:
        DecodeError: it is not one frame of grey or RGB that the rule reads; `kind` says why.
        ImportError: pydicom is not installed.
    """
    return _header(read_tags(data))


def decode_grey(data: bytes) -> np.ndarray:
    """Decode a DICOM file to grey pixels, (H, W) uint8 in [0, 255], by `DICOM_RULE`.

    Raises:
        DecodeError: the file cannot be used; `kind` says why. Size and form are checked before
            anything is decoded.
        ImportError: pydicom is not installed.
    """
    syntax = transfer_syntax(data)
    tags = read_tags(data)
    header = _header(tags)
    check_header(header)
    samples = _stored(tags, read_tags(data, pixels=True), header, syntax)
    if samples.ndim == 3:
        red, green, blue = np.moveaxis(samples.astype(np.int32), -1, 0)
        weights = GREY_WEIGHTS
        return (
            (weights[0] * red + weights[1] * green + weights[2] * blue + (1 << GREY_SHIFT - 1))
            >> GREY_SHIFT
        ).astype(np.uint8)
    return grey_table(tags, samples)[samples]


def import_pydicom() -> Any:
    """Return pydicom, or raise ImportError with the way to get it."""
    try:
        return importlib.import_module("pydicom")
    except ImportError as error:
        raise ImportError(NEEDS_PYDICOM) from error


def transfer_syntax(data: bytes) -> str:
    """Return the transfer syntax UID of the file meta information, which is always explicit VR
    little endian (PS3.10, 7.1).

    Raises:
        DecodeError: there is none, or a syntax that is never read.
    """
    position = 132
    while data[position : position + 2] == b"\x02\x00" and position + 12 <= len(data):
        vr = data[position + 4 : position + 6]
        long = vr in (b"OB", b"OW", b"UN", b"SQ", b"UT")
        start = position + (12 if long else 8)
        (length,) = struct.unpack_from("<I" if long else "<H", data, start - (4 if long else 2))
        if data[position + 2 : position + 4] == b"\x10\x00":
            uid = data[start : start + length].rstrip(b"\0 ").decode("ascii", "replace")
            if uid in _REFUSED:
                raise DecodeError(
                    "unsupported-format",
                    "The DICOM's transfer syntax is "
                    f"{_REFUSED[uid]}. Store it as explicit VR little endian.",
                )
            return uid
        position = start + length
    raise DecodeError(
        "missing-tag",
        "The DICOM has no transfer syntax in its file meta information, or ends before it.",
    )


def read_tags(source: bytes | BinaryIO, pixels: bool = False, more: tuple[int, ...] = ()) -> Any:
    """Return a pydicom Dataset with the tags of this file's `_TAGS` and `more`, and no others.

    Raises:
        DecodeError: the file is damaged, or of a syntax that is never read.
        ImportError: pydicom is not installed.
    """
    pydicom = import_pydicom()
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    # before pydicom: it would inflate a deflated file, whatever its size
    transfer_syntax(stream.read(1 << 16))
    stream.seek(0)
    try:
        return pydicom.dcmread(
            stream, stop_before_pixels=not pixels, specific_tags=[*_TAGS.values(), *more]
        )
    # whatever a hostile file provokes; the message may hold values, so only its kind is told
    except Exception as error:
        raise DecodeError(
            "unreadable",
            "The DICOM's tags cannot be read "
            f"({type(error).__name__}): it is damaged or ends early.",
        ) from None


def raw(tags: Any, tag: int) -> bytes:
    """Return an element's bytes as stored, empty where it is not there.

    Raises:
        DecodeError: it cannot be read.
    """
    try:
        value = tags.get_item(tag).value if tag in tags else b""
    # what a damaged element provokes depends on how; its value is not repeated
    except Exception as error:
        raise DecodeError(
            "unreadable", f"One of the DICOM's tags cannot be read ({type(error).__name__})."
        ) from None
    return bytes(value) if isinstance(value, bytes | bytearray) else b""


def text(tags: Any, name: str) -> str:
    """Return an element's first value as text, padding stripped."""
    return raw(tags, _TAGS[name]).split(b"\\")[0].decode("ascii", "replace").strip(" \0")


def number(tags: Any, name: str) -> float | None:
    """Return the first value of a decimal string; None where it is not there.

    Raises:
        DecodeError: it is no finite number.
    """
    said = text(tags, name)
    try:
        value = float(said) if said else None
    except ValueError:
        value = math.nan
    if value is not None and not math.isfinite(value):
        raise DecodeError("unreadable", f"The DICOM's {name} is no number.")
    return value


def window(tags: Any) -> tuple[float, float, str] | None:
    """Return (centre, width, function) of the first window; None where there is none, or a width
    that PS3.3 C.11.2.1.2 does not allow.

    Raises:
        DecodeError: the function is not one of the standard's three, or a value is no number.
    """
    centre, width, function = (
        number(tags, "WindowCenter"),
        number(tags, "WindowWidth"),
        text(tags, "VOILUTFunction") or "LINEAR",
    )
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise DecodeError(
            "unsupported-mode",
            "The DICOM's VOILUTFunction is none of LINEAR, LINEAR_EXACT and SIGMOID.",
        )
    if centre is None or width is None or not (width >= 1 if function == "LINEAR" else width > 0):
        return None
    return centre, width, function


def has_window(tags: Any) -> bool:
    """Tell whether the file itself says which values to show."""
    return _lut(tags, "VOILUTSequence") is not None or window(tags) is not None


def grey_table(tags: Any, codes: np.ndarray) -> np.ndarray:
    """Return the grey of every possible stored value: modality transform, VOI transform, inversion,
    padding.

    Args:
        tags: what `read_tags` gave.
        codes: (H, W) uint16, stored values as unsigned codes of `BitsStored` bits; their
            distribution decides where no window is given.

    Returns:
        (2 ** BitsStored,) uint8 in [0, 255].
    """
    bits, signed = _whole(tags, "BitsStored"), _whole(tags, "PixelRepresentation") == 1
    values = np.arange(1 << bits, dtype=np.float64)
    if signed:
        values[values >= 1 << bits - 1] -= 1 << bits
    padding = _padding(tags, values, signed)
    table = _lut(tags, "ModalityLUTSequence", signed)
    slope, intercept = number(tags, "RescaleSlope") or 1.0, number(tags, "RescaleIntercept") or 0.0
    shown = values * slope + intercept if table is None else _look_up(table, values)
    voi = _lut(tags, "VOILUTSequence", bool((shown < 0).any()))
    if voi is not None:
        grey = _look_up(voi, shown) / ((1 << voi[2]) - 1)
    elif (found := window(tags)) is not None:
        grey = _windowed(shown, *found)
    elif bits == 8 and np.array_equal(shown, np.arange(256)):
        grey = shown / 255
    else:
        grey = _full_range(shown, np.bincount(codes.ravel(), minlength=len(values)) * ~padding)
    grey = np.clip(grey, 0, 1)
    if text(tags, "PhotometricInterpretation") == "MONOCHROME1":
        grey = 1 - grey
    return np.floor(np.where(padding, 0, grey) * 255 + 0.5).astype(np.uint8)


def _windowed(values: np.ndarray, centre: float, width: float, function: str) -> np.ndarray:
    """Return values in [0, 1] through a window: PS3.3 C.11.2.1.2.1 (LINEAR), C.11.2.1.3.2
    (LINEAR_EXACT) and C.11.2.1.3.1 (SIGMOID).
    """
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1)
    low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    ramp = (values - (centre - 0.5)) / max(width - 1, 1) + 0.5
    return np.where(values <= low, 0, np.where(values > high, 1, ramp))


def _full_range(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return values in [0, 1] such that the range between the two percentiles of the pixels is
    shown; 0 where that range is empty.
    """
    order = np.argsort(values, kind="stable")
    total = np.cumsum(counts[order])
    if not total[-1]:
        return np.zeros_like(values)
    low, high = (
        values[order][np.searchsorted(total, max(1, math.ceil(share * total[-1])))]
        for share in (RANGE_SHARE, 1 - RANGE_SHARE)
    )
    return np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros_like(values)


def _padding(tags: Any, values: np.ndarray, signed: bool) -> np.ndarray:
    """Tell which stored values are padding, (V,) bool: PixelPaddingValue, up to
    PixelPaddingRangeLimit.
    """
    ends = [
        int.from_bytes(data[:2], "little", signed=signed)
        for data in (raw(tags, _TAGS[n]) for n in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
        if len(data) >= 2
    ]
    return (
        (values >= min(ends)) & (values <= max(ends))
        if ends and raw(tags, _TAGS["PixelPaddingValue"])
        else np.zeros(len(values), bool)
    )


def _lut(tags: Any, name: str, signed: bool = False) -> tuple[np.ndarray, int, int] | None:
    """Return (entries, first value mapped, bits an entry) of the first look-up table of a sequence,
    None where there is none.
    """
    try:
        items = list(tags[_TAGS[name]].value) if _TAGS[name] in tags else []
    except Exception:  # a damaged sequence; its content is not repeated
        raise DecodeError("unreadable", f"The DICOM's {name} cannot be read.") from None
    if not items:
        return None
    descriptor, data = (raw(items[0], _TAGS[n]) for n in ("LUTDescriptor", "LUTData"))
    if len(descriptor) < 6:
        raise DecodeError("missing-tag", f"The DICOM's {name} has no LUTDescriptor.")
    count, _, bits = struct.unpack("<HHH", descriptor[:6])
    first = int.from_bytes(descriptor[2:4], "little", signed=signed)
    count = count or 1 << 16
    if not 8 <= bits <= 16 or len(data) < count:
        raise DecodeError(
            "unreadable",
            f"The DICOM's {name} promises {count} entries of {bits} "
            f"bits and holds {len(data)} bytes.",
        )
    return (
        np.frombuffer(data, "<u2" if len(data) >= 2 * count else "u1", count).astype(np.float64),
        first,
        bits,
    )


def _look_up(table: tuple[np.ndarray, int, int], values: np.ndarray) -> np.ndarray:
    entries, first, _ = table
    return entries[np.clip(np.rint(values) - first, 0, len(entries) - 1).astype(np.int64)]


def _whole(tags: Any, name: str) -> int:
    """Return an unsigned short, -1 where it is not there."""
    data = raw(tags, _TAGS[name])
    return int.from_bytes(data[:2], "little") if len(data) >= 2 else -1


def _header(tags: Any) -> Header:
    """Check everything that can be told without pixels."""
    modality = text(tags, "Modality")
    if modality not in MODALITIES:
        raise DecodeError(
            "not-a-radiograph",
            "The DICOM's Modality is none of a projection "
            f"radiograph's ({', '.join(m for m in MODALITIES if m)}).",
        )
    missing = [name for name in _REQUIRED if not raw(tags, _TAGS[name])]
    if len(missing) == len(_REQUIRED):
        raise DecodeError(
            "no-pixels",
            "The DICOM is no image: it has none of the tags that "
            "describe pixels (a directory, a report or a cut file).",
        )
    if missing:
        raise DecodeError(
            "missing-tag",
            f"The DICOM has no {', '.join(missing)}; without it the "
            "pixels have no certain meaning.",
        )
    frames = number(tags, "NumberOfFrames")
    if frames is not None and frames != 1:
        raise DecodeError(
            "multi-frame",
            f"The DICOM holds {frames:.0f} frames; one radiograph a "
            "file is read. Store the wanted frame in a file of its own.",
        )
    rows, columns, allocated, stored, high, samples, signed, _ = (
        _whole(tags, name) for name in _MEASURES
    )
    photometric, colour = text(tags, "PhotometricInterpretation"), samples == 3
    if photometric not in (_COLOUR if colour else _MONOCHROME) or samples not in (1, 3):
        shown = (
            photometric
            if photometric in (*_COLOUR, *_MONOCHROME, "PALETTE COLOR")
            else ("another PhotometricInterpretation")
        )
        raise DecodeError(
            "unsupported-mode",
            f"The DICOM is {shown} of {samples} sample(s) a "
            f"pixel. {' or '.join(_MONOCHROME)} of one and RGB of three "
            "are read.",
        )
    fits = (
        allocated in (8, 16)
        and 8 <= stored <= allocated
        and signed in (0, 1)
        and (high < 0 or stored - 1 <= high < allocated)
    )
    if not fits or colour and (allocated, stored, signed) != (8, 8, 0):
        raise DecodeError(
            "unsupported-mode",
            f"The DICOM has {stored} of {allocated} "
            f"bits{' and a sign' if signed == 1 else ''} a sample. "
            "Grey of 8 to 16 bits and RGB of 8 are read.",
        )
    if not rows or not columns:
        raise DecodeError("unreadable", f"The DICOM's header declares {columns} x {rows} pixels.")
    return Header(
        "dicom", columns, rows, ("RGB" if colour else "L") + (str(stored) if stored != 8 else "")
    )


def _stored(tags: Any, whole: Any, header: Header, syntax: str) -> np.ndarray:
    """Return stored values: (H, W) uint16 codes of BitsStored bits, or (H, W, 3) uint8 RGB;
    pydicom's decoders change `whole`, not `tags`.
    """
    if not raw(whole, _TAGS["PixelData"]):
        raise DecodeError(
            "no-pixels", "The DICOM describes pixels and holds none (or ends before them)."
        )
    colour = header.mode == "RGB"
    allocated, stored, high = (
        _whole(tags, name) for name in ("BitsAllocated", "BitsStored", "HighBit")
    )
    samples = (
        _native(whole, header, allocated)
        if syntax in _NATIVE
        else _compressed(whole, syntax, colour)
    )
    if samples.shape != (header.height, header.width, 3)[: 3 if colour else 2]:
        raise DecodeError(
            "unreadable",
            f"The DICOM promises {header.width} x {header.height} "
            "pixels, but its data hold others.",
        )
    if colour:
        return samples
    # What lies above the high bit (overlays, in old files) or below the lowest one is no part of
    # the value.
    shift = high + 1 - stored if high >= 0 and syntax in _NATIVE else 0
    return (samples.astype(np.int64) >> shift & (1 << stored) - 1).astype(np.uint16)


def _native(tags: Any, header: Header, allocated: int) -> np.ndarray:
    data, colour = raw(tags, _TAGS["PixelData"]), header.mode == "RGB"
    count = header.width * header.height * (3 if colour else 1)
    if len(data) * 8 < count * allocated:
        raise DecodeError(
            "truncated",
            f"The DICOM's {len(data):,} bytes of pixels cannot fill "
            f"{header.width} x {header.height}.",
        )
    if colour and text(tags, "PhotometricInterpretation") != "RGB":
        raise DecodeError(
            "unsupported-mode", "The DICOM is YBR and not compressed. Store it as RGB or grey."
        )
    samples = np.frombuffer(data, f"<u{allocated // 8}", count)
    if not colour:
        return samples.reshape(header.height, header.width)
    if _whole(tags, "PlanarConfiguration") == 1:
        return np.moveaxis(samples.reshape(3, header.height, header.width), 0, -1)
    return samples.reshape(header.height, header.width, 3)


def _compressed(tags: Any, syntax: str, colour: bool) -> np.ndarray:
    pixels = importlib.import_module("pydicom.pixels")
    try:
        decoder = pixels.get_decoder(syntax)
    except Exception:
        raise DecodeError(
            "unsupported-format",
            "The DICOM's transfer syntax is none that pydicom "
            "knows. Store it as explicit VR little endian.",
        ) from None
    name = decoder.UID.name
    if not decoder.is_available:
        raise DecodeError(
            "no-decoder",
            f"The DICOM's pixels are {name}, which needs another "
            f"package: {'; or '.join(decoder.missing_dependencies)}.",
        )
    try:
        return decoder.as_array(tags, index=0, raw=not colour)[0]
    except Exception as error:  # each plugin has its own errors, some with values of tags in them
        raise DecodeError(
            "unreadable", f"The DICOM's pixels ({name}) cannot be decoded ({type(error).__name__})."
        ) from None
