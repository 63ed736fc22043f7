"""The structure of a PNG file: its chunks, its header, and whether it is whole."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from xray_tf.data.pixels.exif import orientation_of
from xray_tf.data.pixels.header import DecodeError, Header, upright_header

_PNG_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


def read_header(data: bytes) -> Header:
    """Read size, mode and EXIF orientation.

    Raises:
        DecodeError: `truncated` or `unreadable`.
    """
    if len(data) < 33:
        raise DecodeError("truncated", f"The PNG ends inside its header, after {len(data)} bytes.")
    length, name, width, height, bits, colour = struct.unpack_from(">I4sIIBB", data, 8)
    known = (length, name) == (13, b"IHDR") and bits in _PNG_DEPTHS.get(colour, ())
    if not known or not width or not height:
        raise DecodeError(
            "unreadable",
            f"The PNG's header is not valid: {name!r}, {width} x {height}, {bits} bits, colour "
            f"type {colour}.",
        )
    mode = _PNG_MODES[colour]
    mode = mode if bits == 8 or mode == "P" else f"{mode}{bits}"
    exif = next((data[a:b] for name, a, b in chunks(data) if name == b"eXIf"), b"")
    return upright_header("png", width, height, mode, orientation_of(exif))


def chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, start, stop) of each chunk's payload up to IEND, or to where the bytes end."""
    position, name = 8, b""
    while name != b"IEND" and position + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        if (stop := position + 8 + length) + 4 > len(data):
            return
        yield name, position + 8, stop
        position = stop + 4


def check_whole(data: bytes) -> None:
    """Raise DecodeError unless every chunk up to IEND is there, the critical ones with their
    checksum, and it is one still image.
    """
    name = b""
    for name, start, stop in chunks(data):
        critical, checksum = not name[0] & 0x20, int.from_bytes(data[stop : stop + 4], "big")
        if critical and zlib.crc32(memoryview(data)[start - 4 : stop]) != checksum:
            raise DecodeError(
                "unreadable",
                f"The PNG's chunk {name.decode('latin-1')} at byte {start - 8:,} is damaged: its "
                "checksum is wrong.",
            )
        if name == b"acTL":
            raise DecodeError("unsupported-mode", "The PNG is animated. Expected one still image.")
    if name != b"IEND":
        said = f"The PNG ends after {len(data):,} bytes without its end chunk."
        raise DecodeError("truncated", said)
