"""The rule: anomalous if any of several scores is out of bounds, with one false-alarm budget for
all of them, calibrated on held-out normals.

Let o_k be score k turned so that high is unusual, and rank each of n calibration normals (one
radiograph a patient) by each score among the n: 1 + how many are lower. Score k has a weight w_k in
(0, 1] and, for a depth t, the tail m_k(t) = max(1, floor(w_k t)): normal i is out at t if any of
its K ranks exceeds n - m_k(t); c(t) counts those. With t the largest depth for which c(t) <= n -
ceil((n + 1) (1 - budget)), the threshold of score k is its (n - m_k(t) + 1)-th lowest o_k, and a
radiograph is flagged if any o_k is above. A score of small weight speaks only beyond all normals.

Guarantee: if the n calibration normals and a new normal patient are exchangeable, P(the new one is
flagged) <= budget, whatever the scores, how they depend on one another, and ties. The count alone
is the usual finite-sample correction (Vovk et al. 2005; Lei et al. 2018, section 2.1); the one rank
more pays for having found t on the same normals. Among all n + 1 every rank grows by 0 or 1, so who
is flagged is among the top m_k(t) of the n + 1 by some k, and of the n + 1 at most c(t) + 1 <= (n +
1) budget are; so t is no deeper than the depth that the n + 1 alone, without their order, would
allow. The probability is over both the calibration normals and the new one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xray_tf.data.kin import patient_groups
from xray_tf.operating_point import HIGH_IS_ANOMALOUS
from xray_tf.stats.checks import finite_rows

REASONS = {"reconstruction_error": "reconstruction", "log_density": "density"}
# weight of reconstruction and density beside the committee's score, chosen on lesions pasted into
# normals (benchmarks/anomaly.py choose)
BESIDE_COMMITTEE = 0.25


@dataclass(frozen=True)
class Judgement:
    """What the rule says of N radiographs.

    Attributes:
        anomalous: (N,) bool.
        reasons: N texts: `reconstruction`, `density`, another score's name, `both` of two, or
            several joined by +; empty where not anomalous.
        percentiles: (N, K) float64 in [0, 100], the share of calibration normals less unusual by
            each score.
        anomaly: (N,) float64 in [0, 1]; above 0.5 where anomalous, higher = more anomalous.
    """

    anomalous: np.ndarray
    reasons: list[str]
    percentiles: np.ndarray
    anomaly: np.ndarray


@dataclass(frozen=True)
class OrRule:
    """Thresholds of K scores and the calibration normals they came from.

    Attributes:
        names: of the scores.
        thresholds: (K,) float64 in the scores' own units; anomalous beyond, not at, them.
        normals: (n, K) float64 scores of calibration normals, one radiograph a patient.
        budget: the promised false-alarm share; None where thresholds were set by hand.
        tails: m_k of the module's docstring, where the budget set the thresholds; else empty.
    """

    names: tuple[str, ...]
    thresholds: np.ndarray
    normals: np.ndarray
    budget: float | None = None
    tails: tuple[int, ...] = ()

    def judge(self, scores: np.ndarray) -> Judgement:
        """Judge raw scores (N, K).

        The anomaly score is 0.5 + z / (2 + 2 |z|), z the largest of (o_k - threshold_k) /
        interquartile range of the normals' o_k: the OR as one number.

        Raises:
            ValueError: not K finite scores a row.
        """
        scores = raw_scores(scores, self.names)
        unusual, normals, bounds = (
            turned(a, self.names) for a in (scores, self.normals, self.thresholds[None])
        )
        out = unusual > bounds
        z = ((unusual - bounds) / spread(self.normals, self.names)).max(axis=1)
        below = [
            np.searchsorted(np.sort(normals[:, k]), unusual[:, k], side="left")
            for k in range(len(self.names))
        ]
        return Judgement(
            out.any(axis=1),
            [self._reason(row) for row in out],
            100 * np.stack(below, axis=1) / len(normals),
            0.5 + 0.5 * z / (1 + np.abs(z)),
        )

    def _reason(self, out: np.ndarray) -> str:
        why = [REASONS.get(n, n) for n, beyond in zip(self.names, out, strict=True) if beyond]
        return "both" if len(why) == len(self.names) == 2 else "+".join(why)

    def bounds(self) -> dict[str, float]:
        """Return score -> threshold, in the order of the scores."""
        return dict(zip(self.names, self.thresholds.tolist(), strict=True))

    def with_thresholds(self, thresholds: dict[str, float]) -> OrRule:
        """Return the rule with thresholds set by hand; it promises no false-alarm rate."""
        return OrRule(self.names, _by_hand(thresholds, self.names), self.normals)

    def moved(
        self,
        scores: np.ndarray,
        patients: Sequence[str] | None,
        budget: float | None = None,
        seed: int = 0,
    ) -> OrRule:
        """Return the rule for another site: all thresholds moved by one number, so that its
        false-alarm budget holds among normals from there (split conformal prediction; Vovk et al.
        2005, Lei et al. 2018, section 2.1).

        The largest of (o_k - threshold_k) / interquartile range of the normals' o_k is one score,
        which nothing is fitted to; its ceil((n + 1) (1 - budget))-th lowest value of the n new
        normals is the number of interquartile ranges by which each threshold moves. If these and a
        new normal patient are exchangeable, P(the new one is flagged) <= budget.

        Args:
            scores: (N, K) of normals that nothing was fitted to.
            patients, seed: as in `calibrate`.
            budget: the false-alarm share; the rule's own if None, else 0.05.

        Raises:
            ValueError: too few patients for the budget.
        """
        budget = (self.budget or 0.05) if budget is None else budget
        scores = raw_scores(scores, self.names)
        normals = scores[one_per_patient(patients, len(scores), seed)]
        rank = math.ceil((len(normals) + 1) * (1 - budget) - 1e-9)
        if rank > len(normals):
            raise ValueError(
                f"{len(normals)} normals, one a patient, are too few to promise a false-alarm "
                f"share of {budget:.3g}. {math.ceil(1 / budget - 1e-9) - 1} patients are needed; "
                "give more normals, or a larger --budget."
            )
        spread(normals, self.names)  # refuses copies
        unusual, bounds = (turned(a, self.names) for a in (normals, self.thresholds[None]))
        width = spread(self.normals, self.names)
        step = np.sort(((unusual - bounds) / width).max(axis=1))[rank - 1]
        # the normal that sets the step stays within it whatever was rounded
        new = bounds[0] + (step + 1e-9) * width
        return OrRule(self.names, turned(new[None], self.names)[0], normals, float(budget))

    def false_alarms(self) -> dict[str, float]:
        """Return the share of calibration normals beyond each threshold, and beyond any."""
        out = turned(self.normals, self.names) > turned(self.thresholds[None], self.names)
        return {name: float(out[:, k].mean()) for k, name in enumerate(self.names)} | {
            "any": float(out.any(axis=1).mean())
        }


def calibrate(
    names: Sequence[str],
    scores: np.ndarray,
    patients: Sequence[str] | None,
    budget: float = 0.05,
    seed: int = 0,
    thresholds: dict[str, float] | None = None,
    weights: dict[str, float] | None = None,
) -> OrRule:
    """Fit the rule on held-out normals; see the module's docstring.

    Args:
        names: K names of scores; those in `HIGH_IS_ANOMALOUS` are higher for the more anomalous,
            all others for the more normal.
        scores: (N, K) of normals that nothing was fitted to.
        patients: N keys, empty where not known. One radiograph of each, drawn by `seed`,
            calibrates.
        budget: the false-alarm share of all scores together, in (0, 1).
        seed: of that draw.
        thresholds: name -> value, to set all of them by hand; then the budget is not used.
        weights: name -> w_k in (0, 1]; 1 for those not named. They must not come from the normals
            given here.

    Raises:
        ValueError: too few patients for the budget, a score that is the same for half of the
            normals, thresholds or weights that do not fit.
    """
    names = tuple(names)
    scores = raw_scores(scores, names)
    chosen = one_per_patient(patients, len(scores), seed)
    normals = scores[chosen]
    n, k = normals.shape
    if not n:
        raise ValueError(
            "there is no calibration normal. Give more normals, or a larger --validation share."
        )
    spread(normals, names)
    if thresholds is not None:
        return OrRule(names, _by_hand(thresholds, names), normals)
    if not 0 < budget < 1:
        raise ValueError(f"budget must be a share between 0 and 1. Received: budget={budget!r}")
    refuse_too_few(n, k, budget)
    unusual = turned(normals, names)
    ordered = np.sort(unusual, axis=0)
    ranks = np.stack(
        [np.searchsorted(ordered[:, j], unusual[:, j], side="left") + 1 for j in range(k)], axis=1
    )
    allowed = n - math.ceil((n + 1) * (1 - budget) - 1e-9)
    shares = _weights(weights or {}, names)
    for depth in range(n, 0, -1):
        tails = np.maximum(1, np.floor(shares * depth + 1e-9)).astype(int)
        if (ranks > n - tails).any(axis=1).sum() <= allowed:
            break
    bounds = turned(ordered[n - tails, np.arange(k)][None], names)[0]
    return OrRule(names, bounds, normals, float(budget), tuple(tails.tolist()))


def refuse_too_few(patients: int, scores: int, budget: float) -> None:
    """Raise ValueError where so many calibration patients cannot promise a false-alarm budget for
    so many scores: (scores + 1) / budget - 1 can.
    """
    needed = math.ceil((scores + 1) / budget - 1e-9) - 1
    if patients < needed:
        raise ValueError(
            f"{patients} calibration normals, one a patient, are too few to promise a false-alarm "
            f"share of {budget:.3g} for {scores} scores together. {needed} patients are needed; "
            "give more normals, a larger --validation share, or a larger --budget."
        )


def one_per_patient(patients: Sequence[str] | None, rows: int, seed: int = 0) -> np.ndarray:
    """Return the positions (n,) int64, rising, of one row of each patient, drawn by `seed`; a row
    without a key is a patient of its own.
    """
    order = np.random.default_rng(seed).permutation(rows)
    groups = patient_groups(patients, rows)
    return np.sort(order[np.unique(groups[order], return_index=True)[1]])


def turned(scores: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return scores (N, K) with the sign with which high is unusual; turned twice they are as
    before.
    """
    return np.asarray(scores, np.float64) * np.array(
        [1.0 if n in HIGH_IS_ANOMALOUS else -1.0 for n in names]
    )


def spread(normals: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return the interquartile range (K,) of the normals' scores.

    Raises:
        ValueError: one of them is 0.
    """
    low, high = np.percentile(normals, [25, 75], axis=0)
    flat = [n for n, s in zip(names, high - low, strict=True) if not s > 0]
    if flat:
        raise ValueError(
            f"{flat} is the same for half of the {len(normals)} calibration normals, so it tells "
            "nothing apart. Are the radiographs copies of one another, or constant?"
        )
    return high - low


def read_thresholds(text: str, names: Sequence[str]) -> dict[str, float]:
    """Read `name=value,name=value`.

    Raises:
        ValueError: not of that form, or not exactly the scores there are.
    """
    try:
        pairs = {
            name.strip(): float(value)
            for name, value in (part.split("=") for part in text.split(","))
        }
    except ValueError:
        raise ValueError(
            "thresholds must be name=value,name=value with the names "
            f"{', '.join(names)}. Received: {text!r}"
        ) from None
    _by_hand(pairs, names)
    return pairs


def _weights(weights: dict[str, float], names: Sequence[str]) -> np.ndarray:
    if not set(weights) <= set(names) or not all(0 < w <= 1 for w in weights.values()):
        raise ValueError(
            "weights must be numbers above 0 and at most 1 for some of "
            f"{', '.join(names)}. Received: {dict(weights)!r}"
        )
    return np.array([float(weights.get(n, 1.0)) for n in names])


def _by_hand(thresholds: dict[str, float], names: Sequence[str]) -> np.ndarray:
    if set(thresholds) != set(names) or not all(math.isfinite(v) for v in thresholds.values()):
        raise ValueError(
            "thresholds set by hand must be one finite number for each of "
            f"{', '.join(names)}. Received: {dict(thresholds)!r}"
        )
    return np.array([float(thresholds[n]) for n in names])


def raw_scores(scores: Any, names: Sequence[str]) -> np.ndarray:
    """Return scores (N, K) as float64; raise ValueError unless they are finite, one per name."""
    return finite_rows(scores, "scores", [len(names)], least=0).astype(np.float64)
