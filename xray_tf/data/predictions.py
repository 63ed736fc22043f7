"""The table everything ends as: one row a radiograph with its calibrated probabilities, kept as
columns, streamed or whole.
"""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xray_tf.data.records import SPLITS
from xray_tf.data.tables import csv_line, read_cells, text_column

SUM_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Prediction:
    """One row of `Predictions`.

    Attributes:
        path: the file as it was asked for.
        patient: the patient key, empty where there is none.
        split: `train`, `val`, `test` or empty.
        label: the true class name, empty where it is not known.
        probabilities: one a class, calibrated, in the order of the table's `class_names`; NaN where
            the file could not be read.
        predicted: the class name decided at the operating point; empty where the file could not be
            read.
        error: why the file could not be read; empty where it could.
    """

    path: str
    patient: str
    split: str
    label: str
    probabilities: tuple[float, ...]
    predicted: str
    error: str = ""


class Predictions:
    """Predictions as columns, checked at the door.

    Attributes:
        class_names: in the order of the probabilities.
        paths, patients, splits, errors: (N,) object arrays of str.
        probabilities: (N, K) float64 in [0, 1], rows sum to 1; NaN rows where `errors` says why.
        labels: (N,) int64 class indices, -1 where not known.
        predicted: (N,) int64 class indices, -1 where the file could not be read.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        paths: Iterable[str],
        probabilities,
        predicted,
        patients: Iterable[str] | None = None,
        splits: Iterable[str] | None = None,
        labels=None,
        errors: Iterable[str] | None = None,
    ):
        """Check and keep the columns.

        Args:
            class_names: two or more different names.
            paths: N texts.
            probabilities: (N, K) floats, calibrated.
            predicted: N class indices or class names (-1 or empty where the file could not be
                read).
            patients, splits, errors: N texts each; all empty when left out.
            labels: N class indices or class names (-1 or empty where not known); all unknown when
                left out.

        Raises:
            ValueError: lengths, names or probabilities do not fit; the message names the first row
                that does not.
        """
        self.class_names = _checked_class_names(class_names)
        self.paths = text_column(paths)
        n = len(self.paths)
        self.patients, self.splits, self.errors = (
            text_column([""] * n if c is None else c) for c in (patients, splits, errors)
        )
        self.labels = _indices([""] * n if labels is None else labels, self.class_names, "labels")
        self.predicted = _indices(predicted, self.class_names, "predicted")
        self.probabilities = np.array(probabilities, dtype=np.float64)
        if n == 0 and self.probabilities.size == 0:
            self.probabilities = self.probabilities.reshape(0, len(self.class_names))
        if self.probabilities.shape != (n, len(self.class_names)):
            raise ValueError(
                f"probabilities must be ({n}, {len(self.class_names)}): one row a path, one "
                f"column a class. Received: shape {self.probabilities.shape}"
            )
        for name in ("patients", "splits", "labels", "predicted", "errors"):
            if len(getattr(self, name)) != n:
                raise ValueError(
                    f"{name} must have one entry a path, {n}. Received: {len(getattr(self, name))}"
                )
        self._check_rows()
        for column in (
            self.paths,
            self.patients,
            self.splits,
            self.errors,
            self.labels,
            self.predicted,
            self.probabilities,
        ):
            column.flags.writeable = False

    def _check_rows(self) -> None:
        failed = self.errors != ""
        finite = np.isfinite(self.probabilities).all(axis=1)
        with np.errstate(invalid="ignore"):
            inside = ((self.probabilities >= 0) & (self.probabilities <= 1)).all(axis=1)
            summing = np.abs(self.probabilities.sum(axis=1) - 1) <= SUM_TOLERANCE
        checks = (
            (
                ~np.isin(self.splits.astype(str), ("", *SPLITS)),
                f"split must be empty or one of {SPLITS}",
            ),
            (
                failed & ~np.isnan(self.probabilities).all(axis=1),
                "a row with an error must have NaN probabilities",
            ),
            (failed & (self.predicted != -1), "a row with an error must have no predicted class"),
            (~failed & ~finite, "probabilities must be finite where the row has no error"),
            (~failed & ~inside, "probabilities must lie in [0, 1]"),
            (~failed & ~summing, f"probabilities must sum to 1 within {SUM_TOLERANCE}"),
            (
                ~failed & (self.predicted == -1),
                "predicted must be a class where the row has no error",
            ),
        )
        for wrong, expected in checks:
            if wrong.any():
                raise ValueError(
                    f"{expected}. Received, first of {int(wrong.sum())}: "
                    f"{self[int(np.argmax(wrong))]}"
                )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Prediction:
        return Prediction(
            self.paths[index],
            self.patients[index],
            self.splits[index],
            self._name(self.labels[index]),
            tuple(self.probabilities[index].tolist()),
            self._name(self.predicted[index]),
            self.errors[index],
        )

    def __iter__(self) -> Iterator[Prediction]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Predictions) or self.class_names != other.class_names:
            return False
        names = ("paths", "patients", "splits", "labels", "predicted", "errors")
        return all(
            np.array_equal(getattr(self, n), getattr(other, n)) for n in names
        ) and np.array_equal(self.probabilities, other.probabilities, equal_nan=True)

    __hash__ = None

    def _name(self, index: int) -> str:
        return self.class_names[index] if index >= 0 else ""

    @property
    def scorable(self) -> np.ndarray:
        """(N,) bool: the row was read and its class is known."""
        return (self.labels >= 0) & (self.predicted >= 0)

    def where(self, keep: np.ndarray) -> Predictions:
        """Return the rows chosen by `keep`: (N,) bool, or integer positions in the wanted order."""
        keep = np.asarray(keep)
        return Predictions(
            self.class_names,
            self.paths[keep],
            self.probabilities[keep],
            self.predicted[keep],
            self.patients[keep],
            self.splits[keep],
            self.labels[keep],
            self.errors[keep],
        )

    def of_split(self, split: str) -> Predictions:
        """Return the rows of `train`, `val` or `test`."""
        if split not in SPLITS:
            raise ValueError(f"split must be one of {SPLITS}. Received: split={split!r}")
        return self.where(self.splits == split)

    @property
    def columns(self) -> list[str]:
        """The column names of the CSV form; `error` only when some row has one."""
        return _columns(self.class_names, bool((self.errors != "").any()))

    def to_frame(self):
        """Return the table as a pandas DataFrame with the columns of the CSV form."""
        import pandas as pd

        data = {
            "path": self.paths,
            "patient": self.patients,
            "split": self.splits,
            "label": [self._name(i) for i in self.labels],
        }
        data |= {
            f"prob_{name}": self.probabilities[:, k] for k, name in enumerate(self.class_names)
        }
        data |= {"predicted": [self._name(i) for i in self.predicted], "error": self.errors}
        return pd.DataFrame(data)[self.columns]

    def __repr__(self) -> str:
        return f"Predictions({len(self)} rows, classes {self.class_names})"

    def _repr_html_(self) -> str:
        return self.to_frame()._repr_html_()

    def write_csv(self, path: str | os.PathLike) -> Path:
        """Write UTF-8 CSV with the columns `path, patient, split, label, prob_<class> ...,
        predicted[, error]` and return the path.
        """
        path = Path(path)
        with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(csv_line(self.columns))
            stream.writelines(_csv_lines(self, self.columns[-1] == "error"))
        return path

    def write_jsonl(self, path: str | os.PathLike) -> Path:
        """Write one JSON object a line, with the CSV form's keys (null for NaN, `error` only where
        there is one), and return the path.
        """
        path = Path(path)
        with path.open("w", encoding="utf-8") as stream:
            stream.writelines(_json_lines(self))
        return path

    @classmethod
    def read_csv(cls, path: str | os.PathLike) -> Predictions:
        """Read what `write_csv` wrote; every probability comes back bit for bit.

        Raises:
            ValueError: the header or a row is not of that form.
        """
        path = Path(path)
        header, cells = read_cells(
            path,
            lambda h: _columns(n, h[-1] == "error") if len(n := _named_classes(h)) > 1 else [],
            "path, patient, split, label, prob_<class> ..., predicted[, error]",
        )
        names = _named_classes(header)
        try:
            probabilities = np.array(
                [[float(x) if x else np.nan for x in c] for c in cells[4 : 4 + len(names)]]
            ).T
        except ValueError as error:
            raise ValueError(f"{path}: a probability is not a number ({error}).") from error
        return cls(
            names,
            cells[0],
            probabilities,
            cells[4 + len(names)],
            cells[1],
            cells[2],
            cells[3],
            cells[-1] if header[-1] == "error" else None,
        )


class PredictionWriter:
    """Write predictions batch by batch in constant memory; the files get their names when the block
    ends without an error.

    Use as a context manager: `with PredictionWriter("p.csv", "p.jsonl", names) as writer:
    writer.append(batch)`. The CSV file gains its `error` column at the first row that has one, so a
    run without bad files has exactly the plain columns.

    Args:
        path_csv, path_jsonl: where to write; None leaves that form out.
        class_names: of every batch.

    Raises:
        FileExistsError: on entering, when one of the files is there already.
    """

    def __init__(
        self,
        path_csv: str | os.PathLike | None,
        path_jsonl: str | os.PathLike | None,
        class_names: Sequence[str],
    ):
        self.class_names = _checked_class_names(class_names)
        self.paths = {
            form: Path(p) for form, p in (("csv", path_csv), ("jsonl", path_jsonl)) if p is not None
        }
        self.rows = 0
        self.failed = 0
        self._drafts: dict[str, Path] = {}
        self._streams: dict = {}

    def __enter__(self) -> PredictionWriter:
        for path in self.paths.values():
            if path.exists():
                raise FileExistsError(
                    f"{path} exists, and a finished result is never "
                    "overwritten. Name another file, or remove it first."
                )
        for form in self.paths:
            self._open(form)
        if "csv" in self._streams:
            self._streams["csv"].write(csv_line(_columns(self.class_names, False)))
        return self

    def append(self, batch: Predictions) -> None:
        """Write the rows of `batch` after those already written, in order."""
        if batch.class_names != self.class_names:
            raise ValueError(
                f"the batch must have the classes {self.class_names}. Received: {batch.class_names}"
            )
        failed = int((batch.errors != "").sum())
        if "csv" in self._streams:
            if failed and not self.failed:
                self._add_error_column()
            self._streams["csv"].writelines(_csv_lines(batch, bool(failed or self.failed)))
        if "jsonl" in self._streams:
            self._streams["jsonl"].writelines(_json_lines(batch))
        self.rows += len(batch)
        self.failed += failed

    def __exit__(self, kind, value, traceback) -> None:
        for stream in self._streams.values():
            stream.close()
        for form, draft in self._drafts.items():
            if kind is None:
                os.replace(draft, self.paths[form])
            else:
                draft.unlink(missing_ok=True)

    def _open(self, form: str) -> None:
        path = self.paths[form]
        handle, draft = tempfile.mkstemp(prefix=f".{path.name}.tmp-", dir=path.parent)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(draft, 0o666 & ~mask)  # mkstemp's 0600 would hide the result from everybody else
        self._drafts[form] = Path(draft)
        self._streams[form] = os.fdopen(
            handle, "w", newline="", encoding="utf-8", errors="surrogateescape"
        )

    def _add_error_column(self) -> None:
        """Copy the rows so far, one at a time, with an empty `error` cell; happens at most once a
        run.
        """
        self._streams["csv"].close()
        narrow = self._drafts["csv"]
        self._open("csv")
        with narrow.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
            reader = csv.reader(stream)
            self._streams["csv"].write(csv_line([*next(reader), "error"]))
            self._streams["csv"].writelines(csv_line([*row, ""]) for row in reader)
        narrow.unlink()


def _checked_class_names(class_names: Sequence[str]) -> tuple[str, ...]:
    names = tuple(class_names)
    if (
        len(names) < 2
        or len(set(names)) != len(names)
        or not all(isinstance(n, str) and n for n in names)
    ):
        raise ValueError(
            "class_names must be two or more different names. Received: "
            f"class_names={class_names!r}"
        )
    return names


def _columns(class_names: Sequence[str], with_error: bool) -> list[str]:
    return [
        "path",
        "patient",
        "split",
        "label",
        *(f"prob_{n}" for n in class_names),
        "predicted",
        *(["error"] if with_error else []),
    ]


def _named_classes(header: Sequence[str]) -> list[str]:
    return [name.removeprefix("prob_") for name in header if name.startswith("prob_")]


def _indices(values, class_names: tuple[str, ...], name: str) -> np.ndarray:
    values = list(values)
    lookup = {"": -1, -1: -1} | {key: k for k, n in enumerate(class_names) for key in (n, k)}
    try:
        return np.array([lookup[v] for v in values], dtype=np.int64).reshape(len(values))
    except (KeyError, TypeError):
        wrong = next(
            v for v in values if not isinstance(v, str | int | np.integer) or v not in lookup
        )
        raise ValueError(
            f"{name} must be class names or indices of {class_names}, empty or -1 "
            f"where not known. Received: {wrong!r}"
        ) from None


def _csv_lines(table: Predictions, with_error: bool) -> Iterator[str]:
    for row in table:
        numbers = [repr(p) if p == p else "" for p in row.probabilities]
        yield csv_line(
            [
                row.path,
                row.patient,
                row.split,
                row.label,
                *numbers,
                row.predicted,
                *([row.error] if with_error else []),
            ]
        )


def _json_lines(table: Predictions) -> Iterator[str]:
    for row in table:
        item = {"path": row.path, "patient": row.patient, "split": row.split, "label": row.label}
        item |= {
            f"prob_{n}": p if p == p else None
            for n, p in zip(table.class_names, row.probabilities, strict=True)
        }
        item |= {"predicted": row.predicted} | ({"error": row.error} if row.error else {})
        yield json.dumps(item, allow_nan=False) + "\n"
