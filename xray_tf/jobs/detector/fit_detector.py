"""From a folder of normal radiographs to a finished detector artifact."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from xray_tf.artifact import CHECKPOINT, Card, new_folder, refuse_existing, seal, write_text
from xray_tf.data.chest.lung_atlas import LungAtlas
from xray_tf.data.pixels.decoding import DECODING_RULE, describe_rule
from xray_tf.data.scores import VERDICTS, Scores
from xray_tf.data.split import write_split
from xray_tf.jobs.corpus import Corpus
from xray_tf.jobs.detector.detector_report import HEADLINE, report_on
from xray_tf.jobs.detector.normals import Parts, parts_of, read_normals
from xray_tf.jobs.provenance import fingerprint, provenance
from xray_tf.jobs.workshop import open_workshop, workshop_of, write_history
from xray_tf.models.detector import (
    ATLAS,
    BUDGET,
    BY_HAND,
    FEATURE_MODEL,
    FEATURES,
    LOCATOR,
    NAMES,
    REFERENCE,
    Detector,
    NormalChest,
    scores_of,
    smoothed_differences,
)
from xray_tf.models.features import detectors_of, fit_features, locator_of
from xray_tf.models.load import load
from xray_tf.operating_point import DetectorPoint
from xray_tf.options import DataOptions, DetectOptions, EvaluateOptions, TrainOptions
from xray_tf.stats.detector.density import Density
from xray_tf.stats.detector.or_rule import (
    BESIDE_FEATURES,
    OrRule,
    calibrate,
    read_thresholds,
    refuse_too_few,
)

MAP_ROWS = 256  # calibration normals whose maps set the maps' range
EXAMPLE_COLUMNS = 3
# of a smoothed difference, intensities in [0, 1]: a quarter of a grey level, or black borders would
# divide by nothing
LEAST_DEVIATION = 1e-3
NO_PROMISE = "The thresholds were set by hand, so no false-alarm rate is promised."


def fit_detector(
    data: str,
    out: str | os.PathLike,
    data_options: DataOptions = DataOptions(),
    options: DetectOptions = DetectOptions(),
    evaluate_options: EvaluateOptions = EvaluateOptions(),
    *,
    resume: bool = False,
    tensorboard: str | None = None,
    command_line: str = "",
    progress: bool = True,
) -> Detector:
    """Learn normal chests, set thresholds on held-out normals, and save a detector.

    Normals are divided by patient: fit (`train` in split.csv), calibrate (`val`) and test. While it
    trains, its checkpoint lies in a hidden sibling of `out`; `out` appears when all of it is there.

    Args:
        data: a folder, CSV manifest, MedMNIST file, `phantom` or `kaggle`, of normals; pneumonia in
            it is refused unless `options.report_on_pneumonia`.
        out: the folder to make.
        data_options, options, evaluate_options: see `xray_tf.options`.
        resume: go on with an unfinished run of the same options.
        tensorboard: a folder for TensorBoard's event files.
        command_line: kept on the card.
        progress: say what is going on.

    Returns:
        The finished artifact, opened.

    Raises:
        FileExistsError: `out` is there, or an unfinished run of it is and `resume` is false.
        ValueError: pneumonia nobody asked for, too few normals, or an option that does not fit; the
            message says which.
    """
    say = partial(print, flush=True) if progress else (lambda *_: None)
    out = Path(out)
    refuse_existing(out)
    workshop = workshop_of(out, resume)
    names = (*NAMES, FEATURES) if detectors_of(options.detectors) else NAMES
    locator_of(options.locate)  # a bad value is met before the training
    by_hand = read_thresholds(options.thresholds, names) if options.thresholds else None
    corpus, source = read_normals(data, data_options, options, progress)
    parts = parts_of(corpus, options)
    _announce(corpus, parts, say)
    _refuse_too_few(corpus, parts, options, len(names) if by_hand is None else 0)
    all_options = (data_options, options, evaluate_options)
    open_workshop(
        workshop,
        resume,
        {
            "data": fingerprint(corpus.records),
            **provenance("", corpus.records, *all_options)["options"],
        },
    )
    try:
        model, history, notes = _train(corpus, parts, options, workshop, resume, tensorboard, say)
        learnt, codes = _learn_normals(model, corpus, parts, options, evaluate_options, say)
    except BaseException:
        # nothing was learnt yet, so there is nothing to go on with
        if not (workshop / CHECKPOINT).exists():
            shutil.rmtree(workshop, ignore_errors=True)
        raise
    rule = _calibrated(learnt, corpus, parts, options, evaluate_options, by_hand, say)
    origin = provenance(command_line, corpus.records, *all_options)
    origin["data"]["source_fingerprint"] = source
    card = _card(out.name, rule, learnt, corpus, parts, options, notes, origin)
    scored = np.concatenate([parts.calibrate, parts.test])
    values = learnt.scores(corpus.pixels, corpus.rows[scored], evaluate_options.forward_batch_size)
    scores = scores_of(rule, [corpus.records[i] for i in scored], values)
    ranges = {
        kind: learnt.map_range(kind, corpus.pixels, corpus.rows[parts.calibrate[:MAP_ROWS]])
        for kind in learnt.map_kinds
    }
    arrays = {
        "normals": rule.normals,
        "codes": codes,
        "paths": np.array([corpus.records[i].path for i in parts.fit], str),
        "mean_map": learnt.mean_map,
        "deviation_map": learnt.deviation_map,
        **{f"map_range.{kind}": bounds for kind, bounds in ranges.items()},
        **_prefixed("density", learnt.density),
        **_prefixed(ATLAS, learnt.atlas),
        **(_prefixed(FEATURES, learnt.features.committee) if learnt.features else {}),
        **(_prefixed(LOCATOR, learnt.features.locator) if FEATURES in learnt.map_kinds else {}),
    }
    with new_folder(out) as draft:
        if options.examples:
            _write_examples(draft, learnt, ranges, corpus, scored, scores)
        _write(draft, card, learnt, arrays, corpus, scores, history, evaluate_options)
    shutil.rmtree(workshop)
    say(f"Finished: {out}/ holds the detector, its scores and report.html")
    return load(out, kind="detector")


def _announce(corpus: Corpus, parts: Parts, say: Callable) -> None:
    for name, rows in (("fit", parts.fit), ("calibrate", parts.calibrate), ("test", parts.test)):
        counts = Counter(corpus.records[i].label for i in rows)
        patients = len({corpus.records[i].patient for i in rows} - {""})
        say(
            f"  {name:9} {len(rows):6} radiographs, {patients} patients: "
            + (", ".join(f"{n} {c}" for n, c in sorted(counts.items())) or "none")
        )
    found = f"; {len(corpus.findings)} findings, kept in audit.csv" if corpus.findings else ""
    say(f"  {len(parts.watch)} of the fit normals are watched, not trained on{found}")


def _refuse_too_few(corpus: Corpus, parts: Parts, options: DetectOptions, scores: int) -> None:
    """Meet too few normals before the training: what density and calibration (of so many scores, 0
    if set by hand) will ask for.
    """
    patients = {
        name: len({corpus.records[i].patient or i for i in rows})
        for name, rows in (("fit", parts.fit), ("calibrate", parts.calibrate))
    }
    if patients["fit"] < 2 * options.folds:
        raise ValueError(
            f"{options.folds} folds need fit normals of at least {2 * options.folds} "
            f"patients. Received: {patients['fit']} patients, "
            f"{len(parts.fit)} radiographs. Give more normals, or fewer --folds."
        )
    if scores:
        refuse_too_few(patients["calibrate"], scores, options.budget)


def _train(
    corpus: Corpus,
    parts: Parts,
    options: DetectOptions,
    workshop: Path,
    resume: bool,
    tensorboard: str | None,
    say: Callable,
) -> tuple:
    from xray_tf.nets.autoencoder import build_autoencoder, reconstruction_phase
    from xray_tf.nets.training.devices import every_gpu
    from xray_tf.nets.training.loop import Training, event_writer

    write = event_writer(tensorboard) if tensorboard else lambda row: None

    def report(row: dict) -> None:
        say(
            f"  {row['phase']:11} epoch {row['epoch']:3}  loss {row['loss']:.5f}  watched normals "
            f"{row['val_loss']:.5f}  rate {row['learning_rate']:.1e}  "
            f"{row['seconds']:.1f} s"
        )
        write(row)

    with every_gpu():
        model = build_autoencoder(options)
        say(
            f"Built an autoencoder ({model.count_params() / 1e6:.1f} million parameters, code of "
            f"{options.latent})"
        )
        how = TrainOptions(
            learning_rate=options.learning_rate,
            weight_decay=1e-4,
            ema=0.0,
            keep="best",
            seed=options.seed,
        )
        training = Training(model, how, workshop, report, resume)
        training.run(
            [
                reconstruction_phase(
                    model,
                    corpus.pixels,
                    corpus.rows[parts.learn],
                    corpus.rows[parts.watch],
                    options,
                )
            ]
        )
    cut = (
        f"Training was interrupted by hand after {len(training.history)} epochs; the best of "
        "them was kept."
    )
    say(
        f"  kept: epoch {training.kept['epoch']}, loss on the watched normals "
        f"{training.kept['val_loss']:.5f}"
    )
    return model, training.history, [cut] if training.interrupted else []


def _learn_normals(
    model,
    corpus: Corpus,
    parts: Parts,
    options: DetectOptions,
    evaluate_options: EvaluateOptions,
    say: Callable,
) -> tuple[NormalChest, np.ndarray]:
    """Fit all that comes after the autoencoder to the fit normals; return it with their codes (N,
    D) float32.
    """
    from xray_tf.nets.autoencoder import codes_and_errors

    say(f"Learning the density of {len(parts.fit)} normals' codes")
    rows, batch_size = corpus.rows[parts.fit], evaluate_options.forward_batch_size
    codes, _ = codes_and_errors(model, corpus.pixels, rows, batch_size)
    patients = [corpus.records[i].patient for i in parts.fit]
    density = Density(options.components, folds=options.folds, seed=options.seed).fit(
        codes, patients
    )
    say(
        f"  {density.components_.shape[1]} components ({density.variance_:.1%} of the variance), "
        f"bandwidth {density.bandwidth_:.3g}"
    )
    total, squares = np.zeros((2, *corpus.pixels.shape[1:]))
    # batch by batch: maps of all normals would not fit into memory
    for start in range(0, len(rows), batch_size):
        maps = smoothed_differences(
            model, corpus.pixels, rows[start : start + batch_size], batch_size
        ).astype(np.float64)
        total, squares = total + maps.sum(axis=0), squares + (maps**2).sum(axis=0)
    mean = total / len(rows)
    deviation = np.sqrt(np.maximum(squares / len(rows) - mean**2, 0)) + LEAST_DEVIATION
    features = fit_features(corpus.pixels, rows, patients, options, say)
    return NormalChest(
        model,
        density,
        mean.astype(np.float32),
        deviation.astype(np.float32),
        features,
        LungAtlas().fit(corpus.pixels, rows),
    ), codes


def _calibrated(
    learnt: NormalChest,
    corpus: Corpus,
    parts: Parts,
    options: DetectOptions,
    evaluate_options: EvaluateOptions,
    by_hand: dict | None,
    say: Callable,
) -> OrRule:
    rows = parts.calibrate
    values = learnt.scores(corpus.pixels, corpus.rows[rows], evaluate_options.forward_batch_size)
    rule = calibrate(
        learnt.names,
        values,
        [corpus.records[i].patient for i in rows],
        options.budget,
        options.seed,
        by_hand,
        dict.fromkeys(NAMES, BESIDE_FEATURES) if FEATURES in learnt.names else None,
    )
    say(
        f"Calibrated on {len(rule.normals)} held-out normals, one a patient: "
        + ", ".join(f"{n} {DetectorPoint.side(n)} {t:.5g}" for n, t in rule.bounds().items())
    )
    return rule


def _prefixed(name: str, fitted) -> dict[str, np.ndarray]:
    return {f"{name}.{key}": value for key, value in fitted.to_arrays().items()}


def _card(
    name: str,
    rule: OrRule,
    learnt: NormalChest,
    corpus: Corpus,
    parts: Parts,
    options: DetectOptions,
    notes: list[str],
    origin: dict,
) -> Card:
    criterion = (
        f"any score beyond its threshold; at most {rule.budget:.3g} of exchangeable "
        "normal patients are flagged"
        if rule.budget is not None
        else "any score beyond its threshold, set by hand"
    )
    point = DetectorPoint(
        BY_HAND if rule.budget is None else BUDGET,
        criterion,
        rule.bounds(),
        rule.budget,
        rule.tails,
        calibration_patients=len(rule.normals),
        calibration_false_alarms=rule.false_alarms(),
        density={
            "components": int(learnt.density.components_.shape[1]),
            "variance": learnt.density.variance_,
            "bandwidth": learnt.density.bandwidth_,
        },
        detectors=learnt.features.committee.names if learnt.features else (),
        radiographs={k: len(getattr(parts, k)) for k in ("fit", "calibrate", "test")},
    )
    notes = [*notes, *([NO_PROMISE] if rule.budget is None else [])]
    return Card(
        kind="detector",
        name=name,
        class_names=VERDICTS,
        split_by=corpus.records.split_by,
        operating_points={point.name: point},
        default_operating_point=point.name,
        preprocessing={
            "image_size": options.image_size,
            "resize": options.resize,
            "decoding": DECODING_RULE,
            "decoding_rule": describe_rule(),
            "channels": 1,
            "pixel_range": [0, 255],
        },
        provenance=origin,
        notes=tuple(notes),
    )


def _write(
    draft: Path,
    card: Card,
    learnt: NormalChest,
    arrays: dict[str, np.ndarray],
    corpus: Corpus,
    scores: Scores,
    history: list[dict],
    evaluate_options: EvaluateOptions,
) -> None:
    from xray_tf.nets.keras_file import save_model
    from xray_tf.pages.detector.page import render_detector_card, write_detector_report

    save_model(learnt.model, draft / "model.keras")
    if learnt.features:
        save_model(learnt.features.model, draft / FEATURE_MODEL)
    np.savez_compressed(draft / REFERENCE, **arrays)
    write_split(corpus.records, draft / "split.csv")
    write_history(history, draft / "history.csv")
    corpus.findings.write_csv(draft / "audit.csv")
    scores.write_csv(draft / "scores.csv")
    point = card.point()
    metrics, statistics = report_on(
        scores,
        point.thresholds,
        evaluate_options,
        card.split_by,
        point.name,
        "test",
    )
    if metrics is None:
        card = replace(
            card, notes=(*card.notes, "There were no test rows, so nothing was measured.")
        )
    else:
        write_text(draft / "metrics.json", json.dumps(metrics, indent=1, allow_nan=False) + "\n")
        card = replace(card, metrics={k: v for k, v in metrics["metrics"].items() if k in HEADLINE})
    statistics.write_csv(draft / "statistics.csv")
    seal(draft, card)
    write_text(draft / "README.md", render_detector_card(card, metrics))
    write_detector_report(draft, card)
    seal(draft, card)


def _write_examples(
    draft: Path,
    learnt: NormalChest,
    ranges: dict[str, np.ndarray],
    corpus: Corpus,
    positions: np.ndarray,
    scores: Scores,
) -> None:
    """Draw test radiographs of every outcome with their maps, chosen by the rule the page
    states.
    """
    from xray_tf.pages.detector.figures import choose_examples, example_grid
    from xray_tf.pages.detector.page import EXAMPLES

    tested = np.flatnonzero(scores.splits == "test")
    if not len(tested):
        return
    table = scores.where(tested)
    groups = choose_examples(table, EXAMPLE_COLUMNS)
    rows = corpus.rows[positions[tested[np.concatenate(list(groups.values()))]]]
    maps = {kind: learnt.heat(kind, bounds, corpus.pixels, rows) for kind, bounds in ranges.items()}
    picture = example_grid(corpus.pixels[rows], maps, table, groups)
    (draft / EXAMPLES).write_bytes(
        cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()
    )
