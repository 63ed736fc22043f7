"""Write heat maps and their pictures to disk, one row at a time."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import IO

import cv2
import numpy as np

MAPS, PICTURES = "maps.npz", "overlays"  # in a folder with heat maps


class MapsFile:
    """An .npz whose largest array, `maps` (N, S, S) float32, is written row by row.

    The file equals that of `np.savez_compressed`, but the array is never in memory.

    Args:
        path: the file to write.
        count: N, the total number of rows that will be appended.
        side: S.
    """

    def __init__(self, path: Path, count: int, side: int):
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        self._stream: IO[bytes] = self._zip.open("maps.npy", "w", force_zip64=True)
        np.lib.format.write_array_header_1_0(
            self._stream, {"descr": "<f4", "fortran_order": False, "shape": (count, side, side)}
        )

    def append(self, maps: np.ndarray) -> None:
        """Write the next rows (n, S, S)."""
        self._stream.write(np.ascontiguousarray(maps, "<f4").tobytes())

    def close_with(self, **arrays: np.ndarray) -> None:
        """Finish the heat maps, and write the other arrays."""
        self._stream.close()
        for name, array in arrays.items():
            with self._zip.open(f"{name}.npy", "w") as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)

    def __enter__(self) -> MapsFile:
        return self

    def __exit__(self, *_) -> None:
        self._stream.close()
        self._zip.close()


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
