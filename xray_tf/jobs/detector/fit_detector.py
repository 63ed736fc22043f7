"""Fit an anomaly detector on normal radiographs, and save it as an artifact."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from xray_tf.artifact import Card, write_json
from xray_tf.card import MODEL
from xray_tf.data.kin import patient_groups
from xray_tf.data.scores import VERDICTS, Scores
from xray_tf.data.tables.split_file import SPLIT, write_split
from xray_tf.jobs.corpus import Corpus
from xray_tf.jobs.detector.detector_report import calibration_text, report_on, write_pages
from xray_tf.jobs.detector.learn_normals import arrays_of, learn_normals, read_lungs
from xray_tf.jobs.detector.normals import Parts, parts_of, read_normals
from xray_tf.jobs.provenance import preprocessing, provenance
from xray_tf.jobs.run import Options, Run, recorded, takes
from xray_tf.jobs.training import Trained, train, write_history
from xray_tf.models.detector import FEATURE_MODEL, REFERENCE, Detector, point_of, score_table
from xray_tf.models.features import ZONES
from xray_tf.models.load import load
from xray_tf.models.normal_chest import COMMITTEE, MAP_ROWS, NAMES, NormalChest
from xray_tf.operating_point import DetectorPoint
from xray_tf.options import DataOptions, DetectOptions, EvaluateOptions
from xray_tf.stats.detector.committee import detectors_of
from xray_tf.stats.detector.density import refuse_few_patients
from xray_tf.stats.detector.or_rule import (
    BESIDE_COMMITTEE,
    OrRule,
    calibrate,
    read_thresholds,
    refuse_too_few,
)
from xray_tf.stats.metric_rows import card_metrics

EXAMPLES_EACH = 3
NO_PROMISE = "The thresholds were set by hand, so no false-alarm rate is guaranteed."


@takes(DataOptions, DetectOptions, EvaluateOptions)
def fit_detector(data: str, out: str | os.PathLike, *, options: Options) -> Detector:
    """Learn normal chests, set thresholds on held-out normals, and save a detector.

    Normals are split by patient into fit (`train` in split.csv), calibration (`val`) and test.
    During training the checkpoint is in a hidden folder beside `out`; `out` appears when it is
    complete.

    Args:
        data: a folder, CSV manifest, MedMNIST file, `phantom` or `kaggle`, with normals; pneumonia
            is refused unless `report_on_pneumonia`.
        out: the folder to create.
        options: `DataOptions`, `DetectOptions`, `EvaluateOptions` and `xray_tf.jobs.run.Run` in any
            order, or single options by name, such as `epochs=5`, `resume=True` or `progress=False`.

    Returns:
        The finished artifact, opened.

    Raises:
        FileExistsError: `out` exists, or has an unfinished run and `resume` is false.
        ValueError: the data has pneumonia without `report_on_pneumonia`, or too few normals, or an
            option does not fit; the message says which.
    """
    from xray_tf.nets.trunks.backbones import describe

    run, how, numbers = options[Run].at(out), options[DetectOptions], options[EvaluateOptions]
    batch_size = numbers.forward_batch_size
    names = (*NAMES, COMMITTEE) if detectors_of(how.detectors) else NAMES
    describe(how.backbone)  # reveals a bad value before anything is read
    by_hand = read_thresholds(how.thresholds, names) if how.thresholds else None
    corpus, source = read_normals(data, options[DataOptions], how, run.progress)
    parts = parts_of(corpus, how)
    _announce(corpus, parts, run)
    _refuse_too_few(corpus, parts, how, len(names) if by_hand is None else 0)
    with run.training(corpus.records, options) as workshop:
        reader, lungs = read_lungs(corpus, how, batch_size, run)
        trained = train(run, workshop, partial(_autoencoder, lungs[ZONES], parts, how, run))
        learnt, codes = learn_normals(trained.model, reader, lungs, corpus, parts.fit, how, run)
        values = learnt.scores_of(lungs)
        rule = _calibrated(learnt.names, values, corpus, parts.calibrate, how, by_hand)
        run.say(calibration_text(rule))
        origin = provenance(run.command_line, corpus.records, *recorded(options))
        origin["data"]["source_fingerprint"] = source
        card = _card(run, corpus, how, _point(rule, learnt, parts), trained, origin)
        scored = np.concatenate([parts.calibrate, parts.test])
        scores = score_table(rule, [corpus.records[i] for i in scored], values[scored])
        map_range = learnt.map_range(corpus.pixels, corpus.rows[parts.calibrate[:MAP_ROWS]])
        paths = np.array([corpus.records[i].path for i in parts.fit], str)
        with run.folder() as draft:
            np.savez_compressed(
                draft / REFERENCE, **arrays_of(learnt, rule, map_range), codes=codes, paths=paths
            )
            if how.examples:
                _write_examples(draft, learnt, map_range, corpus, scored, scores)
            _write(draft, learnt, trained, corpus, scores)
            _write_measured(draft, card, scores, numbers)
    run.say(f"Finished: {run.out}/ has the detector, its scores and report.html")
    return load(run.out, kind="detector")


def _announce(corpus: Corpus, parts: Parts, run: Run) -> None:
    for name in ("fit", "calibrate", "test"):
        records = [corpus.records[i] for i in getattr(parts, name)]
        counts = Counter(r.label for r in records)
        classes = ", ".join(f"{n} {c}" for n, c in sorted(counts.items())) or "none"
        patients = len({r.patient for r in records} - {""})
        run.say(f"  {name:9} {len(records):6} radiographs, {patients} patients: {classes}")
    found = f"; findings: {len(corpus.findings)}, kept in audit.csv" if corpus.findings else ""
    run.say(f"  {len(parts.watch)} of the fit normals monitor the training{found}")


def _refuse_too_few(corpus: Corpus, parts: Parts, options: DetectOptions, scores: int) -> None:
    """Refuse, before training, fewer normals than density and calibration need; `scores` is the
    number of scores to calibrate, 0 if thresholds are set by hand.
    """
    fit, calibrators = (
        patient_groups([corpus.records[i].patient for i in rows], len(rows))
        for rows in (parts.fit, parts.calibrate)
    )
    refuse_few_patients(options.folds, fit)
    if scores:
        refuse_too_few(len(np.unique(calibrators)), scores, options.budget)


def _autoencoder(zones: np.ndarray, parts: Parts, options: DetectOptions, run: Run) -> tuple:
    """Return an autoencoder, its training phase, and its optimiser settings."""
    from xray_tf.nets.autoencoder import build_autoencoder, reconstruction_phase
    from xray_tf.nets.training.loop import Optimisation

    model = build_autoencoder(zones[parts.learn], options)
    run.say(
        f"Built an autoencoder ({model.count_params() / 1e6:.1f} million parameters, code of "
        f"{options.latent})"
    )
    phase = reconstruction_phase(model, zones, parts.learn, parts.watch, options)
    return model, [phase], Optimisation(keep="best")


def _calibrated(
    names: tuple[str, ...],
    values: np.ndarray,
    corpus: Corpus,
    rows: np.ndarray,
    options: DetectOptions,
    by_hand: dict[str, float] | None,
) -> OrRule:
    patients = [corpus.records[i].patient for i in rows]
    weights = dict.fromkeys(NAMES, BESIDE_COMMITTEE) if COMMITTEE in names else None
    return calibrate(names, values[rows], patients, options.budget, options.seed, by_hand, weights)


def _point(rule: OrRule, learnt: NormalChest, parts: Parts) -> DetectorPoint:
    return point_of(
        rule,
        density={
            "components": int(learnt.density.components_.shape[1]),
            "variance": learnt.density.variance_,
            "bandwidth": learnt.density.bandwidth_,
        },
        detectors=learnt.committee.names if learnt.committee else (),
        radiographs={k: len(getattr(parts, k)) for k in ("fit", "calibrate", "test")},
    )


def _card(
    run: Run,
    corpus: Corpus,
    options: DetectOptions,
    point: DetectorPoint,
    trained: Trained,
    origin: dict,
) -> Card:
    return Card(
        kind="detector",
        name=run.out.name,
        class_names=VERDICTS,
        class_words=dict(corpus.task.words),
        split_by=corpus.records.split_by,
        operating_points={point.name: point},
        default_operating_point=point.name,
        preprocessing=preprocessing(options.image_size, options.resize),
        provenance=origin,
        notes=(*run.notes, *trained.notes, *([NO_PROMISE] if point.budget is None else [])),
    )


def _write(
    draft: Path, learnt: NormalChest, trained: Trained, corpus: Corpus, scores: Scores
) -> None:
    from xray_tf.nets.keras_file import save_model

    save_model(learnt.model, draft / MODEL)
    save_model(learnt.reader.trunk, draft / FEATURE_MODEL)
    write_split(corpus.records, draft / SPLIT)
    write_history(trained.history, draft / "history.csv")
    corpus.findings.write_csv(draft / "audit.csv")
    scores.write_csv(draft / "scores.csv")


def _write_measured(draft: Path, card: Card, scores: Scores, options: EvaluateOptions) -> None:
    """Measure the test rows, and write what is said of them."""
    point = card.point()
    metrics, statistics = report_on(
        scores, point.thresholds, options, card.split_by, point.name, "test"
    )
    if metrics is None:
        nothing = "There are no test rows, so nothing was measured."
        card = replace(card, notes=(*card.notes, nothing))
    else:
        write_json(draft / "metrics.json", metrics)
        card = replace(card, metrics=card_metrics(metrics["metrics"]))
    statistics.write_csv(draft / "statistics.csv")
    write_pages(draft, card, metrics)


def _write_examples(
    draft: Path,
    learnt: NormalChest,
    map_range: np.ndarray,
    corpus: Corpus,
    positions: np.ndarray,
    scores: Scores,
) -> None:
    """Draw test radiographs of every outcome with their heat maps, selected by the rule that the
    page states.

    examples.json: {"cells": [{"outcome", "verdict", "reason", "anomaly", "picture" (the
    radiograph, its registered lungs and the overlay, a JPEG in base64)}]}.
    """
    from xray_tf.pages.detector.figures import choose_examples, score_panel
    from xray_tf.pages.detector.parts import EXAMPLES
    from xray_tf.pages.kit.filters import jpeg_text

    tested = np.flatnonzero(scores.splits == "test")
    if not len(tested):
        return
    table = scores.where(tested)
    groups = choose_examples(table, EXAMPLES_EACH)
    rows = corpus.rows[positions[tested[np.concatenate(list(groups.values()))]]]
    found = learnt.reader.registered(corpus.pixels, rows)
    registered = np.concatenate([part.images for part in found])
    maps, images = learnt.heat(map_range, corpus.pixels, rows), corpus.pixels[rows]
    chosen = [(outcome, int(i)) for outcome, some in groups.items() for i in some]
    cells = [
        {
            "outcome": outcome,
            "verdict": str(table.verdicts[i]),
            "reason": str(table.reasons[i]),
            "anomaly": round(float(table.anomaly[i]), 4),
            "picture": jpeg_text(score_panel(*pictures)),
        }
        for (outcome, i), *pictures in zip(chosen, images, registered, maps, strict=True)
    ]
    write_json(draft / EXAMPLES, {"cells": cells})
