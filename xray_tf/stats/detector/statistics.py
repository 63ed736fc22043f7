"""Tabulate a detector's scores over batches of radiographs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xray_tf.data.tables.table import Table
from xray_tf.stats.detector.or_rule import raw_scores, turned


@dataclass(frozen=True)
class Statistic:
    """Mean and standard deviation of one score over one batch of radiographs.

    Attributes:
        group: which batch, such as `normal` or `pneumonia`.
        score: which score.
        rows: how many radiographs.
        mean: of the raw score.
        standard_deviation: with n - 1; NaN for one radiograph.
        beyond: share of them beyond the threshold.
    """

    group: str
    score: str
    rows: int
    mean: float
    standard_deviation: float
    beyond: float


class Statistics(Table[Statistic]):
    """One row a batch and score."""

    row_type = Statistic


def score_statistics(
    names: Sequence[str],
    scores: np.ndarray,
    groups: Sequence[str],
    thresholds: np.ndarray,
) -> Statistics:
    """Tabulate every score's mean and standard deviation over batches of radiographs.

    Args:
        names: K names.
        scores: (N, K) raw.
        groups: N names of batches; rows with an empty name are left out.
        thresholds: (K,) of the scores.
    """
    scores, groups = raw_scores(scores, names), np.asarray(groups, object)
    beyond, rows = turned(scores, names) > turned(thresholds[None], names), []
    for group in dict.fromkeys(g for g in groups if g):
        inside = groups == group
        rows += [
            Statistic(
                str(group),
                name,
                int(inside.sum()),
                float(scores[inside, k].mean()),
                float(scores[inside, k].std(ddof=1)) if inside.sum() > 1 else math.nan,
                float(beyond[inside, k].mean()),
            )
            for k, name in enumerate(names)
        ]
    return Statistics(rows)
