"""Export a classifier as a TensorFlow SavedModel, which needs neither Keras nor xray_tf.

It takes bytes or pixels, and returns answers and heat maps. The graph repeats the decoding rule of
`data.pixels.decoding` step by step, so a service sees the same pixels as training did.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from xray_tf.artifact import Card
from xray_tf.data.pixels.decoding import DECODING_RULE, SAME_UPRIGHT, decode
from xray_tf.data.pixels.square import RESIZE_MODES
from xray_tf.nets.classifier import derive
from xray_tf.nets.heatmaps.gradcam import grad_cam_weights, score_of, weighted_evidence
from xray_tf.nets.keras_file import in_float32
from xray_tf.nets.serving_exif import graph_function
from xray_tf.nets.serving_files import decoder
from xray_tf.operating_point import OperatingPoint

PIXELS_TOLERANCE = 1e-4
ENCODED_TOLERANCE = 1e-2
PARITY_BATCH = 16
# what a decision is computed with; the argmax of keras.ops has an operation that OpenVINO lacks
_NUMERICS = SimpleNamespace(
    where=tf.where, log=tf.math.log, maximum=tf.maximum, argmax=tf.argmax, array=tf.constant
)
# output -> suffix of its difference in the record
_COMPARED = {"probability": "", "embedding": "_embedding", "heatmap": "_heatmap"}


class ParityError(ValueError):
    """The exported graph gives other answers than Python."""


def export_serving(model: keras.Model, folder: str | os.PathLike, card: Card) -> None:
    """Write a classifier as a TensorFlow SavedModel, with its weights in float32, stored once.

    Each endpoint is a signature, and an attribute of the object that `tf.saved_model.load` returns
    (keep that object in a variable, because the functions do not own the weights):
        encoded (also `serving_default`): (B,) string, bytes of JPEG or PNG files.
        pixels: (B, H, W) uint8 in [0, 255], grey, any size.
        explain_encoded, explain_pixels: the same inputs; the attributes take a second one,
            `class_index`, () int64: the class to explain in all images, by default -1, the one
            decided.
    All of them return (with B = 0 too):
        probability: (B, K) float32, calibrated by the card's temperature, in the order of its class
            names.
        decision: (B,) int64, class index at the card's default operating point.
        logits: (B, L) float32, not calibrated; L is 1 or K.
        embedding: (B, D) float32.
    Those that explain also return:
        heatmap: (B, S, S) float32 in [0, 1], Grad-CAM of the layer `features` over the square that
            the model saw; all zero if there is no evidence for the class.
        explained: (B,) int64, the class that is explained.

    Args:
        model: a model with the layers image, features, embedding and logits; one logit, or one per
            class.
        folder: a new or empty folder.
        card: class names, preprocessing, temperature and operating points.

    Raises:
        RuntimeError: the Keras backend is not TensorFlow.
        ValueError: the model and the card do not match.
    """
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "A SavedModel needs TensorFlow: set KERAS_BACKEND=tensorflow to "
            f"export. Received: {keras.backend.backend()!r}."
        )
    whole = in_float32(model)
    network = derive(whole, "features", "embedding", "logits")
    size, point = _check_card(card, network)
    answer = _answer(
        derive(whole, "features"),
        keras.Model(network.outputs[0], network.outputs[1:]),
        card.temperature,
        point,
    )
    decode_one, fit = decoder(size, card.preprocessing["resize"])

    # The module tracks the plain variables but not the Keras model, whose own tracking would store
    # them a second time.
    module = tf.Module(name="xray_tf")
    module.stored_weights = [weight.value for weight in network.weights]
    signatures = _add_endpoints(module, answer, decode_one, fit, size, len(card.class_names))
    tf.saved_model.save(module, os.fspath(folder), signatures=signatures)


def _add_endpoints(
    module: tf.Module,
    answer: Callable[..., dict[str, tf.Tensor]],
    decode_one: Callable,
    fit: Callable,
    size: int,
    classes: int,
) -> dict[str, Callable]:
    """Add the functions to the module and return its signatures. Signatures have no optional
    inputs, so they explain the class that was decided.
    """
    files, grey = (
        tf.TensorSpec([None], tf.string, name="encoded"),
        tf.TensorSpec([None, None, None], tf.uint8, name="pixels"),
    )
    one_class, decided = tf.TensorSpec([], tf.int64, name="class_index"), tf.constant(-1, tf.int64)

    def decode_all(encoded: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(
            decode_one, encoded, fn_output_signature=tf.TensorSpec((size, size), tf.float32)
        )

    def checked(class_index: tf.Tensor) -> tf.Tensor:
        inside = tf.logical_and(class_index >= -1, class_index < classes)
        with tf.control_dependencies(
            [
                tf.debugging.Assert(
                    inside,
                    [
                        f"class_index must be -1 (the class decided) or from 0 to {classes - 1}:",
                        class_index,
                    ],
                )
            ]
        ):
            return tf.identity(class_index)

    @graph_function(input_signature=[files])
    def encoded(encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        return answer(decode_all(encoded))

    @graph_function(input_signature=[grey])
    def pixels(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        return answer(fit(pixels))

    @graph_function(input_signature=[files, one_class])
    def explain_encoded(
        encoded: tf.Tensor, class_index: tf.Tensor = decided
    ) -> dict[str, tf.Tensor]:
        return answer(decode_all(encoded), checked(class_index))

    @graph_function(input_signature=[grey, one_class])
    def explain_pixels(pixels: tf.Tensor, class_index: tf.Tensor = decided) -> dict[str, tf.Tensor]:
        return answer(fit(pixels), checked(class_index))

    module.encoded, module.pixels, module.explain_encoded, module.explain_pixels = (
        encoded,
        pixels,
        explain_encoded,
        explain_pixels,
    )
    return {
        "serving_default": encoded,
        "encoded": encoded,
        "pixels": pixels,
        "explain_encoded": graph_function(
            lambda encoded: explain_encoded(encoded), input_signature=[files]
        ),
        "explain_pixels": graph_function(
            lambda pixels: explain_pixels(pixels), input_signature=[grey]
        ),
    }


def _answer(
    trunk: keras.Model, head: keras.Model, temperature: float, point: OperatingPoint
) -> Callable[..., dict[str, tf.Tensor]]:
    """Return a function of squares (B, S, S) float32 and class_index () int64 or None, which
    returns outputs by name, with heat maps if a class is given.
    """

    def answer(squares: tf.Tensor, class_index: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        rows = tf.shape(squares)[0]
        # Batch normalisation fails without rows: an empty batch runs as one blank image, whose
        # answers are dropped
        images = tf.pad(squares, [[0, tf.cast(rows == 0, tf.int32)], [0, 0], [0, 0]])[..., None]
        features = trunk(images, training=False)
        with tf.GradientTape() as tape:
            tape.watch(features)
            embedding, logits = head(features, training=False)
            probability, decision = _decide(logits, temperature, point)
            explained = (
                decision
                if class_index is None
                else tf.where(class_index < 0, decision, class_index)
            )
            score, _ = score_of(logits, tf.cast(explained, tf.int32))
        found = {
            "probability": tf.cast(probability, tf.float32),
            "decision": decision,
            "logits": logits,
            "embedding": embedding,
        }
        if class_index is not None:
            size = tf.shape(images)[1:3]
            gradients = tape.gradient(score, features)
            evidence = weighted_evidence(features, gradients, grad_cam_weights, size)
            most = tf.reduce_max(evidence, (1, 2), keepdims=True)
            found |= {"heatmap": tf.math.divide_no_nan(evidence, most), "explained": explained}
        return {name: values[:rows] for name, values in found.items()}

    return answer


def check_parity(
    folder: str | os.PathLike,
    card: Card,
    python: Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]],
    files: Sequence[bytes | str | os.PathLike],
    pixels: np.ndarray,
) -> dict[str, Any]:
    """Compare every endpoint of a SavedModel with Python.

    Args:
        folder: the folder that `export_serving` wrote.
        card: the card it was written with.
        python: (N, S, S) uint8 and the classes (N,) int64 to explain -> `probability` (N, K)
            calibrated, `embedding` (N, D), `heatmap` (N, S, S).
        files: JPEG or PNG files, as bytes or paths; decoded in Python for `python`, given as bytes
            to the graph.
        pixels: (N, S, S) uint8 at model size.

    Returns:
        The record: the largest absolute differences in probability on `pixels` and on `encoded`
        bytes; those of the embedding (divided by its largest value if that is above 1) and of the
        heat map, as `pixels_embedding` and so on; the numbers of rows and files compared; and both
        tolerances.

    Raises:
        ParityError: a difference exceeds its tolerance, 1e-4 on pixels or 1e-2 on encoded bytes.
        ValueError: nothing to compare.
    """
    if not len(files) or not len(pixels):
        raise ValueError(
            "parity needs at least one file and one row of pixels. "
            f"Received: {len(files)} files, {len(pixels)} rows."
        )
    size, resize = card.preprocessing["image_size"], card.preprocessing["resize"]
    served = tf.saved_model.load(os.fspath(folder))
    found = {kind + suffix: 0.0 for kind in ("pixels", "encoded") for suffix in _COMPARED.values()}

    def compare(
        kind: str, squares: np.ndarray, plain: dict[str, tf.Tensor], explained: dict[str, tf.Tensor]
    ) -> None:
        expected = python(squares, explained["explained"].numpy())
        for name, suffix in _COMPARED.items():
            scale = max(1.0, float(np.abs(expected[name]).max()))
            for answer in (plain, explained):
                if name in answer:
                    difference = np.abs(answer[name].numpy() - expected[name]).max() / scale
                    # keeps NaN
                    found[kind + suffix] = float(np.maximum(found[kind + suffix], difference))

    for start in range(0, len(pixels), PARITY_BATCH):
        squares = np.asarray(pixels[start : start + PARITY_BATCH])
        compare(
            "pixels",
            squares,
            served.pixels(tf.constant(squares)),
            served.explain_pixels(tf.constant(squares)),
        )
    for start in range(0, len(files), PARITY_BATCH):
        data = [
            file if isinstance(file, bytes) else Path(file).read_bytes()
            for file in files[start : start + PARITY_BATCH]
        ]
        squares = np.stack([decode(d, size, resize) for d in data])
        compare(
            "encoded",
            squares,
            served.encoded(tf.constant(data)),
            served.explain_encoded(tf.constant(data)),
        )
    for kind, tolerance in (("pixels", PIXELS_TOLERANCE), ("encoded", ENCODED_TOLERANCE)):
        for name, suffix in _COMPARED.items():
            if not found[kind + suffix] <= tolerance:
                raise ParityError(
                    f"The SavedModel's {name} differs from Python's by "
                    f"{found[kind + suffix]:.3g} on {kind}; at most {tolerance:g} is allowed. "
                    "Do not serve it; export again, and report the problem if it persists."
                )
    return {
        **found,
        "pixel_rows": len(pixels),
        "encoded_files": len(files),
        "pixels_tolerance": PIXELS_TOLERANCE,
        "encoded_tolerance": ENCODED_TOLERANCE,
    }


def _check_card(card: Card, network: keras.Model) -> tuple[int, OperatingPoint]:
    """Return (image size, default operating point) of a card that fits the network."""
    logits, classes, side = (
        network.outputs[-1].shape[-1],
        len(card.class_names),
        network.inputs[0].shape[1],
    )
    if logits != (1 if classes == 2 and logits == 1 else classes):
        raise ValueError(
            "the head must have one logit per class, or one for two classes. "
            f"Received: {logits} logits, class names {card.class_names}."
        )
    preprocessing = card.preprocessing
    if (
        preprocessing.get("resize") not in RESIZE_MODES
        or preprocessing.get("image_size") != side
        or preprocessing.get("decoding") not in SAME_UPRIGHT
    ):
        raise ValueError(
            f"the card's preprocessing must name image_size {side}, a resize of "
            f"{RESIZE_MODES} and decoding rule {DECODING_RULE} (or 1, the same for files that are "
            f"stored upright). Received: {preprocessing!r}. Export a model of another rule with "
            "the version that trained it."
        )
    point = card.operating_points.get(card.default_operating_point)
    if point is None or point.classes != classes:
        raise ValueError(
            "the card's default operating point must have a threshold (two classes) "
            "or one offset per class. "
            f"Received: {card.default_operating_point!r} of {card.operating_points!r}."
        )
    return side, point


def _decide(
    logits: tf.Tensor, temperature: float, point: OperatingPoint
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return probabilities (B, K) float64 and decisions (B,) int64, computed in double precision
    as in Python.
    """
    scaled = tf.cast(logits, tf.float64) / temperature
    probability = (
        tf.concat([tf.sigmoid(-scaled), tf.sigmoid(scaled)], -1)
        if logits.shape[-1] == 1
        else tf.nn.softmax(scaled)
    )
    return probability, tf.cast(point.rule(probability, _NUMERICS), tf.int64)


def pixels_signature(folder: str | os.PathLike) -> tuple[Callable[[np.ndarray], dict], Any]:
    """Open the signature `pixels` of a SavedModel.

    Returns:
        (pixels (B, H, W) uint8 -> {name: array}, the concrete function, to be converted).
    """
    served = tf.saved_model.load(os.fspath(folder))

    def answer(pixels: np.ndarray) -> dict[str, np.ndarray]:
        # through `served`, because the functions do not own the weights
        named = served.signatures["pixels"](pixels=tf.constant(pixels))
        return {name: value.numpy() for name, value in named.items()}

    return answer, served.signatures["pixels"]
