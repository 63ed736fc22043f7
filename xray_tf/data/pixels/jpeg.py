"""The structure of a JPEG file: its segments, its header, and whether it is whole."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from xray_tf.data.pixels.exif import UPRIGHT, orientation_of
from xray_tf.data.pixels.header import DecodeError, Header, upright_header

# A marker is FF and a byte that is neither stuffing (00), fill (FF) nor a restart (D0-D7), which
# belong to the scan they stand in.
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
MOST_SEGMENTS = 10_000  # of real files the fewest have a hundred
EXIF_MARK = b"Exif\0\0"
_SOI, _EOI, _SOS, _TEM, _APP1 = 0xD8, 0xD9, 0xDA, 0x01, 0xE1
FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # F7 is JPEG-LS
_HUFFMAN_FRAMES = {0xC0, 0xC1, 0xC2}
_JPEG_MODES = {1: "L", 3: "RGB", 4: "CMYK"}


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start, stop) of each segment's payload up to the end marker; of a scan, its
    header and entropy-coded data.

    Raises:
        DecodeError: `truncated` when the bytes end first, `unreadable` when there are too many.
    """
    position = 2
    for _ in range(MOST_SEGMENTS):
        found = _MARKER.search(data, position)
        marker = found[1][0] if found else _SOI
        if marker == _SOI:  # none left, or another file begins inside this one
            raise DecodeError(
                "truncated", f"The JPEG ends after {len(data):,} bytes without its end marker."
            )
        position = found.end()
        if marker == _EOI:
            yield marker, position, position
            return
        if marker == _TEM:
            continue
        length = int.from_bytes(data[position : position + 2], "big")
        stop = position + length
        if length < 2 or stop > len(data):
            raise DecodeError(
                "truncated", f"The JPEG ends after {len(data):,} bytes, inside a segment."
            )
        if marker == _SOS:
            following = _MARKER.search(data, stop)
            stop = following.start() if following else len(data)
        yield marker, position + 2, stop
        position = stop
    raise DecodeError("unreadable", f"The JPEG has more than {MOST_SEGMENTS:,} segments.")


def read_header(data: bytes) -> Header:
    """Read size, mode and EXIF orientation from what stands before the first scan.

    Raises:
        DecodeError: `truncated`, `unreadable` or `unsupported-mode`.
    """
    orientation, frame, told = UPRIGHT, None, False
    for marker, start, stop in segments(data):
        if marker == _APP1 and not told and data.startswith(EXIF_MARK, start):
            orientation, told = orientation_of(data[start + len(EXIF_MARK) : stop]), True
        if marker in FRAMES and frame is None:
            if stop - start < 6:
                raise DecodeError("unreadable", "The JPEG's frame header is too short.")
            bits, height, width, components = struct.unpack_from(">BHHB", data, start)
            if marker not in _HUFFMAN_FRAMES or components not in _JPEG_MODES:
                raise DecodeError(
                    "unsupported-mode",
                    f"The JPEG is coded by process SOF{marker - 0xC0} with {components} "
                    "components; baseline and progressive Huffman coding of 1 or 3 components are "
                    "read.",
                )
            if not width or not height:
                said = f"The JPEG's header declares {width} x {height} pixels."
                raise DecodeError("unreadable", said)
            mode = _JPEG_MODES[components] + (str(bits) if bits != 8 else "")
            frame = width, height, mode
        if marker in (_SOS, _EOI):
            break
    if frame:
        return upright_header("jpeg", *frame, orientation)
    raise DecodeError("unreadable", "The JPEG has no frame header before its first scan.")


def check_whole(data: bytes, header: Header) -> int:
    """Raise DecodeError (`truncated`) where libjpeg would fill the missing part with grey and only
    print a warning; return where the payload of the frame header begins.

    The end marker must follow the scans, and the scans must hold the bits that the declared size
    needs at the very least: one Huffman code of one bit for each block's DC term and, in sequential
    files, one for its end of block.
    """
    scanned, progressive, frame = 0, False, 0
    for marker, start, stop in segments(data):
        scanned += stop - start if marker == _SOS else 0
        progressive |= marker == 0xC2
        frame = frame or (start if marker in _HUFFMAN_FRAMES else 0)
    blocks = -(-header.width // 8) * -(-header.height // 8)
    if 8 * scanned < blocks * (1 if progressive else 2):
        raise DecodeError(
            "truncated",
            f"The JPEG's {scanned:,} bytes of scan data cannot fill "
            f"{header.width} x {header.height} pixels.",
        )
    return frame
