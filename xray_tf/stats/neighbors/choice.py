"""Choose how neighbours are found and vote, by cross-validation over patients, and how their
vectors are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from xray_tf.stats.metrics import epoch_scores, macro_recall
from xray_tf.stats.neighbors.cases import NearestCases, Recipe

NEIGHBOR_COUNTS = (1, 3, 5, 7, 9, 11, 15, 21, 31, 45, 65, 95)


def compare_recipes(
    embeddings,
    labels,
    classes: int,
    kin,
    recipes: Iterable[Recipe],
    folds: int = 5,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Score recipes by cross-validation over kin groups: no neighbour of a row's own patient or
    file ever votes for it.

    The space is learnt anew in every fold, from the rows that vote.

    Args:
        embeddings: (N, D) of training rows.
        labels: (N,) int class indices.
        classes: K.
        kin: (N,) int, from `data.kin.kin_groups`.
        recipes: what to compare; those that differ in k and weights only share their searches.
        folds: of `StratifiedGroupKFold`, fewer where there are fewer groups of a class.
        seed: of the folds.

    Returns:
        One dict a recipe, in order: its fields and `loss`, `accuracy` (of the most voted class),
            `auroc` (macro), `balanced_accuracy`.

    Raises:
        ValueError: fewer than two kin groups of some class.
    """
    embeddings, labels, kin = np.asarray(embeddings), np.asarray(labels), np.asarray(kin)
    fewest = min(len(np.unique(kin[labels == c])) for c in range(classes))
    if fewest < 2:
        raise ValueError(
            f"choosing by patient needs two patients of each class or more. Received: {fewest} of "
            "the rarest."
        )
    splitter = StratifiedGroupKFold(min(folds, fewest), shuffle=True, random_state=seed)
    parts = list(splitter.split(embeddings, labels, kin))
    most = min(len(fit) for fit, _ in parts) - 1
    recipes = [replace(r, k=min(r.k, most)) for r in recipes]
    probabilities = {r: np.empty((len(labels), classes)) for r in recipes}
    for space in dict.fromkeys((r.space, r.components, r.metric) for r in recipes):
        same = [r for r in recipes if (r.space, r.components, r.metric) == space]
        widest = max(same, key=lambda r: r.k)
        for fit, held_out in parts:
            cases = NearestCases(widest).fit(
                embeddings[fit], labels[fit], classes, kin[fit], typical=False
            )
            distances, indices = cases.kneighbors(embeddings[held_out], kin=kin[held_out])
            for r in same:
                near = distances[:, : r.k], indices[:, : r.k]
                probabilities[r][held_out] = cases.vote(*near, r.weights)
    return [{**asdict(r), **_cross_validated(probabilities[r], labels)} for r in recipes]


def choose(rows: Sequence[dict[str, Any]]) -> Recipe:
    """Return the recipe of the highest cross-validated AUROC + balanced accuracy; the larger k of
    equals.
    """
    best = max(rows, key=lambda r: (round(r["auroc"] + r["balanced_accuracy"], 6), r["k"]))
    return Recipe.of(best)


def compact(
    cases: NearestCases, embeddings, validation, decide: Callable[[np.ndarray], np.ndarray]
) -> tuple[NearestCases, dict[str, Any]]:
    """Refit with float16 vectors, half the size, where no validation answer changes by it.

    Args:
        cases: fitted on `embeddings` in float32.
        embeddings: (N, D) what it was fitted on.
        validation: (V, D) embeddings of validation rows.
        decide: probabilities (V, K) -> class indices (V,).

    Returns:
        (the one to keep, {`storage`, `bytes`, and `changed_by_float16`, how many of the V answers
        float16 changes}).
    """
    small = NearestCases(cases.recipe, "float16").fit(
        embeddings, cases.labels_, cases.classes_, cases.kin_
    )
    answers = [decide(c.predict_proba(validation)) for c in (small, cases)]
    changed = int((answers[0] != answers[1]).sum())
    kept = cases if changed else small
    return kept, {
        "storage": kept.storage,
        "bytes": sum(a.nbytes for a in kept.to_arrays().values()),
        "changed_by_float16": changed,
        "validation_rows": len(validation),
    }


def _cross_validated(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    recall = macro_recall(probabilities.argmax(axis=1), labels)
    return {**epoch_scores(probabilities, labels), "balanced_accuracy": recall}
