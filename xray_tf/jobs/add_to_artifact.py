"""What is measured after training and belongs into the artifact: put in, the pages made anew,
sealed, and exchanged whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from xray_tf.artifact import Card, read_card, renewed_folder, seal
from xray_tf.jobs.corpus import choose_part, read_corpus
from xray_tf.models.classifier import Classifier
from xray_tf.models.load import load
from xray_tf.options import DataOptions, EvaluateOptions, ShiftOptions

SPLIT = "split.csv"


def add_to_artifact(
    folder: str | os.PathLike, write: Callable[[Path], None] = lambda draft: None
) -> Card:
    """Let `write` put files into a copy of a finished classifier, make its pages anew from what
    lies there then, and take the copy for the original.

    Args:
        folder: the artifact.
        write: called with the copy's folder; left out, only README.md and report.html are made
            anew.

    Returns:
        The new card.

    Raises:
        ArtifactError: not a sound classifier artifact.
    """
    from xray_tf.pages.classifier.model_card import README, write_model_card
    from xray_tf.pages.classifier.report import REPORT, write_report

    card = read_card(folder, kind="classifier")
    with renewed_folder(folder) as draft:
        write(draft)
        for page in (README, REPORT):
            (draft / page).unlink(missing_ok=True)
        card = seal(draft, replace(card, files={}))
        write_model_card(draft, card)
        write_report(draft)
        return seal(draft, card)


def add_shift_card(
    model: str | os.PathLike | Classifier,
    data: str,
    data_options: DataOptions = DataOptions(),
    options: EvaluateOptions = EvaluateOptions(),
    shift_options: ShiftOptions = ShiftOptions(),
    *,
    operating_point: str | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Measure a classifier's own test rows under graded changes, and put shift.json, shift.csv and
    shift.png into its folder.

    The rows are those of the artifact's split.csv: test, or validation where it has no test rows. A
    shift card that is there already is replaced.

    Args:
        model: an artifact folder, the name of a shipped model, or one already opened.
        data: the radiographs it was trained on, as in training.
        data_options: their source and cache; `split` must be left out.
        options: the batch of a forward pass.
        shift_options: which changes, how many rows, replicates.
        operating_point: a name on the card; its default when None.
        progress: say what is going on.

    Returns:
        The layout of shift.json; see `jobs.shift_bench`.

    Raises:
        SplitError: radiographs of split.csv are not in the data.
        ValueError: another split was named.
    """
    from xray_tf.jobs.classifier.shift_bench import measure_shift, write_shift
    from xray_tf.pages.classifier.shift_card import shift_sentences

    if data_options.split is not None:
        raise ValueError(
            "The rows of an artifact's own shift card are those of its own "
            "split.csv, so that none was trained on. "
            f"Received: split={data_options.split!r}. Leave --split out, or write "
            "elsewhere with --out."
        )
    say = partial(print, flush=True) if progress else (lambda *_: None)
    classifier = load(model, kind="classifier")
    card, prep = classifier.card, classifier.card.preprocessing
    corpus = read_corpus(
        data, card.task, data_options, prep["image_size"], prep["resize"], progress
    )
    corpus = choose_part(
        corpus, classifier.folder / SPLIT, "test" if card.metrics_split == "test" else "val"
    )
    result = measure_shift(
        classifier,
        corpus.pixels,
        corpus.rows,
        list(corpus.records),
        shift_options,
        operating_point=operating_point,
        batch_size=options.forward_batch_size,
        progress=progress,
    )
    say("\n".join(shift_sentences(result)))
    add_to_artifact(classifier.folder, lambda draft: write_shift(result, draft))
    return result
