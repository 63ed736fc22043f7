"""Turn what a person asks about (a path, a file's bytes or an array) into a record and the pixels
that a model sees.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from xray_tf.artifact import Card
from xray_tf.data.pixels.header import MIN_SIDE, DecodeError, check_sides
from xray_tf.data.pixels.reading import Reading, read_data, read_file, stream_pixels
from xray_tf.data.pixels.square import see
from xray_tf.data.records import Finding, Record, Records
from xray_tf.data.sources.files import list_files

# positions an axis at which neighbours are compared, and how many times as much they must differ
# along the axis that numbers radiographs as along those of a picture, which are alike within the
# same factor
SAMPLED, ROUGHER = 32, 3.0


def grey_stack(images: np.ndarray, batch_size: int = 1) -> np.ndarray:
    """Return an array of radiographs as (N, H, W) uint8.

    Args:
        images: (H, W) or (N, H, W) uint8, grey pixels in [0, 255].
        batch_size: is also checked.

    Raises:
        ValueError: the type or shape is another. Colour (H, W, 3) is recognised by its last axis;
            it could be mistaken for H radiographs three pixels wide.
    """
    check_batch_size(batch_size)
    stack = images[None] if images.ndim == 2 else images
    advice = _what_is_wrong(images)
    if advice or stack.ndim != 3 or not stack.size:
        raise ValueError(
            "images must be grey pixels in [0, 255] of one or more radiographs, an array (H, W) or "
            f"(N, H, W) uint8. Received: shape {images.shape}, {images.dtype}. {advice}".rstrip()
        )
    return stack


def _what_is_wrong(images: np.ndarray) -> str:
    """Return what to do about an array of another type or order of axes; empty where it is as it
    should be.
    """
    shape, channels = images.shape, (1, 3, 4)
    if images.ndim == 4 and shape[1] in channels and shape[3] not in channels:
        return (
            "The second axis looks like channels: convert them to one, for example with "
            "images[:, 0] where all are equal, or pass the paths of the files."
        )
    if images.ndim == 4 or images.ndim == 3 and shape[-1] in channels:
        return (
            "The last axis looks like channels: convert them to one, for example with "
            "cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), or pass the path of the file."
        )
    if images.dtype != np.uint8:
        return "Scale pixels to [0, 255] and round them to uint8, or pass the path of the file."
    if images.ndim == 3 and (axis := number_axis(images)):
        name = ("first", "second", "last")[axis]
        return (
            f"The {name} axis looks like the number of radiographs: neighbours along it are other "
            f"pictures, or fewer than {MIN_SIDE}. Use np.moveaxis(images, {axis}, 0)."
        )
    return ""


def number_axis(images: np.ndarray) -> int:
    """Return the axis of a stack (3 axes, uint8) that numbers its radiographs: the one with fewer
    than `MIN_SIDE` entries where the other two have more, or along which neighbours differ most,
    where the other two are alike and smooth. 0 where nothing speaks against the first.
    """
    short = [axis for axis in (1, 2) if images.shape[axis] < MIN_SIDE]
    if len(short) == 1 and images.shape[0] >= MIN_SIDE:
        return short[0]
    if min(images.shape) < 2:
        return 0
    places = [np.unique(np.linspace(0, n - 2, SAMPLED).astype(int)) for n in images.shape]
    here = images[np.ix_(*places)].astype(np.int16)
    steps = []
    for axis in range(3):
        moved = [p + 1 if k == axis else p for k, p in enumerate(places)]
        steps.append(float(np.abs(images[np.ix_(*moved)] - here).mean()))
    axis = int(np.argmax(steps))
    smooth = sorted(steps[:axis] + steps[axis + 1 :])
    return axis if steps[axis] > ROUGHER * smooth[1] and smooth[1] < ROUGHER * smooth[0] else 0


def array_batches(
    images: np.ndarray, card: Card, batch_size: int
) -> Iterator[tuple[list[Record], list[np.ndarray | Finding]]]:
    """Yield an array's radiographs batch by batch: numbered records, and pixels (S, S) uint8 as the
    model of `card` sees them, or the finding that explains why they show nothing.

    Arguments and errors are those of `grey_stack`.
    """
    images = grey_stack(images, batch_size)
    for start in range(0, len(images), batch_size):
        part = images[start : start + batch_size]
        yield (
            [Record(f"image {start + i}") for i in range(len(part))],
            [seen(image, card) for image in part],
        )


def record_batches(
    records: Records, card: Card, batch_size: int
) -> Iterator[tuple[list[Record], list[np.ndarray | Finding]]]:
    """Yield files batch by batch, in order and in constant memory: their records, and pixels (S,
    S) uint8 as the model of `card` sees them, or the finding that explains why there are none.
    """
    check_batch_size(batch_size)
    prep, rows = card.preprocessing, iter(records)
    files = (records.file(r) for r in records)
    pixels = iter(stream_pixels(files, prep["image_size"], prep["resize"]))
    while batch := list(islice(rows, batch_size)):
        yield batch, [result for _, result in islice(pixels, len(batch))]


def readable(results: Sequence, card: Card) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return which of N results of `record_batches` are pixels, (N,) bool; those pixels
    (n, S, S) uint8; and N errors, empty for pixels.
    """
    good = np.array([isinstance(result, np.ndarray) for result in results], bool)
    side = card.preprocessing["image_size"]
    pixels = np.array([r for r, ok in zip(results, good, strict=True) if ok], np.uint8)
    errors = ["" if ok else f"{r.kind}: {r.detail}" for r, ok in zip(results, good, strict=True)]
    return good, pixels.reshape(-1, side, side), errors


def pixels_of(records: Records, rows: Iterable[int], card: Card) -> np.ndarray:
    """Return the pixels (n, S, S) uint8 of one or more readable records."""
    prep, files = card.preprocessing, [records.file(records[int(i)]) for i in rows]
    return np.stack([p for _, p in stream_pixels(files, prep["image_size"], prep["resize"])])


def seen(image: np.ndarray, card: Card) -> np.ndarray | Finding:
    """Return the pixels (S, S) uint8 of an array (H, W) as the model of `card` sees them, or a
    finding if they show nothing (too few pixels or grey levels).
    """
    try:
        check_sides(image.shape[1], image.shape[0])
        return see(image, card.preprocessing["image_size"], card.preprocessing["resize"])
    except DecodeError as error:
        return Finding(error.kind, "error", "", str(error))


def check_batch_size(batch_size: int) -> None:
    """Raise ValueError unless a forward pass has at least one radiograph."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1. Received: batch_size={batch_size!r}")


@dataclass(frozen=True)
class Query:
    """One radiograph that a person asks about.

    Attributes:
        record: its path or name, sha256, width, height and mode; patient and labels if the name
            contains them.
        pixels: (S, S) uint8 as the model sees it; None if the file cannot be read.
        error: the reason, `kind: detail`; empty if the file can be read.
        source: the original input, for a model that needs other pixels.
    """

    record: Record
    pixels: np.ndarray | None
    error: str = ""
    source: Any = None


def read_query(image: Any, card: Card, name: str = "") -> Query:
    """Read one radiograph for a model.

    Args:
        image: a path; the bytes of a file; or an array (H, W) uint8 of grey pixels in [0, 255].
        card: the model's card, for image size and resize mode.
        name: a name for it; the path, `bytes` or `array` if empty.

    Raises:
        ValueError: an array has another type or shape, or a path names no file or several.
    """
    size, resize = card.preprocessing["image_size"], card.preprocessing["resize"]
    if isinstance(image, bytes | bytearray | memoryview):
        reading, pixels = read_data(bytes(image), size, resize)
        return _query(Record(name or "bytes"), reading, pixels, image)
    if isinstance(image, str | os.PathLike):
        found = list_files([image], card.to_task())
        if len(found) != 1:
            raise ValueError(
                f"expected one radiograph. Received: {os.fspath(image)!r}, which names "
                f"{len(found)} files"
            )
        path = found.file(found[0])
        reading, pixels = read_file(path, size, resize)
        return _query(replace(found[0], path=name or found[0].path), reading, pixels, path)
    fits = isinstance(image, np.ndarray) and image.ndim == 2 and image.dtype == np.uint8
    if not fits or not image.size:
        raise ValueError(
            "image must be a path, the bytes of a file, or grey pixels (H, W) uint8 in [0, 255]. "
            f"Received: {type(image).__name__} {getattr(image, 'shape', '')} "
            f"{getattr(image, 'dtype', '')}".rstrip()
        )
    height, width = image.shape
    record = Record(name or "array", width=width, height=height, mode="L")
    square = seen(image, card)
    if isinstance(square, Finding):
        return Query(record, None, f"{square.kind}: {square.detail}", image)
    return Query(record, square, source=image)


def _query(record: Record, reading: Reading, pixels: np.ndarray | None, source: Any) -> Query:
    return Query(
        reading.fill(record),
        pixels,
        f"{reading.kind}: {reading.detail}" if pixels is None else "",
        source,
    )
