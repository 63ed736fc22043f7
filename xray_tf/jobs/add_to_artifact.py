"""What is measured after training and belongs into the artifact: put in, the pages made anew,
sealed, and exchanged whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from xray_tf.artifact import Card, read_card, renewed_folder, seal
from xray_tf.data.split import SPLIT
from xray_tf.jobs.classifier.shift_bench import measure_shift, write_shift
from xray_tf.jobs.corpus import choose_part, read_for
from xray_tf.jobs.run import Options, Run, takes
from xray_tf.models.classifier import Classifier
from xray_tf.models.load import load
from xray_tf.options import DataOptions, EvaluateOptions, ShiftOptions


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


def own_part(classifier: Classifier) -> tuple[Path, str]:
    """Return a classifier's split.csv and the part of its rows that it was measured on: test, or
    validation where it has no test rows.
    """
    part = "test" if classifier.card.metrics_split == "test" else "val"
    return classifier.folder / SPLIT, part


def refuse_other_split(options: DataOptions, what: str) -> None:
    """Raise ValueError where another split than the artifact's own is named."""
    if options.split is not None:
        raise ValueError(
            f"The rows of an artifact's own {what} are those of its own split.csv, so that none "
            f"was trained on. Received: split={options.split!r}. Leave --split out, or write "
            "elsewhere with --out."
        )


@takes(DataOptions, EvaluateOptions, ShiftOptions)
def add_shift_card(
    model: str | os.PathLike | Classifier,
    data: str,
    *,
    options: Options,
    operating_point: str | None = None,
) -> dict[str, Any]:
    """Measure a classifier's own test rows under graded changes, and put shift.json, shift.csv and
    shift.png into its folder.

    The rows are those of the artifact's split.csv: test, or validation where it has no test rows. A
    shift card that is there already is replaced.

    Args:
        model: an artifact folder, the name of a shipped model, or one already opened.
        data: the radiographs it was trained on, as in training.
        options: `DataOptions` (`split` must be left out), `EvaluateOptions` and `ShiftOptions` in
            any order, or single options by name.
        operating_point: a name on the card; its default when None.

    Returns:
        The layout of shift.json; see `jobs.classifier.shift_bench`.

    Raises:
        SplitError: radiographs of split.csv are not in the data.
        ValueError: another split was named.
    """
    from xray_tf.pages.classifier.shift_card import shift_sentences

    run, where = options[Run], options[DataOptions]
    refuse_other_split(where, "shift card")
    classifier = load(model, kind="classifier")
    corpus = choose_part(read_for(classifier, data, where, run.progress), *own_part(classifier))
    batch_size = options[EvaluateOptions].forward_batch_size
    result = measure_shift(
        classifier, corpus, options[ShiftOptions], operating_point, batch_size, run
    )
    run.say("\n".join(shift_sentences(result)))
    add_to_artifact(classifier.folder, lambda draft: write_shift(result, draft))
    return result
