"""Judge shares against limits, and say how likely the judgement is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xray_tf.stats.acceptance.shares import Share

SURE = 0.05  # a verdict is given where the chance that it is wrong is at most this
ACCEPTED, REJECTED, UNDECIDED = "accepted", "rejected", "undecided"
_LIMIT = re.compile(r"\s*(?P<metric>[^<>=≥\s]+(?: [^<>=≥\s]+)*)\s*(?:>=|≥)\s*(?P<least>\S+)\s*")


@dataclass(frozen=True)
class Limit:
    """The least a share must be.

    Attributes:
        metric: the share's name.
        least: in [0, 1].
    """

    metric: str
    least: float


def read_limits(text: str | None) -> tuple[Limit, ...]:
    """Read limits such as `sensitivity>=0.9,specificity>=0.85`; none of an empty text.

    Raises:
        ValueError: it is not of that form, a number is not between 0 and 1, or a metric comes
            twice.
    """
    limits = []
    for part in (text or "").split(",") if (text or "").strip() else ():
        found = _LIMIT.fullmatch(part)
        try:
            least = float(found["least"])
            if not 0 < least < 1:
                raise ValueError
        except (TypeError, ValueError) as error:
            raise ValueError(
                "limits must be like sensitivity>=0.9,specificity>=0.85, each number between 0 "
                f"and 1. Received: {text!r}"
            ) from error
        limits.append(Limit(found["metric"], least))
    if len({limit.metric for limit in limits}) < len(limits):
        raise ValueError(f"limits must name each metric once. Received: {text!r}")
    return tuple(limits)


def judge(shares: Mapping[str, Share], limits: Sequence[Limit]) -> dict[str, Any]:
    """Judge shares against limits.

    `accepted`: the chances that the shares lie below their limits add up to 5 % at most, so the
    chance that any of them does is no larger, however they depend on each other. `rejected`: one
    of them lies below its limit so surely that the chance that it does not, times the number of
    limits, is 5 % at most; times their number, since the worst of several is looked at.
    `undecided` otherwise.

    Args:
        shares: name -> share.
        limits: one or more.

    Returns:
        `verdict`; `chance_wrong`, the most it can be, None where it is undecided;
        `if_accepted` and `if_rejected`, the chance that either verdict would be wrong; and
        `limits`, a list of {`metric`, `least`, `value`, `met` (by the value), `chance_below`}.

    Raises:
        ValueError: a limit is on what is not among the shares, or a share has no row.
    """
    rows = []
    for limit in limits:
        share = shares.get(limit.metric)
        if share is None or not share.rows:
            known = [name for name, s in shares.items() if s.rows]
            raise ValueError(
                f"There is nothing to judge {limit.metric!r} by. Shares that can be judged here: "
                f"{', '.join(known) or 'none, since no row is labelled'}."
            )
        rows.append(
            {
                "metric": limit.metric,
                "least": limit.least,
                "value": share.value,
                "met": share.value >= limit.least,
                "chance_below": share.chance_below(limit.least),
            }
        )
    below = [row["chance_below"] for row in rows]
    if_accepted = min(1.0, sum(below))
    if_rejected = min(1.0, len(below) * (1 - max(below)))
    verdict, wrong = UNDECIDED, None
    if if_accepted <= SURE:
        verdict, wrong = ACCEPTED, if_accepted
    elif if_rejected <= SURE:
        verdict, wrong = REJECTED, if_rejected
    return {
        "verdict": verdict,
        "chance_wrong": wrong,
        "if_accepted": if_accepted,
        "if_rejected": if_rejected,
        "limits": rows,
    }
