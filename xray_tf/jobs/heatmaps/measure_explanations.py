"""What a classifier's explanations are worth, and what it looks at: faithfulness, the randomisation
check and the shortcut report, in one folder.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from xray_tf.artifact import new_folder, refuse_existing, write_text
from xray_tf.jobs.add_to_artifact import SPLIT, add_to_artifact
from xray_tf.jobs.corpus import Corpus, choose_part, draw_rows, read_corpus
from xray_tf.jobs.heatmaps.faithfulness_report import (
    measure_faithfulness,
    measure_randomisation,
    methods_of,
    write_faithfulness,
)
from xray_tf.jobs.heatmaps.shortcut_report import contact_sheet, measure_shortcuts, write_shortcuts
from xray_tf.models.classifier import Classifier
from xray_tf.models.load import load
from xray_tf.options import DataOptions, ExamineOptions

PARTS = ("faithfulness", "randomisation", "shortcuts")
PAGE, SHEET = "examination.html", "lungs.png"
SHEET_ROWS = 24


def measure_explanations(
    model: str | os.PathLike | Classifier,
    data: str,
    out: str | os.PathLike,
    data_options: DataOptions = DataOptions(),
    options: ExamineOptions = ExamineOptions(),
    *,
    part: str = "all",
    operating_point: str | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Examine a finished classifier on labelled radiographs, and write a folder, whole or not at
    all.

    The folder holds `faithfulness.json`, `.csv`, `.npz`, `shortcuts.json`, `.csv`, their pictures,
    `lungs.png` (the estimated lungs of the first rows, for the eye) and `examination.html`.

    Args:
        model: an artifact folder, or one already opened; nothing is fitted, and its weights are
            left as they are.
        data: labelled radiographs, as in training.
        out: a folder to make.
        data_options: see `xray_tf.options`; a row's part is what `data_options.split` names, or
            what its source gives.
        options: methods, rows, steps, parts, seed.
        part: which rows: `all`, or those of the split `train`, `val` or `test`.
        operating_point: a name on the card; its default when None.
        progress: say what is going on.

    Returns:
        {`faithfulness`: the layout of faithfulness.json, `shortcuts`: that of shortcuts.json}, what
        was measured of them.

    Raises:
        FileExistsError: `out` is there.
        ValueError: an unknown method or part, or no labelled radiograph.
    """
    from xray_tf.pages.heatmaps.measures import render_examination

    refuse_existing(out)
    classifier = load(model, kind="classifier")
    corpus = _corpus(classifier, data, data_options, data_options.split, part, options, progress)
    with new_folder(out) as draft:
        found = _examine(classifier, corpus, options, draft, operating_point, progress)
        corpus.findings.write_csv(draft / "audit.csv")
        write_text(draft / PAGE, render_examination(draft, classifier.card.name))
    return found


def add_examination(
    model: str | os.PathLike | Classifier,
    data: str,
    data_options: DataOptions = DataOptions(),
    options: ExamineOptions = ExamineOptions(),
    *,
    operating_point: str | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Examine a classifier on its own test rows (validation rows where it has none), and put what
    was found into its folder.

    What goes there are the JSON and CSV files and the three diagrams; `lungs.png` and the page stay
    out, for they hold radiographs. An examination that is there already is replaced, file by file.

    Args:
        model, data, options, operating_point, progress: as in `measure_explanations`.
        data_options: their source and cache; `split` must be left out, the rows are those of the
            artifact's own split.csv.

    Returns:
        As `measure_explanations`.

    Raises:
        ValueError: another split was named, and what `measure_explanations` raises.
    """
    if data_options.split is not None:
        raise ValueError(
            "The rows of an artifact's own examination are those of its own "
            "split.csv, so that none was trained on. "
            f"Received: split={data_options.split!r}. Leave --split out, or write "
            "elsewhere with --out."
        )
    classifier = load(model, kind="classifier")
    part = "test" if classifier.card.metrics_split == "test" else "val"
    corpus = _corpus(
        classifier, data, data_options, classifier.folder / SPLIT, part, options, progress
    )
    with tempfile.TemporaryDirectory() as folder:
        found = _examine(classifier, corpus, options, Path(folder), operating_point, progress)

        def write(draft: Path) -> None:
            for file in sorted(Path(folder).iterdir()):
                if file.suffix in (".json", ".csv", ".png") and file.name != SHEET:
                    shutil.copy(file, draft / file.name)

        add_to_artifact(classifier.folder, write)
    return found


def _corpus(
    classifier: Classifier,
    data: str,
    data_options: DataOptions,
    split: str | os.PathLike | None,
    part: str,
    options: ExamineOptions,
    progress: bool,
) -> Corpus:
    """Read the rows, once the options are known to be sound."""
    _parts(options.parts)
    methods_of(options)
    prep = classifier.card.preprocessing
    corpus = choose_part(
        read_corpus(
            data, classifier.card.task, data_options, prep["image_size"], prep["resize"], progress
        ),
        split,
        part,
    )
    if not (corpus.labels >= 0).any():
        raise ValueError(
            "There is no labelled radiograph to examine among "
            f"{len(corpus.records)}. Expected classes {classifier.card.class_names}."
        )
    return corpus


def _examine(
    classifier: Classifier,
    corpus: Corpus,
    options: ExamineOptions,
    draft: Path,
    operating_point: str | None,
    progress: bool,
) -> dict[str, Any]:
    """Measure the parts wanted, and write their files and pictures into a folder."""
    from xray_tf.pages.heatmaps.measures import write_pictures

    wanted, found = _parts(options.parts), {}
    say = partial(print, flush=True) if progress else (lambda *_: None)
    patients = [r.patient or r.path for r in corpus.records]

    def some(limit: int) -> tuple[np.ndarray, list, np.ndarray]:
        rows = draw_rows(corpus.labels, patients, limit, options.seed)
        return (
            np.asarray(corpus.pixels[corpus.rows[rows]]),
            [corpus.records[int(i)] for i in rows],
            corpus.labels[rows],
        )

    more = {"operating_point": operating_point, "progress": progress}
    if wanted & {"faithfulness", "randomisation"}:
        images, records, _ = some(options.rows)
        result, arrays = {}, {}
        if "faithfulness" in wanted:
            say(
                f"Measuring {', '.join(methods_of(options))} of {classifier.card.name} on "
                f"{len(images)} radiographs"
            )
            result, arrays = measure_faithfulness(classifier, images, records, options, **more)
        if "randomisation" in wanted:
            result["randomisation"], shuffled = measure_randomisation(
                classifier, *some(options.random_rows)[:2], options, **more
            )
            arrays |= {f"randomisation/{k}": v for k, v in shuffled.items()}
        write_faithfulness(result, arrays, draft)
        found["faithfulness"] = result
    if "shortcuts" in wanted:
        images, records, labels = some(options.shortcut_rows)
        say(f"Looking for shortcuts of {classifier.card.name} on {len(images)} radiographs")
        found["shortcuts"], table = measure_shortcuts(
            classifier, images, records, labels, options, **more
        )
        write_shortcuts(found["shortcuts"], table, draft)
        sheet = contact_sheet(
            images[np.linspace(0, len(images) - 1, min(SHEET_ROWS, len(images))).astype(int)]
        )
        (draft / SHEET).write_bytes(
            cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1].tobytes()
        )
    write_pictures(draft)
    return found


def _parts(text: str) -> set[str]:
    words = {w.strip() for w in text.split(",") if w.strip()}
    if not words or words - {*PARTS, "all"}:
        raise ValueError(
            f"parts must be all, or some of {PARTS}, comma-separated. Received: parts={text!r}"
        )
    return set(PARTS) if "all" in words else words
