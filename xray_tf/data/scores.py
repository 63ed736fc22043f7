"""The table that anomaly detection ends as: raw scores, percentiles among normals, one anomaly
score, a verdict and its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xray_tf.data.tables.columns import column
from xray_tf.data.tables.table import ColumnTable

VERDICTS = ("normal", "anomalous")


@dataclass(frozen=True)
class Score:
    """One row of `Scores`.

    Attributes:
        path, patient, split, label: as in `Prediction`.
        values: the raw scores, in the order of the table's `names`; NaN where the file could not be
            read, as is what follows.
        percentiles: one a raw score, in [0, 100]: the share of calibration normals that are less
            unusual by it.
        anomaly: in [0, 1]; 0.5 is the threshold, higher is more anomalous.
        verdict: `normal`, `anomalous`, or empty where the file could not be read.
        reason: why it is anomalous, empty where it is not.
        warning: as in `Prediction`.
        error: why the file could not be read; empty where it could.
    """

    path: str = column(array="paths")
    patient: str = column(absent="", array="patients")
    split: str = column(absent="", array="splits")
    label: str = column(absent="", array="labels")
    values: tuple[float, ...] = column(csv="{}")
    percentiles: tuple[float, ...] = column(csv="{}_percentile")
    anomaly: float = column(csv="anomaly_score")
    verdict: str = column(array="verdicts")
    reason: str = column(array="reasons")
    warning: str = column("", array="warnings")
    error: str = column("", array="errors")


class Scores(ColumnTable[Score]):
    """Scores as columns, checked at the door.

    Attributes:
        names: of the K raw scores.
        paths, patients, splits, labels, warnings, errors: (N,) object arrays of str; `labels` holds
            normal, pneumonia or nothing.
        values: (N, K) float64 raw scores; NaN rows where `errors` says why.
        percentiles: (N, K) float64 in [0, 100].
        anomaly: (N,) float64 in [0, 1].
        verdicts, reasons: (N,) object arrays of str.
    """

    row_type = Score

    def __init__(
        self,
        names: Sequence[str],
        paths: Iterable[str],
        values: Any,
        percentiles: Any,
        anomaly: Any,
        verdicts: Iterable[str],
        reasons: Iterable[str],
        **columns: Any,
    ):
        """Check and keep the columns; `patients`, `splits`, `labels`, `warnings` and `errors` are
        empty when left out.
        """
        super().__init__(
            names,
            paths=paths,
            values=values,
            percentiles=percentiles,
            anomaly=anomaly,
            verdicts=verdicts,
            reasons=reasons,
            **columns,
        )
        failed = self.errors != ""
        if (np.isnan(self.anomaly) != failed).any() or ((self.verdicts == "") != failed).any():
            raise ValueError(
                "a row has an anomaly score and a verdict, or an error that says why it has none."
            )
        if not np.isin(self.verdicts[~failed].astype(str), VERDICTS).all():
            raise ValueError(
                f"verdicts must be one of {VERDICTS}. Received: "
                f"{sorted(set(self.verdicts[~failed]) - set(VERDICTS))}"
            )

    @property
    def read(self) -> np.ndarray:
        """(N,) bool: the file could be read and scored."""
        return self.errors == ""
