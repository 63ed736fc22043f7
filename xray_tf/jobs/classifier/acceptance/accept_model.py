"""Judge a classifier at a site on a small sample, and adapt it to the site.

`acceptance.json` is one object:

    model            name, operating_point, rule, class_names, split_by, sha256 of model.keras
    rows, labelled   radiographs read, and those whose class is known
    seen             radiographs that the model was trained on, or its decisions were fitted on
    verdict          see `stats.acceptance.verdict.judge`, and `seen`; null without limits
    metrics          the layout of metrics.json; null, as all that follows, where none is labelled
    shares           see `sample.shares_of` and `stats.acceptance.shares.Share.to_dict`
    groups           see `groups.group_figures`
    sample_size      margin, and for each recall `likely` and `cautious` radiographs of its class
    calibration      see `calibration.measure_calibration`
    decision_curve   see `calibration.decision_curve`
    comparison       see `compare.compare_samples`; null without another model
    recalibration    see `recalibrate.recalibrate`; null where it was not asked for
    familiarity      see `familiarity.measure_familiarity`; needs no labels
    prior_shift      see `prevalence.adapt_prevalence`; needs no labels; null without a prevalence
    notes            what makes the numbers optimistic or uncertain
    provenance       see `jobs.provenance.provenance`
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np

from xray_tf.artifact import write_json
from xray_tf.card import MODEL
from xray_tf.data.records import Findings
from xray_tf.data.tables.split_file import SPLIT, known_to
from xray_tf.jobs.audit.acquisitions import acquisition_groups
from xray_tf.jobs.classifier.acceptance.adapted import write_adapted
from xray_tf.jobs.classifier.acceptance.calibration import decision_curve, measure_calibration
from xray_tf.jobs.classifier.acceptance.compare import compare_samples
from xray_tf.jobs.classifier.acceptance.familiarity import measure_familiarity
from xray_tf.jobs.classifier.acceptance.groups import group_figures
from xray_tf.jobs.classifier.acceptance.prevalence import (
    PRIOR_SHIFTED,
    adapt_prevalence,
    read_prevalence,
)
from xray_tf.jobs.classifier.acceptance.recalibrate import (
    RECALIBRATED,
    recalibrate,
    write_recalibrated,
)
from xray_tf.jobs.classifier.acceptance.sample import Sample, read_sample, recalls, shares_of
from xray_tf.jobs.classifier.evaluate_model import (
    sample_notes,
    score_predictions,
    tell_set_aside,
)
from xray_tf.jobs.corpus import Corpus, choose_part, read_for
from xray_tf.jobs.known_rows import known_notes
from xray_tf.jobs.provenance import provenance
from xray_tf.jobs.run import Options, Run, recorded, takes
from xray_tf.models.classifier import Classifier
from xray_tf.models.load import load
from xray_tf.options import AcceptOptions, DataOptions, EvaluateOptions
from xray_tf.stats.acceptance.shares import Share
from xray_tf.stats.acceptance.verdict import Limit, judge, read_limits

JSON, PREDICTIONS, FINDINGS = "acceptance.json", "predictions.csv", "audit.csv"
_NEED_LABELS = (
    "metrics",
    "shares",
    "groups",
    "sample_size",
    "calibration",
    "decision_curve",
)
FEW = 50  # labelled patients; fewer are said to be few


@takes(DataOptions, EvaluateOptions, AcceptOptions)
def accept_model(
    model: str | os.PathLike | Classifier,
    data: str,
    out: str | os.PathLike | None = None,
    *,
    options: Options,
    part: str = "all",
    operating_point: str | None = None,
    compare: str | os.PathLike | Classifier | None = None,
) -> dict[str, Any]:
    """Judge a classifier on a small labelled sample of a site, at its frozen operating point.

    Args:
        model: an artifact's folder, the name of a shipped model, or an opened artifact.
        data: as for training: a folder, or a CSV manifest, whose further columns (site, scanner,
            view, sex, age, ...) group the figures. Without labels only `familiarity` and
            `prior_shift` are known.
        out: the folder for `acceptance.json`, `predictions.csv`, `audit.csv`, `report.html` and the
            adapted artifacts; None writes nothing.
        options: `DataOptions`, `EvaluateOptions` and `AcceptOptions` in any order, or single
            options by name, such as `require="sensitivity>=0.9"`.
        part: the rows to use: `all`, `train`, `val` or `test`.
        operating_point: a name on the card; its default if None.
        compare: another classifier of the same classes, asked about the same radiographs.

    Returns:
        The layout of acceptance.json; see the module's docstring.

    Raises:
        FileExistsError: `out` exists.
        ValueError: limits, prevalence or the other model do not fit; limits, comparison or
            recalibration without labels or with too few; an adapted model without `out`.
    """
    run, how = options[Run].at(out), options[AcceptOptions]
    limits = read_limits(how.require)
    classifier = load(model, kind="classifier")
    other = None if compare is None else load(compare, kind="classifier")
    target = read_prevalence(how.prevalence, classifier.card.class_names)
    _refuse_unfit(classifier, other, out, how)
    corpus = _read(classifier, data, part, options)
    tell_set_aside(corpus, run)
    batch = options[EvaluateOptions].forward_batch_size
    sample = read_sample(classifier, corpus, operating_point, batch, run)
    told = _judged(sample, limits, options)
    told["comparison"] = told["recalibration"] = told["prior_shift"] = None
    new, shifted, rows = None, None, None
    if other is not None:
        theirs = _same_rows(other, data, part, sample, options)
        second = read_sample(other, theirs, None, batch, run)
        sick = _sick_share(target, sample)
        numbers = options[EvaluateOptions]
        told["comparison"] = compare_samples(
            sample, second, numbers.bootstrap, numbers.bootstrap_seed, sick
        )
    if how.recalibrate:
        told["recalibration"], new, rows = recalibrate(sample, limits, options)
    if target is not None:
        replicates = options[EvaluateOptions].bootstrap
        told["prior_shift"], shifted = adapt_prevalence(sample, target, replicates, how.accept_seed)
    told["provenance"] = provenance(run.command_line, corpus.records, *recorded(options))
    for note in told["notes"]:
        run.say(f"  Note: {note}")
    if out is not None:
        from xray_tf.pages.acceptance.page import write_acceptance

        with run.folder() as draft:
            if new is not None:
                write_recalibrated(draft / RECALIBRATED, sample, new, rows, options)
            if shifted is not None:
                write_adapted(draft / PRIOR_SHIFTED, classifier, shifted, options)
            sample.predictions.write_csv(draft / PREDICTIONS)
            corpus.findings.write_csv(draft / FINDINGS)
            write_json(draft / JSON, told)
            write_acceptance(draft, told, sample.predictions, corpus.findings)
    return told


def _refuse_unfit(
    classifier: Classifier, other: Classifier | None, out: Any, how: AcceptOptions
) -> None:
    if out is None and (how.recalibrate or how.prevalence):
        raise ValueError(
            "--recalibrate and --prevalence write a new model, but out is None. Name a folder."
        )
    names = classifier.card.class_names
    if other is not None and other.card.class_names != names:
        raise ValueError(
            f"Two models are compared on the same classes. Received: {names} of "
            f"{classifier.card.name} and {other.card.class_names} of {other.card.name}"
        )


def _read(classifier: Classifier, data: str, part: str, options: Options) -> Corpus:
    where = options[DataOptions]
    corpus = choose_part(
        read_for(classifier, data, where, options[Run].progress), where.split, part
    )
    return replace(corpus, findings=corpus.findings + corpus.nameless("asked about, not scored"))


def _same_rows(other: Classifier, data: str, part: str, sample: Sample, options: Options) -> Corpus:
    """Read the radiographs of a sample for another model, in the same order."""
    corpus, records = _read(other, data, part, options), sample.corpus.records
    known = {r.path for r in corpus.records}
    if missing := [r.path for r in records if r.path not in known]:
        raise ValueError(f"{other.card.name} cannot read {missing[0]!r}, which the first one can.")
    return corpus.narrowed(records, Findings([]))


def _judged(sample: Sample, limits: tuple[Limit, ...], options: Options) -> dict[str, Any]:
    """Return all that is measured of the model itself."""
    how, numbers, run = options[AcceptOptions], options[EvaluateOptions], options[Run]
    card, records = sample.classifier.card, sample.corpus.records
    labelled, seen = len(sample.labelled), _seen(sample)
    if not labelled and (limits or how.recalibrate):
        raise ValueError(
            f"Limits and recalibration need labelled radiographs. Received {len(records)} without "
            f"a class; expected classes {card.class_names}, from folder names, file names or a "
            "manifest."
        )
    rows = sample.known
    shares = shares_of(rows) if labelled else {}
    told: dict[str, Any] = {
        "model": {
            "name": card.name,
            "operating_point": sample.point.name,
            "rule": sample.point.words(card.class_names),
            "class_names": list(card.class_names),
            "split_by": card.split_by,
            "sha256": card.files.get(MODEL, ""),
        },
        "rows": len(records),
        "labelled": labelled,
        "seen": seen,
        "verdict": {**judge(shares, limits), "seen": seen} if limits else None,
        "familiarity": measure_familiarity(sample, how.accept_seed, run),
        "notes": known_notes(records, sample.classifier),
    }
    if not labelled:
        return {**told, **dict.fromkeys(_NEED_LABELS)}
    metrics = score_predictions(rows, card, numbers, sample.point.name)
    told["metrics"] = metrics
    told["shares"] = {name: share.to_dict() for name, share in shares.items()}
    told["groups"] = group_figures(sample, _looks(sample, options))
    told["sample_size"] = _sample_size(shares, how.margin, card.class_names)
    told["calibration"] = measure_calibration(sample, numbers.bootstrap, numbers.bootstrap_seed)
    told["notes"] += [*sample_notes(metrics), *_few(shares, card.class_names)]
    target = read_prevalence(how.prevalence, card.class_names)
    told["decision_curve"] = decision_curve(sample, _sick_share(target, sample))
    return told


def _seen(sample: Sample) -> int:
    """Count the radiographs that the model was trained on, or its decisions were fitted on."""
    path = sample.classifier.folder / SPLIT
    return int(known_to(sample.corpus.records, path, "train", "val")[0].sum())


def _looks(sample: Sample, options: Options) -> list[str] | None:
    """Return the acquisition group of each radiograph; None where it is known or not asked for."""
    records, how = sample.corpus.records, options[AcceptOptions]
    if not how.acquisitions or any(r.acquisition for r in records):
        return None
    groups = acquisition_groups(records, how.accept_seed, options[Run].progress).groups
    return [f"group {g}" for g in groups]


def _sample_size(
    shares: dict[str, Share], margin: float, class_names: tuple[str, ...]
) -> dict[str, Any]:
    """Return how many radiographs of a class give its recall +- `margin`."""
    out: dict[str, Any] = {"margin": margin}
    for name, k in recalls(class_names).items():
        share = shares[name]
        low, high = share.interval
        out[name] = {
            "class": class_names[k],
            "now": share.rows,
            "half_length_now": None if low is None else (high - low) / 2,
            "likely": share.rows_for(margin),
            "cautious": share.rows_for(margin, cautious=True),
        }
    return out


def _few(shares: dict[str, Share], class_names: tuple[str, ...]) -> list[str]:
    return [
        f"{shares[name].patients:,} patients of {class_names[k]} are few: an interval of their "
        "recall is long, whatever is found."
        for name, k in recalls(class_names).items()
        if 0 < shares[name].patients < FEW
    ]


def _sick_share(target: np.ndarray | str | None, sample: Sample) -> float | None:
    """Return the share of the sick that was given; None where none was."""
    if target is None or isinstance(target, str):
        return None
    return float(1 - target[sample.corpus.task.negative or 0])
