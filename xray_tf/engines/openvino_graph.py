"""Export a classifier for OpenVINO, which needs neither TensorFlow nor xray_tf to run it."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf.artifact import new_piece, write_json
from xray_tf.data.synthetic.phantom import draw_phantom
from xray_tf.models.classifier import Classifier
from xray_tf.models.load import load

PIECE, GRAPH = "openvino", "model.xml"
TOLERANCE = 1e-3
# OpenVINO computes in bfloat16 by itself where the processor can
FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}
_COMPARED = ("probability", "logits", "embedding")


def export_openvino(model: str | os.PathLike | Classifier) -> Path:
    """Write `openvino/` into an artifact: `model.xml` and `model.bin`, a graph from grey pixels
    (B, H, W) uint8 of any size to `probability`, `decision`, `logits` and `embedding`, the
    signature `pixels` of its SavedModel; compare it with that on phantoms, in float32.

    Args:
        model: an artifact's folder, or an opened artifact.

    Returns:
        The folder of the graph.

    Raises:
        ImportError: OpenVINO is not installed.
        FileExistsError: the artifact has one already.
        ValueError: the answers differ by more than 1e-3, or Keras runs on another backend than
            TensorFlow.
    """
    if importlib.util.find_spec("openvino") is None:
        raise ImportError("--openvino needs the package openvino: pip install 'xray_tf[openvino]'")
    import openvino

    from xray_tf.nets.inference import refuse_other_backends
    from xray_tf.nets.serving import export_serving, pixels_signature

    refuse_other_backends("Exporting for OpenVINO is what")
    classifier = load(model, kind="classifier")
    with new_piece(classifier.folder, PIECE) as draft, tempfile.TemporaryDirectory() as saved:
        export_serving(classifier.model, saved, classifier.card)
        answer, signature = pixels_signature(saved)
        graph = convert_signature(signature)
        openvino.save_model(graph, draft / GRAPH, compress_to_fp16=False)
        compiled = openvino.compile_model(draft / GRAPH, "CPU", FLOAT32)
        write_json(draft / "parity.json", _parity(answer, compiled))
        del compiled, graph  # they hold the files open
    return classifier.folder / PIECE


def convert_signature(signature: Any) -> Any:
    """Return a concrete TensorFlow function as an OpenVINO graph.

    OpenVINO does not know TensorFlow's resizing with antialiasing; its own in Pillow's way has the
    same weights, a triangle as wide as the larger of the two steps.
    """
    import openvino
    from openvino import opset11
    from openvino.frontend.tensorflow import ConversionExtension

    def resize(node: Any) -> list:
        sides, height_and_width = node.get_input(1), np.array([1, 2], np.int64)
        how = ("bilinear_pillow", "sizes")
        return opset11.interpolate(node.get_input(0), sides, *how, axes=height_and_width).outputs()

    known = [ConversionExtension("ScaleAndTranslate", resize)]
    return openvino.convert_model(signature, extension=known)


def _parity(answer: Any, compiled: Any) -> dict[str, Any]:
    """Return the largest differences on phantoms of several sizes.

    Raises:
        ValueError: a difference exceeds the tolerance, or a decision differs.
    """
    found, differ, count = dict.fromkeys(_COMPARED, 0.0), 0, 0
    for side in (224, 301, 512):
        pixels = _phantoms(side)
        wanted, given = answer(pixels), compiled(pixels)
        for name in _COMPARED:
            scale = max(1.0, float(np.abs(wanted[name]).max()))
            difference = float(np.abs(given[name] - wanted[name]).max()) / scale
            found[name] = max(found[name], difference)
        differ += int((given["decision"] != wanted["decision"]).sum())
        count += len(pixels)
    if max(found.values()) > TOLERANCE or differ:
        raise ValueError(
            f"OpenVINO answers otherwise than TensorFlow. Expected differences of at most "
            f"{TOLERANCE}. Received: {found}, and {differ} other decisions of {count}."
        )
    return {**found, "decisions": differ, "radiographs": count, "tolerance": TOLERANCE}


def _phantoms(side: int) -> np.ndarray:
    """Return three phantoms (3, H, W) uint8, a little higher than wide."""
    kinds = ("normal", "bacterial", "viral")
    drawn = [
        draw_phantom(kind, seed=7, patient=i, height=side, width=side - side // 8).image
        for i, kind in enumerate(kinds)
    ]
    return np.stack(drawn)
