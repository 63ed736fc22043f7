"""Read files one after the other, each once: sha256, header and pixels, or the reason why not."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from xray_tf.data.pixels.decoding import decode, read_header
from xray_tf.data.pixels.header import DecodeError
from xray_tf.data.pixels.square import RESIZE_MODES
from xray_tf.data.records import Finding, Record, Records
from xray_tf.machine import cores

MAX_BYTES = 1 << 30
# files under way for each worker: enough to ride out a slow one, and a constant amount of memory
LOOK_AHEAD = 8


@dataclass(frozen=True)
class Reading:
    """What one file turned out to be.

    Attributes:
        sha256: of its bytes, lower-case hex; empty where it could not be read at all.
        width, height, mode: of the header, as in `Record`; 0 and empty where there is none.
        kind: empty, or why it was set aside (`missing`, or a `DecodeError.kind`).
        detail: the reason in a sentence; empty where it is usable.
    """

    sha256: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""
    kind: str = ""
    detail: str = ""

    def finding(self, path: str | os.PathLike) -> Finding:
        """Return the reason as a finding about `path`."""
        return Finding(self.kind, "error", os.fspath(path), f"{self.detail} The file is set aside.")

    def fill(self, row: Record) -> Record:
        """Return the row with what was read filled in."""
        names = ("sha256", "width", "height", "mode")
        return replace(row, **{name: getattr(self, name) for name in names})


def stream_pixels(
    paths: Iterable[str | os.PathLike], size: int, resize: str, workers: int | None = None
) -> Iterator[tuple[str | os.PathLike, np.ndarray | Finding]]:
    """Decode files one after the other, in order, in threads and in constant memory.

    Args:
        paths: files; taken lazily.
        size: side of the square, pixels.
        resize: `crop`, `pad` or `squash`.
        workers: threads; None for one a CPU core.

    Returns:
        (path as given, (size, size) uint8 in [0, 255], or a Finding where the file cannot be used),
        one a path.
    """
    check_target(size, resize)

    def read(path: str | os.PathLike) -> tuple[str | os.PathLike, np.ndarray | Finding]:
        reading, pixels = read_file(path, size, resize)
        return path, reading.finding(path) if pixels is None else pixels

    return each(read, paths, workers)


def read_file(path: str | os.PathLike, size: int, resize: str) -> tuple[Reading, np.ndarray | None]:
    """Read one file once: its hash, its header and its pixels, (size, size) uint8, or None where it
    cannot be used.
    """
    try:
        data = read_bytes(path)
    except DecodeError as error:
        return Reading(kind=error.kind, detail=str(error)), None
    except OSError as error:
        return unread(error), None
    return read_data(data, size, resize)


def hashed(records: Records) -> Records:
    """Return the same rows with the sha256 of their files, where those can be read."""

    def of(row: Record) -> Record:
        try:
            data = b"" if row.sha256 else read_bytes(records.file(row))
        except (DecodeError, OSError):
            data = b""
        return replace(row, sha256=hashlib.sha256(data).hexdigest()) if data else row

    return records.with_rows(of(row) for row in records)


def read_data(data: bytes, size: int, resize: str) -> tuple[Reading, np.ndarray | None]:
    """Read the bytes of one file, as `read_file` does."""
    reading = Reading(sha256=hashlib.sha256(data).hexdigest())
    try:
        header = read_header(data)
        reading = replace(reading, width=header.width, height=header.height, mode=header.mode)
        return reading, decode(data, size, resize)
    except DecodeError as error:
        return replace(reading, kind=error.kind, detail=str(error)), None


def unread(error: OSError) -> Reading:
    """Return why a file cannot be opened."""
    kind = "missing" if isinstance(error, FileNotFoundError) else "unreadable"
    return Reading(kind=kind, detail=f"The file cannot be read: {error.strerror or error}.")


def check_length(count: int) -> None:
    """Raise DecodeError where a file has more bytes than are read."""
    if count > MAX_BYTES:
        said = f"The file has {count:,} bytes; at most {MAX_BYTES:,} are read."
        raise DecodeError("too-large", said)


def each(
    function: Callable[[Any], Any], items: Iterable, workers: int | None = None
) -> Iterator[Any]:
    """Yield function(item) in order, computed on threads, with at most LOOK_AHEAD items a worker
    under way.

    Args:
        function: called once an item; what it raises is raised here.
        items: any iterable; drawn from only as fast as results are taken.
        workers: threads; None for one a CPU core this process may use, or --threads.
    """
    workers = workers or cores()
    waiting, items = deque(), iter(items)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="each")
    try:
        while True:
            room = workers * LOOK_AHEAD - len(waiting)
            waiting.extend(pool.submit(function, item) for item in islice(items, room))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def read_bytes(path: str | os.PathLike) -> bytes:
    """Read a regular file whole.

    Raises:
        DecodeError: it is not a regular file, or too large.
        OSError: it cannot be opened.
    """
    # Opened without blocking, because a pipe that bears an image's name would wait for ever.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise DecodeError("unreadable", "It is not a regular file.")
        check_length(about.st_size)
        with open(handle, "rb", closefd=False) as stream:
            return stream.read()
    finally:
        os.close(handle)


def check_target(size: int, resize: str) -> None:
    """Raise ValueError unless `size` and `resize` are what `decode` takes."""
    if resize not in RESIZE_MODES:
        raise ValueError(f"resize must be one of {RESIZE_MODES}. Received: resize={resize!r}")
    if not isinstance(size, int) or size < 1:
        raise ValueError(
            f"size must be a whole number of pixels, at least 1. Received: size={size!r}"
        )
