"""Write heat maps and their pictures to disk, one row at a time."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import IO

import cv2
import numpy as np

from xray_tf.data.tables.arrays import write_arrays
from xray_tf.data.tables.csv_files import PARTIAL

MAPS, PICTURES = "maps.npz", "overlays"  # in a folder with heat maps


class MapsFile:
    """An .npz whose largest array, `maps` (N, S, S) float32, is written row by row.

    Its rows lie in the visible file `NAME.partial` until they are packed, so the array is never in
    memory, and a run that was killed goes on after them.

    Args:
        path: the file to write.
        side: S.
        done: rows that an earlier run wrote, and that are kept.
    """

    def __init__(self, path: Path, side: int, done: int = 0):
        self.path, self.side = path, side
        self._rows = path.with_name(path.name + PARTIAL)
        self._stream: IO[bytes] = self._rows.open("ab")
        kept = self._stream.tell() // (4 * side * side)
        if kept < done:
            self._stream.close()
            raise ValueError(f"{self._rows} has {kept} heat maps of {done}. Remove the folder.")
        self._stream.truncate(4 * side * side * done)

    def append(self, maps: np.ndarray) -> None:
        """Write the next rows (n, S, S)."""
        self._stream.write(np.ascontiguousarray(maps, "<f4").tobytes())
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def kept(self, start: int, stop: int) -> np.ndarray:
        """Return rows (n, S, S) float32 that were written before."""
        count = self.side * self.side
        rows = np.fromfile(self._rows, "<f4", (stop - start) * count, offset=4 * start * count)
        return rows.reshape(-1, self.side, self.side).astype(np.float32)

    def close_with(self, **arrays: np.ndarray) -> None:
        """Pack the heat maps, and write the other arrays."""
        self._stream.close()
        shape = (self._rows.stat().st_size // (4 * self.side**2), self.side, self.side)
        maps = (
            np.memmap(self._rows, "<f4", "r", shape=shape) if shape[0] else np.zeros(shape, "<f4")
        )
        write_arrays(self.path, {"maps": maps, **arrays}, packed=True)
        del maps
        self._rows.unlink()

    def __enter__(self) -> MapsFile:
        return self

    def __exit__(self, *_) -> None:
        self._stream.close()


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write (H, W, 3) uint8 RGB as PNG."""
    # cv2.imwrite reports a full disk only by returning False
    path.write_bytes(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes())


def picture_path(folder: Path, number: int, path: str) -> Path:
    """Return the path of the picture of a run's radiograph; the first has number 1."""
    return folder / PICTURES / f"{number:04d}_{safe_name(path)}.png"


def safe_name(path: str) -> str:
    """Return a file's stem in characters that every file system allows."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", Path(path).stem)[:80] or "radiograph"
