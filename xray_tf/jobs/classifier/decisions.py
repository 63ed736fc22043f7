"""Fit the temperature and operating points of a trained network on its validation rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from xray_tf.artifact import Card
from xray_tf.data.predictions import Predictions
from xray_tf.data.sample import draw_records
from xray_tf.data.synthetic.stresses import STRESSES, StressGrid
from xray_tf.jobs.corpus import Corpus
from xray_tf.jobs.run import Run
from xray_tf.models.decided import predictions_of


def fit_decisions(
    forward: Callable,
    corpus: Corpus,
    card: Card,
    steady_rows: int,
    seed: int,
    run: Run | None = None,
) -> tuple[Card, Predictions]:
    """Fit temperature and operating points on the validation rows, and apply them to the validation
    and test rows.

    Args:
        forward: (pixels, rows, progress=) -> {`logits`: (n, L)}, as `nets.inference.forward` of a
            network.
        corpus: the split corpus that the network was trained on.
        card: the card of the future artifact, for its class names.
        steady_rows: the most validation rows to put under graded changes; the best point over all
            of them becomes the default. 0: none.
        seed: seed of the rows drawn and of the changes.
        run: the run of the job; None shows nothing.

    Returns:
        The card with `temperature`, `operating_points` and `default_operating_point`, and the
        predictions.
    """
    from xray_tf.stats.operating_points import (
        SENSITIVE,
        fit_operating_points,
        fit_steady_point,
        no_less_sensitive,
    )
    from xray_tf.stats.temperature import calibrated_probabilities, fit_temperature

    run = run or Run(progress=False)
    positions = corpus.of_split("val", "test")
    records = [corpus.records[i] for i in positions]
    with run.line("Evaluating", len(positions)) as line:
        logits = forward(corpus.pixels, corpus.rows[positions], progress=line.step)["logits"]
    val = np.array([r.split == "val" for r in records])
    labels = corpus.labels[positions[val]]
    temperature = fit_temperature(logits[val], labels)
    probabilities = calibrated_probabilities(logits, temperature)
    parts = ["val"] * len(labels)
    points = fit_operating_points(probabilities[val], labels, parts, card.class_names)
    default = "balanced"
    if steady_rows:
        known = [r for r in records if r.split == "val"]
        rows = positions[val][draw_records(known, labels, steady_rows, seed)]
        grid, changes = _changed(corpus, rows, seed)
        with run.line("Evaluating under changes", len(grid)) as line:
            logits = forward(grid, np.arange(len(grid)), progress=line.step)["logits"]
        changed = calibrated_probabilities(logits, temperature).reshape(changes, len(rows), -1)
        point = fit_steady_point(
            changed, corpus.labels[rows], ["val"] * len(rows), card.class_names
        )
        points[point.name], default = point, point.name
        if SENSITIVE in points:
            points[SENSITIVE] = no_less_sensitive(
                points[SENSITIVE], point, probabilities[val], labels
            )
    card = replace(
        card, temperature=temperature, operating_points=points, default_operating_point=default
    )
    return card, predictions_of(card, records, probabilities)


def _changed(corpus: Corpus, positions: np.ndarray, seed: int) -> tuple[StressGrid, int]:
    """Return the rows unchanged and under every change, and the number of versions of each row."""
    # only the middle severities, with another seed than the shift bench
    cells = [None, *((name, stress.severities[1]) for name, stress in STRESSES.items())]
    keys = [corpus.records[i].sha256 or corpus.records[i].path for i in positions]
    grid = StressGrid(corpus.pixels, corpus.rows[positions], keys, cells, seed + 1)
    return grid, len(cells)
