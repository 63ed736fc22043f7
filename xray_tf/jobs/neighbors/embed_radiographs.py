"""Radiographs to embeddings, and what can be done with them: nearest-neighbour votes beside the
network's head, maps and a page.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf.artifact import new_folder, new_piece, refuse_existing, write_text
from xray_tf.data.embeddings import EMBEDDINGS, write_embeddings
from xray_tf.data.predictions import Predictions
from xray_tf.data.records import Findings, Record, Records, class_index, common_part
from xray_tf.data.split import known_to, parts_of
from xray_tf.jobs.corpus import Corpus, read_corpus
from xray_tf.jobs.neighbors.fit_reference import _stored_reference, fit_reference
from xray_tf.jobs.provenance import provenance
from xray_tf.models.classifier import Classifier
from xray_tf.models.decided import predictions_of
from xray_tf.models.load import load
from xray_tf.models.reference import ABOUT, ARRAYS, PIECE, Neighborhood, Reference
from xray_tf.options import DataOptions, EmbedOptions, EvaluateOptions
from xray_tf.registry import TASKS

SHOWN = 5  # neighbours named on the page


def embed_radiographs(
    model: str | os.PathLike | Classifier,
    data: str,
    out: str | os.PathLike,
    data_options: DataOptions = DataOptions(),
    options: EmbedOptions = EmbedOptions(),
    evaluate_options: EvaluateOptions = EvaluateOptions(),
    *,
    task: str | None = None,
    save_reference: bool = False,
    command_line: str = "",
    progress: bool = True,
) -> dict[str, Any]:
    """Embed radiographs, classify them by their nearest training radiographs, and draw them.

    Where the data hold the artifact's training rows (its split.csv; found by their bytes), the
    neighbours' classifier is fitted on those, k is chosen by cross-validation over their patients,
    its operating point is fitted on the validation rows, and the test rows are reported. Other data
    are asked against the artifact's `reference/`, and all rows that are in neither part are
    reported.

    Args:
        model: an artifact folder, or one already opened.
        data: as in training.
        out: the folder to make: embeddings.npz, metrics.json, knn_predictions.csv,
            head_predictions.csv, neighbors.csv, reference.npz and reference.json, audit.csv,
            confusion_knn.png, confusion_head.png, tsne.png, pca.png, page.html; what needs labels
            only where there are some.
        data_options, options, evaluate_options: see `xray_tf.options`.
        task: what the neighbours' labels tell apart; the artifact's task when None. Under another
            the head has no say.
        save_reference: also add the reference to the artifact.
        command_line: kept in reference.json.
        progress: say what is going on.

    Returns:
        The layout of metrics.json.

    Raises:
        FileExistsError: `out` is there, or the artifact's reference is and `save_reference` is
            true.
        ArtifactError: the data lack training rows, and the artifact has no reference.
        ValueError: no radiograph, an unknown task, or too few patients to choose by.
    """
    say = partial(print, flush=True) if progress else (lambda *_: None)
    classifier = load(model, kind="classifier")
    task = task or classifier.card.task
    if task not in TASKS:
        raise ValueError(f"task must be one of {tuple(TASKS)}. Received: task={task!r}")
    refuse_existing(out)
    if save_reference:
        refuse_existing(classifier.folder / PIECE)
    prep = classifier.card.preprocessing
    corpus = read_corpus(data, task, data_options, prep["image_size"], prep["resize"], progress)
    if not len(corpus.records):
        raise ValueError(f"{data} holds no radiograph that can be read. Expected one or more.")
    records = corpus.records.with_split(parts_of(corpus.records, classifier.folder / "split.csv"))
    started = time.perf_counter()
    # before the forward passes: what does not fit is told at once
    reference = _stored_reference(classifier, records, task, options)
    opened = time.perf_counter() - started
    embeddings, logits, seconds = _forward(
        classifier, corpus, evaluate_options.forward_batch_size, say
    )

    started, fitted = time.perf_counter(), reference is None
    if reference is None:
        origin = provenance(command_line, records, data_options, options)
        reference = fit_reference(
            embeddings,
            records,
            task,
            classifier.card.files.get("model.keras", ""),
            options,
            origin,
            say,
        )
        seconds["choose_and_fit"] = time.perf_counter() - started
    else:
        say(f"  asking the artifact's reference: {reference.cases.recipe.describe()}")
        seconds["open"] = opened
    started = time.perf_counter()
    found = reference.ask(embeddings, list(records))
    seconds["classify"] = time.perf_counter() - started
    tables = {"knn": reference.predictions(found, list(records))}
    if task == classifier.card.task:
        tables["head"] = predictions_of(
            classifier.card, list(records), classifier.probabilities_of(logits)
        )
    reported = _reported(records, fitted)
    metrics = {
        "task": task,
        "class_names": list(TASKS[task]),
        "radiographs": len(records),
        "dimensions": embeddings.shape[1],
        "rows": dict(Counter(r.split or "new" for r in records)),
        "reference": "fitted on these data" if fitted else "the artifact's",
        "recipe": asdict(reference.cases.recipe),
        "recipe_text": reference.cases.recipe.describe(),
        **{k: reference.about[k] for k in ("cross_validation", "storage", "operating_point")},
        "seconds": {k: round(v, 3) for k, v in seconds.items()},
        **_scores(tables, reported, classifier, reference, evaluate_options),
    }
    metrics["notes"] = _notes(
        metrics, [r for r, kept in zip(records, reported, strict=True) if kept], classifier
    )
    maps = _maps(records, embeddings, options, say)
    metrics["maps"] = maps["about"] if maps else None
    with new_folder(out) as draft:
        _write(
            draft, classifier, corpus, records, embeddings, reference, found, tables, metrics, maps
        )
    if save_reference:
        say(f"  reference added: {add_reference(classifier, out)}/")
    return metrics


def _forward(
    classifier: Classifier, corpus: Corpus, batch_size: int, say: Callable
) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    from xray_tf.nets.embedding import with_embedding
    from xray_tf.nets.inference import forward

    say(f"Embedding {len(corpus.records)} radiographs with {classifier.card.name}")
    net = with_embedding(classifier.model)
    started = time.perf_counter()
    points = forward(net, corpus.pixels, corpus.rows, ("embedding", "logits"), batch_size)
    return points["embedding"], points["logits"], {"forward": time.perf_counter() - started}


def _reported(records: Records, fitted: bool) -> np.ndarray:
    """Test rows, or validation rows where there are none; where the reference came from elsewhere,
    every row that is in neither of its parts.
    """
    part = "test" if any(r.split == "test" for r in records) else "val"
    return np.array(
        [r.split == part if fitted else r.split not in ("train", "val") for r in records], bool
    )


def _scores(
    tables: dict[str, Predictions],
    reported: np.ndarray,
    classifier: Classifier,
    reference: Reference,
    options: EvaluateOptions,
) -> dict[str, Any]:
    from xray_tf.stats.metrics import score

    out: dict[str, Any] = {"knn": None, "head": None, "difference": None}
    rows = {name: table.where(reported & table.scorable) for name, table in tables.items()}
    points = {"knn": "balanced", "head": classifier.card.default_operating_point}
    for name, table in rows.items():
        if len(table):
            out[name] = score(
                table.probabilities,
                table.labels,
                table.predicted,
                list(table.patients),
                table.class_names,
                options.bootstrap,
                options.bootstrap_seed,
                split=common_part(table.splits),
                operating_point=points[name],
                split_by=classifier.card.split_by,
            )
    if out["knn"] and out["head"]:
        out["difference"] = {
            m: round(out["knn"]["metrics"][m]["value"] - out["head"]["metrics"][m]["value"], 6)
            for m in ("accuracy", "f1", "auroc")
            if out["knn"]["metrics"][m]["value"] is not None
        }
    return out


def _notes(
    metrics: dict[str, Any], reported: Sequence[Record], classifier: Classifier
) -> list[str]:
    """Say what a reader of the scores must know: rows that were fitted on, patients that are not
    new, and decisions that follow different rules.
    """
    sides = [metrics[k] for k in ("knn", "head") if metrics[k]]
    if not sides:
        return []
    notes = []
    if sides[0]["split"] == "val":
        notes.append(
            "There are no test rows: these are the validation rows, on which temperature "
            "and operating points were fitted, so the figures flatter."
        )
    fitted_on = {"train", "val"} - {r.split for r in reported}
    files, keys = known_to(reported, classifier.folder / "split.csv", *fitted_on)
    familiar = int((files | keys).sum())
    if familiar:
        notes.append(
            f"{familiar:,} of these {len(reported):,} rows have patient keys that the "
            "model was fitted on. Neighbours of the same key never vote, "
            "but the net has seen them: the figures say nothing about new patients."
        )
    points = [side["operating_point"] for side in sides]
    if len(set(points)) > 1:
        notes.append(
            f"Neighbours decide at the operating point {points[0]}, the head at "
            f"{points[1]}: a difference in accuracy or F1 is also one of these "
            "rules, a difference in AUROC is not."
        )
    return notes


def _maps(
    records: Records, embeddings: np.ndarray, options: EmbedOptions, say: Callable
) -> dict[str, Any] | None:
    from xray_tf.stats.projection import map_pca, map_tsne

    if options.map_rows < 3 or len(records) < 3:
        return None
    # Test rows first, then validation, then the rest, each in an order drawn from the seed: a map
    # of a part is a map of a fair part.
    drawn = np.random.default_rng(options.embed_seed).permutation(len(records))
    rank = {"test": 0, "val": 1, "": 2, "train": 3}
    chosen = np.sort(sorted(drawn, key=lambda i: rank[records[i].split])[: options.map_rows])
    say(f"Drawing maps of {len(chosen)} radiographs")
    pca, explained = map_pca(embeddings[chosen])
    tsne, about = map_tsne(embeddings[chosen], options.perplexity, seed=options.embed_seed)
    return {
        "rows": chosen,
        "pca": pca,
        "tsne": tsne,
        "about": {"tsne": about, "pca": {"explained": [round(float(e), 4) for e in explained]}},
    }


def _write(
    draft: Path,
    classifier: Classifier,
    corpus: Corpus,
    records: Records,
    embeddings: np.ndarray,
    reference: Reference,
    found: Neighborhood,
    tables: dict[str, Predictions],
    metrics: dict[str, Any],
    maps: dict[str, Any] | None,
) -> None:
    from xray_tf.pages.kit.figures import confusion_matrix, to_png_bytes
    from xray_tf.pages.kit.words import SPLIT_NAMES, enumerate_text
    from xray_tf.pages.neighbors.figures import draw_map
    from xray_tf.pages.neighbors.page import Point, render_page

    write_embeddings(draft / EMBEDDINGS, embeddings, records)
    reference.write(draft)
    metrics["reference_bytes"] = sum((draft / name).stat().st_size for name in (ARRAYS, ABOUT))
    write_text(draft / "metrics.json", json.dumps(metrics, indent=1, allow_nan=False) + "\n")
    Findings(corpus.findings).write_csv(draft / "audit.csv")
    _write_neighbors(draft / "neighbors.csv", records, reference, found)
    for name, table in tables.items():
        table.write_csv(draft / f"{name}_predictions.csv")
        if metrics[name]:
            words = {"knn": "Nearest neighbours", "head": "The network's head"}[name]
            (draft / f"confusion_{name}.png").write_bytes(
                to_png_bytes(
                    confusion_matrix(metrics[name]["confusion_matrix"], table.class_names, words)
                )
            )
    if not maps:
        return
    shown, knn, decided = maps["rows"], tables["knn"], tables.get("head", tables["knn"])
    parts = Counter(records[i].split for i in shown)
    counts = enumerate_text(
        [
            f"{parts[part]:,} {name}"
            for part, name in {**SPLIT_NAMES, "": "new"}.items()
            if parts[part]
        ]
    ) + (" radiographs")
    whose = "the network's head" if "head" in tables else "nearest neighbours"
    for name in ("tsne", "pca"):
        figure = draw_map(
            maps[name],
            knn.labels[shown],
            decided.predicted[shown],
            knn.class_names,
            f"{map_title(name, maps['about'])}; {counts}",
            whose,
        )
        (draft / f"{name}.png").write_bytes(to_png_bytes(figure))
    place = {records[i].sha256: at for at, i in enumerate(shown)}
    points = []
    for at, i in enumerate(shown):
        near = [
            (reference.rows[j], float(d))
            for j, d in zip(found.indices[i, :SHOWN], found.distances[i, :SHOWN], strict=True)
            if j >= 0
        ]
        points.append(
            Point(
                records[i],
                tuple(maps["tsne"][at].tolist()),
                tuple(maps["pca"][at].tolist()),
                int(knn.labels[i]),
                int(decided.predicted[i]),
                tuple(decided.probabilities[i].tolist()),
                tuple(knn.probabilities[i].tolist()),
                float(found.unusual[i]),
                tuple(
                    (r.path, class_index(r, reference.task), d, place.get(r.sha256, -1))
                    for r, d in near
                ),
            )
        )
    write_text(
        draft / "page.html",
        render_page(
            classifier.card,
            metrics,
            points,
            corpus.pixels[corpus.rows[shown]],
            {n: map_title(n, maps["about"]) for n in ("tsne", "pca")},
            whose,
        ),
    )


def map_title(name: str, about: dict[str, Any]) -> str:
    """Say how a map was made, in one line."""
    if name == "tsne":
        used = about["tsne"]
        return (
            f"t-SNE after {used['components']} principal components, perplexity "
            f"{used['perplexity']:g}, seed {used['seed']}"
        )
    return "Principal components, with {:.0f} % and {:.0f} % of the variance".format(
        *(100 * e for e in about["pca"]["explained"])
    )


def _write_neighbors(
    path: Path, records: Records, reference: Reference, found: Neighborhood
) -> None:
    """One row a radiograph and neighbour, the nearest SHOWN of each."""
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(
            [
                "path",
                "split",
                "unusual",
                "rank",
                "neighbor",
                "distance",
                "label",
                "subtype",
                "patient",
            ]
        )
        for i, row in enumerate(records):
            for rank, (j, d) in enumerate(
                zip(found.indices[i, :SHOWN], found.distances[i, :SHOWN], strict=True), 1
            ):
                if j >= 0:
                    r = reference.rows[int(j)]
                    writer.writerow(
                        [
                            row.path,
                            row.split,
                            f"{found.unusual[i]:.1f}",
                            rank,
                            r.path,
                            f"{d:.6f}",
                            r.label,
                            r.subtype,
                            r.patient,
                        ]
                    )


def add_reference(model: str | os.PathLike | Classifier, results: str | os.PathLike) -> Path:
    """Add the reference that `embed_radiographs` left in `results` to its artifact as `reference/`,
    and return that folder.

    Raises:
        FileExistsError: the artifact has one.
        ArtifactError: it was made with another model.
    """
    classifier = load(model, kind="classifier")
    Reference.read(results, classifier.card)
    with new_piece(classifier.folder, PIECE) as draft:
        for name in (ARRAYS, ABOUT):
            shutil.copyfile(Path(results) / name, draft / name)
    return classifier.folder / PIECE
