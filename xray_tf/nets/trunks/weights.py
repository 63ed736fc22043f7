"""Where a trunk's weights come from: the shipped files, Keras's download, keras-hub, or a file;
nothing is ever unpickled.
"""

from __future__ import annotations

import importlib.util
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np

from xray_tf.data.sources.kaggle import is_failed_download
from xray_tf.data.tables.arrays import read_arrays
from xray_tf.nets.keras_file import refuse_foreign_classes
from xray_tf.options import weights_file
from xray_tf.registry import Backbone
from xray_tf.shipped import shipped_file

_WAYS_OUT = (
    "Three ways out: give the path of a weights file as weights=PATH; use "
    "backbone='efficientnet_lite0', whose ImageNet weights come with xray_tf; or start from "
    "random weights with weights=None."
)


class WeightsUnavailable(OSError):
    """The ImageNet weights can be had neither from this machine nor from the network."""


class UnfitFile(ValueError):
    """A weights file of another net."""


def load_trunk(
    trunk: list[keras.Layer],
    backbone: str,
    row: Backbone,
    weights: str,
    donor: Callable[..., keras.Model],
) -> None:
    """Fill the trunk's layers.

    Args:
        trunk: the layers of the flat graph, from input to output.
        backbone: its name.
        row: its numbers.
        weights: `imagenet`, or the path of a `.h5` file as Keras downloads it (with or without
            top), a `.weights.h5` of the bare trunk, a `.keras` model that holds layers of the same
            names, a `.npz` of arrays named `layer/variable`, or for resnet18 the
            `model.weights.h5` of keras-hub's preset.
        donor: donor(include_top=False, weights=None) builds the bare trunk as weights files know
            it.

    Raises:
        WeightsUnavailable: `imagenet` is not to be had.
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, of an unknown kind, or of another architecture.
    """
    if weights == "imagenet":
        return _load_imagenet(trunk, backbone, row, donor)
    _load_file(trunk, backbone, row, weights_file(weights), donor)


def _load_file(
    trunk: list[keras.Layer],
    backbone: str,
    row: Backbone,
    path: Path,
    donor: Callable[..., keras.Model],
) -> None:
    if not path.is_file():
        raise FileNotFoundError(
            f"weights={str(path)!r}: no such file. Expected 'imagenet', None, "
            "or the path of a .h5, .weights.h5, .keras or .npz file."
        )
    if path.suffix in (".h5", ".hdf5"):
        try:
            copy_layers(trunk, _read_h5(path, backbone, row, donor), source=str(path))
        except UnfitFile:
            if not row.hub_preset or (teacher := _read_hub_h5(path, row)) is None:
                raise
            take_from_hub(trunk, teacher)
    elif path.suffix == ".keras":
        _take_from_keras(trunk, path, named=bool(row.stages))
    elif path.suffix == ".npz":
        _take_from_npz(trunk, path)
    else:
        raise ValueError(
            f"{path}: weights of {backbone} are read from .h5, .weights.h5, .keras and .npz files. "
            f"Received: {path.suffix or 'no suffix'}"
        )


def _load_imagenet(
    trunk: list[keras.Layer], backbone: str, row: Backbone, donor: Callable[..., keras.Model]
) -> None:
    if row.file:
        path = shipped_file(row.file)
        if path is None:
            raise WeightsUnavailable(
                f"ImageNet weights of {backbone} come with xray_tf as {row.file}, and this "
                f"installation lacks it. Install xray_tf again. {_WAYS_OUT}"
            )
        _take_from_npz(trunk, path)
    elif row.hub_preset:
        take_from_hub(trunk, _hub_teacher(backbone, row.hub_preset))
    else:
        with _downloading(backbone):
            teacher = donor(weights="imagenet")
        copy_layers(trunk, teacher.layers, source="keras.applications")


def _hub_teacher(backbone: str, preset: str) -> keras.Model:
    if importlib.util.find_spec("keras_hub") is None:
        raise WeightsUnavailable(
            f"ImageNet weights of {backbone} come from keras-hub, which is "
            f"not installed (pip install 'xray_tf[hub]'). {_WAYS_OUT}"
        )
    import keras_hub

    if preset not in keras_hub.models.Backbone.presets:
        raise ValueError(
            f"The row of {backbone} names the preset {preset!r}, which keras-hub "
            f"{keras_hub.__version__} does not have."
        )
    with _downloading(backbone):
        return keras_hub.models.Backbone.from_preset(preset)


@contextmanager
def _downloading(backbone: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not is_failed_download(error):
            raise
        raise WeightsUnavailable(
            f"ImageNet weights of {backbone} are not on this machine and their download failed "
            f"({type(error).__name__}: {str(error)[:300]}). {_WAYS_OUT}"
        ) from error


def copy_layers(trunk: list[keras.Layer], donors: list[keras.Layer], source: str) -> None:
    """Copy weights one to one, in order, between two graphs made by the same builder; a top after
    the trunk is left over.

    Raises:
        ValueError: other layers or other shapes.
    """
    ours, theirs = _weighted(trunk), _weighted(donors)
    if len(theirs) < len(ours):
        raise ValueError(
            f"{source} holds {len(theirs)} layers with weights where the trunk has "
            f"{len(ours)}: another architecture."
        )
    for layer, other in zip(ours, theirs, strict=False):
        _set(layer, other.get_weights(), source)


def copy_by_name(trunk: list[keras.Layer], donors: list[keras.Layer], source: str) -> None:
    """Copy the weights of every trunk layer from the donor of its name.

    Raises:
        ValueError: a name is missing, or a shape differs.
    """
    theirs = {layer.name: layer for layer in _weighted(donors)}
    missing = [layer.name for layer in _weighted(trunk) if layer.name not in theirs]
    if missing:
        raise ValueError(
            f"{source} has another architecture: {len(missing)} layers of the trunk "
            f"are not in it, such as {missing[0]!r}."
        )
    for layer in _weighted(trunk):
        _set(layer, theirs[layer.name].get_weights(), source)


def take_from_hub(trunk: list[keras.Layer], teacher: keras.Model) -> None:
    """Take over a keras-hub ResNetBackbone of basic blocks: its stack0_block0_1_conv is our
    conv2_block1_1_conv.
    """
    theirs = {}
    for layer in _weighted(teacher.layers):
        parts = layer.name.split("_")
        if parts[0].startswith("stack"):
            parts[:2] = f"conv{int(parts[0][5:]) + 2}", f"block{int(parts[1][5:]) + 1}"
        theirs["_".join(parts)] = layer
    ours = _weighted(trunk)
    if set(theirs) != {layer.name for layer in ours}:
        raise ValueError(
            f"The keras-hub backbone {teacher.name!r} is not the ResNet of this row; layers "
            f"differ, such as {sorted(set(theirs) ^ {layer.name for layer in ours})[:3]}."
        )
    for layer in ours:
        _set(layer, theirs[layer.name].get_weights(), "keras-hub")


def _take_from_npz(trunk: list[keras.Layer], path: Path) -> None:
    """Take arrays by the names `layer/variable`, such as `stem_conv/kernel`; half precision is
    widened.
    """
    try:
        arrays = read_arrays(path)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} is no complete .npz file of arrays ({error}). Fetch or install it again."
        ) from error
    for layer in _weighted(trunk):
        names = [f"{layer.name}/{variable.name}" for variable in layer.weights]
        if missing := [name for name in names if name not in arrays]:
            raise ValueError(f"{path} has another architecture: it holds no array {missing[0]!r}.")
        _set(layer, [arrays[name].astype(np.float32) for name in names], str(path))


def _weighted(layers: list[keras.Layer]) -> list[keras.Layer]:
    return [layer for layer in layers if layer.weights]


def _set(layer: keras.Layer, values: list[np.ndarray], source: str) -> None:
    ours, theirs = [tuple(w.shape) for w in layer.weights], [tuple(np.shape(v)) for v in values]
    if ours != theirs:
        raise ValueError(
            f"{source} has another architecture: layer {layer.name!r} expects "
            f"weights of shapes {ours}. Received: {theirs}"
        )
    layer.set_weights(values)
    if isinstance(layer, keras.layers.Normalization):
        layer.finalize_state()  # it computes with copies of its weights


def _read_h5(
    path: Path, backbone: str, row: Backbone, donor: Callable[..., keras.Model]
) -> list[keras.Layer]:
    """Load an HDF5 weights file into a bare trunk, or where that does not fit into one with its
    top.
    """
    import h5py

    try:
        with h5py.File(path):
            pass
    except OSError as error:
        raise ValueError(
            f"{path} is no complete HDF5 file ({error}). A broken download? Remove "
            "it and fetch it again."
        ) from error
    reasons = []
    for include_top in (False, True) if row.family == "applications" else (False,):
        teacher = donor(include_top=include_top)
        if not (reason := _why_unfit(teacher, path)):
            return teacher.layers
        reasons.append(reason)
    raise UnfitFile(
        f"{path} does not hold weights of {backbone}, neither without nor with its "
        f"top: {' | '.join(reasons)}"
    )


def _read_hub_h5(path: Path, row: Backbone) -> keras.Model | None:
    """Load the `model.weights.h5` of a keras-hub preset into keras-hub's own net; None where it
    does not fit, or keras-hub is not installed.
    """
    if importlib.util.find_spec("keras_hub") is None:
        return None
    import keras_hub

    filters, repeats, strides = (list(column) for column in zip(*row.blocks, strict=True))
    teacher = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=filters,
        stackwise_num_blocks=repeats,
        stackwise_num_strides=strides,
        block_type="basic_block",
    )
    return None if _why_unfit(teacher, path) else teacher


def _why_unfit(model: keras.Model, path: Path) -> str:
    """Load a weights file, whole; return why it does not fit, or nothing where it did."""
    with warnings.catch_warnings():
        # Keras would leave that part at random
        warnings.filterwarnings("error", message="Skipping nested container")
        try:
            model.load_weights(path)
        except (ValueError, KeyError, OSError, UserWarning) as error:
            return str(error).strip().split("\n")[0][:200]
    return ""


def _take_from_keras(trunk: list[keras.Layer], path: Path, named: bool) -> None:
    """Take the trunk out of a `.keras` model: by name, or where Keras has numbered the layers
    (InceptionV3) the last ones before `features`.
    """
    try:
        refuse_foreign_classes(path)
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise ValueError(
            f"{path} is no complete .keras file ({error}). A broken copy? Make it again."
        ) from error
    if named:
        return copy_by_name(trunk, model.layers, source=str(path))
    if "features" not in {layer.name for layer in model.layers}:
        raise ValueError(
            f"{path} has no layer named 'features', so its trunk cannot be told from "
            "its head. Expected a model of this package."
        )
    before = _weighted(keras.Model(model.inputs, model.get_layer("features").output).layers)
    copy_layers(trunk, before[-len(_weighted(trunk)) :], source=str(path))
