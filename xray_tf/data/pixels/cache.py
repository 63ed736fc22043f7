"""Decode once: every radiograph of a table into one memory-mapped uint8 array on disk, and files
streamed without one.

On disk, below the cache folder:
    <key>/pixels.npy    (N, S, S) uint8, one row a usable file; opens with numpy.load
    <key>/rows.csv      one row a file given: sha256, width, height, mode, or why it was set aside
    <key>/cache.json    size, resize and decoding rule
    stamps/<stamp>      the key that a list of (path, bytes, time of change) had, so that nothing is
    read twice
The key is a hash of the files' contents, the size, the resize mode and the rule's number.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO

import numpy as np

from xray_tf.artifact import write_text
from xray_tf.data.pixels.decoding import DECODING_RULE, describe_rule
from xray_tf.data.pixels.header import DecodeError
from xray_tf.data.pixels.reading import Reading, check_target, each, read_file
from xray_tf.data.records import Findings, Records
from xray_tf.data.tables.arrays import read_npy_header
from xray_tf.progress import LOG, ProgressLine

ABANDONED_S = 24 * 3600
PIXELS, ROWS, ABOUT, STAMPS, DRAFT = "pixels.npy", "rows.csv", "cache.json", "stamps", ".building-"
_TEXT = {"encoding": "utf-8", "errors": "surrogateescape"}  # paths may hold undecodable bytes


class CacheError(OSError):
    """The cache folder cannot be used; the message names the way out."""


@dataclass(frozen=True)
class Cache:
    """Decoded radiographs.

    Attributes:
        pixels: (N, S, S) uint8 in [0, 255], a read-only memory map.
        records: N rows, row i describing pixels[i], with sha256, width, height and mode filled in.
        findings: the files set aside, one row each.
        path: the folder that holds the array.
    """

    pixels: np.memmap
    records: Records
    findings: Findings
    path: Path


def default_directory() -> Path:
    """Return $XRAY_TF_CACHE, else xray_tf in the user's cache folder (XDG)."""
    if os.environ.get("XRAY_TF_CACHE"):
        return Path(os.environ["XRAY_TF_CACHE"])
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "xray_tf"


def build_cache(
    records: Records,
    size: int = 224,
    resize: str = "crop",
    directory: str | os.PathLike | None = None,
    workers: int | None = None,
    progress: bool = True,
    strict: bool = False,
) -> Cache:
    """Decode the files of a table into one array on disk, or open the one that an earlier call
    left.

    A file counts as unchanged while its path, its length and its times of change (mtime and ctime,
    ns) are the same.

    Args:
        records: which files; rows that name one file, or files of equal bytes, each keep their row.
        size: side of the square, pixels.
        resize: `crop`, `pad` or `squash`.
        directory: where caches are kept; None for `default_directory()`.
        workers: threads; None for one a CPU core.
        progress: show a line on stderr.
        strict: raise at the first file that cannot be used instead of setting it aside.

    Raises:
        ValueError: a bad argument, or no file at all could be used.
        DecodeError: with `strict`, the first file that cannot be used.
        CacheError: the folder cannot be made or written, or is full.
    """
    check_target(size, resize)
    if not len(records):
        raise ValueError("records has no rows: there is nothing to decode.")
    directory = default_directory() if directory is None else Path(directory).expanduser()
    with _advice(directory):
        files, path = [records.file(row) for row in records], None
        pointer = directory / STAMPS / _stamp(files, size, resize)
        if pointer.is_file():
            path = directory / pointer.read_text(encoding="utf-8", errors="replace").strip()
        if path is None or not _is_whole(path, size, resize, len(files)):
            (directory / STAMPS).mkdir(parents=True, exist_ok=True)
            _sweep(directory)
            with ProgressLine("Decoding", len(files), progress) as line:
                path, lasts = _build(records, files, size, resize, directory, workers, line, strict)
            if lasts:
                write_text(pointer, path.name + "\n")
        return _open(path, records, strict)


def _build(
    records: Records,
    files: list[Path],
    size: int,
    resize: str,
    directory: Path,
    workers: int | None,
    line: ProgressLine,
    strict: bool,
) -> tuple[Path, bool]:
    """Write the cache as a hidden sibling, give it its name, and return that, and whether the same
    files will give the same again: not where a decoder was missing, which may be
    installed since.
    """
    draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=directory))
    try:
        readings = []
        with (draft / PIXELS).open("wb") as stream:
            reserved = _write_npy_header(stream, len(files), size)
            results = each(lambda file: read_file(file, size, resize), files, workers)
            for row, (reading, pixels) in zip(records, results, strict=True):
                if pixels is not None:
                    stream.write(pixels.tobytes())
                elif strict:
                    raise DecodeError(reading.kind, f"{records.file(row)}: {reading.detail}")
                readings.append(reading)
                line.step()
            kept = sum(not r.kind for r in readings)
            if _write_npy_header(stream, kept, size) != reserved:
                raise RuntimeError(
                    "NumPy's .npy header changed its length with the number of rows, which since "
                    "NumPy 1.23 it does not."
                )
        if not kept:
            raise ValueError(
                f"None of the {len(files):,} files can be used. The first, {files[0]}: "
                f"{readings[0].detail}"
            )
        with (draft / ROWS).open("w", newline="", **_TEXT) as stream:
            writer = csv.DictWriter(stream, [f.name for f in fields(Reading)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(r) for r in readings)
        about = {
            "size": size,
            "resize": resize,
            "decoding": DECODING_RULE,
            "files": len(files),
            "kept": kept,
            "decoding_rule": describe_rule(),
        }
        (draft / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        lines = [f"{r.sha256} {r.kind} {r.detail}" for r in readings]
        target = directory / _hash(lines, size, resize)
        shutil.copymode(directory, draft)
        _publish(draft, target, size, resize, len(files))
        return target, not any(r.kind == "no-decoder" for r in readings)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _publish(draft: Path, target: Path, size: int, resize: str, count: int) -> None:
    """Rename the draft, unless another process has put the same content there already."""
    for _ in range(3):
        try:
            os.rename(draft, target)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        if _is_whole(target, size, resize, count):
            return
        # Damaged: moved out of the way whole, so that nobody sees half of it; maps that are open
        # stay valid.
        waste = Path(tempfile.mkdtemp(prefix=DRAFT, dir=target.parent))
        with suppress(FileNotFoundError):
            os.rename(target, waste / target.name)
        shutil.rmtree(waste, ignore_errors=True)
    raise CacheError(f"{target} is damaged and comes back damaged.")


def _open(path: Path, records: Records, strict: bool) -> Cache:
    with (path / ROWS).open(newline="", **_TEXT) as stream:
        rows = csv.DictReader(stream)
        sizes = ({**r, "width": int(r["width"]), "height": int(r["height"])} for r in rows)
        pairs = list(zip(records, (Reading(**row) for row in sizes), strict=True))
    bad = [reading.finding(row.path) for row, reading in pairs if reading.kind]
    if bad and strict:
        raise DecodeError(bad[0].kind, f"{records.root / bad[0].path}: {bad[0].detail}")
    kept = records.with_rows(reading.fill(row) for row, reading in pairs if not reading.kind)
    return Cache(np.load(path / PIXELS, mmap_mode="r"), kept, Findings(bad), path)


def _is_whole(path: Path, size: int, resize: str, count: int) -> bool:
    """Tell whether the folder holds what its description and its array's header promise, to the
    byte.
    """
    try:
        about = json.loads((path / ABOUT).read_text(encoding="utf-8"))
        wanted = {"size": size, "resize": resize, "decoding": DECODING_RULE, "files": count}
        if {name: about[name] for name in wanted} != wanted:
            return False
        with (path / PIXELS).open("rb") as stream:
            shape, _, dtype = read_npy_header(stream)
            expected = stream.tell() + about["kept"] * size * size
        with (path / ROWS).open("rb") as stream:
            rows = sum(1 for _ in stream) - 1
        right = shape == (about["kept"], size, size) and dtype == np.uint8 and rows >= count
        return right and (path / PIXELS).stat().st_size == expected
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _write_npy_header(stream: IO[bytes], rows: int, size: int) -> int:
    """Write the header at the start of the file and return its length; NumPy pads it so that the
    number of rows can change.
    """
    stream.seek(0)
    header = {"descr": "|u1", "fortran_order": False, "shape": (rows, size, size)}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.tell()


def _stamp(files: list[Path], size: int, resize: str) -> str:
    def stamp(file: Path) -> str:
        try:
            about = os.stat(file)
        except OSError as error:
            return f"errno {error.errno}"
        return f"{about.st_size} {about.st_mtime_ns} {about.st_ctime_ns}"

    return _hash([f"{os.path.abspath(file)}\0{stamp(file)}" for file in files], size, resize)


def _hash(lines: list[str], size: int, resize: str) -> str:
    text = "\n".join([f"rule {DECODING_RULE} size {size} resize {resize}", *lines])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _sweep(directory: Path) -> None:
    """Remove drafts that a killed process left a day ago or earlier."""
    for draft in directory.glob(f"{DRAFT}*"):
        try:
            newest = max(p.stat().st_mtime for p in (draft, *draft.iterdir()))
        except OSError:
            continue
        if time.time() - newest > ABANDONED_S:
            shutil.rmtree(draft, ignore_errors=True)
            LOG.info("removed %s, which a killed process left", draft)


@contextmanager
def _advice(directory: Path) -> Iterator[None]:
    """Turn a file system's refusal into a CacheError that says what to do."""
    try:
        yield
    except OSError as error:
        raise CacheError(
            f"The cache folder {directory} cannot be used: {error.strerror or error}. Name another "
            "with --cache DIR (or $XRAY_TF_CACHE) that is writable and has room for image_size^2 "
            "bytes a radiograph."
        ) from error
