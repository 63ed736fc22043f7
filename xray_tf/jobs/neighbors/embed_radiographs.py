"""Embed radiographs, let their nearest neighbours vote beside the network's head, and plot them."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf.artifact import new_piece, refuse_existing, write_json
from xray_tf.card import MODEL
from xray_tf.data.duplicates import looks_of
from xray_tf.data.embeddings import EMBEDDINGS, write_embeddings
from xray_tf.data.records import Record, Records
from xray_tf.data.tables.csv_files import csv_line, write_lines
from xray_tf.data.tables.split_file import SPLIT, parts_of
from xray_tf.jobs.classifier.evaluate_model import score_rows
from xray_tf.jobs.corpus import Corpus, read_corpus, read_for
from xray_tf.jobs.known_rows import fitted_on_notes
from xray_tf.jobs.neighbors.fit_reference import fit_reference, stored_reference
from xray_tf.jobs.neighbors.plots import Embedded, lay_out, write_plots
from xray_tf.jobs.provenance import provenance
from xray_tf.jobs.run import Options, Run, takes
from xray_tf.models.classifier import Classifier
from xray_tf.models.decided import predictions_of
from xray_tf.models.load import load
from xray_tf.models.reference import ABOUT, ARRAYS, PICTURES, PIECE, Reference, Thumbnails
from xray_tf.options import DataOptions, EmbedOptions, EvaluateOptions
from xray_tf.stats.metric_rows import card_metrics

COLUMNS = (
    *("path", "split", "unusual", "rank"),
    *("neighbor", "distance", "label", "subtype", "patient"),
)


@takes(DataOptions, EmbedOptions, EvaluateOptions)
def embed_radiographs(
    model: str | os.PathLike | Classifier,
    data: str,
    out: str | os.PathLike,
    *,
    options: Options,
    task: str | None = None,
    save_reference: bool = False,
) -> dict[str, Any]:
    """Embed radiographs, classify them by their nearest training radiographs, and plot them.

    If the data contains the artifact's training rows (found by their bytes), the neighbours'
    classifier is fitted on them, k is chosen by cross-validation over their patients, its operating
    point is fitted on the validation rows, and the test rows are reported. Other data is compared
    with the artifact's `reference/`, and all rows outside the two parts are reported.

    Args:
        model: an artifact's folder, or an opened artifact.
        data: as for training.
        out: the folder to make: embeddings.npz, metrics.json, knn_predictions.csv,
            head_predictions.csv, neighbors.csv, reference.npz and reference.json, audit.csv,
            confusion_knn.png, confusion_head.png, tsne.png, pca.png, page.html; what needs labels
            only where there are some.
        options: `DataOptions`, `EmbedOptions`, `EvaluateOptions` and `xray_tf.jobs.run.Run` in any
            order, or single options by name.
        task: the task of the neighbours' labels; the artifact's task if None. The head takes part
            only in its own task.
        save_reference: also add the reference to the artifact.

    Returns:
        The layout of metrics.json.

    Raises:
        FileExistsError: `out` exists, or `save_reference` is true and the artifact has a reference.
        ArtifactError: the data lacks training rows, and the artifact has no reference.
        ValueError: there is no radiograph, the task is unknown, or there are too few patients to
            choose k.
    """
    run, how, classifier = options[Run].at(out), options[EmbedOptions], load(model, "classifier")
    if save_reference:
        refuse_existing(classifier.folder / PIECE)
    seconds: dict[str, float] = {}
    corpus, records = _read(classifier, data, task, options[DataOptions], run)
    embedded = _embed(classifier, corpus, records, options, seconds)
    metrics = _measured(embedded, options[EvaluateOptions])
    metrics["seconds"] = {k: round(v, 3) for k, v in seconds.items()}
    reported = _reported(records, embedded.fitted)
    rows = [r for r, kept in zip(records, reported, strict=True) if kept]
    metrics["notes"] = _notes(metrics, rows, classifier)
    maps = lay_out(records, embedded.embeddings, how, run)
    metrics["maps"] = maps["about"] if maps else None
    with run.folder() as draft:
        _write(draft, embedded, metrics)
        if maps:
            write_plots(draft, embedded, metrics, maps)
    if save_reference:
        run.say(f"  reference added: {add_reference(classifier, out)}/")
    return metrics


def _read(
    classifier: Classifier, data: str, task: str | None, options: DataOptions, run: Run
) -> tuple[Corpus, Records]:
    """Read radiographs, and give each one its part in the artifact's training."""
    card, prep = classifier.card, classifier.card.preprocessing
    if task in (None, card.task):
        corpus = read_for(classifier, data, options, run.progress)
    else:
        corpus = read_corpus(data, task, options, prep["image_size"], prep["resize"], run.progress)
    if not len(corpus.records):
        raise ValueError(f"{data} contains no readable radiograph. Expected one or more.")
    parts = parts_of(corpus.records, classifier.folder / SPLIT)
    return corpus, corpus.records.with_split(parts)


def _embed(
    classifier: Classifier,
    corpus: Corpus,
    records: Records,
    options: Options,
    seconds: dict[str, float],
) -> Embedded:
    """Run the network, and fit or open the reference; `seconds` receives their times."""
    run, how, card = options[Run], options[EmbedOptions], classifier.card
    with _timed(seconds, "open"):
        # before the forward passes, so that errors are reported at once
        reference = stored_reference(classifier, records, corpus.task, how)
    fitted = reference is None
    with _timed(seconds, "forward"):
        batch_size = options[EvaluateOptions].forward_batch_size
        points = _forward(classifier, corpus, batch_size, run)
    embeddings = points["embedding"]
    if reference is None:
        seconds.pop("open")
        with _timed(seconds, "choose_and_fit"):
            origin = provenance(run.command_line, records, options[DataOptions], how)
            made_with = card.files.get(MODEL, "")
            looks = looks_of(corpus.pixels[row] for row in corpus.rows)
            reference = fit_reference(
                embeddings, records, corpus.task, made_with, how, origin, looks
            )
        chosen = " (k chosen by cross-validation over training patients)"
        if how.thumbnails:
            reference.pictures = _thumbnails(corpus, reference.rows, how.thumbnails)
        known = chosen if reference.about["cross_validation"] else ""
        run.say(f"  {reference.cases.recipe.describe()}{known}")
    else:
        run.say(f"  using the artifact's reference: {reference.cases.recipe.describe()}")
    with _timed(seconds, "classify"):
        found = reference.ask(embeddings, list(records))
    tables = {"knn": reference.predictions(found, list(records))}
    if corpus.task.class_names == card.class_names:
        probabilities = classifier.probabilities_of(points["logits"])
        tables["head"] = predictions_of(card, list(records), probabilities)
    return Embedded(classifier, corpus, records, embeddings, reference, found, tables, fitted)


def _thumbnails(corpus: Corpus, rows: Records, side: int) -> Thumbnails:
    """Make small pictures of a reference's rows."""
    place = dict(zip(corpus.records.column("path"), corpus.rows, strict=True))
    return Thumbnails.of((corpus.pixels[place[path]] for path in rows.column("path")), side)


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - started


def _forward(
    classifier: Classifier, corpus: Corpus, batch_size: int, run: Run
) -> dict[str, np.ndarray]:
    points = ("embedding", "logits")
    with run.line("Embedding", len(corpus.records)) as line:
        return classifier.forward(
            corpus.pixels, points, batch_size, indices=corpus.rows, progress=line.step
        )


def _measured(embedded: Embedded, options: EvaluateOptions) -> dict[str, Any]:
    """Return metrics.json without times, notes and plots."""
    reference, recipe = embedded.reference, embedded.reference.cases.recipe
    return {
        "task": embedded.corpus.task.name,
        "class_names": list(embedded.corpus.task.class_names),
        "radiographs": len(embedded.records),
        "dimensions": embedded.embeddings.shape[1],
        "rows": dict(Counter(r.split or "new" for r in embedded.records)),
        "reference": "fitted on this data" if embedded.fitted else "the artifact's",
        "recipe": asdict(recipe),
        "recipe_text": recipe.describe(),
        **{k: reference.about[k] for k in ("cross_validation", "storage", "operating_point")},
        **_scores(embedded, options),
    }


def _scores(embedded: Embedded, options: EvaluateOptions) -> dict[str, Any]:
    card, reported = embedded.classifier.card, _reported(embedded.records, embedded.fitted)
    points = {"knn": "balanced", "head": card.default_operating_point}
    out: dict[str, Any] = {"knn": None, "head": None, "difference": None}
    for name, table in embedded.tables.items():
        rows = table.where(reported & table.scorable)
        if len(rows):
            out[name] = score_rows(rows, options, points[name], card.split_by)
    if out["knn"] and out["head"]:
        knn, head = out["knn"]["metrics"], out["head"]["metrics"]
        out["difference"] = {
            m: round(cell["value"] - head[m]["value"], 6)
            for m, cell in card_metrics(knn).items()
            if cell["value"] is not None
        }
    return out


def _reported(records: Sequence[Record], fitted: bool) -> np.ndarray:
    """Return (N,) bool: test rows, or validation rows if there are none; with a reference from
    elsewhere, every row outside its parts.
    """
    splits = [r.split for r in records]
    part = "test" if "test" in splits else "val"
    return np.array([s == part if fitted else s not in ("train", "val") for s in splits], bool)


def _notes(metrics: dict[str, Any], rows: Sequence[Record], classifier: Classifier) -> list[str]:
    """Return what a reader of the scores must know: rows used for fitting, patients that are not
    new, and decisions by different rules.
    """
    sides = [metrics[k] for k in ("knn", "head") if metrics[k]]
    if not sides:
        return []
    notes = []
    if sides[0]["split"] == "val":
        notes.append(
            "There are no test rows: these are the validation rows, on which temperature and "
            "operating points were fitted, so the numbers are optimistic."
        )
    notes += fitted_on_notes(rows, classifier)
    points = [side["operating_point"] for side in sides]
    if len(set(points)) > 1:
        notes.append(
            f"Neighbours decide at the operating point {points[0]}, the head at {points[1]}: "
            "differences in accuracy or F1 are partly differences between these rules; "
            "differences in AUROC are not."
        )
    return notes


def _write(draft: Path, embedded: Embedded, metrics: dict[str, Any]) -> None:
    from xray_tf.pages.kit.figures import confusion_matrix, to_png_bytes

    write_embeddings(draft / EMBEDDINGS, embedded.embeddings, embedded.records)
    embedded.reference.write(draft)
    metrics["reference_bytes"] = sum((draft / name).stat().st_size for name in (ARRAYS, ABOUT))
    write_json(draft / "metrics.json", metrics)
    embedded.corpus.findings.write_csv(draft / "audit.csv")
    _write_neighbors(draft / "neighbors.csv", embedded)
    for name, words in (("knn", "Nearest neighbours"), ("head", "The network's head")):
        if name in embedded.tables:
            embedded.tables[name].write_csv(draft / f"{name}_predictions.csv")
        if metrics[name]:
            matrix, names = metrics[name]["confusion_matrix"], metrics["class_names"]
            picture = to_png_bytes(confusion_matrix(matrix, names, words))
            (draft / f"confusion_{name}.png").write_bytes(picture)


def _write_neighbors(path: Path, embedded: Embedded) -> None:
    """Write one row per radiograph and neighbour, the nearest SHOWN of those that vote."""
    lines = []
    for i, row in enumerate(embedded.records):
        unusual = f"{embedded.found.unusual[i]:.1f}"
        for rank, (r, distance) in enumerate(embedded.nearest(i), 1):
            near = (rank, r.path, f"{distance:.6f}", r.label, r.subtype, r.patient)
            lines.append(csv_line((row.path, row.split, unusual, *near)))
    write_lines(path, COLUMNS, lines)


def add_reference(model: str | os.PathLike | Classifier, results: str | os.PathLike) -> Path:
    """Add the reference that `embed_radiographs` wrote into `results` to its artifact as
    `reference/`, and return that folder.

    Raises:
        FileExistsError: the artifact has a reference already.
        ArtifactError: the reference was made with another model.
    """
    classifier = load(model, kind="classifier")
    Reference.read(results, classifier.card)
    with new_piece(classifier.folder, PIECE) as draft:
        for name in (ARRAYS, ABOUT, PICTURES):
            if name != PICTURES or (Path(results) / name).is_file():
                shutil.copyfile(Path(results) / name, draft / name)
    return classifier.folder / PIECE
