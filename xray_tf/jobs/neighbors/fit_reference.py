"""Fit a reference of nearest cases on the training rows of a classifier."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from xray_tf.artifact import ArtifactError
from xray_tf.data.kin import kin_groups
from xray_tf.data.records import Records
from xray_tf.data.tables.split_file import SPLIT, read_split
from xray_tf.models.classifier import Classifier
from xray_tf.models.reference import PIECE, Reference
from xray_tf.options import EmbedOptions
from xray_tf.registry import Task


def stored_reference(
    classifier: Classifier, records: Records, task: Task, options: EmbedOptions
) -> Reference | None:
    """Return None if all training and validation rows are present, so that a reference can be
    fitted on them; else open the artifact's reference.

    Raises:
        ArtifactError: rows are missing, and the artifact has no reference.
        ValueError: the rows do not suffice, or the artifact's reference is for another task.
    """
    wanted = Counter(r["split"] for r in read_split(classifier.folder / SPLIT))
    here = Counter(r.split for r in records)
    if all(here[part] >= wanted[part] for part in ("train", "val")):
        _rows_to_fit(records, task, options)
        return None
    if not (classifier.folder / PIECE).is_dir():
        raise ArtifactError(
            f"This data has {here['train']} of the {wanted['train']} training and {here['val']} of "
            f"the {wanted['val']} validation radiographs of {classifier.card.name}, which has no "
            f"{PIECE}/. First use the data it was trained on, with --add-reference."
        )
    reference = Reference.read(classifier.folder / PIECE, classifier.card)
    if reference.class_names != task.class_names:
        raise ValueError(
            f"the reference of {classifier.card.name} is for the task "
            f"{reference.task.name}. Received: task={task.name!r}"
        )
    return reference


def _rows_to_fit(
    records: Records, task: Task, options: EmbedOptions
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return class indices (N,), the training rows and the validation rows.

    Raises:
        ValueError: a part has no row of some class, or there are not more training rows than
            neighbours.
    """
    labels = np.array(records.class_indices(task), np.int64)
    train, val = (
        np.array([i for i, r in enumerate(records) if r.split == part and labels[i] >= 0], np.int64)
        for part in ("train", "val")
    )
    for part, rows in (("training", train), ("validation", val)):
        missing = [n for c, n in enumerate(task.class_names) if c not in labels[rows]]
        if missing:
            raise ValueError(
                f"neighbours need {part} rows of every class of {task.name}. Received "
                f"none of: {', '.join(missing)}."
            )
    if options.neighbors >= len(train):
        raise ValueError(
            f"neighbors must be less than the number of training rows, {len(train)}. "
            f"Received: neighbors={options.neighbors}"
        )
    return labels, train, val


def fit_reference(
    embeddings: np.ndarray,
    records: Records,
    task: Task,
    model_sha256: str,
    options: EmbedOptions = EmbedOptions(),
    origin: dict[str, Any] | None = None,
    looks: np.ndarray | None = None,
) -> Reference:
    """Fit the neighbours' classifier and choose k on the training rows, and fit its operating point
    on the validation rows.

    Args:
        embeddings: (N, D) float32.
        records: N records with their `split`; rows without a class under `task` are left out.
        task: a key of `registry.TASKS`.
        model_sha256: sha256 of the model that computed the embeddings.
        options: see `EmbedOptions`.
        origin: provenance, recorded unchanged.
        looks: (N, 143) int8, see `data.duplicates.looks_of`; None leaves them out.

    Raises:
        ValueError: a class has fewer than two training patients or no validation row, or there are
            not more training rows than neighbours.
    """
    from xray_tf.stats.neighbors.cases import NearestCases, Recipe
    from xray_tf.stats.neighbors.choice import NEIGHBOR_COUNTS, choose, compact, compare_recipes
    from xray_tf.stats.operating_points import fit_operating_points

    labels, train, val = _rows_to_fit(records, task, options)
    names, learnt = task.class_names, (embeddings[train], labels[train])
    kin = kin_groups(records.column("patient"), records.column("sha256"))
    shared = {k: getattr(options, k) for k in ("metric", "weights", "space", "components")}
    rows, recipe = [], Recipe(options.neighbors or 1, **shared)
    if not options.neighbors:
        recipes = [Recipe(k, **shared) for k in NEIGHBOR_COUNTS if k < len(train) / 2]
        rows = compare_recipes(*learnt, len(names), kin[train], recipes, seed=options.embed_seed)
        recipe = choose(rows)
    whole = NearestCases(recipe).fit(*learnt, len(names), kin[train])
    votes = whole.predict_proba(embeddings[val], kin[val])
    point = fit_operating_points(votes, labels[val], ["val"] * len(val), names)["balanced"]
    cases, storage = compact(whole, embeddings[train], embeddings[val], point.decide)
    about = {
        "task": task.name,
        "class_names": list(names),
        "operating_point": point.to_dict(),
        "cross_validation": rows,
        "storage": storage,
        "model_sha256": model_sha256,
        "provenance": origin or {},
    }
    rows = records.with_rows(records[i] for i in train)
    return Reference(cases, rows, about, looks=None if looks is None else looks[train])
