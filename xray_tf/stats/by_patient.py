"""Any statistic of one number a row, with its interval by patient."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

LEVEL = 95  # percent


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
    edges = (50 - LEVEL / 2, 50 + LEVEL / 2)
    return {
        name: dict(
            zip(
                ("value", "low", "high"),
                (
                    float(statistic(values)),
                    *(np.percentile(drawn[name], edges).tolist() if drawn[name] else (None, None)),
                ),
                strict=True,
            )
        )
        for name, statistic in statistics.items()
    }
