"""What a file's first bytes say, and the limits of what is read."""

from __future__ import annotations

from dataclasses import dataclass

from xray_tf.data.pixels.exif import TRANSPOSED, UPRIGHT

MAX_PIXELS, MIN_SIDE = 100_000_000, 16
# (9798 R + 19235 G + 3735 B + 16384) >> 15: BT.601's 0.299, 0.587, 0.114 in 15 bits, as
# cv2.cvtColor computes it.
GREY_WEIGHTS, GREY_SHIFT = (9798, 19235, 3735), 15
KINDS = (
    *("empty", "not-an-image", "unsupported-format", "unsupported-mode", "truncated", "too-large"),
    *("too-small", "unreadable", "constant", "low-depth"),
    *("no-pixels", "missing-tag", "multi-frame", "no-decoder", "not-a-radiograph"),  # of DICOM
)


class DecodeError(ValueError):
    """The bytes are no radiograph this rule can read; `kind` is one of `KINDS`, fit for
    `Finding.kind`.
    """

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Header:
    """What the first bytes of a file say.

    Attributes:
        format: `jpeg`, `png` or `dicom`.
        width, height: pixels of the upright picture.
        mode: `L`, `RGB`, `CMYK`, `RGBA`, `LA` or `P`, followed by the bits a sample where they are
            not 8 (`L16`, `RGB16`, `L1`); of a DICOM file the bits stored (`L12`); a palette (`P`)
            is `P` at any depth.
        orientation: of EXIF, 1 (stored upright) to 8; 1 where the file does not say.
    """

    format: str
    width: int
    height: int
    mode: str
    orientation: int = 1

    @property
    def stored_sides(self) -> tuple[int, int]:
        """Height and width as stored."""
        turned = self.orientation in TRANSPOSED
        return (self.width, self.height) if turned else (self.height, self.width)


def upright_header(
    format: str, width: int, height: int, mode: str, orientation: int = UPRIGHT
) -> Header:
    """Return the header of a picture that is stored `width` x `height` and turned."""
    if orientation in TRANSPOSED:
        width, height = height, width
    return Header(format, width, height, mode, orientation)


def check_header(header: Header) -> None:
    """Raise DecodeError (`unsupported-mode`, `too-large` or `too-small`) unless the rule reads an
    image of this mode and size.
    """
    if header.format == "jpeg" and header.mode not in ("L", "RGB"):
        raise DecodeError(
            "unsupported-mode",
            f"A JPEG of mode {header.mode} has no luminance plane of 8 bits. Convert it to grey or "
            "RGB.",
        )
    if header.width * header.height > MAX_PIXELS:
        raise DecodeError(
            "too-large",
            f"The header declares {header.width} x {header.height} pixels; at most {MAX_PIXELS:,} "
            "are read.",
        )
    check_sides(header.width, header.height)


def check_sides(width: int, height: int) -> None:
    """Raise DecodeError (`too-small`) where a side is too short for a radiograph."""
    if min(width, height) < MIN_SIDE:
        raise DecodeError(
            "too-small",
            f"The image is {width} x {height} pixels; each side must have at least {MIN_SIDE}.",
        )
