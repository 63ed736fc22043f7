"""What a classifier's explanations are worth, and what it looks at: faithfulness, the randomisation check and the shortcut report, in one folder."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import cv2
import numpy as np

from xray_tf.artifact import new_folder, refuse_existing, write_text
from xray_tf.jobs.corpus import read_corpus
from xray_tf.jobs.evaluate_model import choose_part
from xray_tf.jobs.faithfulness_report import measure_faithfulness, measure_randomisation, methods_of, write_faithfulness
from xray_tf.jobs.loaded import Classifier, load
from xray_tf.jobs.shift_bench import draw_rows
from xray_tf.jobs.shortcut_report import contact_sheet, measure_shortcuts, write_shortcuts
from xray_tf.options import DataOptions, ExamineOptions

PARTS = ("faithfulness", "randomisation", "shortcuts")
PAGE, SHEET = "examination.html", "lungs.png"
SHEET_ROWS = 24


def measure_explanations(model: str | os.PathLike | Classifier, data: str, out: str | os.PathLike, data_options: DataOptions = DataOptions(),  # noqa: B008
                         options: ExamineOptions = ExamineOptions(), *, part: str = "all", operating_point: str | None = None,  # noqa: B008
                         progress: bool = True) -> dict[str, Any]:
    """Examine a finished classifier on labelled radiographs, and write a folder, whole or not at all.

    The folder holds `faithfulness.json`, `.csv`, `.npz`, `shortcuts.json`, `.csv`, their pictures, `lungs.png` (the estimated lungs of the first rows, for
    the eye) and `examination.html`. Copied into a model's folder, the two JSON files appear in its card.

    Args:
        model: an artifact folder, or one already opened; nothing is fitted, and its weights are left as they are.
        data: labelled radiographs, as in training.
        out: a folder to make.
        data_options: see `xray_tf.options`; a row's part is what `data_options.split` names, or what its source gives.
        options: methods, rows, steps, parts, seed.
        part: which rows: `all`, or those of the split `train`, `val` or `test`.
        operating_point: a name on the card; its default when None.
        progress: say what is going on.

    Returns:
        {`faithfulness`: the layout of faithfulness.json, `shortcuts`: that of shortcuts.json}, what was measured of them.

    Raises:
        FileExistsError: `out` is there.
        ValueError: an unknown method or part, or no labelled radiograph.
    """
    from xray_tf.pages.explanation_measures import render_examination, write_pictures

    refuse_existing(out)
    wanted = _parts(options.parts)
    methods_of(options)
    say = partial(print, flush=True) if progress else (lambda *_: None)
    classifier = model if isinstance(model, Classifier) else load(model)
    prep = classifier.card.preprocessing
    corpus = choose_part(read_corpus(data, classifier.card.task, data_options, prep["image_size"], prep["resize"], progress), data_options.split, part)
    patients = [r.patient or r.path for r in corpus.records]

    def drawn(limit: int) -> np.ndarray:
        rows = draw_rows(corpus.labels, patients, limit, options.seed)
        if not len(rows):
            raise ValueError(f"There is no labelled radiograph to examine among {len(corpus.records)}. Expected classes {classifier.card.class_names}.")
        return rows

    def some(limit: int) -> tuple[np.ndarray, list]:
        rows = drawn(limit)
        return np.asarray(corpus.pixels[corpus.rows[rows]]), [corpus.records[int(i)] for i in rows]

    more, found = {"operating_point": operating_point, "progress": progress}, {}
    with new_folder(out) as draft:
        if wanted & {"faithfulness", "randomisation"}:
            found["faithfulness"] = _explanations(classifier, some, options, wanted, draft, more, say)
        if "shortcuts" in wanted:
            rows = drawn(options.shortcut_rows)
            say(f"Looking for shortcuts of {classifier.card.name} on {len(rows)} radiographs")
            result, table = measure_shortcuts(classifier, corpus.pixels, corpus.rows[rows], [corpus.records[int(i)] for i in rows], corpus.labels[rows],
                                              options, **more)
            write_shortcuts(result, table, draft)
            sheet = contact_sheet(np.asarray(corpus.pixels[corpus.rows[rows[np.linspace(0, len(rows) - 1, min(SHEET_ROWS, len(rows))).astype(int)]]]))
            (draft / SHEET).write_bytes(cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1].tobytes())
            found["shortcuts"] = result
        corpus.findings.write_csv(draft / "audit.csv")
        write_pictures(draft)
        write_text(draft / PAGE, render_examination(draft, classifier.card.name))
    return found


def _parts(text: str) -> set[str]:
    words = {w.strip() for w in text.split(",") if w.strip()}
    if not words or words - {*PARTS, "all"}:
        raise ValueError(f"parts must be all, or some of {PARTS}, comma-separated. Received: parts={text!r}")
    return set(PARTS) if "all" in words else words


def _explanations(classifier: Classifier, some, options: ExamineOptions, wanted: set[str], draft, more: dict[str, Any], say) -> dict[str, Any]:
    """Measure faithfulness or the randomisation check or both, and write what was found."""
    images, records = some(options.rows)
    say(f"Measuring {', '.join(methods_of(options))} of {classifier.card.name} on {len(images)} radiographs")
    result, arrays = measure_faithfulness(classifier, images, records, options, **more) if "faithfulness" in wanted else ({}, {})
    if "randomisation" in wanted:
        result["randomisation"], shuffled = measure_randomisation(classifier, *some(options.random_rows), options, **more)
        arrays |= {f"randomisation/{k}": v for k, v in shuffled.items()}
    write_faithfulness(result, arrays, draft)
    return result
