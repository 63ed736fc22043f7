"""Turn the stored values of a DICOM file into grey: modality transform, VOI transform, inversion,
padding (PS3.3 C.11.1, C.11.2), worked out once for every possible value.

pydicom's own transforms would not do. `apply_voi_lut` wraps values round in a table of 8 bits,
`apply_modality_lut` fails on a table of 10, 12 or 14 bits and leaves out an intercept that has no
slope beside it. Their windows equal these, which a test holds.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np

from xray_tf.data.pixels.dicom_tags import TAGS, number, raw, text, whole
from xray_tf.data.pixels.header import DecodeError

# of the pixels on either side, where no window is given: a few dead or burned-in pixels shall not
# set the range
RANGE_SHARE = 0.005
LEAST_ENTRY = 64  # a VOI LUT whose brightest entry is below it would leave a few grey levels


def grey_table(tags: Any, codes: np.ndarray, bits: int) -> np.ndarray:
    """Return the grey of every possible stored value.

    Args:
        tags: what `dicom_tags.read_tags` gave.
        codes: (H, W) uint16, stored values as unsigned codes; their distribution decides where no
            window is given.
        bits: of a code, at least `BitsStored`.

    Returns:
        (2 ** bits,) uint8 in [0, 255].
    """
    signed = whole(tags, "PixelRepresentation") == 1
    values = np.arange(1 << bits, dtype=np.float64)
    if signed:
        values[values >= 1 << bits - 1] -= 1 << bits
    padding = _padding(tags, values, signed)
    table = _lut(tags, "ModalityLUTSequence", signed)
    slope, intercept = number(tags, "RescaleSlope") or 1.0, number(tags, "RescaleIntercept") or 0.0
    shown = values * slope + intercept if table is None else _look_up(table, values)
    voi = _lut(tags, "VOILUTSequence", bool((shown < 0).any()))
    if voi is not None:
        grey = _look_up(voi, shown) / _white(voi)
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


def window(tags: Any) -> tuple[float, float, str] | None:
    """Return (centre, width, function) of the first window; None where there is none, or a width
    that PS3.3 C.11.2.1.2 does not allow.

    Raises:
        DecodeError: the function is not one of the standard's three, or a value is no number.
    """
    centre, width = number(tags, "WindowCenter"), number(tags, "WindowWidth")
    function = text(tags, "VOILUTFunction") or "LINEAR"
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
    if not raw(tags, "PixelPaddingValue"):
        return np.zeros(len(values), bool)
    stored = (raw(tags, name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    ends = [int.from_bytes(data[:2], "little", signed=signed) for data in stored if len(data) >= 2]
    return (values >= min(ends)) & (values <= max(ends)) if ends else np.zeros(len(values), bool)


def _lut(tags: Any, name: str, signed: bool = False) -> tuple[np.ndarray, int, int] | None:
    """Return (entries, first value mapped, bits an entry) of the first look-up table of a sequence,
    None where there is none.
    """
    try:
        items = list(tags[TAGS[name]].value) if TAGS[name] in tags else []
    except Exception:  # a damaged sequence; its content is not repeated
        raise DecodeError("unreadable", f"The DICOM's {name} cannot be read.") from None
    if not items:
        return None
    descriptor, data = raw(items[0], "LUTDescriptor"), raw(items[0], "LUTData")
    if len(descriptor) < 6:
        raise DecodeError("missing-tag", f"The DICOM's {name} has no LUTDescriptor.")
    count, _, bits = struct.unpack("<HHH", descriptor[:6])
    first = int.from_bytes(descriptor[2:4], "little", signed=signed)
    count = count or 1 << 16
    if not 8 <= bits <= 16 or len(data) < count:
        raise DecodeError(
            "unreadable",
            f"The DICOM's {name} promises {count} entries of {bits} bits and holds {len(data)} "
            "bytes.",
        )
    kind = "<u2" if len(data) >= 2 * count else "u1"
    return np.frombuffer(data, kind, count).astype(np.float64), first, bits


def _white(voi: tuple[np.ndarray, int, int]) -> int:
    """Return what white is in a VOI LUT: the largest number of as many bits as its brightest entry
    has. The descriptor's bits are the same number, or wrong: a table of 12 bits declared as 16
    would be shown in a sixteenth of the grey levels.
    """
    brightest = int(voi[0].max())
    if brightest < LEAST_ENTRY:
        raise DecodeError(
            "low-depth",
            f"The DICOM's VOILUTSequence ends at {brightest} of {(1 << voi[2]) - 1}: too few grey "
            "levels would be left of the picture.",
        )
    return (1 << brightest.bit_length()) - 1


def _look_up(table: tuple[np.ndarray, int, int], values: np.ndarray) -> np.ndarray:
    entries, first, _ = table
    return entries[np.clip(np.rint(values) - first, 0, len(entries) - 1).astype(np.int64)]
