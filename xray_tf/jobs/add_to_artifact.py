"""Add what is measured after training to an artifact, and write its pages again."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from xray_tf.artifact import Card, read_card, seal, write_json
from xray_tf.data.tables.split_file import SPLIT, read_split
from xray_tf.jobs.classifier.mistakes import FILE, draw_mistakes
from xray_tf.jobs.classifier.shift_bench import measure_shift, write_shift
from xray_tf.jobs.corpus import choose_part, read_for
from xray_tf.jobs.run import Options, Run, takes
from xray_tf.models.classifier import Classifier
from xray_tf.models.load import load
from xray_tf.options import DataOptions, EvaluateOptions, PageOptions, ShiftOptions
from xray_tf.writing import renewed_folder


def add_to_artifact(
    folder: str | os.PathLike, write: Callable[[Path], Card | None] = lambda draft: None
) -> Card:
    """Let `write` add files to a copy of a finished classifier, write the copy's pages again, and
    replace the original by the copy.

    Args:
        folder: the artifact.
        write: called with the copy's folder; it may return another card. By default only README.md
            and report.html are written again.

    Returns:
        The new card.

    Raises:
        ArtifactError: the folder is not an intact classifier artifact.
    """
    from xray_tf.pages.classifier.model_card import README, write_model_card
    from xray_tf.pages.classifier.report import REPORT, write_report

    read_card(folder, kind="classifier")
    with renewed_folder(folder) as draft:
        card = read_card(draft, kind="classifier")  # what another process added is on it
        card = write(draft) or card
        for page in (README, REPORT):
            (draft / page).unlink(missing_ok=True)
        card = seal(draft, replace(card, files={}))
        write_model_card(draft, card)
        write_report(draft)
        return seal(draft, card)


def own_part(classifier: Classifier) -> tuple[Path, str]:
    """Return a classifier's split.csv and the part on which it was measured: test, or validation
    if it has no test rows.
    """
    part = "test" if classifier.card.metrics_split == "test" else "val"
    return classifier.folder / SPLIT, part


def refuse_other_split(options: DataOptions, what: str) -> None:
    """Raise ValueError if a split other than the artifact's own is given."""
    if options.split is not None:
        raise ValueError(
            f"An artifact's own {what} uses the rows of its own split.csv, so that none was "
            f"trained on. Received: split={options.split!r}. Leave --split out, or write to "
            "another folder with --out."
        )


@takes(DataOptions, PageOptions)
def add_mistakes(
    model: str | os.PathLike | Classifier, data: str, *, options: Options
) -> dict[str, Any]:
    """Put small pictures of a classifier's surest mistakes into its folder, where its page opens
    with them, as after training.

    The rows and decisions are those on which it was measured, in its predictions.csv: test, or
    validation if it has no test rows. Older pictures are replaced; `mistakes=0` removes them.

    Args:
        model, data: as in `add_shift_card`.
        options: `DataOptions` (without `split`) and `PageOptions` in any order, or single options
            by name.

    Returns:
        The layout of mistakes.json, see `jobs.classifier.mistakes`.

    Raises:
        SplitError: radiographs of split.csv are not in the data.
        ValueError: another split was given, or the folder has no labelled predictions.
    """
    from xray_tf.pages.classifier.contents import read_contents

    run, where = options[Run], options[DataOptions]
    refuse_other_split(where, "page")
    classifier = load(model, kind="classifier")
    rows, split = read_contents(classifier.folder).scored, classifier.folder / SPLIT
    if rows is None:
        raise ValueError(f"{classifier.folder} has no predictions of labelled radiographs.")
    # the training rows too, among which a model without a reference finds its neighbours
    corpus = choose_part(read_for(classifier, data, where, run.progress), split)
    named = zip(corpus.records, read_split(split), strict=True)  # as predictions.csv calls them
    records = corpus.records.with_rows(replace(r, path=line["path"]) for r, line in named)
    most = options[PageOptions].mistakes
    told = draw_mistakes(classifier, replace(corpus, records=records), rows, most)

    def write(draft: Path) -> None:
        (draft / FILE).unlink(missing_ok=True)
        if most:
            write_json(draft / FILE, told)

    add_to_artifact(classifier.folder, write)
    return told


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

    The rows are those of the artifact's split.csv: test, or validation if it has no test rows. An
    existing shift card is replaced.

    Args:
        model: an artifact's folder, the name of a shipped model, or an opened artifact.
        data: the radiographs it was trained on, as for training.
        options: `DataOptions` (without `split`), `EvaluateOptions` and `ShiftOptions` in
            any order, or single options by name.
        operating_point: a name on the card; its default if None.

    Returns:
        The layout of shift.json; see `jobs.classifier.shift_bench`.

    Raises:
        SplitError: radiographs of split.csv are not in the data.
        ValueError: another split was given.
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
