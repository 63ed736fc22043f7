"""The decoding rule of `data.pixels.decoding` in TensorFlow, for the exported graph: the bytes of a
JPEG or PNG file to the square that a network sees, or a refusal.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from xray_tf.data.pixels import exif
from xray_tf.data.pixels.decoding import JPEG_SIGNATURE, PNG_SIGNATURE
from xray_tf.data.pixels.header import GREY_SHIFT, GREY_WEIGHTS, MAX_PIXELS, MIN_SIDE
from xray_tf.data.pixels.jpeg_damage import (
    END,
    FULL_EIGHTH,
    HOLE,
    MCU,
    MORE,
    MORE_ROWS,
    MOST_ROWS,
    NEUTRAL,
)
from xray_tf.data.pixels.square import DARK, LEAST_LEVELS, LEVELS_SHARE
from xray_tf.nets.serving_exif import graph_function, jpeg_structure, png_orientation


def decoder(
    size: int, resize: str
) -> tuple[Callable[[tf.Tensor], tf.Tensor], Callable[[tf.Tensor], tf.Tensor]]:
    """Return the counterparts of `data.pixels.decoding` in the graph: one decodes the bytes of a
    file, one resizes pixels (B, H, W); both return float32 squares, and refuse what shows nothing.
    """
    fit = _fit(size, resize)

    @graph_function(input_signature=[tf.TensorSpec([], tf.string)])  # stored once in the graph
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

    orientation, frame = jpeg_structure(data)
    halved = tf.minimum(shape[0], shape[1]) >= 2 * size
    grey = _read_jpeg(data, halved)
    with tf.control_dependencies([_check_scan(data, frame, grey, halved)]):
        return _turn_upright(tf.identity(grey), orientation)


def _read_jpeg(data: tf.Tensor, halved: tf.Tensor) -> tf.Tensor:
    """Decode a JPEG as it is stored to grey pixels (H, W) uint8, at half scale where told."""
    return tf.cond(halved, lambda: _scaled_jpeg(data, 2), lambda: _scaled_jpeg(data, 1))


def _scaled_jpeg(data: tf.Tensor, ratio: int) -> tf.Tensor:
    return tf.io.decode_jpeg(data, channels=1, ratio=ratio, dct_method="INTEGER_ACCURATE")[..., 0]


@graph_function(
    input_signature=[
        tf.TensorSpec([], tf.string),
        tf.TensorSpec([], tf.int64),
        tf.TensorSpec([None, None], tf.uint8),
        tf.TensorSpec([], tf.bool),
    ]
)  # stored once in the graph
def _check_scan(data: tf.Tensor, frame: tf.Tensor, grey: tf.Tensor, halved: tf.Tensor) -> tf.Tensor:
    """Refuse a JPEG whose scan is cut or has a hole of zeros, as `data.pixels.jpeg_damage` does;
    return True.
    """
    values = tf.io.decode_raw(data, tf.uint8)
    sides = tf.cast(values[frame + 1 : frame + 3], tf.int64)
    height = 256 * sides[0] + sides[1]
    can_grow = height + MORE_ROWS <= MOST_ROWS

    def left_over() -> tf.Tensor:
        below = _scaled_jpeg(_taller(data, frame, height), FULL_EIGHTH)
        first = (-(-height // MCU) + 1) * MCU // FULL_EIGHTH
        return tf.reduce_any(below[first:] != NEUTRAL)

    def cut() -> tf.Tensor:
        end = tf.where((values[:-1] == END[0]) & (values[1:] == END[1]))[-1, 0]
        more = tf.strings.join([_part(data, 0, end), MORE + END])
        again = _read_jpeg(_taller(more, frame, height), halved)
        return tf.reduce_any(again[: tf.shape(grey)[0]] != grey)

    def no() -> tf.Tensor:
        return tf.constant(False)

    zeros = tf.cumsum(tf.cast(tf.concat([[1], values[frame:]], 0) == 0, tf.int32))
    hole = tf.reduce_any(zeros[len(HOLE) :] - zeros[: -len(HOLE)] == len(HOLE))
    ends_grey = tf.reduce_all(grey[-tf.where(halved, 4, 8) :] == NEUTRAL)
    damaged = tf.cond(can_grow & hole, left_over, no) | tf.cond(can_grow & ends_grey, cut, no)
    whole = tf.debugging.Assert(~damaged, ["The JPEG's scan data end early or are damaged."])
    with tf.control_dependencies([whole]):
        return ~damaged


def _taller(data: tf.Tensor, frame: tf.Tensor, height: tf.Tensor) -> tf.Tensor:
    """Return a JPEG that claims more rows than it holds."""
    rows = height + MORE_ROWS
    high, low = (tf.gather([bytes([i]) for i in range(256)], n) for n in (rows // 256, rows % 256))
    rest = _part(data, frame + 3, tf.strings.length(data))
    return tf.strings.join([_part(data, 0, frame + 1), high, low, rest])


def _part(data: tf.Tensor, start: tf.Tensor | int, length: tf.Tensor) -> tf.Tensor:
    return tf.strings.substr(data, tf.cast(start, tf.int64), tf.cast(length, tf.int64))


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


@graph_function
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


@graph_function  # stored once in the graph, however often it is called
def _area_weights(source: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Return weights (target, source) float32; each row averages its part of the source. This is
    accurate: `tf.image.resize` is off by 0.005 grey levels, OpenCV by 0.00005.
    """
    # in whole numbers of 1 / target pixels, which are exact wherever the graph runs
    ends = (tf.range(target + 1) * source)[:, None] - tf.range(source) * target
    covered = tf.clip_by_value(ends, 0, target)  # the part of each source pixel before each end
    return tf.cast(covered[1:] - covered[:-1], tf.float32) / tf.cast(source, tf.float32)


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
