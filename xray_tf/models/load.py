"""Open any artifact, as the kind of model that its card names."""

from __future__ import annotations

import importlib
import os
from typing import Any

from xray_tf.artifact import ArtifactError, read_card
from xray_tf.card import MODEL
from xray_tf.shipped import find_model, shipped_models

# imported on first use: a detector needs scikit-learn, but a classifier does not
KINDS = {
    "classifier": ("xray_tf.models.classifier", "Classifier"),
    "detector": ("xray_tf.models.detector", "Detector"),
    "lungs": ("xray_tf.models.lungs", "LungSegmenter"),
}

DETECTOR, NONE = "normal-chest", "none"


def load(model: Any = None, kind: str | None = None) -> Any:
    """Open an artifact after checking every file in its folder; networks are read on first use.

    Args:
        model: a folder from `train_classifier` or `fit_detector`, the name of a shipped model
            (`xray_tf.shipped_models()`), None for the shipped binary classifier, or an opened
            artifact, which is returned unchanged.
        kind: the only kind to accept, a key of `KINDS`; any if None.

    Returns:
        A `Classifier`, a `Detector` or a `LungSegmenter`.

    Raises:
        ArtifactError: it is not an artifact, is damaged, or is of another kind or a newer format;
            or no model is shipped.
    """
    if not (model is None or isinstance(model, str | os.PathLike)):
        if kind and model.card.kind != kind:
            raise ArtifactError(f"Expected a {kind}. Received: a {model.card.kind}, {model!r}")
        return model
    folder = find_model(model)
    card = read_card(folder, kind=kind)
    try:
        card.check_answers()
    except ValueError as error:
        raise ArtifactError(f"{folder} cannot answer: {error}. Make it again.") from error
    if card.kind not in KINDS:
        raise ArtifactError(
            f"{folder} holds a trunk, which answers nothing by itself: train a classifier with "
            f"--weights {folder / MODEL}."
        )
    module, name = KINDS[card.kind]
    return getattr(importlib.import_module(module), name)(folder, card)


def load_detector(detector: Any = None) -> Any:
    """Open the anomaly detector that is asked beside a classifier.

    Args:
        detector: as `load` takes it; None for the shipped one, where it is here; `none` for none.

    Returns:
        A `Detector`, or None.

    Raises:
        ArtifactError: as `load` raises it.
    """
    if detector is None and DETECTOR in shipped_models():
        detector = DETECTOR
    return None if detector in (None, NONE) else load(detector, kind="detector")
