"""The one decoding rule: JPEG, PNG or DICOM bytes to a square of grey pixels, the same for cache,
prediction and exported graph.

`nets.serving_files` repeats every step of `decode` in TensorFlow, but for DICOM, which
`data.pixels.dicom` makes grey; whatever changes here changes there, and `DECODING_RULE` with it.
"""

from __future__ import annotations

import os

import cv2
import numpy as np

from xray_tf.data.pixels import dicom, jpeg, png
from xray_tf.data.pixels.dicom_tags import is_dicom
from xray_tf.data.pixels.exif import turn_upright
from xray_tf.data.pixels.header import DecodeError, Header, check_header
from xray_tf.data.pixels.jpeg_damage import check_scan
from xray_tf.data.pixels.square import DARK, LEAST_LEVELS, LEVELS_SHARE, see

DECODING_RULE = 2
# Rule 1 read pixels as stored, whatever EXIF says of their orientation, and checked fewer files for
# too few grey levels. A file stored upright gives the same square under both.
SAME_UPRIGHT = (1, DECODING_RULE)
JPEG_SIGNATURE = b"\xff\xd8\xff"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_SUPPORTED = "Supported are JPEG (grey or colour), PNG and DICOM; convert the file to one of them."
_OTHER_FORMATS = (
    ("WebP", 8, b"WEBP"),
    ("BMP", 0, b"BM"),
    ("TIFF", 0, b"II*\x00"),
    ("TIFF", 0, b"MM\x00*"),
    ("TIFF", 0, b"II+\x00"),  # with 64-bit offsets
    ("TIFF", 0, b"MM\x00+"),
    ("GIF", 0, b"GIF8"),
    ("JPEG 2000", 4, b"jP  "),
    ("JPEG 2000", 0, b"\xffO\xffQ"),
    ("JPEG XL", 0, b"\xff\x0a"),
    ("JPEG XL", 4, b"JXL "),
    ("HEIF or AVIF", 4, b"ftyp"),
    ("PDF", 0, b"%PDF"),
    ("zip", 0, b"PK\x03\x04"),
    ("gzip", 0, b"\x1f\x8b"),
    ("a PGM", 0, b"P5"),
    ("a NumPy array", 0, b"\x93NUMPY"),
    ("NIfTI", 344, b"n+1\x00"),
    ("MetaImage", 0, b"ObjectType"),
    ("Photoshop", 0, b"8BPS"),
)


def describe_rule() -> str:
    """Return the rule in words, for the card."""
    return (
        f"Rule {DECODING_RULE}. JPEG: the luminance plane as libjpeg gives it, accurate integer "
        "DCT, decoded at half scale when both sides are at least twice the target side. PNG: 8 "
        "bits a sample (the high byte of 16), colour to grey as (9798 R + 19235 G + 3735 B + "
        "16384) >> 15, alpha ignored. Both are turned upright by their EXIF orientation; CMYK "
        "refused. Resize: crop = the central square of the shorter side, top and left offsets "
        "rounded down, to the target; pad = longer side to the target, shorter side in proportion "
        "rounded half up and at least 1, centred (offsets rounded down) on zeros; squash = both "
        "sides to the target. Area averages where neither side grows, bilinear with half-pixel "
        "centres and no antialiasing otherwise, in float32; then floor(x + 0.5), clipped to "
        f"[0, 255]. Refused where fewer than {LEAST_LEVELS} grey levels hold {LEVELS_SHARE[0]} of "
        f"{LEVELS_SHARE[1]} pixels of the picture, or as many are below {DARK}. {dicom.DICOM_RULE}"
    )


def is_image_file(path: str | os.PathLike) -> bool:
    """Tell by its first bytes whether a regular file is JPEG, PNG, DICOM, WebP or TIFF, whatever
    its name; False where it cannot be read.
    """
    try:
        if not os.path.isfile(path):  # a pipe would wait for ever
            return False
        with open(path, "rb") as stream:
            head = stream.read(132)
    except OSError:
        return False
    named = [head[o : o + len(m)] == m for name, o, m in _OTHER_FORMATS if name in ("WebP", "TIFF")]
    return head.startswith((JPEG_SIGNATURE, PNG_SIGNATURE)) or is_dicom(head) or any(named)


def read_header(data: bytes) -> Header:
    """Read format, size and mode from the first bytes of a JPEG, PNG or DICOM file.

    Raises:
        DecodeError: `empty`, `not-an-image`, `unsupported-format`, `unsupported-mode`, `truncated`,
            `unreadable` or one of DICOM's own kinds.
        ImportError: the file is DICOM and pydicom is not installed.
    """
    if not data:
        raise DecodeError("empty", "The file has no bytes.")
    for signature, read in ((JPEG_SIGNATURE, jpeg.read_header), (PNG_SIGNATURE, png.read_header)):
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
        f"The file starts as neither JPEG nor PNG, nor DICOM with its preamble. {_SUPPORTED}",
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
    return see(grey_of(data, header, size), size, resize)


def whole_picture(data: bytes) -> np.ndarray:
    """Decode the bytes of a file to all its pixels, upright and grey, (H, W) uint8 in [0, 255].

    Raises:
        DecodeError, ImportError: as in `decode`.
    """
    header = read_header(data)
    check_header(header)
    return grey_of(data, header, max(header.width, header.height))


def grey_of(data: bytes, header: Header, size: int) -> np.ndarray:
    """Decode a file whose header was checked to upright grey pixels, (H, W) uint8 in [0, 255], a
    JPEG at half scale where the rule says so for a square of `size` pixels.
    """
    if header.format == "dicom":
        return dicom.decode_grey(data)
    flags, scale = cv2.IMREAD_IGNORE_ORIENTATION, 1
    if header.format == "jpeg":
        frame = jpeg.check_whole(data, header)
        scale = 2 if min(header.width, header.height) >= 2 * size else 1
        flags |= cv2.IMREAD_REDUCED_GRAYSCALE_2 if scale == 2 else cv2.IMREAD_GRAYSCALE
    else:
        png.check_whole(data)
        flags |= cv2.IMREAD_GRAYSCALE if header.mode[:1] == "L" else cv2.IMREAD_COLOR_BGR
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise DecodeError("unreadable", f"OpenCV cannot decode the file: {error.err}") from error
    if image is None or image.shape[:2] != tuple(-(-s // scale) for s in header.stored_sides):
        raise DecodeError(
            "unreadable",
            f"The header promises {header.format} {header.mode}, {header.width} x {header.height}, "
            "but the data cannot be decoded.",
        )
    if header.format == "jpeg":
        check_scan(data, header, image, frame, scale, flags)
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return turn_upright(grey, header.orientation)
