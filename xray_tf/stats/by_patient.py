"""Any statistic of one number a row, with its interval by patient."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from xray_tf.stats.metrics import interval


def with_intervals(
    values: np.ndarray,
    patients: Sequence[str],
    statistics: Mapping[str, Callable[[np.ndarray], float]],
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, float | None]]:
    """Compute statistics of a column, and again of columns whose patients are drawn anew.

    Args:
        values: (N,) float.
        patients: N keys.
        statistics: name -> a function of (n,) float.
        replicates: of the bootstrap; 0 leaves the intervals out.
        seed: of the bootstrap.

    Returns:
        Name -> {`value`, `low`, `high`}, 95 % percentile intervals; None where there is none.
    """
    values = np.asarray(values, np.float64)
    names, patient = np.unique(np.asarray(patients, object).astype(str), return_inverse=True)
    rows = [np.flatnonzero(patient == i) for i in range(len(names))]
    rng, drawn = np.random.default_rng(seed), {name: [] for name in statistics}
    for _ in range(replicates if len(names) > 1 else 0):
        column = values[np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))])]
        for name, statistic in statistics.items():
            drawn[name].append(statistic(column))
    found = {}
    for name, statistic in statistics.items():
        low, high = interval(np.array(drawn[name])).tolist() if drawn[name] else (None, None)
        found[name] = {"value": float(statistic(values)), "low": low, "high": high}
    return found
