"""The table that anomaly detection ends as: raw scores, percentiles among normals, one anomaly
score, a verdict and its reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from xray_tf.data.tables import csv_line, read_cells, text_column

VERDICTS = ("normal", "anomalous")
_TEXTS = ("paths", "patients", "splits", "labels", "verdicts", "reasons", "errors")
_ARGUMENTS = (
    "paths",
    "values",
    "percentiles",
    "anomaly",
    "verdicts",
    "reasons",
    "patients",
    "splits",
    "labels",
    "errors",
)
_COLUMNS = {
    "paths": "path",
    "patients": "patient",
    "splits": "split",
    "labels": "label",
    "verdicts": "verdict",
    "reasons": "reason",
    "errors": "error",
}


class Scores:
    """Scores as columns, checked at the door.

    Attributes:
        names: of the K raw scores.
        paths, patients, splits, labels, errors: (N,) object arrays of str; `labels` holds normal,
            pneumonia or nothing.
        values: (N, K) float64 raw scores; NaN rows where `errors` says why.
        percentiles: (N, K) float64 in [0, 100], the share of calibration normals that are less
            unusual by that score.
        anomaly: (N,) float64 in [0, 1]; 0.5 is the threshold, higher is more anomalous.
        verdicts: (N,) `normal`, `anomalous`, or empty where the file could not be read.
        reasons: (N,) why it is anomalous, empty where it is not.
    """

    def __init__(
        self,
        names: Sequence[str],
        paths: Iterable[str],
        values,
        percentiles,
        anomaly,
        verdicts: Iterable[str],
        reasons: Iterable[str],
        patients: Iterable[str] | None = None,
        splits: Iterable[str] | None = None,
        labels: Iterable[str] | None = None,
        errors: Iterable[str] | None = None,
    ):
        self.names, self.paths = tuple(names), text_column(paths)
        n, k = len(self.paths), len(self.names)
        given = {
            "verdicts": verdicts,
            "reasons": reasons,
            "patients": patients,
            "splits": splits,
            "labels": labels,
            "errors": errors,
        }
        for name, column in given.items():
            setattr(self, name, text_column([""] * n if column is None else column))
        self.values, self.percentiles = (
            np.array(a, np.float64).reshape(-1, k) for a in (values, percentiles)
        )
        self.anomaly = np.array(anomaly, np.float64)
        lengths = {
            name: len(getattr(self, name)) for name in (*given, "values", "percentiles", "anomaly")
        }
        if set(lengths.values()) != {n}:
            raise ValueError(f"every column must have one entry a path, {n}. Received: {lengths}")
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

    def __len__(self) -> int:
        return len(self.paths)

    def where(self, keep: np.ndarray) -> Scores:
        """Return the rows chosen by `keep`: (N,) bool, or integer positions in the wanted order."""
        keep = np.asarray(keep)
        return Scores(self.names, *(getattr(self, c)[keep] for c in _ARGUMENTS))

    @property
    def read(self) -> np.ndarray:
        """(N,) bool: the file could be read and scored."""
        return self.errors == ""

    @property
    def columns(self) -> list[str]:
        """The column names of the CSV form."""
        return _header(self.names)

    def to_frame(self):
        """Return the table as a pandas DataFrame with the columns of the CSV form."""
        import pandas as pd

        data = {_COLUMNS[c]: getattr(self, c) for c in _TEXTS} | {"anomaly_score": self.anomaly}
        data |= {n: self.values[:, k] for k, n in enumerate(self.names)} | {
            f"{n}_percentile": self.percentiles[:, k] for k, n in enumerate(self.names)
        }
        return pd.DataFrame(data)[self.columns]

    def __repr__(self) -> str:
        return f"Scores({len(self)} rows, {', '.join(self.names)})"

    def _repr_html_(self) -> str:
        return self.to_frame()._repr_html_()

    def write_csv(self, path: str | os.PathLike) -> Path:
        """Write UTF-8 CSV with the columns `path, patient, split, label, <score> ...,
        <score>_percentile ..., anomaly_score, verdict, reason, error`.
        """
        path = Path(path)
        with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(csv_line(self.columns))
            for i in range(len(self)):
                numbers = [
                    repr(v) if v == v else ""
                    for v in (
                        *self.values[i].tolist(),
                        *self.percentiles[i].tolist(),
                        float(self.anomaly[i]),
                    )
                ]
                stream.write(
                    csv_line(
                        [
                            *(getattr(self, c)[i] for c in _TEXTS[:4]),
                            *numbers,
                            *(getattr(self, c)[i] for c in _TEXTS[4:]),
                        ]
                    )
                )
        return path

    @classmethod
    def read_csv(cls, path: str | os.PathLike) -> Scores:
        """Read what `write_csv` wrote; every number comes back bit for bit.

        Raises:
            ValueError: the header is not of that form.
        """
        path = Path(path)
        header, cells = read_cells(
            path,
            lambda h: _header(n) if (n := _named_scores(h)) else [],
            "path, patient, split, label, <score> ..., <score>_percentile "
            "..., anomaly_score, verdict, reason, error",
        )
        names = _named_scores(header)
        k = len(names)
        numbers = np.array([[float(v) if v else np.nan for v in c] for c in cells[4 : 5 + 2 * k]]).T
        return cls(
            names,
            cells[0],
            numbers[:, :k],
            numbers[:, k : 2 * k],
            numbers[:, 2 * k],
            *cells[5 + 2 * k : 7 + 2 * k],
            patients=cells[1],
            splits=cells[2],
            labels=cells[3],
            errors=cells[-1],
        )

    @classmethod
    def joined(cls, parts: Sequence[Scores]) -> Scores:
        """Return the rows of several tables of the same scores, one after the other."""
        return cls(
            parts[0].names, *(np.concatenate([getattr(p, c) for p in parts]) for c in _ARGUMENTS)
        )


def _header(names: Sequence[str]) -> list[str]:
    return [
        "path",
        "patient",
        "split",
        "label",
        *names,
        *(f"{n}_percentile" for n in names),
        "anomaly_score",
        "verdict",
        "reason",
        "error",
    ]


def _named_scores(header: Sequence[str]) -> list[str]:
    return [n.removesuffix("_percentile") for n in header if n.endswith("_percentile")]
