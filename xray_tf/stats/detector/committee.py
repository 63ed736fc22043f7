"""The detectors by name, and several of them as one: each fitted on its own features, their scores
combined on normals' terms.

`DETECTORS` is the one list; `models.features.LungReader` reads the features they are fitted on. A
row that was fitted looks too normal to its detector: `cross_fit_scores` scores each patient's rows
by a detector fitted on the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from sklearn.model_selection import GroupKFold

from xray_tf.spelling import pick_several
from xray_tf.stats.detector.vectors import Combination, Mahalanobis, NearestNormals


class Member(Protocol):
    """What the class of a row does; `vectors.Stored` does the arrays of most."""

    def fit(self, x: np.ndarray) -> Any:
        """Learn from normals alone, and return itself.

        Args:
            x: (N, D) float32, the features that the row names.
        """

    def score_samples(self, x: np.ndarray) -> np.ndarray:
        """Return scores (N,) float64 of features (N, D) float32; high is normal."""

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the fitted state, name -> array of any shape and dtype; nothing is pickled."""

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Any:
        """Make it again from what `to_arrays` returned, to answer bit for bit as before.

        Args:
            arrays: name -> array of any shape and dtype.
        """


@dataclass(frozen=True)
class DetectorRow:
    """One row of `DETECTORS`.

    Attributes:
        kind: the detector's class, a `Member` of the committee.
        options: of its constructor.
        features: one of `models.features.FEATURES`.
        what: it is, in a few words, as pages say it.
        chosen: whether it is one of the default committee.
    """

    kind: type[Member]
    options: dict[str, Any]
    features: str
    what: str
    chosen: bool = False

    def build(self) -> Member:
        """Make the detector, unfitted."""
        return self.kind(**self.options)


DETECTORS: dict[str, DetectorRow] = {
    "lungs": DetectorRow(
        Mahalanobis,
        {"components": 48},
        "lungs",
        "Mahalanobis distance of the lungs' numbers from those of normals",
        chosen=True,
    ),
    "lungs_nearest": DetectorRow(
        NearestNormals,
        {"components": 48, "whiten": 0.5},
        "lungs",
        "mean distance of the lungs' numbers from those of the nearest normals",
        chosen=True,
    ),
    "zones": DetectorRow(
        Mahalanobis,
        {"components": 64},
        "zones",
        "Mahalanobis distance of the frozen features of the lungs' zones from those of normals",
        chosen=True,
    ),
}
# Chosen on lesions pasted into validation normals (benchmarks/anomaly.py), no sick radiograph seen:
# of the committees whose mean AUROC there is within 0.02 of the best (0.788), the one with the most
# views, since pasted lesions imitate opacity, not all that may depart from the normal.
CHOSEN = tuple(name for name, row in DETECTORS.items() if row.chosen)
NONE, DEFAULT = "none", "default"


def detectors_of(text: str) -> tuple[str, ...]:
    """Parse --detectors: names in `DETECTORS` separated by commas, `default` or `none`.

    Raises:
        ValueError: a name is unknown, or given twice.
    """
    names = pick_several("detectors", text, DETECTORS, alone=(DEFAULT, NONE))
    if len(names) < len(text.split(",")):
        raise ValueError(f"detectors must name each detector once. Received: detectors={text!r}")
    return {DEFAULT: CHOSEN, NONE: ()}.get(names[0], tuple(names))


def cross_fit_scores(
    build: Callable[[], Any], x, patients: Sequence[str], folds: int = 5
) -> np.ndarray:
    """Score every row by a detector fitted on other patients' rows only.

    Args:
        build: makes an unfitted detector.
        x: (N, ...) floats.
        patients: N keys; a patient's rows are in one fold.
        folds: how many; fewer where there are fewer patients.

    Returns:
        (N,) float64.

    Raises:
        ValueError: fewer than two patients.
    """
    patients = np.asarray(patients, object).astype(str)
    count = len(np.unique(patients))
    if count < 2 or len(patients) != len(x):
        raise ValueError(
            "cross-fitting needs one patient key a row, two patients or more. Received: "
            f"{len(patients)} keys of {count} patients, {len(x)} rows"
        )
    scores = np.empty(len(x))
    for kept, held_out in GroupKFold(min(folds, count)).split(scores, groups=patients):
        scores[held_out] = build().fit(x[kept]).score_samples(x[held_out])
    return scores


class Committee:
    """Several detectors, whose calibrated scores are averaged.

    Args:
        names: rows of `DETECTORS`.
    """

    def __init__(self, names: Sequence[str]):
        if not names or any(n not in DETECTORS for n in names):
            raise ValueError(
                f"names must be some of {tuple(DETECTORS)}. Received: {tuple(names)}. A saved "
                "detector that names another was fitted by another version of xray_tf: use that "
                "one, or fit it again."
            )
        self.names = tuple(names)

    def fit(
        self, features: Mapping[str, np.ndarray], patients: Sequence[str], folds: int = 5
    ) -> Committee:
        """Fit on normals.

        Args:
            features: name -> (N, ...), as `models.features.LungReader` gives them.
            patients: N keys.
            folds: of the cross-fitting by patient that calibrates.
        """
        rows = {name: DETECTORS[name] for name in self.names}
        columns = [
            cross_fit_scores(row.build, features[row.features], patients, folds)
            for row in rows.values()
        ]
        self.combination_ = Combination().fit(np.stack(columns, axis=1))
        self.members_ = {n: row.build().fit(features[row.features]) for n, row in rows.items()}
        return self

    def member_scores(self, features: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the raw scores (M, P) float64, a column for each of `names`."""
        rows = {n: features[DETECTORS[n].features] for n in self.names}
        return np.stack([self.members_[n].score_samples(x) for n, x in rows.items()], axis=1)

    def score_samples(self, features: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the combined score (M,) float64, higher = more normal."""
        return self.combination_.score_samples(self.member_scores(features))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return everything in plain arrays: `member/array`, and `combination/array`."""
        parts = {**self.members_, "combination": self.combination_}
        arrays = {
            f"{name}/{key}": value
            for name, part in parts.items()
            for key, value in part.to_arrays().items()
        }
        return arrays | {"names": np.array(self.names, dtype="U")}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Committee:
        """Make the committee that `to_arrays` described; it answers bit for bit the same.

        Raises:
            ValueError: an array is missing, or a member is unknown.
        """
        if "names" not in arrays:
            raise ValueError(
                "the arrays are not those of Committee.to_arrays: names is missing. Received: "
                f"{sorted(arrays)[:8]}"
            )
        parts: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
        for key, value in arrays.items():
            name, _, array = key.partition("/")
            parts[name][array] = value
        self = cls([str(n) for n in arrays["names"]])
        self.members_ = {n: DETECTORS[n].kind.from_arrays(parts[n]) for n in self.names}
        self.combination_ = Combination.from_arrays(parts["combination"])
        return self
