"""Count what was decided rightly in every group of radiographs: by site, scanner, view, sex, age,
and by how they look around the lungs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from xray_tf.data.predictions import Predictions
from xray_tf.data.records import Records
from xray_tf.data.sources.traits import group_by
from xray_tf.jobs.classifier.acceptance.sample import Sample, recalls, shares_of

ACQUISITION = "acquisition"
FEWEST_PATIENTS = 20  # of a class; an interval of fewer is longer than 20 points
ONE_GROUP = "all radiographs look alike around the lungs, or there are too few to group"


def group_figures(sample: Sample, acquisitions: Sequence[str] | None) -> dict[str, Any]:
    """Return the figures of each group of the labelled rows.

    Args:
        sample: the rows; the columns that their manifest has beside those of `Record` group them.
        acquisitions: the group of each row of the sample by its look around the lungs; None where
            they were not looked for, and `Record.acquisition` says all that is known.

    Returns:
        `columns`: a list of {`column`, `groups`, `lowest`}, `groups` a list of {`group`, `rows`,
        `patients`, `class_counts`, `shares` (metric -> share), `warning`}, the largest first,
        `lowest` a sentence on the lowest share of a group that is large enough, or empty; and
        `left_out`: a list of {`column`, `reason`}.
    """
    records, rows = sample.corpus.records, sample.known
    columns, left_out = [], []
    for column, values in _columns(records, acquisitions):
        try:
            groups = group_by(column, values)
            if column == ACQUISITION and len(set(groups)) < 2:
                raise ValueError(ONE_GROUP)
        except ValueError as error:
            left_out.append({"column": column, "reason": str(error)})
            continue
        chosen = [groups[i] for i in sample.labelled]
        told = [_figures(name, rows, chosen) for name, _ in Counter(chosen).most_common()]
        columns.append({"column": column, "groups": told, "lowest": _lowest(told, rows)})
    return {"columns": columns, "left_out": left_out}


def _columns(
    records: Records, acquisitions: Sequence[str] | None
) -> Iterator[tuple[str, Sequence[str]]]:
    named = [records.traits.get(r.path, {}) for r in records]
    for column in dict.fromkeys(name for traits in named for name in traits):
        yield column, [traits.get(column, "") for traits in named]
    given = [r.acquisition for r in records]
    if any(given):
        yield ACQUISITION, given
    elif acquisitions is not None:
        yield ACQUISITION, acquisitions


def _figures(name: str, rows: Predictions, groups: Sequence[str]) -> dict[str, Any]:
    mine = rows.where([i for i, g in enumerate(groups) if g == name])
    shares, classes = shares_of(mine), recalls(mine.class_names)
    few = [mine.class_names[k] for m, k in classes.items() if shares[m].patients < FEWEST_PATIENTS]
    warning = f"fewer than {FEWEST_PATIENTS} patients of {' and '.join(few)}" if few else ""
    counts = [int((mine.labels == k).sum()) for k in range(len(mine.class_names))]
    return {
        "group": name,
        "rows": len(mine),
        "patients": shares["accuracy"].patients,
        "class_counts": dict(zip(mine.class_names, counts, strict=True)),
        "shares": {m: shares[m].to_dict() for m in classes},
        "warning": warning,
    }


def _lowest(groups: list[dict[str, Any]], rows: Predictions) -> str:
    """Name the lowest share of a group with enough patients; empty where fewer than two have."""
    known = [
        (share["value"], metric, group["group"])
        for group in groups
        for metric, share in group["shares"].items()
        if share["patients"] >= FEWEST_PATIENTS
    ]
    if len({group for *_, group in known}) < 2:
        return ""
    value, metric, group = min(known)
    overall = shares_of(rows)[metric].value
    return (
        f"Lowest: {metric.replace('/', ' of ')} {value:.3f} in {group}; over all groups it is "
        f"{overall:.3f}. The lowest of several groups looks lower than it is."
    )
