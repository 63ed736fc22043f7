"""Save and open `.keras` files: stock layers only, and float32 when saving."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import keras

from xray_tf.artifact import ArtifactError

_STOCK_MODULES = {
    f"keras.{name}": getattr(keras, name)
    for name in ("layers", "initializers", "regularizers", "constraints")
}
_STOCK_OTHERS = {
    ("keras", "DTypePolicy"),
    ("keras.src.models.functional", "Functional"),
    (None, "__keras_tensor__"),
}
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


def load_model(path: str | os.PathLike) -> keras.Model:
    """Open a `.keras` file after checking every class it names.

    Raises:
        ArtifactError: it is not a `.keras` file, is damaged, or has other than stock layers.
    """
    path = Path(path)
    try:
        refuse_foreign_classes(path)
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise ArtifactError(
            f"{path} cannot be opened as a Keras model of stock layers: {error} Copy it or train "
            "it again."
        ) from error


def refuse_foreign_classes(path: str | Path) -> None:
    """Raise ValueError unless the `.keras` file names only stock Keras classes without code of
    their own; call this before loading it.
    """
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
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
