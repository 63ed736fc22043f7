"""Measure what a classifier's heat maps are worth and what it looks at: faithfulness, randomisation
check and shortcut report, in one folder.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf.artifact import write_text
from xray_tf.data.records import Record
from xray_tf.data.sample import draw_records
from xray_tf.jobs.add_to_artifact import add_to_artifact, own_part, refuse_other_split
from xray_tf.jobs.corpus import Corpus, choose_part, read_for
from xray_tf.jobs.heatmaps.faithfulness_report import (
    measure_faithfulness,
    measure_randomisation,
    methods_of,
    write_faithfulness,
)
from xray_tf.jobs.heatmaps.heatmap_file import write_picture
from xray_tf.jobs.heatmaps.shortcut_report import contact_sheet, measure_shortcuts, write_shortcuts
from xray_tf.jobs.run import Options, Run, takes
from xray_tf.models.classifier import Classifier
from xray_tf.models.load import load
from xray_tf.options import DataOptions, ExamineOptions
from xray_tf.spelling import pick_several

PARTS = ("faithfulness", "randomisation", "shortcuts")
PAGE, SHEET = "examination.html", "lungs.png"
SHEET_ROWS = 24


@takes(DataOptions, ExamineOptions)
def measure_explanations(
    model: str | os.PathLike | Classifier,
    data: str,
    out: str | os.PathLike,
    *,
    options: Options,
    part: str = "all",
    operating_point: str | None = None,
) -> dict[str, Any]:
    """Examine a finished classifier on labelled radiographs, and write a folder, completely or not
    at all.

    The folder has `faithfulness.json`, `.csv` and `.npz`, `shortcuts.json` and `.csv`, their plots,
    `lungs.png` (the lungs of the first rows) and `examination.html`.

    Args:
        model: an artifact's folder, or an opened artifact; nothing is fitted or changed.
        data: labelled radiographs, as for training.
        out: the folder to create.
        options: `DataOptions` and `ExamineOptions` in any order, or single options by name; rows
            have the part in `split`, or that of their source.
        part: the rows to use: `all`, `train`, `val` or `test`.
        operating_point: a name on the card; its default if None.

    Returns:
        {`faithfulness`: the layout of faithfulness.json, `shortcuts`: that of shortcuts.json}, as
        far as they were measured.

    Raises:
        FileExistsError: `out` exists.
        ValueError: a method or part is unknown, or there is no labelled radiograph.
    """
    from xray_tf.pages.heatmaps.page import render_examination

    run, classifier = options[Run].at(out), load(model, kind="classifier")
    corpus = _corpus(classifier, data, options, options[DataOptions].split, part)
    with run.folder() as draft:
        found = _examine(classifier, corpus, options, draft, operating_point)
        corpus.findings.write_csv(draft / "audit.csv")
        write_text(draft / PAGE, render_examination(draft, classifier.card.name))
    return found


@takes(DataOptions, ExamineOptions)
def add_examination(
    model: str | os.PathLike | Classifier,
    data: str,
    *,
    options: Options,
    operating_point: str | None = None,
) -> dict[str, Any]:
    """Examine a classifier on its own test rows (validation rows if it has none), and add the
    results to its folder.

    The JSON and CSV files and the three plots are added, but not `lungs.png` and the page, which
    contain radiographs. An existing examination is replaced file by file.

    Args:
        model, data, operating_point: as in `measure_explanations`.
        options: as there, but without `split`: the rows are those of the artifact's split.csv.

    Returns:
        As `measure_explanations`.

    Raises:
        ValueError: another split was given; and as in `measure_explanations`.
    """
    refuse_other_split(options[DataOptions], "examination")
    classifier = load(model, kind="classifier")
    corpus = _corpus(classifier, data, options, *own_part(classifier))
    with tempfile.TemporaryDirectory() as folder:
        found = _examine(classifier, corpus, options, Path(folder), operating_point)

        def write(draft: Path) -> None:
            for file in sorted(Path(folder).iterdir()):
                if file.suffix in (".json", ".csv", ".png") and file.name != SHEET:
                    shutil.copy(file, draft / file.name)

        add_to_artifact(classifier.folder, write)
    return found


def _corpus(
    classifier: Classifier, data: str, options: Options, split: str | os.PathLike | None, part: str
) -> Corpus:
    """Read the rows, after checking the options."""
    _parts(options[ExamineOptions].parts)
    methods_of(options[ExamineOptions])
    corpus = read_for(classifier, data, options[DataOptions], options[Run].progress)
    corpus = choose_part(corpus, split, part)
    if not (corpus.labels >= 0).any():
        raise ValueError(
            "There is no labelled radiograph to examine among "
            f"{len(corpus.records)}. Expected classes {classifier.card.class_names}."
        )
    return corpus


def _examine(
    classifier: Classifier,
    corpus: Corpus,
    options: Options,
    draft: Path,
    operating_point: str | None,
) -> dict[str, Any]:
    """Measure the requested parts, and write their files and plots into a folder."""
    from xray_tf.pages.heatmaps.figures import write_pictures

    how, run, found = options[ExamineOptions], options[Run], {}
    wanted, name = _parts(how.parts), classifier.card.name
    if wanted & {"faithfulness", "randomisation"}:
        result, arrays = {}, {}
        if "faithfulness" in wanted:
            images, records, _ = _some(corpus, how.rows, how.seed)
            run.say(
                f"Measuring {', '.join(methods_of(how))} of {name} on {len(images)} radiographs"
            )
            result, arrays = measure_faithfulness(
                classifier, images, records, how, operating_point, run
            )
        if "randomisation" in wanted:
            images, records, _ = _some(corpus, how.random_rows, how.seed)
            result["randomisation"], shuffled = measure_randomisation(
                classifier, images, records, how, operating_point, run
            )
            arrays |= {f"randomisation/{k}": v for k, v in shuffled.items()}
        write_faithfulness(result, arrays, draft)
        found["faithfulness"] = result
    if "shortcuts" in wanted:
        images, records, labels = _some(corpus, how.shortcut_rows, how.seed)
        run.say(f"Looking for shortcuts of {name} on {len(images)} radiographs")
        found["shortcuts"], table = measure_shortcuts(
            classifier, images, records, labels, how, operating_point, run
        )
        write_shortcuts(found["shortcuts"], table, draft)
        few = np.linspace(0, len(images) - 1, min(SHEET_ROWS, len(images))).astype(int)
        write_picture(draft / SHEET, contact_sheet(images[few]))
    write_pictures(draft)
    return found


def _some(corpus: Corpus, limit: int, seed: int) -> tuple[np.ndarray, list[Record], np.ndarray]:
    """Return pixels (n, S, S), records and labels (n,) of at most `limit` labelled rows."""
    rows = draw_records(corpus.records, corpus.labels, limit, seed)
    pixels = np.asarray(corpus.pixels[corpus.rows[rows]])
    return pixels, [corpus.records[int(i)] for i in rows], corpus.labels[rows]


def _parts(text: str) -> set[str]:
    names = pick_several("parts", text, PARTS, alone=("all",))
    return set(PARTS) if names == ["all"] else set(names)
