"""Provide the words that reports, model cards and summaries share, as plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xray_tf.artifact import Card
from xray_tf.stats.metric_rows import METRICS
from xray_tf.stats.metric_rows import headline as names_of

NOTICE = (
    "Made for research and teaching. It is not a medical device, and nothing in it may guide "
    "the care of a patient."
)
IMAGE_SPLIT = (
    "Split by image, not by patient: radiographs of one child may be on both sides, so the numbers "
    "can be far too optimistic. They say little about new patients."
)
WITHOUT_TEST = (
    "There are no test rows. The numbers come from the validation rows, on which temperature and "
    "thresholds were fitted, so they are optimistic."
)
NAMES = {name: row.label for name, row in METRICS.items()}
SCORE_MEANINGS = {
    "reconstruction_error": "how badly an autoencoder that has seen only normal lungs "
    "reconstructs a frozen network's features of their zones",
    "log_density": "how common their code in the autoencoder is among normals",
    "features": "how close brightness and markings of the lungs are to those of normals",
}
REASONS = {
    "reconstruction": "the zones of its lungs do not go together as they do in normal lungs",
    "density": "lungs like these are rare among normals",
    "features": "brightness and markings of its lungs are far from those of normals",
}
REASONS["both"] = f"{REASONS['reconstruction']}, and {REASONS['density']}"
FEWEST_OF_GROUP = 10  # radiographs of a class in an acquisition group that a sentence names
SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test"}


def value_text(cell: dict[str, Any], digits: int = 3) -> str:
    """Write a metric's value."""
    return "–" if cell["value"] is None else f"{cell['value']:.{digits}f}"


def range_text(cell: dict[str, Any], digits: int = 3) -> str:
    """Write a metric's interval, or the reason why there is none."""
    if cell["low"] is None:
        return cell.get("reason", "no interval")
    return f"[{cell['low']:.{digits}f}, {cell['high']:.{digits}f}]"


def interval_text(cell: dict[str, Any], digits: int = 3) -> str:
    """Write a metric's value and interval."""
    return f"{value_text(cell, digits)} {range_text(cell, digits)}"


def measured_text(cell: dict[str, Any]) -> str:
    """Write a metric's value, and its interval if there is one."""
    return value_text(cell) if cell["low"] is None else interval_text(cell)


def interval_kind(result: dict[str, Any]) -> str:
    """Describe the kind of a result's intervals, and the meaning of those that are a single point
    (rule of three, Hanley & Lippman-Hand 1983).
    """
    kind = result["interval"]["kind"]
    if not _shrunk(result):
        return kind
    return f"{kind} ([1.000, 1.000]: no row was wrong; with n rows, up to about 3 / n may be)"


def _shrunk(value: Any) -> bool:
    if isinstance(value, dict):
        return value.get("value") == value.get("low") == value.get("high") == 1 or any(
            map(_shrunk, value.values())
        )
    return isinstance(value, list) and any(map(_shrunk, value))


def meanings_text(scores: Sequence[str]) -> str:
    """Explain a detector's scores, as far as they are known."""
    known = (n for n in scores if n in SCORE_MEANINGS)
    return "; ".join(f"{n.replace('_', ' ')}: {SCORE_MEANINGS[n]}" for n in known).capitalize()


def reason_text(reason: str) -> str:
    """Say in words why a detector calls a radiograph anomalous, such as `features+density`."""
    return ", and ".join(REASONS.get(n, n.replace("_", " ")) for n in reason.split("+") if n)


def verdict_text(verdict: str, reason: str) -> str:
    """Say a detector's verdict with its reason."""
    return f"{verdict}: {reason_text(reason)}" if reason else verdict


def data_facts(card: Card) -> list[str]:
    """List what the card says about the data."""
    data, options = card.provenance.get("data", {}), options_of(card, "DataOptions")
    facts = []
    if isinstance(data.get("radiographs"), int):
        facts.append(f"{data['radiographs']:,} radiographs")
    if data.get("fingerprint"):
        facts.append(f"fingerprint {str(data['fingerprint'])[:16]}")
    told = ["source", "patient_key", *([] if options.get("split") else ["validation", "test"])]
    facts += [f"{k.replace('_', ' ')} {options[k]}" for k in told if options.get(k) is not None]
    return facts + ["split as in an earlier run's split.csv"] * bool(options.get("split"))


def options_of(card: Card, name: str) -> dict[str, Any]:
    """Return the recorded options of one dataclass; empty if they were not recorded."""
    return card.provenance.get("options", {}).get(name, {})


def origin(card: Card) -> str:
    """Say when, with which versions and from which commit a folder was made."""
    known = card.provenance.get("versions", {})
    # the same before and after card.json
    names = sorted(known, key=lambda k: (k != "xray_tf", k))
    versions = f" with {', '.join(f'{k} {known[k]}' for k in names)}" if names else ""
    commit = card.provenance.get("commit", "")
    when = card.provenance.get("time") or "at an unknown time"
    return f"Made {when}{versions}{f', commit {commit[:12]}' if commit else ''}."


def rows_text(metrics: dict[str, Any]) -> str:
    """Say on which rows the metrics were measured."""
    split = SPLIT_NAMES.get(metrics.get("split"), "labelled")
    patients = f" of {metrics['patients']:,} patients" if metrics.get("patients") else ""
    return f"{metrics['rows']:,} {split} rows{patients}"


def worst_acquisition(metrics: dict[str, Any]) -> str:
    """Name the acquisition group and class of the lowest recall; empty where no group has enough
    radiographs of a class.
    """
    known = [
        (cell["value"], group, name)
        for group in metrics.get("acquisitions", ())
        for name, cell in group["recall"].items()
        if group["class_counts"][name] >= FEWEST_OF_GROUP
    ]
    if not known:
        return ""
    _, group, name = min(known, key=lambda k: k[0])
    return (
        f"The lowest recall in an acquisition group: {interval_text(group['recall'][name])} of the "
        f"{group['class_counts'][name]:,} radiographs of {name} in group {group['group']}; over "
        f"all groups it is {value_text(metrics['per_class'][name]['recall'])}."
    )


def metric_name(name: str, class_names: Sequence[str]) -> str:
    """Return a metric's name for a reader."""
    return METRICS[name].name(len(class_names))


def headline(metrics: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the metrics of a classifier that matter most, each with its name."""
    classes = metrics["class_names"]
    return [(metric_name(n, classes), metrics["metrics"][n]) for n in names_of(len(classes))]


def metrics_text(metrics: dict[str, Any]) -> str:
    """Say the metrics of a classifier that matter most in one line, and on which rows."""
    where = SPLIT_NAMES.get(metrics["split"], metrics["split"])
    shown = ", ".join(f"{name} {interval_text(cell)}" for name, cell in headline(metrics))
    return f"On {metrics['rows']:,} {where} rows: {shown}"


def matrix_text(matrix: Sequence[Sequence[int]], class_names: Sequence[str]) -> str:
    """Write a confusion matrix, with the true class in rows, as a sentence for screen readers."""
    rows = (
        f"true {name}: "
        + ", ".join(f"{c} decided {m}" for m, c in zip(class_names, row, strict=True))
        for name, row in zip(class_names, matrix, strict=True)
    )
    return "; ".join(rows) + "."


def rule_text(card: Card) -> str:
    """Describe a classifier's default rule."""
    point = card.operating_points.get(card.default_operating_point)
    return "none" if point is None else point.words(card.class_names)


def enumerate_text(names: Sequence[str]) -> str:
    """Join words with commas and a final `and`."""
    names = [str(n) for n in names]
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def count_text(value: int | None) -> str:
    """Write a count that may be unknown."""
    return "unknown" if value is None else f"{value:,}"
