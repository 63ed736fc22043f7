"""EXIF orientation in TensorFlow, for the exported graph: `data.pixels.jpeg`, `png` and `exif` once
more, with the files that they refuse by their structure.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import tensorflow as tf

from xray_tf.data.pixels.exif import ENTRY_BYTES, ORIENTATION_TAG, UPRIGHT, WIDTHS
from xray_tf.data.pixels.jpeg import EXIF_MARK

# of one file: segments, chunks, or bytes between them; beyond it the file is refused, so that none
# can keep a server busy
MOST_STEPS = 1 << 14
_BASELINE, _SCAN_OR_END, _APP1, _TEM = (0xC0, 0xC1, 0xC2), (0xD8, 0xD9, 0xDA), 0xE1, 0x01
_OTHER_FRAMES = (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
_NO_MARKER = (0x00, 0xFF, *range(0xD0, 0xD8))
# Nothing in the graph is an `if` or `while` of Python, and to look for them by AutoGraph takes
# longer than all the rest of an export.
graph_function = partial(tf.function, autograph=False)


@graph_function(
    input_signature=[
        tf.TensorSpec([None], tf.int64),
        tf.TensorSpec([None], tf.int64),
        tf.TensorSpec([], tf.int64),
        tf.TensorSpec([], tf.bool),
    ]
)  # stored once in the graph, however often it is called
def _numbers(values: tf.Tensor, at: tf.Tensor, width: tf.Tensor, big: tf.Tensor) -> tf.Tensor:
    """Return the unsigned numbers (k,) of `width` bytes at positions (k,); 0 is read beyond the end
    of the bytes (n,), all int64.
    """
    places = tf.range(width)
    where, size = at[:, None] + places, tf.size(values, tf.int64)
    found = tf.gather(tf.concat([values, [0]], 0), tf.where(where < size, where, size))
    shifts = 8 * tf.where(big, width - 1 - places, places)
    return tf.reduce_sum(tf.bitwise.left_shift(found, shifts[None]), 1)


class _Bytes:
    """Bytes as int64 (n,), from which numbers are read."""

    def __init__(self, values: tf.Tensor):
        self.values, self.size = values, tf.size(values, tf.int64)

    def __call__(self, at: tf.Tensor | int, width: int, big: tf.Tensor | bool = True) -> tf.Tensor:
        """Return the unsigned number of `width` bytes at one position, or at each of several."""
        at = tf.cast(at, tf.int64)
        numbers = _numbers(
            self.values, tf.reshape(at, [-1]), tf.constant(width, tf.int64), tf.cast(big, tf.bool)
        )
        return tf.reshape(numbers, tf.shape(at))


def _bytes(data: tf.Tensor) -> _Bytes:
    return _Bytes(tf.cast(tf.io.decode_raw(data, tf.uint8), tf.int64))


@graph_function(input_signature=[tf.TensorSpec([], tf.string)])  # stored once in the graph
def jpeg_structure(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return (the orientation, where the payload of the frame header begins), each () int64, of a
    JPEG (() string); refuse one that is coded by another process than baseline or progressive
    Huffman coding.
    """
    file = _bytes(data)
    mark = int.from_bytes(EXIF_MARK, "big")

    def step(at, start, stop, frame, payload, done):
        marker = file(at + 1, 1)
        is_marker = (file(at, 1) == 0xFF) & ~_is_in(marker, _NO_MARKER)
        length = file(at + 2, 2)
        first = is_marker & (marker == _APP1) & (start == 0)
        first &= file(at + 4, len(EXIF_MARK)) == mark
        start = tf.where(first, at + 4 + len(EXIF_MARK), start)
        stop = tf.where(first, at + 2 + length, stop)
        framed = is_marker & _is_in(marker, (*_BASELINE, *_OTHER_FRAMES)) & (frame == 0)
        frame, payload = tf.where(framed, marker, frame), tf.where(framed, at + 4, payload)
        done = is_marker & (_is_in(marker, _SCAN_OR_END) | (marker != _TEM) & (length < 2))
        jump = tf.where(marker == _TEM, tf.constant(2, tf.int64), 2 + length)
        at = tf.where(is_marker, at + jump, at + 1)
        return at, start, stop, frame, payload, done | (at >= file.size)

    at, start, stop, frame, payload, done = _walk(step, 2, 4)
    ok = tf.debugging.Assert(
        done & _is_in(frame, _BASELINE),
        ["The JPEG is damaged, or not coded as baseline or progressive; process:", frame],
    )
    with tf.control_dependencies([ok]):
        return _orientation(file.values[start:stop]), payload


@graph_function(input_signature=[tf.TensorSpec([], tf.string)])
def png_orientation(data: tf.Tensor) -> tf.Tensor:
    """Return the orientation () int64 of a PNG (() string); refuse one that is animated or has no
    end.
    """
    file = _bytes(data)
    exif, ends, moves = (int.from_bytes(name, "big") for name in (b"eXIf", b"IEND", b"acTL"))

    def step(at, start, stop, animated, ended, done):
        length, name = file(at, 4), file(at + 4, 4)
        whole = at + 12 + length <= file.size
        first = whole & (name == exif) & (start == 0)
        start, stop = tf.where(first, at + 8, start), tf.where(first, at + 8 + length, stop)
        animated |= tf.cast(whole & (name == moves), tf.int64)
        ended = tf.cast(whole & (name == ends), tf.int64)
        return at + 12 + length, start, stop, animated, ended, ~whole | (ended == 1)

    at, start, stop, animated, ended, done = _walk(step, 8, 4)
    whole = tf.debugging.Assert(done & (ended == 1), ["The PNG ends before its end chunk; at:", at])
    still = tf.debugging.Assert(animated == 0, ["The PNG is animated; expected one still image."])
    with tf.control_dependencies([whole, still]):
        return _orientation(file.values[start:stop])


def _walk(step: Callable, at: int, more: int) -> list[tf.Tensor]:
    """Call `step` with a position, `more` numbers and whether it is done, until it is."""
    state = [tf.constant(at, tf.int64), *[tf.constant(0, tf.int64)] * more, tf.constant(False)]
    return tf.while_loop(
        lambda *state: ~state[-1], step, state, maximum_iterations=MOST_STEPS, parallel_iterations=1
    )


def _is_in(value: tf.Tensor, values: tuple[int, ...]) -> tf.Tensor:
    return tf.reduce_any(value == tf.constant(values, tf.int64))


@graph_function(input_signature=[tf.TensorSpec([None], tf.int64)])
def _orientation(values: tf.Tensor) -> tf.Tensor:
    """Return the orientation in an EXIF block, as `data.pixels.exif.orientation_of` does."""
    block = _Bytes(values)
    order = block(0, 2)
    big = order == int.from_bytes(b"MM", "big")
    known = big | (order == int.from_bytes(b"II", "big"))
    directory = block(4, 4, big)
    at = directory + 2 + ENTRY_BYTES * tf.range(block(directory, 2, big))
    hit = (block(at, 2, big) == ORIENTATION_TAG) & (at + ENTRY_BYTES <= block.size)
    known &= (block(2, 2, big) == 42) & tf.reduce_any(hit)
    entry = tf.minimum(tf.reduce_min(tf.where(hit, at, block.size)), block.size)  # if there is none
    kind, found = block(entry + 2, 2, big), tf.constant(0, tf.int64)
    for number, width in WIDTHS.items():
        found = tf.where(kind == number, block(entry + 8, width, big), found)
    return tf.where(known & (found >= 1) & (found <= 8), found, UPRIGHT)
