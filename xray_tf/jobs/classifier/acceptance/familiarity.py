"""Measure, without labels, how far a site's radiographs are from what a model knows."""

from __future__ import annotations

from typing import Any

import numpy as np

from xray_tf.data.kin import patient_groups
from xray_tf.jobs.classifier.acceptance.sample import Sample
from xray_tf.jobs.run import Run
from xray_tf.models.caveats import CONTRAST, UNUSUAL, looks_inverted
from xray_tf.models.lungs import lung_warnings
from xray_tf.stats.acceptance.shares import Share
from xray_tf.stats.paired import mean_interval

BATCH = 64
NO_REFERENCE = (
    "The model has no reference of its training radiographs, so their distance is not known; "
    "`xray-tf embed --add-reference` adds one."
)
DEFINITIONS = {
    "no_lungs": "share of radiographs in which no two upright lungs are found",
    "inverted": "share that look like negatives",
    "flat": f"share whose darkest and brightest percent are less than {CONTRAST} grey levels apart",
    "unusual": f"share that are farther from their nearest training radiographs than {UNUSUAL} % "
    f"of the training radiographs are from theirs; {(100 - UNUSUAL) / 100:g} where they are alike",
    "farther": "chance that a radiograph of this site is farther from its nearest training "
    "radiographs than a training radiograph is from its own; 0.5 where they are alike",
}


def measure_familiarity(sample: Sample, seed: int, run: Run) -> dict[str, Any]:
    """Return how unlike the training radiographs a sample is; labels are not used.

    Returns:
        `rows`; `no_lungs`, `inverted`, `flat` and `unusual`, shares; `farther`, {`value`, `low`,
        `high`}; the last two are None where the model has no reference, and `reason` then says so;
        `percentiles` (N,), how unusual each radiograph is; `definitions`.
    """
    corpus = sample.corpus
    patients = [r.patient for r in corpus.records]
    flags = _of_pixels(sample, run)
    told = {name: Share.of(flag, patients).to_dict() for name, flag in flags.items()}
    told |= {"unusual": None, "farther": None, "percentiles": [], "reason": NO_REFERENCE}
    if sample.embeddings is not None:
        reference = sample.classifier.finder.reference
        found = reference.ask(sample.embeddings, list(corpus.records)).unusual
        groups = patient_groups(patients, len(found))
        told |= {
            "unusual": Share.of(found >= UNUSUAL, patients).to_dict(),
            "farther": mean_interval(found / 100, groups, seed=seed),
            "percentiles": np.round(found, 2).tolist(),
            "reason": "",
        }
    return {"rows": len(corpus.records), **told, "definitions": DEFINITIONS}


def _of_pixels(sample: Sample, run: Run) -> dict[str, np.ndarray]:
    corpus, found = sample.corpus, {"no_lungs": [], "inverted": [], "flat": []}
    with run.line("Looking at the pictures", len(corpus.rows)) as line:
        for start in range(0, len(corpus.rows), BATCH):
            pictures = np.asarray(corpus.pixels[corpus.rows[start : start + BATCH]])
            found["no_lungs"] += [bool(w) for w in lung_warnings(pictures)]
            found["inverted"] += [looks_inverted(p) for p in pictures]
            dark, bright = np.percentile(pictures.reshape(len(pictures), -1), [1, 99], axis=1)
            found["flat"] += (bright - dark < CONTRAST).tolist()
            line.step(len(pictures))
    return {name: np.array(flags, bool) for name, flags in found.items()}
