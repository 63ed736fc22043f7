"""How a finished net comes to decide: temperature and operating points, from its validation rows
alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from xray_tf.artifact import Card
from xray_tf.data.predictions import Predictions
from xray_tf.data.synthetic.stresses import STRESSES, StressGrid
from xray_tf.jobs.corpus import Corpus, draw_rows
from xray_tf.models.decided import predictions_of

STEADY, BALANCED = "steady", "balanced"


def fit_decisions(
    forward: Callable,
    corpus: Corpus,
    card: Card,
    steady_rows: int,
    seed: int,
    say: Callable = lambda *_: None,
) -> tuple[Card, Predictions]:
    """Fit temperature and operating points on the validation rows, and apply them to the validation
    and test rows.

    Args:
        forward: (pixels, rows) -> {`logits`: (n, L)}, as `nets.inference.forward` of a net.
        corpus: divided, as the net was trained on.
        card: of the artifact to be; class names are read from it.
        steady_rows: put at most so many validation rows under graded changes, and make the point
            that is best over all of them the default; 0: none.
        seed: of the rows drawn and of the changes' chance.
        say: called with what is going on.

    Returns:
        The card with `temperature`, `operating_points` and `default_operating_point`, and the
        predictions.
    """
    from xray_tf.stats.operating_points import (
        calibrated_probabilities,
        fit_operating_points,
        fit_steady_point,
        fit_temperature,
    )

    positions = corpus.of_split("val", "test")
    say(f"Evaluating {len(positions)} validation and test radiographs")
    logits = forward(corpus.pixels, corpus.rows[positions])["logits"]
    labels = corpus.labels[positions]
    records = [corpus.records[i] for i in positions]
    val = np.array([r.split == "val" for r in records])
    temperature = fit_temperature(logits[val], labels[val])
    probabilities = calibrated_probabilities(logits, temperature)
    points = fit_operating_points(
        probabilities[val], labels[val], ["val"] * int(val.sum()), card.class_names
    )
    default = BALANCED
    if steady_rows:
        chosen = positions[val]
        chosen = chosen[
            draw_rows(
                corpus.labels[chosen],
                [corpus.records[i].patient or corpus.records[i].path for i in chosen],
                steady_rows,
                seed,
            )
        ]
        # Middle severities only, and a seed apart from the shift bench's own.
        cells = [None, *((name, stress.severities[1]) for name, stress in STRESSES.items())]
        say(f"Looking at {len(chosen)} validation radiographs under {len(cells) - 1} changes")
        grid = StressGrid(
            corpus.pixels,
            corpus.rows[chosen],
            [corpus.records[i].sha256 or corpus.records[i].path for i in chosen],
            cells,
            seed + 1,
        )
        changed = calibrated_probabilities(
            forward(grid, np.arange(len(grid)))["logits"], temperature
        ).reshape(len(cells), len(chosen), -1)
        points[STEADY] = fit_steady_point(
            changed, corpus.labels[chosen], ["val"] * len(chosen), card.class_names
        )
        default = STEADY
    card = replace(
        card, temperature=temperature, operating_points=points, default_operating_point=default
    )
    return card, predictions_of(card, records, probabilities)
