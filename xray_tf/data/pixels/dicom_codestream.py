"""What surrounds the decoding of a compressed DICOM: the codestream's own size, and the log of the
decoders.
"""

from __future__ import annotations

import importlib
import logging
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from xray_tf.data.pixels import jpeg
from xray_tf.data.pixels.header import DecodeError, Header

# more pixels than any codec represents by a byte, blank pictures apart
PIXELS_A_BYTE = 10_000
_JPEG, _JPEG_2000 = b"\xff\xd8", b"\xff\x4f\xff\x51"


def check_codestream(pixel_data: bytes, header: Header) -> None:
    """Raise DecodeError unless a JPEG or JPEG 2000 codestream has the size that the DICOM declares,
    and enough bytes for it: decoders take as much memory and time as the codestream asks for.

    Args:
        pixel_data: the encapsulated element.
        header: of the DICOM, whose size was checked.
    """
    try:
        frame = importlib.import_module("pydicom.encaps").get_frame(
            pixel_data, 0, number_of_frames=1
        )
    except Exception as error:  # whatever a damaged element provokes
        raise DecodeError(
            "unreadable", f"The DICOM's pixels have no whole fragment ({type(error).__name__})."
        ) from None
    found = _size(frame)
    if found and found != (header.width, header.height):
        raise DecodeError(
            "unreadable",
            f"The DICOM promises {header.width} x {header.height} pixels; its codestream declares "
            f"{found[0]} x {found[1]}.",
        )
    if len(frame) * PIXELS_A_BYTE < header.width * header.height:
        raise DecodeError(
            "truncated",
            f"The DICOM's {len(frame):,} bytes of compressed pixels cannot fill {header.width} x "
            f"{header.height}.",
        )


def _size(frame: bytes) -> tuple[int, int] | None:
    """Return width and height of a codestream; None where it is another one, or is damaged."""
    if (at := frame.find(_JPEG_2000, 0, 1 << 16)) >= 0 and len(frame) >= at + 24:
        right, lower, left, upper = struct.unpack_from(">IIII", frame, at + 8)
        return right - left, lower - upper
    if not frame.startswith(_JPEG):
        return None
    try:
        for marker, start, stop in jpeg.segments(frame):
            if marker in jpeg.FRAMES and stop - start >= 6:
                height, width = struct.unpack_from(">HH", frame, start + 1)
                return width, height
    except DecodeError:
        pass
    return None


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Keep the tracebacks that pydicom logs of damaged pixels, on this thread, out of the log: the
    finding says what is wrong, and their messages may hold values of tags.
    """
    thread, logger = threading.get_ident(), logging.getLogger("pydicom.pixels.decoders.base")

    def others_only(entry: logging.LogRecord) -> bool:
        return entry.thread != thread

    logger.addFilter(others_only)
    try:
        yield
    finally:
        logger.removeFilter(others_only)
