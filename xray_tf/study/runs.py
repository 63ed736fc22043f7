"""Run the stages of a study: each calls one job, and adds what the study's page needs."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xray_tf.artifact import (
    CHECKPOINT,
    new_folder,
    read_card,
    refuse_existing,
    write_json,
    write_text,
)
from xray_tf.data.pixels.reading import stream_pixels
from xray_tf.data.predictions import Predictions
from xray_tf.data.records import Record, Records, class_index
from xray_tf.data.sample import draw_records
from xray_tf.data.tables.arrays import read_arrays
from xray_tf.data.tables.csv_files import csv_line, write_lines
from xray_tf.data.tables.split_file import read_split, write_split
from xray_tf.jobs.audit.audit_data import audit_records
from xray_tf.jobs.classifier.evaluate_model import evaluate_model
from xray_tf.jobs.classifier.train_classifier import train_classifier
from xray_tf.jobs.corpus import Corpus, divide, read_corpus
from xray_tf.jobs.heatmaps.explain_files import explain_files
from xray_tf.jobs.heatmaps.heatmap_file import MAPS
from xray_tf.jobs.neighbors.embed_radiographs import embed_radiographs
from xray_tf.jobs.run import Run
from xray_tf.jobs.training import INTERRUPTED
from xray_tf.models.classifier import Classifier
from xray_tf.models.load import load
from xray_tf.options import DataOptions, ExplainOptions, ModelOptions
from xray_tf.pages.kit import overlays
from xray_tf.pages.kit.filters import jpeg
from xray_tf.registry import TASKS

if TYPE_CHECKING:
    from xray_tf.study.presets import Recipe
    from xray_tf.study.study import Study

GALLERY, PICTURES = "gallery.json", "gallery"
PER_OUTCOME = 3
MOST_ALARMS = 0.8  # with a larger false-alarm budget there is no detector
_QUALITY = 85  # of JPEG
WORKSHOP = ".training"  # where a classifier is kept until its card has the study's notes


def run_audit(study: Study) -> None:
    """Report what is wrong with the data: audit.csv, records.csv, summary.md and summary.json."""
    options = study.data_options
    audit = audit_records(
        study.data, options.source, options.patient_key, options.cache, study.run.progress
    )
    with new_folder(study.out / "audit") as draft:
        audit.findings.write_csv(draft / "audit.csv")
        audit.records.write_csv(draft / "records.csv")
        write_text(
            draft / "summary.md", audit.text().encode("utf-8", "backslashreplace").decode("utf-8")
        )
        summary = {k: v for k, v in audit.summary.items() if k != "data"}
        write_json(draft / "summary.json", summary)


def run_split(study: Study) -> None:
    """Split the rows, once for the whole study: one <task>.csv per task, findings.csv, and rows.csv
    if rows are limited.
    """
    model, options, data = study.preset.recipes[0].model, study.data_options, study.data
    with new_folder(study.out / "split") as draft:
        if study.limited:
            records = _read(study, data, "binary", options, model).records
            drawn = limit(records, study.options.rows, study.options.seed)
            write_manifest(drawn, draft / "rows.csv")
            data, options = os.fspath(draft / "rows.csv"), replace(options, source="csv")
        corpus = _read(study, data, "binary", options, model)
        whole = divide(corpus, options, study.options.seed)
        if not len(whole.of_split("test")):
            raise ValueError(
                "A study reports on test rows, and this split has none. Keep --test above 0, or "
                "use data with a test part."
            )
        for task in study.tasks:
            known = whole.records.where(lambda r, task=task: class_index(r, TASKS[task]) >= 0)
            write_split(known, draft / f"{task}.csv")
        whole.findings.write_csv(draft / "findings.csv")


def _read(study: Study, data: str, task: str, options: DataOptions, model: ModelOptions) -> Corpus:
    return read_corpus(data, task, options, model.image_size, model.resize, study.run.progress)


def limit(records: Records, rows: int, seed: int) -> Records:
    """Draw at most `rows` labelled records, whole patients, the classes as even as possible."""
    three = TASKS["three-class"]
    labels = np.array(
        [c if (c := class_index(r, three)) >= 0 else 3 if r.label else -1 for r in records],
        np.int64,
    )
    return records.with_rows(records[int(i)] for i in draw_records(records, labels, rows, seed))


def write_manifest(records: Records, path: Path) -> None:
    """Write a CSV manifest with paths relative to its folder, where possible."""

    def relative(row: Record) -> str:
        file = records.file(row).resolve()
        try:
            return Path(os.path.relpath(file, path.parent.resolve())).as_posix()
        except ValueError:  # another drive
            return file.as_posix()

    rows = ((relative(r), r.label, r.subtype, r.patient, r.split) for r in records)
    write_lines(path, ("path", "label", "subtype", "patient", "split"), map(csv_line, rows))


def run_train(study: Study, recipe: Recipe) -> None:
    """Train one classifier, or go on with a killed run."""
    data, data_options = study.source_of(recipe.train.task)
    options = (data_options, recipe.model, recipe.train, study.evaluate_options)
    _make_artifact(
        study,
        f"models/{recipe.name}",
        study.notes(recipe),
        lambda draft, run: train_classifier(data, draft, *options, run),
    )


def run_detector(study: Study) -> None:
    """Learn normal chests, or go on with a killed run. With few calibration normals the budget is
    the smallest that they allow.
    """
    from xray_tf.jobs.detector.fit_detector import fit_detector

    data, data_options = study.source_of("binary")
    options, notes = study.preset.detect, study.notes()
    held_out = [
        r for r in read_split(data_options.split) if r["split"] == "val" and r["label"] == "normal"
    ]
    patients = len({r["patient"] or r["path"] for r in held_out})
    # reconstruction, density, and the committee of detectors
    scores = 2 + (options.detectors != "none")
    least = math.ceil(100 * (scores + 1) / (patients + 1)) / 100
    if least > MOST_ALARMS:
        raise ValueError(
            "The detector's thresholds come from held-out normals, and the validation part has "
            f"normals of only {patients} patients; at least "
            f"{math.ceil((scores + 1) / MOST_ALARMS) - 1} are needed. Use more --rows, or a "
            "larger --validation share."
        )
    if least > options.budget:
        notes.append(
            f"There are only {patients} normal patients for calibration, so the false-alarm budget "
            f"is {least:.2g} instead of {options.budget:.2g}."
        )
        options = replace(options, budget=least)
    groups = (data_options, options, study.evaluate_options)
    _make_artifact(
        study, "detector", notes, lambda draft, run: fit_detector(data, draft, *groups, run)
    )


def _make_artifact(
    study: Study, place: str, notes: list[str], make: Callable[[Path, Run], object]
) -> None:
    """Make an artifact with the study's notes on its card beside its place, and move it there; a
    killed run goes on.
    """
    final = study.out / place
    refuse_existing(final)
    draft = study.out / WORKSHOP / final.name
    if not (draft / "card.json").is_file():
        run = replace(study.run, out=draft, notes=tuple(notes))
        make(draft, replace(run, resume=(run.workshop / CHECKPOINT).is_file()))
    study.opened.pop(final.name, None)
    final.parent.mkdir(exist_ok=True)
    os.rename(draft, final)
    shutil.rmtree(study.out / WORKSHOP, ignore_errors=True)
    if any(note.startswith(INTERRUPTED) for note in read_card(final).notes):
        raise KeyboardInterrupt


def _opened(study: Study, recipe: Recipe) -> Classifier:
    """Open a classifier once for all stages about it, so that its network is compiled once."""
    if recipe.name not in study.opened:
        study.opened.clear()  # one at a time
        study.opened[recipe.name] = load(study.out / "models" / recipe.name, kind="classifier")
    return study.opened[recipe.name]


def run_embed(study: Study, recipe: Recipe) -> None:
    """Compare nearest neighbours with the head; plot confusion matrices and t-SNE."""
    data, data_options = study.source_of(recipe.train.task)
    model, out = _opened(study, recipe), study.out / "embeddings" / recipe.name
    options = data_options, study.preset.embed, study.evaluate_options
    embed_radiographs(model, data, out, *options, study.run)


def run_shift(study: Study, recipe: Recipe) -> None:
    """Score the test rows unchanged and under graded changes."""
    data, data_options = study.source_of(recipe.train.task)
    model, out = _opened(study, recipe), study.out / "shift" / recipe.name
    options = data_options, study.evaluate_options, study.preset.shift
    evaluate_model(model, data, out, *options, study.run, part="test")


def sample_of_test(study: Study, task: str, count: int) -> Records:
    """Return at most `count` test rows of a task, drawn by the study's seed, the classes as even
    as possible.
    """
    data, data_options = study.source_of(task)
    model = next(r.model for r in study.preset.recipes if r.train.task == task)
    read = _read(study, data, task, data_options, model)
    corpus = divide(read, data_options, study.options.seed)
    rows = corpus.of_split("test")
    records = [corpus.records[int(i)] for i in rows]
    drawn = draw_records(records, corpus.labels[rows], count, study.options.seed)
    return corpus.records.with_rows(records[int(i)] for i in drawn)


def run_explain(study: Study, recipe: Recipe) -> None:
    """Draw heat maps of a sample of the test rows, and a gallery of right and wrong decisions
    selected by a stated rule.
    """
    folder = study.out / "explanations" / recipe.name
    task = recipe.train.task
    sample = sample_of_test(study, task, study.preset.explained)
    files = [os.fspath(sample.file(r)) for r in sample]
    with new_folder(folder) as draft:
        work = draft / "work"
        explain_files(_opened(study, recipe), files, work, ExplainOptions(), study.run)
        for item in work.iterdir():
            os.rename(item, draft / item.name)
        work.rmdir()
        write_gallery(draft, sample, task, study.out / "models" / recipe.name)


def run_examine(study: Study, recipe: Recipe) -> None:
    """Measure how faithful the heat maps are, whether they depend on the weights, and which
    decisions survive without lungs, borders and markers.
    """
    from xray_tf.jobs.heatmaps.measure_explanations import measure_explanations

    data, data_options = study.source_of(recipe.train.task)
    model, out = _opened(study, recipe), study.out / "examinations" / recipe.name
    options = data_options, study.preset.examine, study.run
    measure_explanations(model, data, out, *options, part="test")


def write_gallery(folder: Path, sample: Records, task: str, model: Path) -> None:
    """Write gallery/*.jpeg and gallery.json: the most typical radiographs of each outcome, without
    file names.

    gallery.json: {"rule", "empty" (heat maps without evidence), "explained", "cells": [{"picture",
    "outcome", "label", "decided", "probability", "map_of", "empty", "radiograph" (the first letters
    of the file's sha256)}]}.
    """
    predictions = Predictions.read_csv(folder / "predictions.csv")
    prep = read_card(model).preprocessing
    labels = np.array(sample.class_indices(TASKS[task]), np.int64)
    stored = read_arrays(folder / MAPS)
    maps, explained, empty = stored["maps"], stored["explained"], stored["empty"]
    chosen = overlays.choose_outcomes(
        labels, predictions.predicted, np.nan_to_num(predictions.probabilities), PER_OUTCOME
    )
    (folder / PICTURES).mkdir()
    cells = []
    for outcome, rows in chosen.items():
        pixels = stream_pixels(
            [sample.file(sample[int(i)]) for i in rows], prep["image_size"], prep["resize"]
        )
        for i, (_, image) in zip(map(int, rows), pixels, strict=True):
            name = f"{PICTURES}/{len(cells):02d}.jpeg"
            of = predictions.class_names[explained[i]]
            picture = overlays.panel(image, maps[i], titles=("radiograph", of, "top region"))
            (folder / name).write_bytes(jpeg(picture, _QUALITY))
            row = predictions[i]
            cells.append(
                {
                    "picture": name,
                    "outcome": outcome,
                    "label": predictions.class_names[labels[i]],
                    "decided": row.predicted,
                    "probability": round(float(row.probabilities[predictions.predicted[i]]), 4),
                    "map_of": of,
                    "empty": bool(empty[i]),
                    "radiograph": sample[i].sha256[:8],
                }
            )
    about = {
        "rule": overlays.RULE,
        "explained": len(sample),
        "empty": int(empty.sum()),
        "options": asdict(ExplainOptions()),
        "cells": cells,
    }
    write_json(folder / GALLERY, about)
