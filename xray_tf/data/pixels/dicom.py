"""Decode a DICOM file to grey pixels of 8 bits, by the rule that `DICOM_RULE` words."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from xray_tf.data.pixels.dicom_codestream import check_codestream, quiet_decoders
from xray_tf.data.pixels.dicom_grey import grey_table
from xray_tf.data.pixels.dicom_tags import (
    OVERLAY_BIT_POSITIONS,
    number,
    raw,
    read_tags,
    text,
    transfer_syntax,
    whole,
)
from xray_tf.data.pixels.header import GREY_SHIFT, GREY_WEIGHTS, DecodeError, Header, check_header

# What a projection radiograph's Modality may be; empty where the file does not say.
MODALITIES = ("", "CR", "DX", "DR", "RG", "RF", "OT", "SC")
DICOM_RULE = (
    "DICOM: one frame of a projection radiograph, 8 to 16 bits; modality LUT or rescale slope and "
    "intercept, then the VOI LUT if there is one (white is the largest number of its brightest "
    "entry's bits), else the first window (LINEAR, LINEAR_EXACT or SIGMOID), else 8-bit values as "
    "they are and others from the 0.5th to the 99.5th percentile; MONOCHROME1 inverted; padding "
    "black; RGB to grey with the weights of PNG; other colour, palettes, several frames and bits "
    "above those stored that are no overlay refused; a JPEG codestream deeper than declared read "
    "as deep as it is."
)
_REQUIRED = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
)
_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")  # implicit and explicit VR, little endian
_RLE = "1.2.840.10008.1.2.5"
_TWELVE_BITS = ("1.2.840.10008.1.2.4.51",)  # JPEG extended, the only lossy JPEG of 12 bits
_MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
# grey levels that a codec may add to channels without colour, and the share of such pixels in a
# grey radiograph (the others are coloured marks)
COLOURLESS, COLOURLESS_SHARE = 12, 0.95
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


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
    samples = _samples(read_tags(data, pixels=True), header, syntax)
    if samples.ndim == 3 and (channel := _grey_channel(samples)) is not None:
        return channel
    if samples.ndim == 3:
        weighted = samples.astype(np.int32) @ np.array(GREY_WEIGHTS, np.int32)
        return (weighted + (1 << GREY_SHIFT - 1) >> GREY_SHIFT).astype(np.uint8)
    codes, bits = _codes(tags, samples, raw_bits=syntax in (*_NATIVE, _RLE))
    return grey_table(tags, codes, bits)[codes]


def _header(tags: Any) -> Header:
    """Check everything that can be told without pixels."""
    modality = text(tags, "Modality")
    if modality not in MODALITIES:
        names = ", ".join(m for m in MODALITIES if m)
        raise DecodeError(
            "not-a-radiograph",
            f"The DICOM's Modality is none of a projection radiograph's ({names}).",
        )
    missing = [name for name in _REQUIRED if not raw(tags, name)]
    if len(missing) == len(_REQUIRED):
        raise DecodeError(
            "no-pixels",
            "The DICOM is no image: it has none of the tags that describe pixels (a directory, a "
            "report or a cut file).",
        )
    if missing:
        raise DecodeError(
            "missing-tag",
            f"The DICOM has no {', '.join(missing)}; without it the pixels have no certain "
            "meaning.",
        )
    frames = number(tags, "NumberOfFrames")
    if frames is not None and frames != 1:
        raise DecodeError(
            "multi-frame",
            f"The DICOM holds {frames:.0f} frames; one radiograph a file is read. Store the wanted "
            "frame in a file of its own.",
        )
    _check_mode(tags)
    rows, columns, stored = (whole(tags, name) for name in ("Rows", "Columns", "BitsStored"))
    if not rows or not columns:
        raise DecodeError("unreadable", f"The DICOM's header declares {columns} x {rows} pixels.")
    mode = "RGB" if whole(tags, "SamplesPerPixel") == 3 else "L"
    return Header("dicom", columns, rows, mode + (str(stored) if stored != 8 else ""))


def _check_mode(tags: Any) -> None:
    photometric, samples = text(tags, "PhotometricInterpretation"), whole(tags, "SamplesPerPixel")
    known = {1: _MONOCHROME, 3: _COLOUR}
    if photometric not in known.get(samples, ()):
        named = (*_COLOUR, *_MONOCHROME, "PALETTE COLOR")
        shown = photometric if photometric in named else "another PhotometricInterpretation"
        raise DecodeError(
            "unsupported-mode",
            f"The DICOM is {shown} of {samples} sample(s) a pixel. {' or '.join(_MONOCHROME)} of "
            "one and RGB of three are read.",
        )
    allocated, stored, high, sign = (
        whole(tags, name)
        for name in ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
    )
    fits = allocated in (8, 16) and 8 <= stored <= allocated and sign in (0, 1)
    fits = fits and (high < 0 or stored - 1 <= high < allocated)
    if not fits or samples == 3 and (allocated, stored, sign) != (8, 8, 0):
        raise DecodeError(
            "unsupported-mode",
            f"The DICOM has {stored} of {allocated} bits{' and a sign' if sign == 1 else ''} a "
            "sample. Grey of 8 to 16 bits and RGB of 8 are read.",
        )


def _samples(tags: Any, header: Header, syntax: str) -> np.ndarray:
    """Return what is stored, (H, W) or (H, W, 3) whole numbers, every bit of them. pydicom's
    decoders change `tags`.
    """
    if not raw(tags, "PixelData"):
        raise DecodeError(
            "no-pixels", "The DICOM describes pixels and holds none (or ends before them)."
        )
    colour = header.mode == "RGB"
    samples = _native(tags, header) if syntax in _NATIVE else _compressed(tags, syntax, header)
    if samples.shape != (header.height, header.width, 3)[: 3 if colour else 2]:
        raise DecodeError(
            "unreadable",
            f"The DICOM promises {header.width} x {header.height} pixels, but its data hold "
            "others.",
        )
    return samples


def _grey_channel(samples: np.ndarray) -> np.ndarray | None:
    """Return the grey (H, W) uint8 of a colour picture (H, W, 3) that shows grey only, whatever
    colour space its header names: three equal channels, or luminance and two of no colour (128).
    None where it shows colours.
    """
    if samples.ndim != 3 or samples.shape[-1] != 3 or samples.dtype != np.uint8:
        return None
    first, second, third = (samples[..., i].astype(np.int16) for i in range(3))
    equal = np.maximum(abs(first - second), abs(first - third)) <= COLOURLESS
    flat = np.maximum(abs(second - 128), abs(third - 128)) <= COLOURLESS
    if max(equal.mean(), flat.mean()) < COLOURLESS_SHARE:
        return None
    if flat.mean() >= COLOURLESS_SHARE and np.ptp(first) > COLOURLESS:
        return samples[..., 0]
    weighted = samples.astype(np.int32) @ np.array(GREY_WEIGHTS, np.int32)
    return (weighted + (1 << GREY_SHIFT - 1) >> GREY_SHIFT).astype(np.uint8)


def _codes(tags: Any, samples: np.ndarray, raw_bits: bool) -> tuple[np.ndarray, int]:
    """Return stored values as unsigned codes (H, W) uint16, and the bits of a code.

    Bits above those stored are the sign again or, where the file's own bits are stored (`raw_bits`:
    not compressed, or RLE), the same in every pixel or an overlay: no part of the value. Any others
    belong to deeper values than the file declares. Cut off, they would turn white into black; a
    JPEG codestream is read as deep as it is, and raw bits are refused, since they may be an overlay
    that nothing declares.
    """
    stored, high = whole(tags, "BitsStored"), whole(tags, "HighBit")
    low = high + 1 - stored if high >= 0 and raw_bits else 0
    bits = 8 * samples.dtype.itemsize
    everything = samples.view(f"u{bits // 8}").astype(np.uint16)
    codes, above = everything >> low & (1 << stored) - 1, everything >> low + stored
    sign = codes >> stored - 1 if whole(tags, "PixelRepresentation") == 1 else 0
    if not (above ^ sign * ((1 << max(0, bits - low - stored)) - 1)).any():
        return codes, stored
    if not raw_bits:
        return everything, bits
    differing = int(np.bitwise_or.reduce(above ^ above.flat[0], axis=None))
    for tag in OVERLAY_BIT_POSITIONS:
        differing &= ~(1 << max(0, whole(tags, tag)) >> low + stored)
    if differing:
        raise DecodeError(
            "unsupported-mode",
            f"The DICOM's pixels use bits above the {stored} that BitsStored declares, and name no "
            "overlay there. Correct BitsStored and HighBit, or clear those bits.",
        )
    return codes, stored


def _native(tags: Any, header: Header) -> np.ndarray:
    data, colour, bits = raw(tags, "PixelData"), header.mode == "RGB", whole(tags, "BitsAllocated")
    count = header.width * header.height * (3 if colour else 1)
    if len(data) * 8 < count * bits:
        raise DecodeError(
            "truncated",
            f"The DICOM's {len(data):,} bytes of pixels cannot fill {header.width} x "
            f"{header.height}.",
        )
    if colour and text(tags, "PhotometricInterpretation") != "RGB":
        raise DecodeError(
            "unsupported-mode", "The DICOM is YBR and not compressed. Store it as RGB or grey."
        )
    samples = np.frombuffer(data, f"<u{bits // 8}", count)
    if not colour:
        return samples.reshape(header.height, header.width)
    if whole(tags, "PlanarConfiguration") == 1:
        return np.moveaxis(samples.reshape(3, header.height, header.width), 0, -1)
    return samples.reshape(header.height, header.width, 3)


def _compressed(tags: Any, syntax: str, header: Header) -> np.ndarray:
    pixels = importlib.import_module("pydicom.pixels")
    try:
        decoder = pixels.get_decoder(syntax)
    except Exception:
        raise DecodeError(
            "unsupported-format",
            "The DICOM's transfer syntax is none that pydicom knows. Store it as explicit VR "
            "little endian.",
        ) from None
    name = decoder.UID.name
    if not decoder.is_available:
        raise DecodeError(
            "no-decoder",
            f"The DICOM's pixels are {name}, which needs another package: "
            f"{'; or '.join(decoder.missing_dependencies)}.",
        )
    deep = syntax in _TWELVE_BITS and whole(tags, "BitsStored") > 8
    if deep and decoder.available_plugins == ("pillow",):  # which reads 8 bits of this syntax only
        raise DecodeError(
            "no-decoder",
            f"The DICOM's pixels are {name} of more than 8 bits, which needs another package: "
            f"{'; or '.join(decoder.missing_dependencies)}.",
        )
    check_codestream(raw(tags, "PixelData"), header)
    # pydicom would cut bits above BitsStored off before `_codes` can see them
    try:
        with quiet_decoders():
            stored = decoder.as_array(tags, index=0, raw=True, correct_unused_bits=False)[0]
            if header.mode != "RGB" or _grey_channel(stored) is not None:
                return stored
            return decoder.as_array(tags, index=0)[0]
    except Exception as error:  # each plugin has its own errors, some with values of tags in them
        kind = type(error).__name__
        raise DecodeError(
            "unreadable", f"The DICOM's pixels ({name}) cannot be decoded ({kind})."
        ) from None
