"""Store a finished classifier's network in two thirds of the space."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from xray_tf.artifact import read_card, seal
from xray_tf.card import MODEL, Card
from xray_tf.data.examples import example_radiographs
from xray_tf.data.synthetic.phantom import draw_phantom
from xray_tf.jobs.add_to_artifact import add_to_artifact
from xray_tf.jobs.run import Options, Run, takes
from xray_tf.models.classifier import Classifier
from xray_tf.models.load import load
from xray_tf.writing import is_draft

TOLERANCE = 1e-3
_NOTE = f"{MODEL} holds"


@takes()
def compact_model(model: str | os.PathLike | Classifier, *, options: Options) -> float:
    """Round the kernels of a classifier to 14 significant bits, and compress `model.keras`. Plain
    Keras opens it as before, in float32.

    Answers of before and after are compared on twelve radiographs of children that come with the
    package, and on six phantoms. The card gets a note with the largest difference.

    Args:
        model: an artifact's folder, or an opened artifact.
        options: `progress`, whether to show progress.

    Returns:
        The largest difference of a probability.

    Raises:
        FileExistsError: it has an exported graph or a reference, which would be of the weights of
            before.
        ValueError: a probability would move by more than 1e-3; nothing is changed.
    """
    from xray_tf.nets.keras_file import SIGNIFICANT_BITS, load_model, round_weights, save_packed

    run, classifier = options[Run], load(model, kind="classifier")
    _refuse_pieces(classifier.folder)
    before, moved = _answers(classifier), 0.0

    def write(draft: Path) -> Card:
        nonlocal moved
        card, path = read_card(draft), draft / MODEL
        network, size = load_model(path), path.stat().st_size
        round_weights(network)
        path.unlink()
        save_packed(network, path)
        seal(draft, replace(card, files={}))
        moved = float(np.abs(_answers(load(draft)) - before).max())
        if moved > TOLERANCE:
            raise ValueError(f"a probability would move by {moved:.1e}, more than {TOLERANCE}.")
        run.say(f"  {size / 1e6:.1f} MB before, {path.stat().st_size / 1e6:.1f} MB now")
        note = (
            f"{_NOTE} its kernels to {SIGNIFICANT_BITS} significant bits. Its figures and "
            f"thresholds are those of before; no probability of {len(before)} test pictures moved "
            f"by more than {moved:.1e}."
        )
        return replace(card, notes=(*(n for n in card.notes if not n.startswith(_NOTE)), note))

    add_to_artifact(classifier.folder, write)
    return moved


def _refuse_pieces(folder: Path) -> None:
    """Refuse an artifact that has something made from the weights of before."""
    for piece in sorted(p for p in folder.iterdir() if p.is_dir() and not is_draft(p.name)):
        raise FileExistsError(
            f"{piece} is of the weights of before. Compact a model first, then export it and add "
            "its reference."
        )


def _answers(classifier: Classifier) -> np.ndarray:
    """Return probabilities (18, K) of pictures that everybody has."""
    phantoms = [
        draw_phantom(kind, seed=7, patient=i, height=300, width=330).image
        for i, kind in enumerate(("normal", "bacterial", "viral") * 2)
    ]
    tables = [classifier.predict(pictures) for pictures in (example_radiographs(), phantoms)]
    return np.concatenate([table.probabilities for table in tables])
