"""Read the tags of a DICOM file that describe its pixels, as raw bytes; pydicom (an extra) is
imported on first use.

Only the tags named in `TAGS` are ever looked at, and no value of one is repeated in a message:
names, numbers, UIDs and dates of a patient cannot get from here into a table, a cache, a page or an
error. `data.sources.dicom_headers` makes patient keys, which are keyed hashes of what it reads.
"""

from __future__ import annotations

import importlib
import io
import math
import os
import struct
from typing import Any, BinaryIO

from xray_tf.data.pixels.header import DecodeError

SUFFIXES = (".dcm", ".dicom")
NEEDS_PYDICOM = "Reading DICOM files needs the package pydicom: pip install 'xray_tf[dicom]'."
TAGS = {
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
# (60xx,0102), the bit of a pixel that a drawn overlay lies in, of all sixteen overlay groups
OVERLAY_BIT_POSITIONS = tuple(0x60000102 + (group << 17) for group in range(16))
_REFUSED = {
    "1.2.840.10008.1.2.2": "big endian (retired)",
    "1.2.840.10008.1.2.1.99": "deflated",
    "1.2.840.10008.1.2.4.95": "a link to another place",
    "1.2.840.10008.1.2.8.1": "deflated",
}


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
        long = data[position + 4 : position + 6] in (b"OB", b"OW", b"UN", b"SQ", b"UT")
        start = position + (12 if long else 8)
        (length,) = struct.unpack_from("<I" if long else "<H", data, start - (4 if long else 2))
        if data[position + 2 : position + 4] == b"\x10\x00":
            uid = data[start : start + length].rstrip(b"\0 ").decode("ascii", "replace")
            if uid in _REFUSED:
                raise DecodeError(
                    "unsupported-format",
                    f"The DICOM's transfer syntax is {_REFUSED[uid]}. Store it as explicit VR "
                    "little endian.",
                )
            return uid
        position = start + length
    raise DecodeError(
        "missing-tag",
        "The DICOM has no transfer syntax in its file meta information, or ends before it.",
    )


def read_tags(source: bytes | BinaryIO, pixels: bool = False, more: tuple[int, ...] = ()) -> Any:
    """Return a pydicom Dataset with the tags of `TAGS`, `OVERLAY_BIT_POSITIONS` and `more`, and no
    others.

    Raises:
        DecodeError: the file is damaged, or of a syntax that is never read.
        ImportError: pydicom is not installed.
    """
    pydicom = import_pydicom()
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    # before pydicom: it would inflate a deflated file, whatever its size
    transfer_syntax(stream.read(1 << 16))
    stream.seek(0)
    wanted = [*TAGS.values(), *OVERLAY_BIT_POSITIONS, *more]
    try:
        return pydicom.dcmread(stream, stop_before_pixels=not pixels, specific_tags=wanted)
    # whatever a hostile file provokes; the message may hold values, so only its kind is told
    except Exception as error:
        kind = type(error).__name__
        raise DecodeError(
            "unreadable", f"The DICOM's tags cannot be read ({kind}): it is damaged or ends early."
        ) from None


def raw(tags: Any, tag: str | int) -> bytes:
    """Return the bytes of an element, of `TAGS` or by number, as stored; empty where there is none.

    Raises:
        DecodeError: it cannot be read.
    """
    tag = TAGS[tag] if isinstance(tag, str) else tag
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
    return raw(tags, name).split(b"\\")[0].decode("ascii", "replace").strip(" \0")


def number(tags: Any, name: str) -> float | None:
    """Return the first value of a decimal string; None where there is none.

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


def whole(tags: Any, tag: str | int) -> int:
    """Return an unsigned short, -1 where there is none."""
    data = raw(tags, tag)
    return int.from_bytes(data[:2], "little") if len(data) >= 2 else -1
