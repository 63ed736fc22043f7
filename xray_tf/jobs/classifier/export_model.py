"""Add a TensorFlow SavedModel to a finished artifact, after comparing it with Python."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from xray_tf.artifact import new_piece, write_json
from xray_tf.data.synthetic.phantom import draw_phantom
from xray_tf.jobs.run import Options, Run, takes
from xray_tf.models.classifier import Classifier
from xray_tf.models.load import load

PIECE = "saved_model"


@takes()
def export_model(model: str | os.PathLike | Classifier, *, options: Options) -> Path:
    """Write `saved_model/` into an artifact: a graph from encoded JPEG or PNG bytes, or pixels of
    any size, to answers and heat maps.

    Its probabilities, embeddings and heat maps are compared with Python's on phantoms, as pixels
    and as files. If they differ by more than the tolerance, nothing is kept.

    Args:
        model: an artifact's folder, or an opened artifact.
        options: `progress`, whether to show progress.

    Returns:
        The folder of the SavedModel.

    Raises:
        FileExistsError: the artifact has one already.
        ValueError: the answers differ by more than 1e-4 on pixels or 1e-2 on encoded bytes, or
            Keras runs on another backend than TensorFlow.
    """
    from xray_tf.nets.heatmaps.gradcam import GradCAM
    from xray_tf.nets.inference import refuse_other_backends
    from xray_tf.nets.serving import check_parity, export_serving

    refuse_other_backends("Exporting a SavedModel is what")
    run, classifier = options[Run], load(model, kind="classifier")
    explainer = GradCAM(classifier.model, "features")

    def python(squares: np.ndarray, classes: np.ndarray) -> dict[str, np.ndarray]:
        points = classifier.forward(squares, ("embedding", "logits"))
        return {
            "probability": classifier.probabilities_of(points["logits"]),
            "embedding": points["embedding"],
            "heatmap": explainer(squares, classes),
        }

    pixels, files = _probes(classifier.card.preprocessing["image_size"])
    with new_piece(classifier.folder, PIECE) as draft:
        run.say(f"Exporting {classifier.card.name}")
        export_serving(classifier.model, draft, classifier.card)
        parity = check_parity(draft, classifier.card, python, files, pixels)
        write_json(draft / "parity.json", parity)
    run.say(f"  largest difference from Python: {parity}")
    return classifier.folder / PIECE


def _probes(size: int) -> tuple[np.ndarray, list[bytes]]:
    """Return phantoms (6, S, S) uint8, and the same as JPEG and PNG files of other sizes."""
    pixels, files = [], []
    for i, kind in enumerate(("normal", "bacterial", "viral") * 2):
        large = draw_phantom(
            kind, seed=7, patient=i, height=2 * size + 31 * i, width=2 * size + 57 * i
        ).image
        pixels.append(cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA))
        ok, encoded = cv2.imencode(".png" if i % 2 else ".jpeg", large)
        files.append(encoded.tobytes())
    return np.stack(pixels), files
