"""The one decoding rule: JPEG, PNG or DICOM bytes to a square of grey pixels, the same for cache,
prediction and exported graph.

`nets.serving` repeats every step of `decode` in TensorFlow, but for DICOM, which
`data.pixels.dicom` makes grey; whatever changes here changes there, and `DECODING_RULE` with it.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

import cv2
import numpy as np

from xray_tf.data.pixels import dicom
from xray_tf.data.pixels.dicom_tags import is_dicom
from xray_tf.data.pixels.header import DecodeError, Header, check_header

DECODING_RULE = 1
RESIZE_MODES = ("crop", "pad", "squash")
# a 16-bit PNG whose brightest high byte is below it holds 14 bits or fewer, and would be read as a
# few dark grey levels
LOW_DEPTH = 64
JPEG_SIGNATURE = b"\xff\xd8\xff"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_SUPPORTED = "Supported are JPEG (grey or colour), PNG and DICOM; convert the file to one of them."
_OTHER_FORMATS = (
    ("WebP", 8, b"WEBP"),
    ("BMP", 0, b"BM"),
    ("TIFF", 0, b"II*\x00"),
    ("TIFF", 0, b"MM\x00*"),
    ("GIF", 0, b"GIF8"),
    ("JPEG 2000", 4, b"jP  "),
    ("HEIF or AVIF", 4, b"ftyp"),
    ("PDF", 0, b"%PDF"),
    ("zip", 0, b"PK\x03\x04"),
)
# A marker is FF and a byte that is neither stuffing (00), fill (FF) nor a restart (D0-D7), which
# belong to the scan they stand in.
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
_SOI, _EOI, _SOS, _TEM = 0xD8, 0xD9, 0xDA, 0x01
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_HUFFMAN_FRAMES = {0xC0, 0xC1, 0xC2}
_JPEG_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
_PNG_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


def describe_rule() -> str:
    """Return the rule in words, for the card."""
    return (
        f"Rule {DECODING_RULE}. JPEG: the luminance plane as libjpeg gives it, accurate integer "
        "DCT, decoded at half scale when both sides are at least twice the target side. PNG: 8 "
        "bits a sample (the high byte of 16), colour to grey as (9798 R + 19235 G + 3735 B + "
        "16384) >> 15, alpha ignored. EXIF orientation ignored; CMYK refused. Resize: crop = the "
        "central square of the shorter side, top and left offsets rounded down, to the target; "
        "pad = longer side to the target, shorter side in proportion rounded half up and at least "
        "1, centred (offsets rounded down) on zeros; squash = both sides to the target. Area "
        "averages where neither side grows, bilinear with half-pixel centres and no antialiasing "
        f"otherwise, in float32; then floor(x + 0.5), clipped to [0, 255]. {dicom.DICOM_RULE}"
    )


def read_header(data: bytes) -> Header:
    """Read format, size and mode from the first bytes of a JPEG, PNG or DICOM file.

    Raises:
        DecodeError: `empty`, `not-an-image`, `unsupported-format`, `unsupported-mode`, `truncated`,
            `unreadable` or one of DICOM's own kinds.
        ImportError: the file is DICOM and pydicom is not installed.
    """
    if not data:
        raise DecodeError("empty", "The file has no bytes.")
    for signature, read in ((JPEG_SIGNATURE, _jpeg_header), (PNG_SIGNATURE, _png_header)):
        if data.startswith(signature):
            return read(data)
        if len(data) > 1 and signature.startswith(data):
            raise DecodeError(
                "truncated", f"The file ends inside its signature, after {len(data)} bytes."
            )
    if is_dicom(data):
        return dicom.read_header(data)
    for name, offset, magic in _OTHER_FORMATS:
        if data[offset : offset + len(magic)] == magic:
            raise DecodeError("unsupported-format", f"The file is {name}. {_SUPPORTED}")
    raise DecodeError(
        "not-an-image",
        f"The file starts with {data[:8]!r}, which is neither JPEG "
        f"nor PNG, nor DICOM with its preamble. {_SUPPORTED}",
    )


def decode(data: bytes, size: int, resize: str) -> np.ndarray:
    """Decode the bytes of a JPEG, PNG or DICOM file by the rule that `describe_rule` words.

    Args:
        data: the whole file.
        size: side of the square, pixels.
        resize: one of `RESIZE_MODES`.

    Returns:
        (size, size) uint8 in [0, 255].

    Raises:
        DecodeError: the file cannot be used; `kind` says why. Size and mode are checked before
            anything is decoded.
        ImportError: the file is DICOM and pydicom is not installed.
    """
    header = read_header(data)
    check_header(header)
    dicoms = header.format == "dicom"
    image = dicom.decode_grey(data) if dicoms else _decode_grey(data, header, size)
    square = resize_pixels(image, size, resize)
    refuse_constant(square)
    return square


def refuse_constant(square: np.ndarray) -> None:
    """Raise DecodeError (`constant`) where every pixel has the same grey level: nothing can be said
    of such a picture, and a net would answer all the same.
    """
    if not np.ptp(square):
        raise DecodeError("constant", f"Every pixel has the grey level {square.flat[0]}.")


def _decode_grey(data: bytes, header: Header, size: int) -> np.ndarray:
    """Decode a JPEG or PNG to (H, W) uint8, a JPEG at half scale where the rule says so."""
    flags, scale = cv2.IMREAD_IGNORE_ORIENTATION, 1
    if header.format == "jpeg":
        _check_jpeg_is_whole(data, header)
        scale = 2 if min(header.width, header.height) >= 2 * size else 1
        flags |= cv2.IMREAD_REDUCED_GRAYSCALE_2 if scale == 2 else cv2.IMREAD_GRAYSCALE
    else:
        _check_png_is_whole(data)
        flags |= cv2.IMREAD_GRAYSCALE if header.mode[:1] == "L" else cv2.IMREAD_COLOR_BGR
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise DecodeError("unreadable", f"OpenCV cannot decode the file: {error.err}") from error
    if image is None or image.shape[:2] != (-(-header.height // scale), -(-header.width // scale)):
        raise DecodeError(
            "unreadable",
            f"The header promises {header.format} {header.mode}, {header.width} x {header.height}, "
            "but the data cannot be decoded.",
        )
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    most = int(grey.max())
    if header.mode.endswith("16") and most < LOW_DEPTH:
        raise DecodeError(
            "low-depth",
            f"The PNG has 16 bits a sample and uses the lowest {8 + max(1, most.bit_length())} at "
            f"most, so that {most + 1} grey levels would be left of it. Scale its samples to the "
            "whole range, or save 8 bits.",
        )
    return grey


def resize_pixels(image: np.ndarray, size: int, resize: str) -> np.ndarray:
    """Make an array of grey pixels a square, as `decode` does after decoding.

    Args:
        image: (H, W) uint8 in [0, 255].
        size: side of the square, pixels.
        resize: one of `RESIZE_MODES`.

    Returns:
        (size, size) uint8 in [0, 255]; `image` itself, unchanged, where it has that size already.
    """
    if resize not in RESIZE_MODES:
        raise ValueError(f"resize must be one of {RESIZE_MODES}. Received: resize={resize!r}")
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel. Received: size={size!r}")
    fits = isinstance(image, np.ndarray) and image.ndim == 2 and image.size
    if not fits or image.dtype != np.uint8:
        raise ValueError(
            "image must be a (H, W) uint8 array. Received: "
            f"{getattr(image, 'shape', type(image))} {getattr(image, 'dtype', '')}".rstrip()
        )
    height, width = image.shape
    if (height, width) == (size, size):
        return image
    if resize == "squash":
        return _scale(image, size, size)
    if resize == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return _scale(image[top : top + side, left : left + side], size, size)
    longer = max(height, width)
    high, wide = (max(1, (2 * side * size + longer) // (2 * longer)) for side in (height, width))
    square = np.zeros((size, size), np.uint8)
    top, left = (size - high) // 2, (size - wide) // 2
    square[top : top + high, left : left + wide] = _scale(image, high, wide)
    return square


def _scale(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return (height, width) uint8. In float32, because OpenCV's uint8 area rounds ties by other
    rules at some factors.
    """
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    scaled = cv2.resize(image.astype(np.float32), (width, height), interpolation=how)
    return np.clip(np.floor(scaled + np.float32(0.5)), 0, 255).astype(np.uint8)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start, stop) of each segment's payload up to the end marker; of a scan, its
    header and entropy-coded data.

    Raises:
        DecodeError: `truncated` when the bytes end first.
    """
    position = 2
    while True:
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


def _jpeg_header(data: bytes) -> Header:
    for marker, start, stop in _jpeg_segments(data):
        if marker in _FRAMES:
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
            return Header("jpeg", width, height, mode)
        if marker in (_SOS, _EOI):
            break
    raise DecodeError("unreadable", "The JPEG has no frame header before its first scan.")


def _check_jpeg_is_whole(data: bytes, header: Header) -> None:
    """Raise DecodeError (`truncated`) where libjpeg would fill the missing part with grey and only
    print a warning.

    The end marker must follow the scans, and the scans must hold the bits that the declared size
    needs at the very least: one Huffman code of one bit for each block's DC term and, in sequential
    files, one for its end of block.
    """
    scanned, progressive = 0, False
    for marker, start, stop in _jpeg_segments(data):
        scanned += stop - start if marker == _SOS else 0
        progressive |= marker == 0xC2
    blocks = -(-header.width // 8) * -(-header.height // 8)
    if 8 * scanned < blocks * (1 if progressive else 2):
        raise DecodeError(
            "truncated",
            f"The JPEG's {scanned:,} bytes of scan data cannot fill "
            f"{header.width} x {header.height} pixels.",
        )


def _png_header(data: bytes) -> Header:
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
    return Header("png", width, height, mode if bits == 8 or mode == "P" else f"{mode}{bits}")


def _check_png_is_whole(data: bytes) -> None:
    """Raise DecodeError unless every chunk up to IEND is there, the critical ones with their
    checksum, and it is one still image.
    """
    position = 8
    while True:
        there = position + 8 <= len(data)
        length, name = struct.unpack_from(">I4s", data, position) if there else (0, b"")
        stop = position + 12 + length
        if not name or stop > len(data):
            said = f"The PNG ends after {len(data):,} bytes without its end chunk."
            raise DecodeError("truncated", said)
        critical, checksum = not name[0] & 0x20, int.from_bytes(data[stop - 4 : stop], "big")
        if critical and zlib.crc32(memoryview(data)[position + 4 : stop - 4]) != checksum:
            raise DecodeError(
                "unreadable",
                f"The PNG's chunk {name.decode('latin-1')} at byte {position:,} is damaged: its "
                "checksum is wrong.",
            )
        if name == b"acTL":
            raise DecodeError("unsupported-mode", "The PNG is animated. Expected one still image.")
        if name == b"IEND":
            return
        position = stop
