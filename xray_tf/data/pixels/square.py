"""Make grey pixels of any size the square that a network sees; refuse one that shows nothing."""

from __future__ import annotations

import cv2
import numpy as np

from xray_tf.data.pixels.header import DecodeError

RESIZE_MODES = ("crop", "pad", "squash")
# 19 of 20 pixels of a radiograph (5,400 at 224 x 224) have one of 60 grey levels or more. 12
# bits in a 16-bit file leave 11 levels, 13 bits 22; 14 bits leave 40, all below 64.
LEAST_LEVELS, DARK, LEVELS_SHARE = 24, 64, (19, 20)


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
    top, left, high, wide = _inside(height, width, size)
    square = np.zeros((size, size), np.uint8)
    square[top : top + high, left : left + wide] = _scale(image, high, wide)
    return square


def unsquare(square: np.ndarray, width: int, height: int, resize: str) -> np.ndarray:
    """Return what a square shows in the frame of the whole picture, so that it can be stretched
    over it: without the border that `pad` added, and with zeros where `crop` cut.

    Args:
        square: (S, S) of any type, such as a heat map.
        width, height: of the picture, pixels.
        resize: how the square was made, one of `RESIZE_MODES`.
    """
    side = len(square)
    if resize == "pad":
        top, left, high, wide = _inside(height, width, side)
        return square[top : top + high, left : left + wide]
    if resize == "squash":
        return square
    scale = side / min(width, height)
    high, wide = max(side, round(height * scale)), max(side, round(width * scale))
    whole = np.zeros((high, wide), square.dtype)
    top, left = (high - side) // 2, (wide - side) // 2
    whole[top : top + side, left : left + side] = square
    return whole


def see(image: np.ndarray, size: int, resize: str) -> np.ndarray:
    """Make an array of grey pixels the square that a network sees, as `resize_pixels` does, and
    refuse one that shows nothing.

    Raises:
        DecodeError: `constant` or `low-depth`.
    """
    square = resize_pixels(image, size, resize)
    shown = square
    if resize == "pad":
        top, left, high, wide = _inside(*image.shape, size)
        shown = square[top : top + high, left : left + wide]
    if not np.ptp(shown):
        raise DecodeError("constant", f"Every pixel has the grey level {shown.flat[0]}.")
    levels, dark = grey_levels(shown), is_dark(shown)
    if levels < min(LEAST_LEVELS, shown.size // 4) or dark:
        raise DecodeError(
            "low-depth",
            f"{LEVELS_SHARE[0]} of {LEVELS_SHARE[1]} pixels have one of {levels} grey levels"
            f"{f', all below {DARK}' if dark else ''}; the picture has {shown.min()} to "
            f"{shown.max()}. Scale the samples to the whole range, [0, 255] of 8 bits or [0, "
            "65535] of 16. (Masks and line drawings are refused too.)",
        )
    return square


def grey_levels(pixels: np.ndarray) -> int:
    """Count the grey levels that `LEVELS_SHARE` of the pixels have, the most frequent ones first:
    a white mark or a black border adds two or three.

    Args:
        pixels: uint8, of any shape.
    """
    counts = np.sort(np.bincount(pixels.ravel(), minlength=256))[::-1].cumsum()
    part, whole = LEVELS_SHARE
    return int((whole * counts < part * pixels.size).sum()) + 1


def is_dark(pixels: np.ndarray) -> bool:
    """Tell whether `LEVELS_SHARE` of the pixels are below `DARK`: 14 bits or fewer in 16."""
    part, whole = LEVELS_SHARE
    return bool(whole * int((pixels < DARK).sum()) >= part * pixels.size)


def _inside(height: int, width: int, size: int) -> tuple[int, int, int, int]:
    """Return top, left, height and width of the picture in a square it is padded to."""
    longer = max(height, width)
    high, wide = (max(1, (2 * side * size + longer) // (2 * longer)) for side in (height, width))
    return (size - high) // 2, (size - wide) // 2, high, wide


def _scale(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return (height, width) uint8. In float32, because OpenCV's uint8 area rounds ties by other
    rules at some factors.
    """
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    scaled = cv2.resize(image.astype(np.float32), (width, height), interpolation=how)
    return np.clip(np.floor(scaled + np.float32(0.5)), 0, 255).astype(np.uint8)
