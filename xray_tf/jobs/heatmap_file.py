"""Heat maps and pictures to disk: which files they are, one row after the other."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import IO

import cv2
import numpy as np

MAPS, PICTURES = "maps.npz", "overlays"  # of a folder with heat maps


class MapsFile:
    """An .npz whose largest array, `maps` (N, S, S) float32, is written row by row: what
    `np.savez_compressed` would make, without holding it.

    Args:
        path: the file to write.
        count: N, all rows that `append` will give.
        side: S.
    """

    def __init__(self, path: Path, count: int, side: int):
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        self._stream: IO[bytes] = self._zip.open("maps.npy", "w", force_zip64=True)
        np.lib.format.write_array_header_1_0(
            self._stream, {"descr": "<f4", "fortran_order": False, "shape": (count, side, side)}
        )

    def append(self, maps: np.ndarray) -> None:
        """Write the next rows, (n, S, S)."""
        self._stream.write(np.ascontiguousarray(maps, "<f4").tobytes())

    def close_with(self, **arrays: np.ndarray) -> None:
        """End the maps, and write the other arrays beside them."""
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
    # imencode and bytes: cv2.imwrite reports a full disk by returning False
    path.write_bytes(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes())


def picture_path(folder: Path, number: int, path: str) -> Path:
    """Return where the picture of a run's radiograph goes; the first has number 1."""
    return folder / PICTURES / f"{number:04d}_{safe_name(path)}.png"


def safe_name(path: str) -> str:
    """Return a file's stem in letters that every file system takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", Path(path).stem)[:80] or "radiograph"
