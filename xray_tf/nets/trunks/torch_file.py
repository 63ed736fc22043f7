"""PyTorch's legacy file of weights, read without torch and without running pickled code."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_TORCH_MAGIC, _TORCH_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


@dataclass(frozen=True)
class _Storage:
    """Stands in for a torch storage class while a state dict is read."""

    dtype: str


@dataclass(frozen=True)
class _Tensor:
    """Where a tensor lies in its storage: element counts, not bytes."""

    key: str
    dtype: str
    size: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


_STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
}


def _rebuild_tensor(
    storage: tuple[str, str, int],
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    *_: Any,
) -> _Tensor:
    return _Tensor(*storage, offset, tuple(shape), tuple(strides))


class _StateDictReader(pickle.Unpickler):
    """Unpickles ordered dictionaries of tensors and refuses every other name, so that no code of
    the file can run.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _STORAGES:
            return _Storage(_STORAGES[name])
        raise pickle.UnpicklingError(
            f"it asks for {module}.{name}, which a file of weights has no business with; refused"
        )

    def persistent_load(self, pid: Any) -> tuple[str, str, int]:
        kind, storage, key, _, size, view = pid
        if kind != "storage" or view is not None or not isinstance(storage, _Storage):
            raise pickle.UnpicklingError(f"it holds an unknown kind of storage, {pid!r}")
        return key, storage.dtype, size


def read_torch_legacy(path: Path) -> dict[str, np.ndarray]:
    """Read a state dict from PyTorch's legacy file (before 1.6: pickles, then raw storages),
    without torch and without running pickled code.

    Returns:
        tensor name -> array, of the file's shapes and dtypes.

    Raises:
        ValueError: not such a file, cut short, or one that asks for anything but tensors.
    """
    with open(path, "rb") as stream:
        try:
            return _read_state_dict(stream)
        # a damaged pickle can fail in any way; none of them may pass as weights
        except Exception as error:
            raise ValueError(
                f"{path} cannot be read as a legacy PyTorch file of weights: "
                f"{error or type(error).__name__}. Fetch it again."
            ) from error


def _read_state_dict(stream: BinaryIO) -> dict[str, np.ndarray]:
    if stream.read(2) == b"PK":
        raise ValueError(
            "it is of the newer zip format; save it with torch.save(..., "
            "_use_new_zipfile_serialization=False)"
        )
    stream.seek(0)
    if (
        _StateDictReader(stream).load() != _TORCH_MAGIC
        or _StateDictReader(stream).load() != _TORCH_PROTOCOL
    ):
        raise ValueError("the magic number is missing")
    if not _StateDictReader(stream).load()["little_endian"]:
        raise ValueError("it was written on a big-endian machine")
    state = _StateDictReader(stream).load()
    tensors = {name: t for name, t in state.items() if isinstance(t, _Tensor)}
    kinds = {t.key: (np.dtype(t.dtype), t.size) for t in tensors.values()}
    storages = {}
    for key in _StateDictReader(stream).load():
        dtype, size = kinds[key]
        count, data = int.from_bytes(stream.read(8), "little"), stream.read(size * dtype.itemsize)
        if count != size or len(data) != size * dtype.itemsize:
            raise ValueError("it is cut short")
        storages[key] = np.frombuffer(data, dtype)
    return {name: _view(t, storages[t.key]) for name, t in tensors.items()}


def _view(tensor: _Tensor, storage: np.ndarray) -> np.ndarray:
    if (
        len(tensor.shape) != len(tensor.strides)
        or min((tensor.offset, *tensor.shape, *tensor.strides), default=0) < 0
    ):
        raise ValueError("a tensor has impossible strides")
    last = tensor.offset + sum(
        (n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True)
    )
    if last >= storage.size:
        raise ValueError("a tensor reaches beyond its storage")
    strides = [s * storage.itemsize for s in tensor.strides]
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides).copy()
