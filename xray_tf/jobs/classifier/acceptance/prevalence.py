"""Adapt a classifier to another prevalence, known or estimated without labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from xray_tf.data.kin import patient_groups
from xray_tf.data.predictions import Predictions
from xray_tf.jobs.classifier.acceptance.adapted import Adaptation
from xray_tf.jobs.classifier.acceptance.sample import Sample
from xray_tf.models.classifier import Classifier
from xray_tf.operating_point import OperatingPoint
from xray_tf.stats.acceptance.prior_shift import adapt, estimate_prevalence, shift_logits
from xray_tf.stats.acceptance.shares import Share
from xray_tf.stats.metrics import cluster_weights, interval

PRIOR_SHIFTED, EM = "prior-shifted", "em"
ASSUMPTIONS = (
    "Radiographs of a class look here as they do where the probabilities were fitted: only the "
    "proportion of the classes is another (prior shift). Another machine, age or severity breaks "
    "this.",
    "The probabilities were calibrated there, for the proportion given as fitted.",
    "No class is here that was not there.",
)
_MOST_DRAWS = 500
_MISFIT = 0.05  # between the mean probability and the share of a class on the fitted rows


def read_prevalence(text: str | None, class_names: tuple[str, ...]) -> np.ndarray | str | None:
    """Read the option `prevalence`: the share of each class (K,), `em`, or None where none is
    given.

    Raises:
        ValueError: it is neither, or the shares do not add up to 1.
    """
    if text is None or text.strip().lower() == EM:
        return text and EM
    try:
        if "=" not in text and len(class_names) == 2:
            shares = np.array([1 - float(text), float(text)])
        else:
            named = dict(part.split("=") for part in text.split(","))
            shares = np.array([float(named.pop(name)) for name in class_names])
            if named:
                raise ValueError
        if not ((shares > 0) & (shares < 1)).all() or abs(shares.sum() - 1) > 1e-3:
            raise ValueError
    except (KeyError, ValueError) as error:
        one = f"the share of {class_names[1]}, " if len(class_names) == 2 else ""
        form = ",".join(f"{n}=SHARE" for n in class_names)
        raise ValueError(
            f"prevalence must be {one}{form} (each above 0, 1 together), or {EM}. Received: "
            f"prevalence={text!r}"
        ) from error
    return shares / shares.sum()


def fitted_prevalence(classifier: Classifier) -> tuple[np.ndarray, float]:
    """Return the share of each class (K,) for which a classifier's probabilities were calibrated,
    and the largest difference between a share and the mean probability there.

    Raises:
        ValueError: the artifact does not say on which rows it was calibrated.
    """
    names = classifier.card.class_names
    known = classifier.card.provenance.get("adaptation", {}).get("prevalence")
    if known:
        return np.array([float(known[n]) for n in names]), 0.0
    path = classifier.folder / "predictions.csv"
    rows = Predictions.read_csv(path).of_split("val") if path.is_file() else None
    rows = rows.where(rows.scorable) if rows is not None else None
    if rows is None or len(np.unique(rows.labels)) < len(names):
        raise ValueError(
            f"{classifier.card.name} has no predictions of its validation rows, so the prevalence "
            "for which its probabilities were calibrated is not known. Train it again, or use "
            "--recalibrate with labelled radiographs."
        )
    shares = np.bincount(rows.labels, minlength=len(names)) / len(rows)
    return shares, float(np.abs(rows.probabilities.mean(axis=0) - shares).max())


def adapt_prevalence(
    sample: Sample, target: np.ndarray | str, replicates: int, seed: int
) -> tuple[dict[str, Any], Adaptation]:
    """Adapt a classifier to the prevalence of a site. Labels are not used, except to say what share
    the labelled rows have.

    Args:
        sample: the site's radiographs; every readable one counts for an estimate.
        target: (K,) shares, or `em` to estimate them.
        replicates, seed: of the bootstrap by patient behind the estimate's interval.

    Returns:
        ({`name`, `method`, `assumptions`, `warnings`, `fitted`, `here` (class -> share, with `low`
        and `high` where estimated), `observed` (of the labelled rows, None without), `shift` (of
        the calibrated logits), `mean_probability` [before, after] of the last class, `points`
        (name -> `threshold` or `offsets` [before, after]), `ppv`, `npv` expected here, None for
        more than two classes}, the change).
    """
    card, rows = sample.classifier.card, sample.predictions
    names = card.class_names
    before, misfit = fitted_prevalence(sample.classifier)
    estimated = isinstance(target, str)
    if estimated:
        target, cells = _estimated(rows, before, min(replicates, _MOST_DRAWS), seed)
    else:
        cells = [{} for _ in names]
    here = [{"value": float(x), **cell} for x, cell in zip(target, cells, strict=True)]
    logs = shift_logits(before, target)
    shift = np.array([logs[1] - logs[0]]) if len(names) == 2 else logs - logs.mean()
    after = adapt(rows.probabilities, before, target)
    points = {name: _moved(p, logs) for name, p in card.operating_points.items()}
    observed = np.bincount(rows.labels[rows.scorable], minlength=len(names)) / max(
        1, rows.scorable.sum()
    )
    told = {
        "name": PRIOR_SHIFTED,
        "method": EM if estimated else "given",
        "assumptions": list(ASSUMPTIONS),
        "warnings": _warnings(misfit, card.name, dict(zip(names, observed, strict=True)), here),
        "fitted": dict(zip(names, before.tolist(), strict=True)),
        "here": dict(zip(names, here, strict=True)),
        "observed": dict(zip(names, observed.tolist(), strict=True)) if observed.any() else None,
        "shift": shift.tolist(),
        "mean_probability": [float(p[:, -1].mean()) for p in (rows.probabilities, after)],
        "points": {n: [_rule(p), _rule(points[n])] for n, p in card.operating_points.items()},
        **_predictive_values(sample, float(target[-1])),
    }
    about = {"kind": PRIOR_SHIFTED, "method": told["method"], "shift": told["shift"]}
    about["prevalence"] = {name: cell["value"] for name, cell in told["here"].items()}
    card = replace(card, operating_points=points, metrics={}, notes=_notes(sample, told))
    return told, Adaptation(PRIOR_SHIFTED, shift * sample.temperature, card, about)


def _estimated(
    rows: Predictions, before: np.ndarray, replicates: int, seed: int
) -> tuple[np.ndarray, list[dict[str, float]]]:
    """Return the most likely prevalence (K,), and the interval of each, if there are replicates.

    A class that seems to be absent keeps one in ten thousand: a model must be able to say it.
    """
    found = np.clip(estimate_prevalence(rows.probabilities, before)[0], 1e-4, 1 - 1e-4)
    groups = patient_groups(rows.patients, len(rows))
    drawn = cluster_weights(groups, replicates, seed)
    draws = [estimate_prevalence(rows.probabilities, before, weights) for weights in drawn]
    if not draws:
        return found / found.sum(), [{} for _ in before]
    ends = interval(np.concatenate(draws)).T.tolist()
    return found / found.sum(), [{"low": low, "high": high} for low, high in ends]


def _moved(point: OperatingPoint, logs: np.ndarray) -> OperatingPoint:
    """Return the point that decides adapted probabilities as `point` decides those before."""
    criterion = f"{point.criterion}; moved with the prevalence, so that decisions stay"
    if point.threshold is None:
        offsets = np.array(point.offsets) - (logs - logs.mean())
        return replace(point, offsets=tuple(offsets.tolist()), criterion=criterion)
    t = min(max(point.threshold, 1e-12), 1 - 1e-12)
    odds = t / (1 - t) * float(np.exp(logs[1] - logs[0]))
    return replace(point, threshold=odds / (1 + odds), criterion=criterion)


def _rule(point: OperatingPoint) -> float | list[float]:
    return list(point.offsets) if point.threshold is None else point.threshold


def _warnings(
    misfit: float, name: str, observed: dict[str, float], here: list[dict[str, float]]
) -> list[str]:
    found = []
    if misfit > _MISFIT:
        found.append(
            f"On the rows it was calibrated on, the mean probability of {name} differs from the "
            f"share of a class by {misfit:.3f}: the second assumption is doubtful."
        )
    outside = [
        f"{share:.3f} of {k}"
        for (k, share), cell in zip(observed.items(), here, strict=True)
        if "low" in cell and not cell["low"] <= share <= cell["high"]
    ]
    if outside and any(observed.values()):
        found.append(
            f"The labelled rows have {' and '.join(outside)}, outside the estimate's interval: the "
            "classes look different here too, and the estimate is not to be trusted."
        )
    return found


def _predictive_values(sample: Sample, prevalence: float) -> dict[str, Any]:
    """Return PPV and NPV at a prevalence, from sensitivity and specificity on the labelled rows."""
    rows, nothing = sample.known, {"ppv": None, "npv": None}
    if len(rows.class_names) != 2:
        return nothing
    right = rows.labels == rows.predicted
    se, sp = (Share.of(right[rows.labels == k], None).value for k in (1, 0))
    if se is None or sp is None:
        return nothing
    called = se * prevalence + (1 - sp) * (1 - prevalence)
    return {
        "ppv": se * prevalence / called if called else None,
        "npv": sp * (1 - prevalence) / (1 - called) if called < 1 else None,
    }


def _notes(sample: Sample, told: dict[str, Any]) -> tuple[str, ...]:
    old, way = sample.classifier.card.name, "as given"
    if told["method"] == EM:
        way = (
            f"estimated from {len(sample.predictions):,} radiographs without their labels "
            "(Saerens et al. 2002)"
        )
    shares = ", ".join(f"{n} {c['value']:.3f}" for n, c in told["here"].items())
    first = (
        f"Adapted from {old}, whose network, decisions and split it has: its probabilities are "
        f"for the prevalence {shares}, {way}. Nothing was measured with it."
    )
    return (first, *(f"Assumed: {text}" for text in ASSUMPTIONS))
