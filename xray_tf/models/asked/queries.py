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
from xray_tf.data.pixels.header import DecodeError, check_sides
from xray_tf.data.pixels.reading import Reading, read_data, read_file, stream_pixels
from xray_tf.data.pixels.square import see
from xray_tf.data.records import Finding, Record, Records
from xray_tf.data.sources.files import labelled_file, list_files
from xray_tf.models.asked.pictures import (
    as_array,
    as_stack,
    grey,
    is_frame,
    paths_in,
    several,
    single,
)


def batches(
    images: Any, card: Card, batch_size: int
) -> Iterator[tuple[list[Record], list[np.ndarray | Finding]]]:
    """Yield whatever a person asks about, batch by batch and in order: records, and pixels (S, S)
    uint8 as the model of `card` sees them, or the finding that explains why there are none.

    Args:
        images: paths, folders or globs, alone, in a list or in the column `path` of a data frame;
            an array or tensor (H, W), (H, W, 1 or 3), (N, H, W) or (N, H, W, 1 or 3) of pixels in
            [0, 255]; the bytes of a file, a PIL image or a pydicom data set; a list of any of
            these; or a `tf.data.Dataset` of pictures, batches or pairs (image, label).
        batch_size: radiographs at a time.

    Raises:
        ValueError: it is anything else, pixels have another range or shape, or no file was found.
    """
    check_batch_size(batch_size)
    asked = _asked(images, card)
    if isinstance(asked, Records):
        yield from record_batches(asked, card, batch_size)
    elif isinstance(asked, np.ndarray):
        yield from array_batches(asked, card, batch_size)
    else:
        while batch := list(islice(asked, batch_size)):
            yield [q.record for q in batch], [q.pixels if not q.error else q.finding for q in batch]


def queries(images: Any, card: Card) -> Iterator[Query]:
    """Yield whatever a person asks about, as `batches` takes it, one by one and with the sha256 of
    files.
    """
    asked = _asked(images, card)
    if isinstance(asked, Records):
        yield from (read_query(asked.file(row), card, row.path) for row in asked)
    elif isinstance(asked, np.ndarray):
        for number, image in enumerate(as_stack(asked)):
            yield read_query(image, card, f"image {number}")
    else:
        yield from asked


def _asked(images: Any, card: Card) -> Records | np.ndarray | Iterator[Query]:
    """Return the files that are asked about, or an array, or the pictures of anything else."""
    if (paths := paths_in(images)) is not None:
        return _files(images, paths, card)
    if (array := as_array(images)) is not None:
        return array
    return _listed(images, card)


def _files(images: Any, paths: list[str], card: Card) -> Records:
    found = list_files(paths, card.to_task())
    if is_frame(images) and len(found) != len(paths):
        raise ValueError(
            f"each row of a data frame must name one file of its own. Received: {len(paths)} rows, "
            f"{len(found)} files. See images[images.duplicated('path')]."
        )
    return found


def _listed(images: Any, card: Card) -> Iterator[Query]:
    """Yield the pictures of a list or data set, numbered where they have no path."""
    number = 0
    for image in several(images):
        if isinstance(image, str | os.PathLike):
            found = list_files([image], card.to_task())
            parts = [(found.file(row), row.path) for row in found]
        else:
            parts = [(image, f"image {number}")]
        for part, name in parts:
            yield read_query(part, card, name)
            number += 1
    if not number:
        raise ValueError("no radiograph was given. Received: an empty list or data set.")


def array_batches(
    images: np.ndarray, card: Card, batch_size: int
) -> Iterator[tuple[list[Record], list[np.ndarray | Finding]]]:
    """Yield an array's radiographs batch by batch: numbered records, and pixels (S, S) uint8 as the
    model of `card` sees them, or the finding that explains why they show nothing.

    The array and its errors are those of `as_stack`.
    """
    check_batch_size(batch_size)
    images = as_stack(images)
    for start in range(0, len(images), batch_size):
        part = images[start : start + batch_size]
        yield (
            [Record(f"image {start + i}") for i in range(len(part))],
            [seen(grey(image), card) for image in part],
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


def readable_batches(
    images: Any, card: Card, batch_size: int
) -> Iterator[tuple[list[Record], np.ndarray]]:
    """Yield whatever a person asks about as `batches` does, as records and pixels (n, S, S) uint8.

    Raises:
        ValueError: one cannot be read, or as `batches`.
    """
    for records, results in batches(images, card, batch_size):
        good, pixels, errors = readable(results, card)
        if not good.all():
            first = int(np.argmin(good))
            raise unreadable(records[first].path, errors[first])
        yield records, pixels


def unreadable(path: str, error: str) -> ValueError:
    """Return the error of a radiograph that must be readable and is not."""
    return ValueError(f"{path} cannot be read ({error}). Leave it out.")


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
        finding: the reason; None if the file can be read.
        source: the original input, for a model that needs other pixels.
    """

    record: Record
    pixels: np.ndarray | None
    finding: Finding | None = None
    source: Any = None

    @property
    def error(self) -> str:
        """The reason, `kind: detail`; empty if the file can be read."""
        return "" if self.finding is None else f"{self.finding.kind}: {self.finding.detail}"


def read_query(image: Any, card: Card, name: str = "") -> Query:
    """Read one radiograph for a model.

    Args:
        image: as `xray_tf.models.asked.pictures.single` takes it.
        card: the model's card, for image size and resize mode.
        name: a name for it; the path, `bytes` or `array` if empty.

    Raises:
        ValueError: an array has another range or shape, or a path names no file or several.
    """
    size, resize = card.preprocessing["image_size"], card.preprocessing["resize"]
    image = single(image)
    if isinstance(image, bytes):
        reading, pixels = read_data(image, size, resize)
        return _query(labelled_file(name or "bytes", (), card.to_task()), reading, pixels, image)
    if isinstance(image, str):
        found = list_files([image], card.to_task())
        if len(found) != 1:
            raise ValueError(
                f"expected one radiograph. Received: {image!r}, which names {len(found)} files"
            )
        path = found.file(found[0])
        reading, pixels = read_file(path, size, resize)
        return _query(replace(found[0], path=name or found[0].path), reading, pixels, path)
    height, width = image.shape
    record = Record(name or "array", width=width, height=height, mode="L")
    square = seen(image, card)
    if isinstance(square, Finding):
        return Query(record, None, square, image)
    return Query(record, square, source=image)


def _query(record: Record, reading: Reading, pixels: np.ndarray | None, source: Any) -> Query:
    finding = None
    if pixels is None:
        finding = Finding(reading.kind, "error", record.path, reading.detail)
    return Query(reading.fill(record), pixels, finding, source)
