"""Fit temperature, intercepts and threshold on one half of a site's patients, and judge them on the
other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf.artifact import Card, write_json
from xray_tf.data.predictions import Predictions
from xray_tf.data.records import Records
from xray_tf.data.split import split_records
from xray_tf.jobs.classifier.acceptance.adapted import Adaptation, write_adapted
from xray_tf.jobs.classifier.acceptance.compare import paired_metrics
from xray_tf.jobs.classifier.acceptance.sample import Sample, recalls, shares_of
from xray_tf.jobs.classifier.evaluate_model import score_predictions
from xray_tf.jobs.known_rows import known_notes
from xray_tf.jobs.run import Options
from xray_tf.models.decided import predictions_of
from xray_tf.options import AcceptOptions, EvaluateOptions
from xray_tf.stats.acceptance.recalibration import fit_logits
from xray_tf.stats.acceptance.verdict import Limit, judge
from xray_tf.stats.metric_rows import card_metrics
from xray_tf.stats.operating_points import fit_site_points
from xray_tf.stats.paired import Conditions
from xray_tf.stats.temperature import calibrated_probabilities

RECALIBRATED = "recalibrated"
FEWEST_PATIENTS = 10  # of each class in each half
LIMITS = (
    "Recalibrated to one site: elsewhere its probabilities and thresholds hold no better than "
    "before, and here only while machine, protocol and patients stay as they were.",
    "Its probabilities are for the share of the sick among the rows it was fitted on; where "
    "patients are asked about in another proportion, `xray-tf accept --prevalence` adapts them.",
)


def recalibrate(
    sample: Sample, limits: Sequence[Limit], options: Options
) -> tuple[dict[str, Any], Adaptation, Predictions]:
    """Recalibrate a classifier to a sample.

    Args:
        sample: its labelled rows are used.
        limits: judged on the half that nothing was fitted on.
        options: of the job.

    Returns:
        (what was fitted and how it was judged: `name`, `fitted_on` and `judged_on`, each {`rows`,
        `patients`, `class_counts`}, `temperature` and `intercepts` [before, after], `points`
        (name -> what the card says), `metrics` (as in `compare.paired_metrics`, the new less the
        old, on the judged half), `shares` of the new, `verdict`, None without limits; the change;
        the predictions of the new, `val` where it was fitted and `test` where it was judged).

    Raises:
        ValueError, SplitError: too few patients of a class, or no patient keys.
    """
    how, card = options[AcceptOptions], sample.classifier.card
    records, positions = _halved(sample, how.accept_seed)
    logits = sample.logits[positions]
    labels = sample.predictions.labels[positions]
    fit = np.array([r.split == "val" for r in records])
    temperature, intercepts = fit_logits(logits[fit], labels[fit], card.temperature)
    added = intercepts * temperature
    probabilities = calibrated_probabilities(logits + added, temperature)
    points = fit_site_points(
        probabilities[fit], labels[fit], ["val"] * int(fit.sum()), card.class_names
    )
    card = replace(
        card,
        temperature=temperature,
        operating_points=points,
        default_operating_point="balanced",
        metrics_split="test",
        split_by=records.split_by,
    )
    predictions = predictions_of(card, list(records), probabilities)
    judged, before = predictions.of_split("test"), sample.predictions.where(positions[~fit])
    metrics = paired_metrics(
        Conditions(
            np.stack([before.probabilities, judged.probabilities]),
            np.stack([before.predicted, judged.predicted]),
            judged.labels,
            judged.patients,
            card.class_names,
        ),
        options[EvaluateOptions].bootstrap,
        options[EvaluateOptions].bootstrap_seed,
    )
    shares = shares_of(judged)
    told = {
        "name": RECALIBRATED,
        "fitted_on": _counts(predictions.of_split("val")),
        "judged_on": _counts(judged),
        "temperature": [sample.temperature, temperature],
        "intercepts": intercepts.tolist(),
        "points": {name: point.to_dict() for name, point in points.items()},
        "metrics": metrics,
        "shares": {name: share.to_dict() for name, share in shares.items()},
        "verdict": judge(shares, limits) if limits else None,
    }
    numbers = score_predictions(judged, card, options[EvaluateOptions])
    card = replace(
        card, metrics=card_metrics(numbers["metrics"]), notes=_notes(sample, records, told)
    )
    counts = told["fitted_on"]
    prevalence = {k: n / counts["rows"] for k, n in counts["class_counts"].items()}
    about = {
        "kind": RECALIBRATED,
        **{k: told[k] for k in ("fitted_on", "judged_on", "temperature", "intercepts")},
        "prevalence": prevalence,
    }
    return told, Adaptation(RECALIBRATED, added, card, about, records), predictions


def write_recalibrated(
    folder: Path,
    sample: Sample,
    change: Adaptation,
    predictions: Predictions,
    options: Options,
) -> Card:
    """Write the recalibrated classifier as an artifact; see `adapted.write_adapted`."""

    def write(draft: Path, card: Card) -> None:
        predictions.write_csv(draft / "predictions.csv")
        judged = predictions.of_split("test")
        metrics = score_predictions(judged, card, options[EvaluateOptions])
        write_json(draft / "metrics.json", metrics)

    return write_adapted(folder, sample.classifier, change, options, write)


def _halved(sample: Sample, seed: int) -> tuple[Records, np.ndarray]:
    """Return the labelled records, `val` in one half and `test` in the other, with their positions
    in the sample.
    """
    records, names = sample.corpus.records, sample.predictions.class_names
    known = records.with_rows(replace(records[i], split="") for i in sample.labelled)
    halves, _ = split_records(known, 0.5, 0.0, seed, records.split_by)
    halves = halves.with_split("val" if r.split == "val" else "test" for r in halves)
    position = {records[i].path: i for i in sample.labelled}
    positions = np.array([position[r.path] for r in halves], np.int64)
    labels = sample.predictions.labels[positions]
    for part in ("val", "test"):
        for k, name in enumerate(names):
            mine = [r for r, c in zip(halves, labels, strict=True) if c == k and r.split == part]
            patients = len({r.patient or r.path for r in mine})
            if patients < FEWEST_PATIENTS:
                raise ValueError(
                    f"Recalibration needs {FEWEST_PATIENTS} patients of each class in each half. "
                    f"Received {patients} of {name} in one of them: label more radiographs, or "
                    "leave --recalibrate out."
                )
    return halves, positions


def _counts(rows: Predictions) -> dict[str, Any]:
    counts = np.bincount(rows.labels, minlength=len(rows.class_names)).tolist()
    return {
        "rows": len(rows),
        "patients": shares_of(rows)["accuracy"].patients,
        "class_counts": dict(zip(rows.class_names, counts, strict=True)),
    }


def _notes(sample: Sample, records: Records, told: dict[str, Any]) -> tuple[str, ...]:
    old, fitted, judged = sample.classifier.card.name, told["fitted_on"], told["judged_on"]
    before, after = told["temperature"]
    moved = ", ".join(f"{b:+.3f}" for b in told["intercepts"])
    first = (
        f"Recalibrated from {old}, whose network it has: temperature {before:.4g} became "
        f"{after:.4g}, the calibrated logits were moved by {moved}, and thresholds were fitted "
        f"anew, on {fitted['rows']:,} radiographs of {fitted['patients']:,} patients of one site; "
        f"its numbers are of {judged['rows']:,} others of {judged['patients']:,} patients there. "
        f"In split.csv the rows that made {old} count as training."
    )
    classes = recalls(sample.predictions.class_names)
    few = min(told["shares"][m]["patients"] for m in classes)
    seen = known_notes(records, sample.classifier)
    small = [f"Judged on few: {few:,} patients of the rarest class."] if few < 50 else []
    return (first, *LIMITS, *small, *seen)
