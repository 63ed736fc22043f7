"""The decoding rule of `data.pixels.decoding` in TensorFlow, for the exported graph: the bytes of a
JPEG or PNG file to the square that a network sees, or a refusal.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from xray_tf.data.pixels import exif
from xray_tf.data.pixels.decoding import JPEG_SIGNATURE, PNG_SIGNATURE
from xray_tf.data.pixels.header import GREY_SHIFT, GREY_WEIGHTS, MAX_PIXELS, MIN_SIDE
from xray_tf.data.pixels.square import DARK, LEAST_LEVELS, LEVELS_SHARE
from xray_tf.nets.serving_exif import jpeg_orientation, png_orientation


def decoder(
    size: int, resize: str
) -> tuple[Callable[[tf.Tensor], tf.Tensor], Callable[[tf.Tensor], tf.Tensor]]:
    """Return the counterparts of `data.pixels.decoding` in the graph: one decodes the bytes of a
    file, one resizes pixels (B, H, W); both return float32 squares, and refuse what shows nothing.
    """
    fit = _fit(size, resize)

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])  # stored once in the graph
    def decode_one(data: tf.Tensor) -> tf.Tensor:  # () string -> (S, S) float32
        starts = tf.strings.substr(data, 0, len(JPEG_SIGNATURE))
        grey = tf.cond(starts == JPEG_SIGNATURE, lambda: _jpeg(data, size), lambda: _png(data))
        return fit(grey[None])[0]

    def fit_pixels(images: tf.Tensor) -> tf.Tensor:  # (B, H, W) uint8 -> (B, S, S) float32
        with tf.control_dependencies([_check_sides(tf.shape(images)[1], tf.shape(images)[2])]):
            return fit(tf.identity(images))

    return decode_one, fit_pixels


def _jpeg(data: tf.Tensor, size: int) -> tf.Tensor:
    """Decode a JPEG to upright grey pixels (H, W) uint8."""
    shape = tf.io.extract_jpeg_shape(data)
    with tf.control_dependencies([_check_sides(shape[0], shape[1])]):
        data = tf.identity(data)

    def read(ratio: int) -> Callable[[], tf.Tensor]:
        return lambda: tf.io.decode_jpeg(
            data, channels=1, ratio=ratio, dct_method="INTEGER_ACCURATE"
        )[..., 0]

    orientation = jpeg_orientation(data)
    grey = tf.cond(tf.minimum(shape[0], shape[1]) >= 2 * size, read(2), read(1))
    return _turn_upright(grey, orientation)


def _png(data: tf.Tensor) -> tf.Tensor:
    """Decode a PNG to upright grey pixels (H, W) uint8; refuse everything else."""
    signed = tf.debugging.Assert(
        tf.strings.substr(data, 0, len(PNG_SIGNATURE)) == PNG_SIGNATURE,
        ["Expected the bytes of JPEG or PNG files."],
    )
    with tf.control_dependencies([signed]):
        sides = tf.reshape(tf.io.decode_raw(tf.strings.substr(data, 16, 8), tf.uint8), (2, 4))
    sides = tf.reduce_sum(
        tf.cast(sides, tf.int64) * tf.constant([1 << 24, 1 << 16, 1 << 8, 1], tf.int64), -1
    )
    with tf.control_dependencies([_check_sides(sides[1], sides[0])]):
        data = tf.identity(data)
    orientation = png_orientation(data)
    with tf.control_dependencies([orientation]):
        colour = tf.cast(tf.io.decode_png(tf.identity(data), channels=3), tf.int32)
    grey = tf.reduce_sum(colour * tf.constant(GREY_WEIGHTS), -1) + (1 << GREY_SHIFT - 1)
    grey = tf.cast(tf.bitwise.right_shift(grey, GREY_SHIFT), tf.uint8)
    return _turn_upright(grey, orientation)


def _check_sides(height: tf.Tensor, width: tf.Tensor) -> tf.Operation:
    pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
    shorter = tf.cast(tf.minimum(height, width), tf.int64)
    said = f"An image must have at most {MAX_PIXELS:,} pixels and no side below {MIN_SIDE}; "
    return tf.debugging.Assert(
        tf.logical_and(pixels <= MAX_PIXELS, shorter >= MIN_SIDE),
        [said + "height, width:", height, width],
    )


def _turn_upright(grey: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Undo an EXIF orientation () int64, as `data.pixels.exif.turn_upright` does."""

    def one_of(values: tuple[int, ...]) -> tf.Tensor:
        return tf.reduce_any(orientation == tf.constant(values, tf.int64))

    grey = tf.cond(one_of(exif.TRANSPOSED), lambda: tf.transpose(grey), lambda: grey)
    grey = tf.cond(one_of(exif.ROWS_MIRRORED), lambda: grey[::-1], lambda: grey)
    return tf.cond(one_of(exif.COLUMNS_MIRRORED), lambda: grey[:, ::-1], lambda: grey)


@tf.function
def _check_levels(shown: tf.Tensor) -> None:
    """Refuse pictures (B, h, w) float32 of too few grey levels, as `data.pixels.square.see` does:
    one grey level for all pixels is the extreme of it.
    """
    rows = tf.reshape(tf.cast(shown, tf.int32), [tf.shape(shown)[0], -1])
    counts = tf.math.bincount(rows, minlength=256, maxlength=256, axis=-1)
    most_first = tf.cumsum(tf.sort(counts, direction="DESCENDING"), axis=-1)
    part, whole = LEVELS_SHARE
    short = tf.cast(whole * most_first < part * tf.shape(rows)[1], tf.int32)
    levels = tf.reduce_sum(short, -1) + 1
    least = tf.minimum(LEAST_LEVELS, tf.shape(rows)[1] // 4)
    dark = whole * tf.reduce_sum(counts[:, :DARK], -1) >= part * tf.shape(rows)[1]
    tf.debugging.Assert(
        tf.reduce_all((levels >= least) & ~dark),
        [
            f"An image shows nothing: {part} of {whole} of its pixels have fewer than "
            f"{LEAST_LEVELS} grey levels, or are below {DARK}. Scale samples to the "
            "whole range. Levels:",
            levels,
        ],
    )


@tf.function  # stored once in the graph, however often it is called
def _area_weights(source: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Return weights (target, source) float32; each row averages its part of the source. This is
    accurate: `tf.image.resize` is off by 0.005 grey levels, OpenCV by 0.00005.
    """
    ends = tf.cast(tf.range(target + 1) * source, tf.float64) / tf.cast(target, tf.float64)
    # the part of each source pixel before each end
    covered = tf.clip_by_value(ends[:, None] - tf.cast(tf.range(source), tf.float64), 0, 1)
    return tf.cast((covered[1:] - covered[:-1]) * tf.cast(target / source, tf.float64), tf.float32)


def _fit(size: int, resize: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return what makes squares (B, S, S) float32 of pixels (B, H, W) uint8."""

    def scale(images: tf.Tensor, height: tf.Tensor | int, width: tf.Tensor | int) -> tf.Tensor:
        shape, images = tf.shape(images), tf.cast(images, tf.float32)
        sides = tf.cast(tf.stack([height, width]), tf.int32)

        def area() -> tf.Tensor:
            return tf.matmul(
                tf.matmul(_area_weights(shape[1], sides[0]), images),
                _area_weights(shape[2], sides[1]),
                transpose_b=True,
            )

        shrinks = tf.logical_and(sides[0] <= shape[1], sides[1] <= shape[2])
        scaled = tf.cond(
            shrinks, area, lambda: tf.image.resize(images[..., None], sides, "bilinear")[..., 0]
        )
        return tf.clip_by_value(tf.floor(scaled + 0.5), 0.0, 255.0)

    def fit(images: tf.Tensor) -> tf.Tensor:  # (B, H, W) uint8 -> (B, S, S) float32
        shape = tf.shape(images, tf.int64)  # int64, because 2 * side * size may exceed 2^31
        height, width = shape[1], shape[2]
        if resize == "squash":
            squares = scale(images, size, size)
        elif resize == "crop":
            side = tf.minimum(height, width)
            top, left = (height - side) // 2, (width - side) // 2
            squares = scale(images[:, top : top + side, left : left + side], size, size)
        else:
            longer = tf.maximum(height, width)
            new_height, new_width = (
                tf.maximum((2 * side * size + longer) // (2 * longer), 1)
                for side in (height, width)
            )
            top, left = (size - new_height) // 2, (size - new_width) // 2
            squares = tf.pad(
                scale(images, new_height, new_width),
                [[0, 0], [top, size - new_height - top], [left, size - new_width - left]],
            )
        shown = squares
        if resize == "pad":
            shown = squares[:, top : top + new_height, left : left + new_width]
        _check_levels(shown)
        return tf.ensure_shape(squares, (None, size, size))

    return fit
