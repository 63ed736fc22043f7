"""The table everything ends as: one row a radiograph with its calibrated probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xray_tf.data.records import SPLITS
from xray_tf.data.tables.columns import class_indices, column
from xray_tf.data.tables.table import ColumnTable

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
        warning: what speaks against asking the classifier, such as that no two upright lungs were
            found; empty where nothing does.
        error: why the file could not be read; empty where it could.
        acquisition: the acquisition group of the record, empty where it is not known.
        subtype: the likelier of the kinds that the decided class adds up, from a classifier made by
            `--method sum`; empty where there are none.
    """

    path: str = column(array="paths")
    patient: str = column(absent="", array="patients")
    split: str = column(absent="", array="splits")
    label: str = column(absent="", array="labels", of_classes=True)
    probabilities: tuple[float, ...] = column(array="probabilities", csv="prob_{}")
    predicted: str = column(array="predicted", of_classes=True)
    warning: str = column("", array="warnings")
    error: str = column("", array="errors")
    acquisition: str = column("", array="acquisitions")
    subtype: str = column("", array="subtypes")


class Predictions(ColumnTable[Prediction]):
    """Predictions as columns, checked at the door.

    Attributes:
        class_names: in the order of the probabilities.
        paths, patients, splits, warnings, errors, acquisitions, subtypes: (N,) object arrays of
            str.
        probabilities: (N, K) float64 in [0, 1], rows sum to 1; NaN rows where `errors` says why.
        labels: (N,) int64 class indices, -1 where not known.
        predicted: (N,) int64 class indices, -1 where the file could not be read.
    """

    row_type = Prediction
    fewest_names = 2

    def __init__(
        self,
        class_names: Sequence[str],
        paths: Iterable[str],
        probabilities: Any,
        predicted: Any,
        **columns: Any,
    ):
        """Check and keep the columns.

        Args:
            class_names: two or more different names.
            paths: N texts.
            probabilities: (N, K) floats, calibrated.
            predicted: N class indices or class names (-1 or empty where the file could not be
                read).
            **columns: `patients`, `splits`, `warnings`, `errors`, `acquisitions` and `subtypes`,
                N texts each, empty if None; `labels`, N class indices or class names (-1 or empty
                where not known).

        Raises:
            ValueError: lengths, names or probabilities do not fit; the message names the first row
                that does not.
        """
        super().__init__(
            _checked(class_names),
            paths=paths,
            probabilities=probabilities,
            predicted=predicted,
            **columns,
        )
        self._check_rows()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes' names, in the order of the probabilities."""
        return self.names

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

    @property
    def scorable(self) -> np.ndarray:
        """(N,) bool: the row was read and its class is known."""
        return (self.labels >= 0) & (self.predicted >= 0)

    def of_split(self, split: str) -> Predictions:
        """Return the rows of `train`, `val` or `test`."""
        if split not in SPLITS:
            raise ValueError(f"split must be one of {SPLITS}. Received: split={split!r}")
        return self.where(self.splits == split)

    def relabelled(self, labels: Any = None, patients: Any = None) -> Predictions:
        """Return the table with other labels, N class names or indices, and other patients, N
        keys; None keeps those of the table.

        Raises:
            ValueError: their number or a class does not fit.
        """
        columns = self._arrays()
        if labels is not None:
            columns["labels"] = [v if isinstance(v, str) else int(v) for v in np.ravel(labels)]
        if patients is not None:
            columns["patients"] = [str(p) for p in patients]
        return Predictions(self.names, **columns)

    @classmethod
    def of(cls, y_true: Any, y_pred: Any, class_names: Sequence[str] | None = None) -> Predictions:
        """Make a table of bare arrays, as scikit-learn's functions take them.

        Args:
            y_true: N class names or indices.
            y_pred: probabilities (N, K); (N,) or (N, 1) floats, those of the second of two
                classes, decided from 0.5 on; or N decided class names or indices.
            class_names: K names; taken from the labels if None.

        Raises:
            ValueError: the numbers of entries differ, or a class is not among the names.
        """
        true, asked = np.ravel(np.asarray(y_true)), np.asarray(y_pred)
        decided_only = asked.dtype.kind != "f"
        if asked.ndim == 2 and asked.shape[1] == 1 or decided_only:
            asked = np.ravel(asked)
        if class_names is None:
            class_names = _names_in(true, asked)
        names = tuple(map(str, class_names))
        if decided_only:
            picked = class_indices([_plain(v) for v in asked], names, "y_pred")
            probabilities = np.eye(len(names))[picked]
        else:
            probabilities = asked if asked.ndim == 2 else np.stack([1 - asked, asked], axis=1)
            picked = probabilities.argmax(axis=1)
        paths = [f"row {i}" for i in range(len(probabilities))]
        labels = [_plain(v) for v in true]
        return cls(names, paths, probabilities, picked, labels=labels)

    def __repr__(self) -> str:
        return f"Predictions({len(self)} rows, classes {self.class_names})"


def _checked(class_names: Sequence[str]) -> tuple[str, ...]:
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


def _plain(value: Any) -> str | int:
    """Return a class name or index of NumPy as Python's; booleans and whole floats are indices."""
    if isinstance(value, str):
        return str(value)
    if float(value) != int(value):
        raise ValueError(f"a class must be a name or an index. Received: {value!r}")
    return int(value)


def _names_in(true: np.ndarray, asked: np.ndarray) -> list[str]:
    """Return the names of the classes that labels and decisions name, sorted; of indices, as many
    numbers as there are classes.
    """
    both = [*true, *(asked if asked.ndim == 1 and asked.dtype.kind != "f" else ())]
    if any(isinstance(v, str) for v in both):
        return sorted({str(v) for v in both})
    least = asked.shape[1] if asked.ndim == 2 else 2
    return [str(k) for k in range(max(least, 1 + max((int(v) for v in both), default=0)))]
