"""Any finished artifact, opened by what its card says it is."""

from __future__ import annotations

import os

from xray_tf.artifact import read_card
from xray_tf.jobs.loaded import Classifier
from xray_tf.shipped import find_model


def load(model: str | os.PathLike | None = None):
    """Open a classifier or an anomaly detector after checking every file in its folder; nets are read on first use.

    Args:
        model: the folder that `train_classifier` or `fit_detector` made, the name of a shipped model (`xray_tf.shipped_models()`), or None for the shipped
            binary classifier.

    Returns:
        A `Classifier` or a `Detector`.

    Raises:
        ArtifactError: not an artifact, damaged, or of a newer format; no model shipped.
    """
    folder = find_model(model)
    card = read_card(folder)
    if card.kind == "detector":
        from xray_tf.jobs.loaded_detector import Detector  # brings scikit-learn, which a classifier does not need

        return Detector(folder, card)
    return Classifier(folder, card)
