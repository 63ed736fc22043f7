"""Lungs of files, folders and globs: a mask each, and one table, in constant memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from xray_tf.artifact import new_folder
from xray_tf.data.chest.lung_masks import resize_lungs
from xray_tf.data.chest.lung_table import LungRow, LungRows, lung_row
from xray_tf.data.pixels.reading import Reading, each, read_file
from xray_tf.data.sources.files import list_files
from xray_tf.models.load import load
from xray_tf.models.lungs import LungSegmenter
from xray_tf.progress import ProgressLine

MASKS, TABLE = "masks", "lungs.csv"


def find_lungs(
    files: Iterable[str | os.PathLike],
    out: str | os.PathLike,
    model: Any = "lungs",
    *,
    batch_size: int = 32,
    strict: bool = False,
    progress: bool = True,
) -> LungRows:
    """Find the lungs of radiographs, in the order given.

    Args:
        files: files, folders and globs.
        out: a folder to make, for `masks/NAME.png` (grey levels 0 to 255, lung from 128 on, at the
            radiograph's size) and `lungs.csv`.
        model: a lung segmenter: a folder, a shipped name, or one already opened.
        batch_size: radiographs a forward pass.
        strict: stop at the first file that cannot be read.
        progress: show a line.

    Returns:
        One row a file; one that cannot be read has an `error`.

    Raises:
        FileExistsError: `out` is there already.
        ValueError: no file was found, or, with `strict`, one could not be read.
    """
    segmenter, records = load(model, kind="lungs"), list_files(files)
    rows: list[LungRow] = []
    with new_folder(out) as draft, ProgressLine("lungs", len(records), progress) as line:
        (draft / MASKS).mkdir()
        answers = _answers(segmenter, [records.file(r) for r in records], batch_size)
        names = mask_names([r.path for r in records])
        for record, name, (reading, lungs) in zip(records, names, answers, strict=True):
            if lungs is None and strict:
                raise ValueError(
                    f"{record.path} cannot be read ({reading.kind}: {reading.detail}). Leave out "
                    "--strict to go on with the others."
                )
            if lungs is None:
                row = LungRow(record.path, error=f"{reading.kind}: {reading.detail}")
            else:
                mask = resize_lungs(lungs.mask, (reading.height, reading.width))
                row = lung_row(record.path, mask, lungs.chest, segmenter.threshold)
                write_mask(draft / MASKS / name, mask)
            rows.append(row)
            line.step()
        found = LungRows(rows)
        found.write_csv(draft / TABLE)
    return found


def _answers(
    segmenter: LungSegmenter, files: list[Path], batch_size: int
) -> Iterator[tuple[Reading, Any]]:
    """Yield what each file is, and its lungs as the net sees them, or None; in order."""
    side = segmenter.card.preprocessing["image_size"]
    readings = each(partial(read_file, size=side, resize="squash"), files)
    while batch := list(islice(readings, batch_size)):
        found = segmenter.stream([p for _, p in batch if p is not None], batch_size)
        for reading, pixels in batch:
            yield reading, None if pixels is None else next(found)


def write_mask(path: Path, mask: np.ndarray) -> None:
    """Write lungs (H, W) float32 in [0, 1] as a grey PNG; 0.5 becomes 128."""
    grey = np.floor(np.clip(mask, 0, 1) * 255 + 0.5).astype(np.uint8)
    path.write_bytes(cv2.imencode(".png", grey)[1].tobytes())


def mask_names(paths: list[str]) -> list[str]:
    """Return a PNG name for each path, its stem, numbered where stems repeat."""
    taken, names = set(), []
    for path in paths:
        stem = Path(path).stem.encode("utf-8", "backslashreplace").decode()
        name, number = stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        names.append(f"{name}.png")
    return names
