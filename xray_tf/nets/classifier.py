"""The classifier: image -> features -> embedding -> logits -> probability, stock layers, each point a layer of that name."""

from __future__ import annotations

import json
import os
import random
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np

from xray_tf.artifact import ArtifactError
from xray_tf.nets.backbones import build_features
from xray_tf.options import ModelOptions

POINTS = ("image", "features", "embedding", "logits", "probability")

# What a saved model may be made of. Anything else in a folder's model.keras is refused before Keras reads it.
STOCK_LAYERS = frozenset(
    "InputLayer Identity Rescaling Normalization LayerNormalization Concatenate Conv2D DepthwiseConv2D SeparableConv2D Conv2DTranspose ZeroPadding2D "
    "Cropping2D BatchNormalization GroupNormalization Activation ReLU LeakyReLU Softmax Add Multiply Subtract Average Maximum MaxPooling2D "
    "AveragePooling2D GlobalAveragePooling2D GlobalMaxPooling2D UpSampling2D Resizing Dropout SpatialDropout2D Dense Flatten Reshape Permute".split()
)
STOCK_CONFIGS = frozenset("Functional Sequential DTypePolicy __keras_tensor__".split())
_STOCK_MODULES = ("keras", "keras.layers", "keras.initializers", "keras.regularizers", "keras.constraints", "keras.activations", "keras.dtype_policies",
                  "keras.src.models.functional", "builtins", None)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw initial weights and dropout seeds from `seed`, and leave Python's and NumPy's own random streams as they were."""
    python, numpy = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def build_classifier(options: ModelOptions, class_names: tuple[str, ...], seed: int = 0) -> keras.Model:
    """Build an untrained classifier around a trunk.

    Args:
        options: the trunk, its weights, the image size, adapter, standardisation and dropout.
        class_names: two names give a one-logit sigmoid head, more a softmax head.
        seed: of the initial weights and of dropout.

    Returns:
        Model from image (B, S, S, 1) float32 in [0, 255] to probability: (B, 1), that of the last class, or (B, K).

    Raises:
        ValueError: an unknown trunk, or fewer than two classes.
    """
    if len(class_names) < 2:
        raise ValueError(f"class_names must hold at least two classes. Received: class_names={class_names!r}")
    one_logit = len(class_names) == 2
    with seeded(seed):
        image = keras.Input((options.image_size, options.image_size, 1), name="image")
        features = build_features(image, options.backbone, options.weights, options.adapter, options.standardize, seed)
        x = keras.layers.GlobalAveragePooling2D(name="embedding", dtype="float32")(features)
        x = keras.layers.Dropout(options.dropout, name="dropout", dtype="float32")(x)
        x = keras.layers.Dense(1 if one_logit else len(class_names), name="logits", dtype="float32")(x)
        x = keras.layers.Activation("sigmoid" if one_logit else "softmax", name="probability", dtype="float32")(x)
        return keras.Model(image, x, name="classifier")


def derive(model: keras.Model, *points: str) -> keras.Model:
    """Return a model from the same input to the output of the layer named, or the list of them; the one given is left as it was.

    Raises:
        ValueError: a layer of that name is not there; the message lists the named points that are.
    """
    known = {layer.name for layer in model.layers}
    missing = [p for p in points if p not in known]
    if missing:
        raise ValueError(f"The model has no layer named {missing}. Its points: {[p for p in POINTS if p in known]}.")
    outputs = [model.get_layer(p).output for p in points]
    return keras.Model(model.input, outputs if len(outputs) > 1 else outputs[0])


def head_of(model: keras.Model) -> keras.Model:
    """Return the model's own head, embedding (B, D) -> logits (B, L), on the same layers and weights."""
    embedding = keras.Input(model.get_layer("embedding").output.shape[1:], name="stored_embedding")
    return keras.Model(embedding, model.get_layer("logits")(model.get_layer("dropout")(embedding)))


def in_float32(model: keras.Model) -> keras.Model:
    """Return the same net with the same weights, all of it computing in float32; a saved `.keras` keeps its policy otherwise."""
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
    """Save as `.keras` in float32, after checking that it is made of stock layers only."""
    model = in_float32(model)
    odd = sorted({type(layer).__name__ for layer in model.layers} - STOCK_LAYERS)
    if odd:
        raise ValueError(f"A saved model holds stock Keras layers only, so that plain Keras opens it. Received: {odd}")
    model.save(path)


def load_model(path: str | os.PathLike) -> keras.Model:
    """Open a `.keras` file after checking every class it names against the allow-list.

    Raises:
        ArtifactError: not a `.keras` file, damaged, or made of anything but stock layers.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{path} is not a readable .keras file ({error}). Copy or train it again.") from error
    _refuse_strangers(config, path)
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def _refuse_strangers(node, path: Path) -> None:
    """Raise ArtifactError at the first class in a saved configuration that is not stock Keras."""
    if isinstance(node, list):
        for item in node:
            _refuse_strangers(item, path)
    elif isinstance(node, dict):
        name, module = node.get("class_name"), node.get("module")
        if name is not None and "config" in node:
            layerlike = module in ("keras.layers", "keras", "keras.src.models.functional", None)
            known = name in STOCK_LAYERS | STOCK_CONFIGS or not layerlike
            if module not in _STOCK_MODULES or not known or node.get("registered_name") not in (None, name, "Functional"):
                raise ArtifactError(f"{path} names the class {module}.{name}, which is not among the stock layers a model may hold. It is refused.")
            if name == "function" or module == "builtins":
                raise ArtifactError(f"{path} names a function ({node.get('config')!r}). It is refused: models hold stock layers only.")
        for item in node.values():
            _refuse_strangers(item, path)
