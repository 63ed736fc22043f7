"""Decisions as objects: how probabilities become classes, and how a detector's scores become
verdicts. Python, the pages and the exported graph all ask the same object.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

TINY = 1e-12  # the floor of a probability before its logarithm is taken
HIGH_IS_ANOMALOUS = ("reconstruction_error",)  # every other score is higher for the more normal


@dataclass(frozen=True)
class OperatingPoint:
    """How calibrated probabilities become decisions, by a threshold or by offsets.

    Attributes:
        name: what the card calls it.
        criterion: why it is this one, in words.
        threshold: two classes: the last class is decided from that probability on.
        offsets: one a class, added to the log probability before the argmax; the first of equals
            wins.
        sensitivity, specificity, balanced_accuracy, recall: what it reached on the rows that it
            was fitted on, `recall` by class name; None where not measured.
        fitted_on: the part of these rows.
        rows: how many they are.
        conditions: under how many changes each of them was seen; None for unchanged rows alone.

    Raises:
        ValueError: not exactly one of threshold and offsets.
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

    @property
    def classes(self) -> int:
        """Between how many classes it decides."""
        return len(self.offsets) or 2

    def decide(self, probabilities):
        """Decide: the one place where probabilities become classes.

        Args:
            probabilities: (N, K) float, calibrated; rows of NaN are files that could not be read.

        Returns:
            (N,) int64 class indices, -1 for rows of NaN.

        Raises:
            ValueError: not (N, K), or another number of classes.
        """
        import numpy as np

        p = np.asarray(probabilities, np.float64)
        if p.ndim != 2 or p.shape[1] < 2:
            raise ValueError(f"probabilities must be (N, K) with K >= 2. Received: shape {p.shape}")
        if p.shape[1] != self.classes:
            raise ValueError(
                f"offsets must be one a class, {p.shape[1]}. Received: {self.offsets}"
                if self.offsets
                else "a threshold decides between two classes. Received: probabilities of shape "
                f"{p.shape}"
            )
        return np.where(np.isnan(p).any(axis=1), -1, self.rule(p, np)).astype(np.int64)

    def rule(self, probabilities, numerics: Any):
        """Return class indices (N,) of (N, K) float64, computed with `numerics`: numpy, or
        keras.ops inside a graph.
        """
        if self.threshold is not None:
            return numerics.where(probabilities[:, 1] >= self.threshold, 1, 0)
        logs = numerics.log(numerics.maximum(probabilities, TINY))
        return numerics.argmax(logs + numerics.array(self.offsets, "float64"), axis=1)

    def called_from(self, probabilities: Iterable[float]) -> tuple[float, ...]:
        """Return the probability each class is decided from, the others keeping their proportions
        to each other.

        With weights w_k (for a threshold t: w = (t, 1 - t); else the exponentials of the offsets)
        class k is decided where w_k p_k is the largest; with r_j = p_j / (1 - p_k) that is from
        p_k = M / (w_k + M) on, M = max over j of r_j w_j.

        Args:
            probabilities: K, calibrated.
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
        """Return how far the log odds of the class decided against the next one lie from where
        the decision changes, in logits, >= 0.

        Args:
            probabilities: K, calibrated.
        """
        logs = [math.log(max(float(p), TINY)) for p in probabilities]
        if self.threshold is not None:
            t = min(max(self.threshold, TINY), 1 - TINY)
            return abs(logs[1] - logs[0] - math.log(t / (1 - t)))
        first, second = sorted((a + b for a, b in zip(logs, self.offsets, strict=True)))[:-3:-1]
        return first - second

    def words(self, class_names: Sequence[str]) -> str:
        """Say how it decides."""
        if self.threshold is not None:
            return f"{class_names[-1]} from a probability of {self.threshold:.4f}"
        if not any(self.offsets):
            return "the class of the highest probability"
        return "highest log probability after adding " + ", ".join(
            f"{o:+.3f} to {n}" for n, o in zip(class_names, self.offsets, strict=True)
        )

    def reached(self) -> str:
        """Say what it reached on the rows it was fitted on; empty where that is not known."""
        found = {k: getattr(self, k) for k in ("sensitivity", "specificity", "balanced_accuracy")}
        return ", ".join(
            f"{k.replace('_', ' ')} {v:.3f}" for k, v in found.items() if v is not None
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as a card's JSON has it, less the name, which is the key there."""
        return _known(self)

    @classmethod
    def from_dict(cls, name: str, raw: dict[str, Any]) -> OperatingPoint:
        """Make it from a card's JSON.

        Raises:
            ValueError: not an operating point.
        """
        return cls(name=name, **_checked(cls, name, raw))


@dataclass(frozen=True)
class DetectorPoint:
    """How a detector's raw scores become a verdict: anomalous if any of them lies beyond its
    threshold.

    Attributes:
        name: what the card calls it.
        criterion: why it is this one, in words.
        thresholds: score -> threshold in the score's own unit, in the order of the scores.
        budget: the promised share of false alarms; None where thresholds were set by hand.
        tails: as in `stats.detector.or_rule`; empty where thresholds were set by hand.
        calibration_patients: how many normals set the thresholds, one radiograph a patient.
        calibration_false_alarms: score, and `any` -> share of these beyond the threshold.
        density: `components`, `variance` and `bandwidth` of the density of codes.
        detectors: those on frozen features, by name.
        radiographs: `fit`, `calibrate` and `test` -> how many.
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
        """Names of the scores, in order."""
        return tuple(self.thresholds)

    @staticmethod
    def side(score: str) -> str:
        """Say on which side of its threshold a score is anomalous: `above` or `below`."""
        return "above" if score in HIGH_IS_ANOMALOUS else "below"

    def words(self) -> str:
        """Say the rule."""
        return "anomalous if " + " or ".join(
            f"{name.replace('_', ' ')} is {self.side(name)} {value:.5g}"
            for name, value in self.thresholds.items()
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as a card's JSON has it, less the name, which is the key there."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "name"}
        lists = {"tails": list(self.tails), "detectors": list(self.detectors)}
        return {**values, **lists, "scores": list(self.scores)}

    @classmethod
    def from_dict(cls, name: str, raw: dict[str, Any]) -> DetectorPoint:
        """Make it from a card's JSON, whose keys are sorted: `scores` has the order.

        Raises:
            ValueError: not a detector's point.
        """
        if not isinstance(raw, dict) or not isinstance(raw.get("thresholds"), dict):
            raise ValueError(f"the operating point {name!r} names no thresholds")
        raw = dict(raw)
        order = raw.pop("scores", tuple(raw["thresholds"]))
        raw = _checked(cls, name, raw)
        if sorted(order) != sorted(raw["thresholds"]):
            raise ValueError(f"the operating point {name!r} has no threshold for each score")
        raw["thresholds"] = {score: float(raw["thresholds"][score]) for score in order}
        lists = {k: tuple(raw.get(k) or ()) for k in ("tails", "detectors")}
        return cls(name=name, **{**raw, **lists})


def _known(point: OperatingPoint) -> dict[str, Any]:
    values = {f.name: getattr(point, f.name) for f in fields(point) if f.name != "name"}
    values["offsets"] = list(point.offsets) or None
    return {k: v for k, v in values.items() if v is not None and v != ""}


def _checked(cls: type, name: str, raw: Any) -> dict[str, Any]:
    unknown = set(raw) - {f.name for f in fields(cls)} if isinstance(raw, dict) else {type(raw)}
    if unknown:
        raise ValueError(f"the operating point {name!r} has unknown entries: {sorted(unknown)}")
    return raw
