"""Read lungs, fit everything after the autoencoder on the fit normals, and return it as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from xray_tf.data.chest.lung_atlas import LungAtlas
from xray_tf.jobs.corpus import Corpus
from xray_tf.jobs.run import Run
from xray_tf.models.detector import ATLAS, DENSITY, MAP_RANGE
from xray_tf.models.features import ZONES, LungReader
from xray_tf.models.lungs import find_fields
from xray_tf.models.normal_chest import COMMITTEE, NormalChest
from xray_tf.options import DetectOptions
from xray_tf.stats.detector.committee import Committee, detectors_of
from xray_tf.stats.detector.density import Density
from xray_tf.stats.detector.or_rule import OrRule


def read_lungs(
    corpus: Corpus, options: DetectOptions, batch_size: int, run: Run
) -> tuple[LungReader, dict[str, np.ndarray]]:
    """Read the lungs of all radiographs of a corpus.

    Args:
        corpus: from `read_normals`.
        options: backbone, weights, image size, seed.
        batch_size: radiographs per forward pass.
        run: the run of the job.

    Returns:
        (what read them, their features, aligned with the corpus's records).
    """
    from xray_tf.nets.feature_maps import build_feature_model

    trunk = build_feature_model(
        options.backbone, options.weights, options.image_size, seed=options.seed
    )
    reader = LungReader(trunk, find_fields)
    with run.line(f"Reading lungs with {options.backbone}", len(corpus.rows)) as line:
        return reader, reader.read(corpus.pixels, corpus.rows, batch_size, line.step)


def learn_normals(
    model: Any,
    reader: LungReader,
    features: dict[str, np.ndarray],
    corpus: Corpus,
    fit: np.ndarray,
    options: DetectOptions,
    run: Run,
) -> tuple[NormalChest, np.ndarray]:
    """Learn what normals look like.

    Args:
        model: the trained autoencoder.
        reader, features: from `read_lungs`.
        corpus: from `read_normals`.
        fit: (N,) positions of the fit normals.
        options: density, detectors.
        run: the run of the job.

    Returns:
        (an object that turns pixels into scores and heat maps, the codes of the fit normals (N, K)
        float32).
    """
    from xray_tf.nets.autoencoder import codes_and_errors

    patients = [corpus.records[i].patient for i in fit]
    mine = {name: values[fit] for name, values in features.items()}
    codes, _ = codes_and_errors(model, mine[ZONES])
    density = Density(options.components, folds=options.folds, seed=options.seed)
    density.fit(codes, patients)
    run.say(
        f"  {density.components_.shape[1]} components ({density.variance_:.1%} of the variance), "
        f"bandwidth {density.bandwidth_:.3g}"
    )
    names, committee = detectors_of(options.detectors), None
    if names:
        run.say(f"Learning normal lungs: {', '.join(names)}")
        keys = [p or f"row {i}" for i, p in enumerate(patients)]
        committee = Committee(names).fit(mine, keys, folds=options.folds)
    atlas = LungAtlas().fit(reader.registered(corpus.pixels, corpus.rows[fit]))
    return NormalChest(reader, model, density, committee, atlas), codes


def arrays_of(learnt: NormalChest, rule: OrRule, map_range: np.ndarray) -> dict[str, np.ndarray]:
    """Return a detector's arrays for reference.npz; `map_range` is that of its heat maps."""
    parts = {DENSITY: learnt.density, ATLAS: learnt.atlas}
    if learnt.committee:
        parts[COMMITTEE] = learnt.committee
    return {
        "normals": rule.normals,
        MAP_RANGE: map_range,
        **{
            f"{name}.{key}": value
            for name, fitted in parts.items()
            for key, value in fitted.to_arrays().items()
        },
    }
