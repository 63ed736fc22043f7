"""Stream a MedMNIST .npz to PNG files once, and make records of them."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from xray_tf.artifact import new_folder
from xray_tf.data.pixels.reading import each
from xray_tf.data.records import SPLITS, Finding, Findings, Record, Records
from xray_tf.data.sources.names import Request, Scan, SourceError
from xray_tf.data.tables.arrays import read_npy_header
from xray_tf.locks import PATIENCE_S
from xray_tf.progress import ProgressLine
from xray_tf.registry import CLASS_WORDS, CUSTOM, LABELS

# radiographs and those with pneumonia of PneumoniaMNIST's train, val and test
PNEUMONIAMNIST = ((4708, 3494), (524, 389), (624, 390))
MOST_LABELS = 10_000_000


def scan_medmnist(request: Request) -> Scan:
    """Stream a .npz to PNG files in the cache; later scans read the records.csv beside them."""
    path = request.path(".npz")
    classes = request.task.class_names if request.task.name == CUSTOM else LABELS
    try:
        with zipfile.ZipFile(path) as archive:
            infos = {i.filename: i for i in archive.infolist()}
            parts = [s for s in SPLITS if {f"{s}_images.npy", f"{s}_labels.npy"} <= set(infos)]
            if not parts:
                raise SourceError(
                    f"{path} is not a MedMNIST file. Expected the arrays train_images, "
                    f"train_labels (val_, test_), found {sorted(infos)[:8]}."
                )
            named = "pneumonia" in path.stem.lower() or request.task.words
            if classes == LABELS and not named:
                _check_meaning(path, archive, parts)
            # the archive's own checksums identify the content without reading it
            said = repr([(n, i.CRC, i.file_size) for n, i in sorted(infos.items())])
            said += repr(classes) if classes != LABELS else ""
            key = hashlib.sha256(said.encode()).hexdigest()[:16]
            folder = request.directory / f"medmnist-{path.stem}-{key}"
            if not folder.is_dir():
                _write_once(folder, path, archive, parts, classes, request.progress)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise SourceError(
            f"{path} is damaged or not a .npz file ({error}). Download it again."
        ) from error
    keyless = "MedMNIST has no patient keys; it can only be split with --split-by image."
    labels = "Label 0 is read as normal and 1 as pneumonia, as in PneumoniaMNIST."
    if classes != LABELS:
        labels = f"Labels from 0 on are read as {', '.join(classes)}."
    findings = [
        Finding("no-patient-key", "warning", "", keyless),
        Finding("medmnist-labels", "note", "", labels),
    ]
    return Scan(Records(Records.read_csv(folder / "records.csv").rows, folder), Findings(findings))


def _check_meaning(path: Path, archive: zipfile.ZipFile, parts: list[str]) -> None:
    """Refuse a file whose name and numbers are not PneumoniaMNIST's: twelve data sets of MedMNIST
    look alike, and 0 and 1 are benign and malignant in one of them, or the other way round.
    """
    for part in parts:  # damage is told first
        _open_array(path, archive, f"{part}_images.npy")[0].close()
    labels = [_read_labels(path, archive, f"{part}_labels.npy", LABELS) for part in parts]
    counts = tuple((len(found), sum(found)) for found in labels)
    if counts != PNEUMONIAMNIST:
        raise SourceError(
            f"{path} does not say what its labels 0 and 1 mean, and is not PneumoniaMNIST by name "
            "or numbers. If 0 is normal and 1 pneumonia, say so with --classes normal,pneumonia; "
            "otherwise name its own classes in the order of their numbers (--classes "
            "malignant,benign)."
        )


def _write_medmnist(
    path: Path,
    archive: zipfile.ZipFile,
    parts: list[str],
    draft: Path,
    classes: tuple[str, ...],
    progress: bool,
) -> None:
    rows = []
    folders = [name.upper() if classes == LABELS else str(k) for k, name in enumerate(classes)]
    said = [CLASS_WORDS.get(name, (name,)) for name in classes]
    for part in parts:
        labels = _read_labels(path, archive, f"{part}_labels.npy", classes)
        count, images = _read_images(path, archive, f"{part}_images.npy")
        if count != len(labels):
            raise SourceError(
                f"{path}: {part}_images has {count} images, {part}_labels {len(labels)} labels. "
                "Expected the same number."
            )
        for name in folders:
            (draft / part / name).mkdir(parents=True)
        part_rows = [
            Record(f"{part}/{folders[k]}/{i:06d}.png", *said[k], split=part)
            for i, k in enumerate(labels)
        ]

        def write(job: tuple[Record, np.ndarray]) -> None:
            row, image = job
            image = image if image.ndim == 2 else np.ascontiguousarray(image[..., ::-1])
            done, data = cv2.imencode(".png", image)
            if not done:
                raise SourceError(
                    f"{path}: {row.path} could not be encoded as PNG. Received shape {image.shape}."
                )
            (draft / row.path).write_bytes(data.tobytes())

        with ProgressLine(f"Writing {part} of {path.name}", count, progress) as line:
            for _ in each(write, zip(part_rows, images, strict=True)):
                line.step()
        rows += part_rows
    Records(rows).write_csv(draft / "records.csv")


def _open_array(
    path: Path, archive: zipfile.ZipFile, name: str
) -> tuple[Any, tuple[int, ...], np.dtype]:
    """Open one member after its .npy header; refuse arrays of Python objects (pickles) and a wrong
    size.
    """
    stream = archive.open(name)
    try:
        shape, fortran, dtype = read_npy_header(stream)
    except ValueError as error:
        raise SourceError(f"{path}: {name} has no readable .npy header ({error}).") from error
    if dtype.hasobject:
        raise SourceError(
            f"{path}: {name} contains pickled Python objects, which are never loaded. "
            "Expected plain uint8 arrays."
        )
    if fortran and len(shape) > 1 or not shape:
        raise SourceError(
            f"{path}: {name} must be a C-ordered array. Received shape {shape}"
            f"{', Fortran order' if fortran else ''}; save it again."
        )
    declared = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if archive.getinfo(name).file_size - stream.tell() != declared:
        raise SourceError(
            f"{path}: {name} declares shape {shape}, which is not its size. The file is damaged."
        )
    return stream, shape, dtype


def _read_labels(
    path: Path, archive: zipfile.ZipFile, name: str, classes: tuple[str, ...]
) -> list[int]:
    stream, shape, dtype = _open_array(path, archive, name)
    with closing(stream):
        if dtype.kind not in "iub" or shape[1:] not in ((), (1,)):
            raise SourceError(
                f"{path}: {name} must contain one integer per image. Received "
                f"shape {shape}, dtype {dtype}."
            )
        if shape[0] > MOST_LABELS:
            raise SourceError(f"{path}: {name} has {shape[0]:,} labels; {MOST_LABELS:,} are read.")
        labels = np.frombuffer(stream.read(), dtype).astype(np.int64)
    if not set(labels.tolist()) <= set(range(len(classes))):
        meant = " and ".join(f"{k} ({name})" for k, name in enumerate(classes))
        raise SourceError(
            f"{path}: {name} must contain {meant}. Received the "
            f"labels {sorted(set(labels.tolist()))[:10]}."
        )
    return labels.tolist()


def _read_images(
    path: Path, archive: zipfile.ZipFile, name: str
) -> tuple[int, Iterator[np.ndarray]]:
    """Return the number of images and an iterator over them, each (H, W) or (H, W, 3) uint8, with
    one in memory at a time.
    """
    stream, shape, dtype = _open_array(path, archive, name)
    grey_or_colour = len(shape) == 3 or len(shape) == 4 and shape[3] == 3
    if dtype != np.uint8 or not grey_or_colour or 0 in shape[1:]:
        stream.close()
        raise SourceError(
            f"{path}: {name} must be (N, H, W) or (N, H, W, 3) uint8. Received shape {shape}, "
            f"dtype {dtype}."
        )

    def images() -> Iterator[np.ndarray]:
        with closing(stream):
            for _ in range(shape[0]):
                data = stream.read(int(np.prod(shape[1:])))
                yield np.frombuffer(data, np.uint8).reshape(shape[1:])

    return shape[0], images()


def _write_once(
    folder: Path,
    path: Path,
    archive: zipfile.ZipFile,
    parts: list[str],
    classes: tuple[str, ...],
    progress: bool,
) -> None:
    """Fill a new cache folder, completely or not at all; if another process finishes first, its
    folder is used.
    """
    try:
        with new_folder(folder, PATIENCE_S) as draft:
            _write_medmnist(path, archive, parts, draft, classes, progress)
    except FileExistsError:
        if not folder.is_dir():
            raise
