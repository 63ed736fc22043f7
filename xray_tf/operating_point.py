"""Decide: turn probabilities into classes, and a detector's scores into verdicts.

Python, the pages and the exported graph all use these objects.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from xray_tf.untrusted import Check, either, items, mapping, number, one_of, text
from xray_tf.untrusted import fields as object_of

TINY = 1e-12  # the smallest probability whose logarithm is taken
HIGH_IS_ANOMALOUS = (
    "reconstruction_error",
)  # every other score is higher for more normal radiographs
# what a card may say of a point; a threshold lies one float above 1 where all scores are 1
_SHARE, _COUNT, _LIMIT = number(0, 1), number(0, 1e12, whole=True), number(-1e30, 1e30)
_POINT: dict[str, Check] = {
    "criterion": text(),
    "threshold": number(0, 1 + 1e-9),
    "offsets": items(number(-1e3, 1e3), 1000),
    **dict.fromkeys(("sensitivity", "specificity", "balanced_accuracy"), _SHARE),
    "recall": mapping(_SHARE),
    "fitted_on": text(),
    **dict.fromkeys(("rows", "conditions"), _COUNT),
}
_DETECTOR_POINT: dict[str, Check] = {
    "criterion": text(),
    "thresholds": mapping(_LIMIT),
    "scores": items(text()),
    "budget": either(one_of(None), _SHARE),
    "tails": items(_COUNT),
    "calibration_patients": _COUNT,
    "calibration_false_alarms": mapping(_SHARE),
    "density": mapping(number(-1e30, 1e30)),
    "detectors": items(text()),
    "radiographs": mapping(_COUNT),
}


@dataclass(frozen=True)
class OperatingPoint:
    """How calibrated probabilities become decisions, by a threshold or by offsets.

    Attributes:
        name: its name on the card.
        criterion: how it was chosen, in words.
        threshold: for two classes: the last class is decided from this probability on.
        offsets: one per class, added to the log probability before the argmax; the first of equal
            ones wins.
        sensitivity, specificity, balanced_accuracy, recall: the values reached on the rows on which
            it was fitted, `recall` by class name; None if not measured.
        fitted_on: the part of these rows.
        rows: the number of these rows.
        conditions: the number of changes under which each row was seen; None if all were unchanged.

    Raises:
        ValueError: neither or both of threshold and offsets are given.
    """

    name: str = ""
    criterion: str = ""
    threshold: float | None = None
    offsets: tuple[float, ...] = ()
    sensitivity: float | None = None
    specificity: float | None = None
    balanced_accuracy: float | None = None
    recall: dict[str, float] | None = None
    fitted_on: str = ""
    rows: int | None = None
    conditions: int | None = None

    def __post_init__(self):
        object.__setattr__(self, "offsets", tuple(map(float, self.offsets)))
        if (self.threshold is None) == (not self.offsets):
            raise ValueError(
                "an operating point has either `threshold` or `offsets`. Received: "
                f"threshold={self.threshold!r}, offsets={self.offsets!r}"
            )
        name = "offsets" if self.threshold is None else "threshold"
        _POINT[name](getattr(self, name), name)

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.offsets) or 2

    def decide(self, probabilities):
        """Turn probabilities into classes.

        Args:
            probabilities: (N, K) float, calibrated; a row of NaN is a file that could not be read.

        Returns:
            (N,) int64 class indices, -1 for rows of NaN.

        Raises:
            ValueError: the shape is not (N, K), or the number of classes differs.
        """
        import numpy as np

        p = np.asarray(probabilities, np.float64)
        if p.ndim != 2 or p.shape[1] < 2:
            raise ValueError(f"probabilities must be (N, K) with K >= 2. Received: shape {p.shape}")
        if p.shape[1] != self.classes:
            raise ValueError(
                f"offsets must have one value per class, {p.shape[1]}. Received: {self.offsets}"
                if self.offsets
                else "a threshold decides between two classes. Received: probabilities of shape "
                f"{p.shape}"
            )
        return np.where(np.isnan(p).any(axis=1), -1, self.rule(p, np)).astype(np.int64)

    def rule(self, probabilities, numerics: Any):
        """Return class indices (N,) of probabilities (N, K) float64; `numerics` is numpy, or
        what stands for it inside a graph.
        """
        if self.threshold is not None:
            return numerics.where(probabilities[:, 1] >= self.threshold, 1, 0)
        logs = numerics.log(numerics.maximum(probabilities, TINY))
        return numerics.argmax(logs + numerics.array(self.offsets, "float64"), axis=1)

    def called_from(self, probabilities: Iterable[float]) -> tuple[float, ...]:
        """Return the probability from which each class is decided, if the others keep their
        proportions.

        With weights w_k (for a threshold t: w = (t, 1 - t); else the exponentials of the offsets)
        class k is decided where w_k p_k is the largest; with r_j = p_j / (1 - p_k) that is from
        p_k = M / (w_k + M) on, M = max over j of r_j w_j.

        Args:
            probabilities: K calibrated probabilities.
        """
        t = self.threshold
        weights = [math.exp(o) for o in self.offsets] if t is None else [t, 1 - t]
        p, limits = [float(x) for x in probabilities], []
        for k, weight in enumerate(weights):
            others = [j for j in range(len(p)) if j != k]
            total = sum(p[j] for j in others)
            shares = [p[j] / total if total else 1 / len(others) for j in others]
            most = max(s * weights[j] for s, j in zip(shares, others, strict=True))
            limits.append(most / (weight + most))
        return tuple(limits)

    def margin(self, probabilities: Iterable[float]) -> float:
        """Return the distance in logits, >= 0, of the log odds between the class decided and the
        next one from where the decision changes.

        Args:
            probabilities: K calibrated probabilities.
        """
        logs = [math.log(max(float(p), TINY)) for p in probabilities]
        if self.threshold is not None:
            t = min(max(self.threshold, TINY), 1 - TINY)
            return abs(logs[1] - logs[0] - math.log(t / (1 - t)))
        first, second = sorted((a + b for a, b in zip(logs, self.offsets, strict=True)))[:-3:-1]
        return first - second

    def words(self, class_names: Sequence[str]) -> str:
        """Describe the rule."""
        if self.threshold is not None:
            return f"{class_names[-1]} from a probability of {self.threshold:.4f}"
        if not any(self.offsets):
            return "the class of the highest probability"
        return "highest log probability after adding " + ", ".join(
            f"{o:+.3f} to {n}" for n, o in zip(class_names, self.offsets, strict=True)
        )

    def reached(self) -> str:
        """Describe the values reached on the rows on which it was fitted; empty if unknown."""
        found = {k: getattr(self, k) for k in ("sensitivity", "specificity", "balanced_accuracy")}
        return ", ".join(
            f"{k.replace('_', ' ')} {v:.3f}" for k, v in found.items() if v is not None
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as in a card's JSON, without the name, which is the key there."""
        return _known(self)

    @classmethod
    def from_dict(cls, name: str, raw: dict[str, Any]) -> OperatingPoint:
        """Create it from a card's JSON.

        Raises:
            ValueError: this is not an operating point.
        """
        return cls(name=name, **_checked(_POINT, name, raw))


@dataclass(frozen=True)
class DetectorPoint:
    """How a detector's raw scores become a verdict: anomalous if any score exceeds its threshold.

    Attributes:
        name: its name on the card.
        criterion: how it was chosen, in words.
        thresholds: score -> threshold in the unit of the score, in the order of the scores.
        budget: the guaranteed share of false alarms; None if thresholds were set by hand.
        tails: as in `stats.detector.or_rule`; empty if thresholds were set by hand.
        calibration_patients: the number of normals that set the thresholds, one radiograph per
            patient.
        calibration_false_alarms: score (and `any`) -> share of these normals beyond the threshold.
        density: `components`, `variance` and `bandwidth` of the density of codes.
        detectors: the names of the members of the committee behind the score `features`.
        radiographs: the numbers of radiographs in `fit`, `calibrate` and `test`.
    """

    name: str
    criterion: str
    thresholds: dict[str, float]
    budget: float | None = None
    tails: tuple[int, ...] = ()
    calibration_patients: int = 0
    calibration_false_alarms: dict[str, float] = field(default_factory=dict)
    density: dict[str, float] = field(default_factory=dict)
    detectors: tuple[str, ...] = ()
    radiographs: dict[str, int] = field(default_factory=dict)

    @property
    def scores(self) -> tuple[str, ...]:
        """The names of the scores, in order."""
        return tuple(self.thresholds)

    @staticmethod
    def side(score: str) -> str:
        """Return on which side of its threshold a score is anomalous: `above` or `below`."""
        return "above" if score in HIGH_IS_ANOMALOUS else "below"

    def words(self) -> str:
        """Describe the rule."""
        return "anomalous if " + " or ".join(
            f"{name.replace('_', ' ')} is {self.side(name)} {value:.5g}"
            for name, value in self.thresholds.items()
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as in a card's JSON, without the name, which is the key there."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "name"}
        lists = {"tails": list(self.tails), "detectors": list(self.detectors)}
        return {**values, **lists, "scores": list(self.scores)}

    @classmethod
    def from_dict(cls, name: str, raw: dict[str, Any]) -> DetectorPoint:
        """Create it from a card's JSON. Its keys are sorted, so `scores` has the order.

        Raises:
            ValueError: this is not the point of a detector.
        """
        if not isinstance(raw, dict) or not isinstance(raw.get("thresholds"), dict):
            raise ValueError(f"the operating point {name!r} has no thresholds")
        raw = dict(_checked(_DETECTOR_POINT, name, raw))
        order = raw.pop("scores", tuple(raw["thresholds"]))
        if sorted(order) != sorted(raw["thresholds"]):
            raise ValueError(f"the operating point {name!r} has no threshold for each score")
        raw["thresholds"] = {score: float(raw["thresholds"][score]) for score in order}
        lists = {k: tuple(raw.get(k) or ()) for k in ("tails", "detectors")}
        return cls(name=name, **{**raw, **lists})


def _known(point: OperatingPoint) -> dict[str, Any]:
    values = {f.name: getattr(point, f.name) for f in fields(point) if f.name != "name"}
    values["offsets"] = list(point.offsets) or None
    return {k: v for k, v in values.items() if v is not None and v != ""}


def _checked(known: dict[str, Check], name: str, raw: Any) -> dict[str, Any]:
    object_of(known)(raw, f"the operating point {name!r}")
    return raw
