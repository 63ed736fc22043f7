"""Say what a site acceptance found, in sentences; everything here takes the dict of acceptance.json
(its layout is in `jobs.classifier.acceptance.accept_model`).
"""

from __future__ import annotations

from typing import Any

from xray_tf.pages.kit.words import NAMES, enumerate_text, interval_text, range_text, value_text

LUCK = (
    "The chance counts the luck of the sample only: it holds for patients like these, chosen as "
    "these were."
)


def share_name(metric: str) -> str:
    """Name a share for a person."""
    kind, _, of = metric.partition("/")
    return f"{NAMES.get(kind, kind)} of {of}" if of else NAMES.get(kind, kind)


def chance_text(chance: float) -> str:
    """Write a small probability."""
    if chance < 0.001:
        return "under 0.1 %"
    if chance > 0.999:
        return "over 99.9 %"
    return f"{100 * chance:.1f} %"


def limit_text(limit: dict[str, Any]) -> str:
    """Write a limit."""
    return f"{share_name(limit['metric']).lower()} of at least {limit['least']:g}"


def verdict_text(verdict: dict[str, Any] | None) -> str:
    """Say what the verdict is, and how likely it is wrong."""
    if verdict is None:
        return "No verdict: no limits were stated. --require states them."
    seen = (
        f" It counts for nothing: the model was made with {verdict['seen']:,} of these radiographs."
        if verdict.get("seen")
        else ""
    )
    return _verdict_alone(verdict) + seen


def _verdict_alone(verdict: dict[str, Any]) -> str:
    limits = enumerate_text([limit_text(row) for row in verdict["limits"]])
    # upper bounds, so the largest is all
    bounds = (verdict[k] for k in ("if_accepted", "if_rejected"))
    accepted, rejected = ("100 %" if b > 0.999 else chance_text(b) for b in bounds)
    if verdict["verdict"] == "accepted":
        return (
            f"Accepted against your limits ({limits}). The chance that a limit is not met here is "
            f"at most {accepted}."
        )
    if verdict["verdict"] == "rejected":
        return (
            f"Rejected against your limits ({limits}). The chance that all of them are met here "
            f"after all is at most {rejected}."
        )
    return (
        f"Undecided against your limits ({limits}): this sample cannot tell. Accepting would be "
        f"wrong with a chance of at most {accepted}, rejecting with one of at most {rejected}."
    )


def calibration_text(calibration: dict[str, Any]) -> str:
    """Say how the probabilities lie, as far as the intervals tell."""
    said = []
    for name, cell in calibration["in_the_large"].items():
        if cell["low"] is not None and not cell["low"] <= 0 <= cell["high"]:
            side = "low" if cell["value"] > 0 else "high"
            said.append(f"of {name} too {side} by {abs(cell['value']):.3f} on average")
    slope = calibration["slope"]
    if slope and slope["low"] is not None and not slope["low"] <= 1 <= slope["high"]:
        said.append("too sure" if slope["value"] < 1 else "not sure enough")
    if not said:
        return "No misfit can be told from chance here."
    return f"The probabilities here are {enumerate_text(said)}."


def familiarity_text(familiarity: dict[str, Any]) -> str:
    """Say whether the radiographs are farther from the training radiographs than these are from
    each other.
    """
    farther = familiarity["farther"]
    if farther is None:
        return familiarity["reason"]
    if farther["low"] > 0.5:
        what = "They are farther from the training radiographs than these are from each other"
    elif farther["high"] < 0.5:
        what = "They lie closer to the training radiographs than these do to each other"
    else:
        what = "They lie among the training radiographs as these lie among each other"
    return f"{what} ({interval_text(farther)} on a scale on which 0.5 is alike)."


def recalibration_text(told: dict[str, Any]) -> str:
    """Say what the recalibration changed on the half that it was not fitted on."""
    change = told["metrics"]["brier"]["difference"]
    if change["high"] is None or change["low"] <= 0 <= change["high"]:
        what = "Whether its probabilities are better cannot be told from chance"
    else:
        what = f"Its probabilities are {'better' if change['value'] < 0 else 'worse'}"
    return f"{what}: the Brier score changes by {signed(change)} (lower is better)."


def signed(cell: dict[str, Any]) -> str:
    """Write a difference with its interval."""
    if cell["value"] is None:
        return "–"
    if cell["low"] is None:
        return f"{cell['value']:+.3f}"
    return f"{cell['value']:+.3f} [{cell['low']:+.3f}, {cell['high']:+.3f}]"


def summary_lines(told: dict[str, Any]) -> list[str]:
    """Return what a terminal shows."""
    lines = [verdict_text(told["verdict"])]
    if told["shares"]:
        for name, cell in told["shares"].items():
            of = f"{cell['hits']} of {cell['rows']}"
            lines.append(f"  {share_name(name):24} {value_text(cell)} {range_text(cell)}  {of}")
        lines.append(f"  Calibration: {calibration_text(told['calibration'])}")
    lines.append(f"  Distance: {familiarity_text(told['familiarity'])}")
    if told["comparison"]:
        for name, cell in told["comparison"]["metrics"].items():
            more = signed(cell["difference"])
            lines.append(f"  {share_name(name)} less that of {told['comparison']['other']}: {more}")
    if told["recalibration"]:
        lines.append(f"  Recalibrated: {recalibration_text(told['recalibration'])}")
    if told["prior_shift"]:
        shares = (f"{n} {c['value']:.3f}" for n, c in told["prior_shift"]["here"].items())
        lines.append(f"  Prevalence: {enumerate_text(list(shares))}")
    return lines
