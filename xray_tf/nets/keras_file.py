"""Save and open `.keras` files: stock layers only, and float32 when saving."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from xray_tf.artifact import ArtifactError
from xray_tf.untrusted import parse_json, refuse_bomb
from xray_tf.writing import draft_of

_STOCK_MODULES = {
    f"keras.{name}": getattr(keras, name)
    for name in ("layers", "initializers", "regularizers", "constraints")
}
_STOCK_OTHERS = {
    ("keras", "DTypePolicy"),
    ("keras.src.models.functional", "Functional"),
    (None, "__keras_tensor__"),
}
# What Keras 3.15 writes of initializers, BatchNormalization and Dense, and 3.6 to 3.14 refuse as
# unknown arguments. All are defaults, and are left out where they have these values.
_NEWER = (3, 15)
_NEWER_DEFAULTS = {
    "input_axes": None,
    "output_axes": None,
    "renorm": False,
    "renorm_clipping": None,
    "renorm_momentum": 0.99,
    "quantization_config": None,
    "ragged": False,
}
MAX_CONFIG, MAX_DEPTH = 16 << 20, 200  # bytes, and objects in one another
SIGNIFICANT_BITS = 14  # of a kernel that was rounded to be stored in less space
_BRINGS_CODE = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}


def in_float32(model: keras.Model) -> keras.Model:
    """Return the same network with the same weights, computing in float32 throughout; otherwise a
    saved `.keras` would keep its mixed-precision policy.
    """
    if all(layer.dtype_policy.compute_dtype == "float32" for layer in model.layers):
        return model

    def strip(node):
        if isinstance(node, dict):
            if node.get("class_name") == "DTypePolicy":
                return {**node, "config": {"name": "float32"}}
            return {k: strip(v) for k, v in node.items()}
        return [strip(v) for v in node] if isinstance(node, list | tuple) else node

    plain = keras.Model.from_config(strip(model.get_config()))
    plain.set_weights(model.get_weights())
    return plain


def save_model(model: keras.Model, path: str | os.PathLike) -> None:
    """Save as `.keras` in float32, after checking that plain Keras can open it.

    Raises:
        ValueError: the model contains a layer that is not stock Keras.
    """
    model = in_float32(model)
    kinds = {type(layer) for layer in model.layers}
    odd = {k.__name__ for k in kinds if getattr(keras.layers, k.__name__, None) is not k}
    if odd - {"Functional"}:
        raise ValueError(
            "A saved model has stock Keras layers only, so that plain Keras opens it. Received: "
            f"{sorted(odd - {'Functional'})}"
        )
    model.save(path)
    _make_portable(Path(path))


def _make_portable(path: Path) -> None:
    """Rewrite the configuration so that Keras 3.6 to 3.15 read it, and an only input or output
    without the list in which 3.10 writes it; weights are copied as they are.
    """

    def plain(node: Any) -> Any:
        if isinstance(node, list):
            return [plain(value) for value in node]
        if not isinstance(node, dict):
            return node
        older = node
        if "class_name" in node and isinstance(node.get("config"), dict):
            kept = {
                key: value
                for key, value in node["config"].items()
                if key not in _NEWER_DEFAULTS or value != _NEWER_DEFAULTS[key]
            }
            older = {**node, "config": kept}
        return {key: plain(value) for key, value in older.items()}

    with (
        draft_of(path) as draft,
        zipfile.ZipFile(path) as source,
        zipfile.ZipFile(draft, "w") as target,
    ):
        for info in source.infolist():
            data = source.read(info)
            if info.filename == "config.json":
                whole = plain(json.loads(data))
                ends = whole["config"]
                for name in ("input_layers", "output_layers"):
                    if isinstance(ends.get(name), list) and len(ends[name]) == 1:
                        ends[name] = ends[name][0]
                data = json.dumps(whole).encode()
            target.writestr(info, data)


def save_packed(model: keras.Model, path: str | os.PathLike) -> None:
    """Save as `save_model` does, compressed."""
    path = Path(path)
    save_model(model, path)
    with (
        draft_of(path) as draft,
        zipfile.ZipFile(path) as written,
        zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed,
    ):
        for name in written.namelist():
            packed.writestr(name, written.read(name))


def round_weights(model: keras.Model) -> None:
    """Round the kernels of a model, in place, to `SIGNIFICANT_BITS` of float32's 24. Rounded twice
    they stay the same.
    """
    for variable in model.weights:
        value = np.asarray(keras.ops.convert_to_numpy(variable.value))
        if value.dtype.kind == "f" and value.ndim > 1:
            fraction, exponent = np.frexp(value.astype(np.float64))
            kept = np.round(fraction * 2**SIGNIFICANT_BITS) / 2**SIGNIFICANT_BITS
            variable.assign(np.ldexp(kept, exponent).astype(value.dtype))


def load_model(path: str | os.PathLike) -> keras.Model:
    """Open a `.keras` file after checking every class it names.

    Raises:
        ArtifactError: it is not a `.keras` file, is damaged, or has other than stock layers.
    """
    path = Path(path)
    try:
        refuse_foreign_classes(path)
        with _readable_here(path) as file:
            return keras.saving.load_model(file, compile=False, safe_mode=True)
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise ArtifactError(
            f"{path} cannot be opened as a Keras model of stock layers: {error} Copy it or train "
            "it again."
        ) from error


@contextmanager
def _readable_here(path: Path) -> Iterator[Path]:
    """Yield the file, or where Keras is older than some of what it may hold a copy without that."""
    if tuple(map(int, keras.__version__.split(".")[:2])) >= _NEWER:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="xray_tf-keras-") as folder:
        copy = Path(shutil.copyfile(path, Path(folder, path.name)))
        _make_portable(copy)
        yield copy


def refuse_foreign_classes(path: str | Path) -> None:
    """Raise ValueError unless the `.keras` file names only stock Keras classes without code of
    their own; call this before loading it.
    """
    with zipfile.ZipFile(path) as archive:
        refuse_bomb(archive, path)
        size = archive.getinfo("config.json").file_size
        if size > MAX_CONFIG:
            raise ValueError(
                f"its config.json has {size:,} bytes; at most {MAX_CONFIG:,} are read."
            )
        config = parse_json(archive.read("config.json"), MAX_DEPTH)
    if not isinstance(config, dict):
        raise ValueError("its config.json is no object.")
    config.pop("compile_config", None)  # never read: models are opened with compile=False
    pending: list[Any] = [config]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            if "class_name" in item and not _is_stock(item):
                raise ValueError(
                    f"{path} names {item.get('module')}.{item['class_name']}, which is not a stock "
                    "Keras layer. It is refused."
                )
            pending += item.values()
        elif isinstance(item, list):
            pending += item


def _is_stock(item: dict[str, Any]) -> bool:
    module, name = item.get("module"), item["class_name"]
    if (module, name) in _STOCK_OTHERS:
        return item.get("registered_name") in (None, name)
    found = getattr(_STOCK_MODULES.get(module), str(name), None)
    harmless = isinstance(found, type) and name not in _BRINGS_CODE
    return harmless and item.get("registered_name") is None
