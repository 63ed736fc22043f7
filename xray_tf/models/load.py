"""Open a finished artifact by what its card says it is: the one door to models."""

from __future__ import annotations

import importlib
import os
from typing import Any

from xray_tf.artifact import ArtifactError, read_card
from xray_tf.shipped import find_model

# Imported on first use: a detector brings scikit-learn, which a classifier does not need to answer.
KINDS = {
    "classifier": ("xray_tf.models.classifier", "Classifier"),
    "detector": ("xray_tf.models.detector", "Detector"),
    "lungs": ("xray_tf.models.lungs", "LungSegmenter"),
}


def load(model: Any = None, kind: str | None = None) -> Any:
    """Open an artifact after checking every file in its folder; nets are read on first use.

    Args:
        model: the folder that `train_classifier` or `fit_detector` made, the name of a shipped
            model (`xray_tf.shipped_models()`), None for the shipped binary classifier, or an
            artifact already opened, which is returned as it is.
        kind: a key of `KINDS` that it must be; any when None.

    Returns:
        A `Classifier`, a `Detector` or a `LungSegmenter`.

    Raises:
        ArtifactError: not an artifact, damaged, of another kind, or of a newer format; no model
            shipped.
    """
    if not (model is None or isinstance(model, str | os.PathLike)):
        if kind and model.card.kind != kind:
            raise ArtifactError(f"Expected a {kind}. Received: a {model.card.kind}, {model!r}")
        return model
    folder = find_model(model)
    card = read_card(folder, kind=kind)
    module, name = KINDS[card.kind]
    return getattr(importlib.import_module(module), name)(folder, card)
