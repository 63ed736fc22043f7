"""Shares such as sensitivity, seen in radiographs of patients who may have several: intervals, the
chance that a share lies below a limit, and how many radiographs would be enough.

Radiographs of one patient repeat each other, so that n of them say less than n patients would. How
much less is the design effect: the variance of the share by patient over that of n independent
rows. The interval is Jeffreys' (Brown, Cai & DasGupta 2001, Interval Estimation for a Binomial
Proportion, section 4) of n / design effect rows, as Korn & Graubard (1998, Confidence intervals for
proportions with small expected number of positive counts estimated from survey data) do with
Clopper and Pearson's. The chance is of the same posterior, so both tell one story. A bootstrap
would call a share without a single mistake certain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import betainc, betaincinv, stdtrit

from xray_tf.data.kin import patient_groups

LEVEL = 0.95
JEFFREYS = 0.5  # of each outcome, before anything was seen


@dataclass(frozen=True)
class Share:
    """How many of some rows are hits.

    Attributes:
        hits, rows: of which the share is the ratio.
        patients: whose rows they are.
        effective: as many patients with one row each would say as much; at most `rows`.
    """

    hits: int
    rows: int
    patients: int
    effective: float

    @classmethod
    def of(cls, hit: np.ndarray, patients: Sequence[str] | None) -> Share:
        """Count.

        Args:
            hit: (N,) bool.
            patients: N keys, empty where not known: such a row is a patient of its own; None where
                none is.
        """
        hit = np.asarray(hit, bool)
        groups = patient_groups(patients, len(hit))
        count = int(groups.max()) + 1 if len(hit) else 0
        return cls(int(hit.sum()), len(hit), count, _effective(hit, groups, count))

    @property
    def value(self) -> float | None:
        """The share; None without a row."""
        return self.hits / self.rows if self.rows else None

    @property
    def design_effect(self) -> float:
        """How many rows say as much as one patient with a single row."""
        return self.rows / self.effective if self.rows else 1.0

    @property
    def interval(self) -> tuple[float, float] | tuple[None, None]:
        """The 95 % interval; None without a row."""
        if not self.rows:
            return None, None
        low, high = _jeffreys(self.effective, self.value)
        low, high = low if self.hits else 0.0, high if self.hits < self.rows else 1.0
        return low, high

    def chance_below(self, limit: float) -> float:
        """Return the posterior probability that the true share is below `limit`."""
        return float(betainc(*_posterior(self.effective, self.value or 0.0), limit))

    def rows_for(self, margin: float, cautious: bool = False) -> int | None:
        """Return how many rows of such patients give an interval of +- `margin`.

        Args:
            margin: half the interval's length, above 0.
            cautious: expect the end of the interval that needs more rows, instead of the share
                itself; it is what a study that must not fail plans with.

        Returns:
            Rows; None where there is no row to learn from.
        """
        if not self.rows:
            return None
        a, b = _posterior(self.effective, self.value)
        expected = a / (a + b)
        if cautious:
            low, high = self.interval
            expected = min(max(0.5, low), high)
        few, many = 0.5, 4.0
        while _half_length(expected, many) > margin:
            many *= 2
        for _ in range(60):
            middle = (few + many) / 2
            few, many = (middle, many) if _half_length(expected, middle) > margin else (few, middle)
        return math.ceil(many * self.design_effect)

    def to_dict(self) -> dict[str, Any]:
        """Return it for a JSON file, as {`value`, `low`, `high`, `hits`, `rows`, `patients`,
        `design_effect`}.
        """
        low, high = self.interval
        counts = {"hits": self.hits, "rows": self.rows, "patients": self.patients}
        effect = round(self.design_effect, 4)
        return {"value": self.value, "low": low, "high": high, **counts, "design_effect": effect}


def _posterior(rows: float, value: float) -> tuple[float, float]:
    return rows * value + JEFFREYS, rows * (1 - value) + JEFFREYS


def _jeffreys(rows: float, value: float) -> tuple[float, float]:
    tail = (1 - LEVEL) / 2
    return tuple(float(betaincinv(*_posterior(rows, value), p)) for p in (tail, 1 - tail))


def _effective(hit: np.ndarray, groups: np.ndarray, patients: int) -> float:
    """Return the effective number of rows (Korn & Graubard 1998, section 2).

    Where all rows are hits, or none is, nothing is known of how alike a patient's rows are: then
    each patient counts once.
    """
    rows = len(hit)
    if patients == rows:
        return float(rows)
    value = hit.mean()
    if patients < 2 or value in (0, 1):
        return float(patients)
    sizes = np.bincount(groups)
    residuals = np.bincount(groups, hit) - value * sizes
    by_patient = patients / (patients - 1) * np.sum(residuals**2) / rows**2
    effect = by_patient / (value * (1 - value) / (rows - 1))
    # the variance by patient is itself estimated, from as many patients
    freedom = (stdtrit(rows - 1, 0.975) / stdtrit(patients - 1, 0.975)) ** 2
    return float(min(rows, rows / effect * freedom))


def _half_length(expected: float, rows: float) -> float:
    low, high = _jeffreys(rows, expected)
    return (high - low) / 2
