"""Write a data set of phantoms in Kaggle's layout, with their masks beside it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np

from xray_tf.artifact import new_folder, write_text
from xray_tf.data.sources.folder import PHANTOM_MARK, records_below
from xray_tf.data.sources.names import Request, Scan, SourceError
from xray_tf.data.synthetic.phantom import KINDS, PLAN, VERSION, draw_phantom, random_stream
from xray_tf.locks import PATIENCE_S
from xray_tf.progress import ProgressLine

# shares of the radiographs, in the order of KINDS: about Kaggle's, with more normals
SHARES = (0.35, 0.40, 0.25)
PATIENTS, SEED, SIZE = 200, 0, 256


def scan_phantom(request: Request) -> Scan:
    """Write the phantoms that `phantom[:PATIENTS[:SEED]]` asks for, once, and make their records.

    Raises:
        SourceError: it asks for something else.
    """
    match = re.fullmatch(r"phantom(?::(\d+))?(?::(\d+))?", request.data)
    if not match:
        raise SourceError(
            "a phantom is asked for as phantom, phantom:PATIENTS or "
            f"phantom:PATIENTS:SEED, in whole numbers. Received: {request.data!r}"
        )
    patients, seed = int(match[1] or PATIENTS), int(match[2] or SEED)
    folder = request.directory / f"phantom-{patients}-patients-seed-{seed}-{SIZE}px-v{VERSION}"
    line = None

    def show(done: int, total: int) -> None:
        nonlocal line
        line = line or stack.enter_context(
            ProgressLine("Drawing phantoms", total, request.progress)
        )
        line.step()

    try:
        with ExitStack() as stack:
            write_phantoms(folder, patients, seed, SIZE, progress=show)
    except ValueError as error:
        raise SourceError(f"{request.data}: {error}") from error
    return records_below(folder, request)


def write_phantoms(
    directory: str | os.PathLike,
    patients: int = 120,
    seed: int = 0,
    size: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write synthetic radiographs in Kaggle's folder layout, completely or not at all.

    One image is in memory at a time. The folder contains `train/{NORMAL,PNEUMONIA}/<name>.png`,
    `masks/<name>_lesion.png` and `masks/<name>_lungs.png` (0 or 255), and `phantom.json` with the
    parameters. A folder that was written with the same parameters is used again.

    Args:
        directory: the folder to create.
        patients: the number of children, at least 3, with one to three radiographs each.
        seed: seed of everything.
        size: side in pixels, at least 32, of a square with the area of a typical radiograph; sizes
            and aspect ratios vary around it.
        progress: called with (radiographs written, total) after each.

    Returns:
        `directory` as a path.

    Raises:
        FileExistsError: the folder exists and contains something else.
        ValueError: an argument outside these ranges.
    """
    for word, value, least in (("patients", patients, 3), ("seed", seed, 0), ("size", size, 32)):
        if not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"{word} must be an integer >= {least}. Received: {word}={value!r}")
    directory = Path(directory)
    numbers = {"patients": int(patients), "seed": int(seed), "size": int(size)}
    parameters = {**numbers, "version": VERSION}
    found = _read_parameters(directory / PHANTOM_MARK)
    if found not in (None, parameters):
        raise FileExistsError(
            f"{directory} contains phantoms with other parameters. Expected {parameters}. "
            f"Received: {found}. Name another folder, or remove it."
        )
    try:
        if found is None:
            _write(directory, parameters, progress)
    except OSError:  # another process may have drawn the same phantoms in the meantime
        if _read_parameters(directory / PHANTOM_MARK) != parameters:
            raise
    return directory


def _write(
    directory: Path, parameters: dict[str, int], progress: Callable[[int, int], None] | None
) -> None:
    plan = list(_plan(parameters["patients"], parameters["seed"], parameters["size"]))
    with new_folder(directory, PATIENCE_S) as draft:
        for folder in ("train/NORMAL", "train/PNEUMONIA", "masks"):
            (draft / folder).mkdir(parents=True)
        for done, (kind, patient, view, height, width) in enumerate(plan, 1):
            phantom = draw_phantom(kind, parameters["seed"], patient, view, height, width)
            folder = draft / "train" / phantom.label.upper()
            _write_png(folder / f"{phantom.name}.png", phantom.image)
            for part in ("lesion", "lungs"):
                mask = getattr(phantom, part).astype(np.uint8) * 255
                _write_png(draft / "masks" / f"{phantom.name}_{part}.png", mask)
            if progress is not None:
                progress(done, len(plan))
        write_text(draft / PHANTOM_MARK, json.dumps(parameters, indent=1, sort_keys=True) + "\n")


def _plan(patients: int, seed: int, size: int) -> Iterator[tuple[str, int, int, int, int]]:
    """Yield (kind, patient, view, height, width): shares are exact counts, and sizes do not depend
    on the kind.
    """
    rng = random_stream(seed, 0, PLAN)
    counts = np.diff(np.round(np.cumsum((0.0, *SHARES)) * patients).astype(int))
    for patient, kind in enumerate(rng.permutation(np.repeat(np.arange(3), counts))):
        for view in range(int(rng.choice((1, 2, 3), p=(0.55, 0.3, 0.15)))):
            scale, aspect = rng.uniform(0.88, 1.14), rng.uniform(1.0, 1.42)
            sides = size * scale / aspect**0.5, size * scale * aspect**0.5
            yield KINDS[kind], patient, view, *(max(32, round(side)) for side in sides)


def _read_parameters(path: Path) -> object:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return "an unreadable file"


def _write_png(path: Path, image: np.ndarray) -> None:
    # cv2.imwrite reports a full disk only by returning False, and cannot write every path
    path.write_bytes(cv2.imencode(".png", image, (cv2.IMWRITE_PNG_COMPRESSION, 1))[1].tobytes())
