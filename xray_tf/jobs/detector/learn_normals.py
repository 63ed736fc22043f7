"""Fit everything after the autoencoder on the fit normals, and return it as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from xray_tf.data.chest.lung_atlas import LungAtlas
from xray_tf.jobs.corpus import Corpus
from xray_tf.jobs.run import Run
from xray_tf.models.detector import ATLAS, LOCATOR
from xray_tf.models.features import detectors_of, fit_features
from xray_tf.models.lungs import find_fields
from xray_tf.models.normal_chest import FEATURES, NormalChest, smoothed_differences
from xray_tf.options import DetectOptions
from xray_tf.stats.detector.density import Density
from xray_tf.stats.detector.or_rule import OrRule

# smallest deviation of a smoothed difference, with intensities in [0, 1]: a quarter of a grey
# level, so that black borders do not divide by zero
LEAST_DEVIATION = 1e-3


def learn_normals(
    model: Any, corpus: Corpus, fit: np.ndarray, options: DetectOptions, batch_size: int, run: Run
) -> tuple[NormalChest, np.ndarray]:
    """Learn what normals look like to an autoencoder and in frozen features.

    Args:
        model: the trained autoencoder.
        corpus: from `read_normals`.
        fit: (N,) positions of the fit normals.
        options: density, detectors, backbone.
        batch_size: radiographs per forward pass.
        run: the run of the job.

    Returns:
        (an object that turns pixels into scores and heat maps, the codes of the fit normals (N, D)
        float32).
    """
    from xray_tf.nets.autoencoder import codes_and_errors

    rows, patients = corpus.rows[fit], [corpus.records[i].patient for i in fit]
    with run.line("Learning the density of normals' codes", len(rows)) as line:
        codes, _ = codes_and_errors(model, corpus.pixels, rows, batch_size, line.step)
    density = Density(options.components, folds=options.folds, seed=options.seed)
    density.fit(codes, patients)
    run.say(
        f"  {density.components_.shape[1]} components ({density.variance_:.1%} of the variance), "
        f"bandwidth {density.bandwidth_:.3g}"
    )
    mean, deviation = _typical_differences(model, corpus.pixels, rows, batch_size)
    names, features = detectors_of(options.detectors), None
    if names:
        run.say(f"Learning normals' features: {', '.join(names)} on {options.backbone}")
        with run.line("Reading features", len(rows)) as line:
            features = fit_features(corpus.pixels, rows, patients, options, line.step)
    atlas = LungAtlas(find_fields).fit(corpus.pixels, rows)
    return NormalChest(model, density, mean, deviation, features, atlas), codes


def arrays_of(
    learnt: NormalChest, rule: OrRule, ranges: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return a detector's arrays for reference.npz; `ranges` are those of its heat maps by kind."""
    parts = {"density": learnt.density, ATLAS: learnt.atlas}
    if learnt.features:
        parts[FEATURES] = learnt.features.committee
    if FEATURES in learnt.map_kinds:
        parts[LOCATOR] = learnt.features.locator
    return {
        "normals": rule.normals,
        "mean_map": learnt.mean_map,
        "deviation_map": learnt.deviation_map,
        **{f"map_range.{kind}": bounds for kind, bounds in ranges.items()},
        **{
            f"{name}.{key}": value
            for name, fitted in parts.items()
            for key, value in fitted.to_arrays().items()
        },
    }


def _typical_differences(
    model: Any, pixels: np.ndarray, rows: np.ndarray, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation (S, S) float32 of smoothed differences, computed batch by
    batch to save memory.
    """
    total, squares = np.zeros((2, *pixels.shape[1:]))
    for start in range(0, len(rows), batch_size):
        some = rows[start : start + batch_size]
        maps = smoothed_differences(model, pixels, some, batch_size).astype(np.float64)
        total, squares = total + maps.sum(axis=0), squares + (maps**2).sum(axis=0)
    mean = total / len(rows)
    deviation = np.sqrt(np.maximum(squares / len(rows) - mean**2, 0)) + LEAST_DEVIATION
    return mean.astype(np.float32), deviation.astype(np.float32)
