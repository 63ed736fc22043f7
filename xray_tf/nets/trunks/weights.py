"""Where a trunk's weights come from: the shipped files, Keras's download, keras-hub, or a file;
nothing is ever unpickled.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from xray_tf.artifact import ArtifactError
from xray_tf.data.sources.kaggle import is_failed_download
from xray_tf.data.tables.arrays import read_arrays
from xray_tf.nets.keras_file import load_model
from xray_tf.nets.trunks.copying import copy_by_name, copy_layers, fill, weighted
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


class Donor(NamedTuple):
    """An opened model from which weights are taken, and the file it comes from."""

    model: keras.Model
    source: str


def load_trunk(
    trunk: list[keras.Layer],
    backbone: str,
    row: Backbone,
    weights: str | Donor,
    donor: Callable[..., keras.Model],
) -> None:
    """Fill the trunk's layers.

    Args:
        trunk: the layers of the flat graph, from input to output.
        backbone: its name.
        row: its numbers.
        weights: `imagenet`, an opened model of this package, or the path of a `.h5` file as Keras
            downloads it (with or without top), a `.weights.h5` of the bare trunk, a `.keras` model
            that holds layers of the same names, a `.npz` of arrays named `layer/variable`, or for
            resnet18 the `model.weights.h5` of keras-hub's preset.
        donor: donor(include_top=False, weights=None) builds the bare trunk as weights files know
            it.

    Raises:
        WeightsUnavailable: `imagenet` is not to be had.
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, of an unknown kind, or of another architecture.
    """
    if isinstance(weights, Donor):
        _take_from_donor(trunk, weights, named=bool(row.stages))
    elif weights == "imagenet":
        _load_imagenet(trunk, backbone, row, donor)
    else:
        _load_file(trunk, backbone, row, weights_file(weights), donor)


def _load_file(
    trunk: list[keras.Layer],
    backbone: str,
    row: Backbone,
    path: Path,
    donor: Callable[..., keras.Model],
) -> None:
    _refuse_missing(path)
    if path.suffix in (".h5", ".hdf5"):
        try:
            copy_layers(trunk, _read_h5(path, backbone, row, donor), source=str(path))
        except UnfitFile:
            if not row.hub_preset or (teacher := _read_hub_h5(path, row)) is None:
                raise
            take_from_hub(trunk, teacher)
    elif path.suffix == ".keras":
        _take_from_donor(trunk, open_donor(path), named=bool(row.stages))
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


def take_from_hub(trunk: list[keras.Layer], teacher: keras.Model) -> None:
    """Take over a keras-hub ResNetBackbone of basic blocks: its stack0_block0_1_conv is our
    conv2_block1_1_conv.
    """
    theirs = {}
    for layer in weighted(teacher.layers):
        parts = layer.name.split("_")
        if parts[0].startswith("stack"):
            parts[:2] = f"conv{int(parts[0][5:]) + 2}", f"block{int(parts[1][5:]) + 1}"
        theirs["_".join(parts)] = layer
    ours = weighted(trunk)
    if set(theirs) != {layer.name for layer in ours}:
        raise ValueError(
            f"The keras-hub backbone {teacher.name!r} is not the ResNet of this row; layers "
            f"differ, such as {sorted(set(theirs) ^ {layer.name for layer in ours})[:3]}."
        )
    copy_by_name(trunk, theirs, "keras-hub")


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
    for layer in weighted(trunk):
        names = [f"{layer.name}/{variable.name}" for variable in layer.weights]
        if missing := [name for name in names if name not in arrays]:
            raise ValueError(f"{path} has another architecture: it holds no array {missing[0]!r}.")
        fill(layer, [arrays[name].astype(np.float32) for name in names], str(path))


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


def open_donor(path: Path) -> Donor:
    """Open a `.keras` file from which weights are to be taken.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or has other than stock layers.
    """
    _refuse_missing(path)
    try:
        return Donor(load_model(path), str(path))
    except ArtifactError as error:
        raise ValueError(f"{path} is no complete .keras file: {error}") from error


def _refuse_missing(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(
            f"weights={str(path)!r}: no such file. Expected 'imagenet', None, or the path of a "
            ".h5, .weights.h5, .keras or .npz file."
        )


def _take_from_donor(trunk: list[keras.Layer], donor: Donor, named: bool) -> None:
    """Take the trunk out of a model: by name, or where Keras has numbered the layers (InceptionV3)
    the last ones before `features`.
    """
    model, source = donor
    theirs = {layer.name: layer for layer in model.layers}
    if named:
        return copy_by_name(trunk, {k: v for k, v in theirs.items() if v.weights}, source)
    if "features" not in theirs:
        raise ValueError(
            f"{source} has no layer named 'features', so its trunk cannot be told from its head. "
            "Expected a model of this package."
        )
    before = weighted(keras.Model(model.inputs, theirs["features"].output).layers)
    copy_layers(trunk, before[-len(weighted(trunk)) :], source)
