"""Write labelled data that a program holds (a data frame, arrays, a `tf.data.Dataset`) into the
cache folder, so that every job reads it as it reads files.
"""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import repeat
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from xray_tf.data.pixels.cache import default_directory
from xray_tf.models.asked.pictures import as_array, as_stack, grey, is_frame, paths_in
from xray_tf.registry import Task

MANIFEST = "manifest.csv"
FRAME = ("path", "label", "subtype", "patient", "split", "acquisition")


def given_data(data: Any, task: Task, cache: str | os.PathLike | None = None) -> str:
    """Return what names labelled data, after writing it if it is not named already.

    Args:
        data: a path or word, as for `--data`; a data frame with the columns `path` and `label`, and
            `subtype`, `patient`, `split` and `acquisition` where they are known; (images, labels)
            or (images, labels, patients), images as `Classifier.predict` takes arrays, or paths;
            or a finite `tf.data.Dataset` of (image, label), alone or in batches. Labels are class
            names, indices in the order of the task's classes, or one-hot rows.
        task: whose classes the labels are.
        cache: the cache folder; the user's if None.

    Returns:
        A path or word. Pixels are written as grey PNG files, once for each content.

    Raises:
        ValueError: it is anything else, or labels do not fit.
    """
    if isinstance(data, str | os.PathLike):
        return os.fspath(data)
    folder = (default_directory() if cache is None else Path(cache).expanduser()) / "given"
    if is_frame(data):
        return _written(_rows_of_frame(data), folder)
    if hasattr(data, "element_spec"):
        return _written(_rows_of_dataset(data, task), folder)
    if isinstance(data, tuple) and len(data) in (2, 3):
        return _written(_rows_of_arrays(*data, task=task), folder)
    raise ValueError(
        "data must be a path, a data frame, (images, labels), (images, labels, patients) or a "
        f"tf.data.Dataset of (image, label). Received: {type(data).__name__}"
    )


def class_names_of(labels: Any, task: Task) -> list[str]:
    """Return the class name of each of N labels: names, indices or one-hot rows.

    Raises:
        ValueError: an index is not one of the task's classes.
    """
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] > 1:
        array = array.argmax(axis=1)
    names = []
    for value in array.ravel():
        if isinstance(value, str | bytes):
            names.append(value.decode() if isinstance(value, bytes) else str(value))
        elif float(value).is_integer() and 0 <= value < len(task.class_names):
            names.append(task.class_names[int(value)])
        else:
            raise ValueError(
                f"labels must be names or indices of {task.class_names}. Received: {value!r}"
            )
    return names


def _rows_of_frame(frame: Any) -> Iterator[tuple[str, dict[str, str]]]:
    if "label" not in frame.columns:
        raise ValueError(
            "a data frame of labelled radiographs must have the columns path and label. Received: "
            f"{list(frame.columns)}"
        )
    known = [c for c in FRAME[1:] if c in frame.columns]
    # a missing value of pandas is not equal to itself
    cells = [["" if v != v or v is None else str(v) for v in frame[c]] for c in known]
    for path, *values in zip(paths_in(frame), *cells, strict=True):
        yield os.path.abspath(path), dict(zip(known, values, strict=True))


def _rows_of_arrays(
    images: Any, labels: Any, patients: Iterable[Any] | None = None, *, task: Task
) -> Iterator[tuple[str | np.ndarray, dict[str, str]]]:
    names = class_names_of(labels, task)
    paths, array = paths_in(images), as_array(images)
    pictures = [os.path.abspath(p) for p in paths] if paths is not None else None
    if pictures is None and array is None:
        raise ValueError(
            f"images must be an array of pixels or a list of paths. Received: {type(images)}"
        )
    pictures = as_stack(array) if pictures is None else pictures
    keys = repeat("", len(names)) if patients is None else map(str, patients)
    try:
        for picture, name, patient in zip(pictures, names, keys, strict=True):
            yield picture, {"label": name, "patient": patient}
    except ValueError as error:
        if "zip()" not in str(error):
            raise
        raise ValueError(
            "images, labels and patients must have the same number of entries. Received: "
            f"{len(pictures)} images and {len(names)} labels"
        ) from error


def _rows_of_dataset(data: Any, task: Task) -> Iterator[tuple[np.ndarray, dict[str, str]]]:
    for element in data.as_numpy_iterator():
        if not isinstance(element, tuple) or len(element) < 2:
            raise ValueError(
                "a tf.data.Dataset of labelled radiographs must have elements (image, label). "
                f"Received: {data.element_spec}"
            )
        pictures, labels = as_stack(element[0]), np.asarray(element[1])
        if len(pictures) == 1 and labels.ndim == 1 and labels.size > 1:  # one one-hot row
            labels = labels[None]
        names = class_names_of(labels, task)
        if len(names) != len(pictures):
            raise ValueError(
                f"a batch has {len(pictures)} images and {len(names)} labels. Expected as many"
            )
        for picture, name in zip(pictures, names, strict=True):
            yield picture, {"label": name}


def _written(rows: Iterable[tuple[str | np.ndarray, dict[str, str]]], folder: Path) -> str:
    """Write rows as a manifest, with a PNG for each that is pixels, in a folder named by their
    content; return the manifest's path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draft, content, count = Path(tempfile.mkdtemp(dir=folder, prefix=".draft-")), [], 0
    try:
        with (draft / MANIFEST).open("w", encoding="utf-8", newline="") as stream:
            table = csv.DictWriter(stream, FRAME, restval="", lineterminator="\n")
            table.writeheader()
            for picture, cells in rows:
                path = picture
                if not isinstance(picture, str):
                    path = f"{count:06d}.png"
                    data = cv2.imencode(".png", grey(picture))[1].tobytes()
                    (draft / path).write_bytes(data)
                    content.append(hashlib.sha256(data).hexdigest())
                row = {"path": path, **cells}
                content.append(repr(sorted(row.items())))
                table.writerow(row)
                count += 1
        if not count:
            raise ValueError("no labelled radiograph was given. Received: no row.")
        key = hashlib.sha256("\n".join(content).encode()).hexdigest()[:16]
        with suppress(OSError):  # the same content lies there already
            os.rename(draft, folder / key)
        return str(folder / key / MANIFEST)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
