"""Write and read `.npz` files of arrays: nothing is pickled, and what is read is bounded."""

from __future__ import annotations

import os
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from xray_tf.untrusted import refuse_bomb

# what NumPy lets through, besides ValueError, where a header is damaged
_NO_HEADER = (tokenize.TokenError, SyntaxError, TypeError, KeyError, RecursionError)
_NOT_WHOLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, MemoryError)
_LEVEL = 3  # of deflate: embeddings and heat maps hardly shrink further
_EPOCH = (1980, 1, 1, 0, 0, 0)  # equal arrays give equal files, whatever the clock says


def write_arrays(
    target: str | os.PathLike | IO[bytes], arrays: Mapping[str, np.ndarray], packed: bool = False
) -> None:
    """Write arrays as `numpy.savez` does, or `packed` as `numpy.savez_compressed`."""
    how = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(target, "w", how, compresslevel=_LEVEL) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            info.compress_type = how
            with archive.open(info, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)


def read_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read every array of a `.npz` file.

    Raises:
        ValueError: it is not a whole file of plain arrays, or holds far more than its size.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            refuse_bomb(archive, path)
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (*_NOT_WHOLE, *_NO_HEADER) as error:
        raise ValueError(f"{path} is damaged or cut short: {error}.") from error


def read_npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the header of a `.npy` file, version 1 or 2: shape, whether in Fortran's order, type.

    Raises:
        ValueError: there is none.
    """
    formats = np.lib.format
    readers = {(1, 0): formats.read_array_header_1_0, (2, 0): formats.read_array_header_2_0}
    try:
        return readers[formats.read_magic(stream)](stream)
    except _NO_HEADER as error:
        raise ValueError(f"no .npy header of version 1 or 2: {error}") from error
