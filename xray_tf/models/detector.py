"""Use a fitted anomaly detector: raw scores, percentiles among normals, a verdict with its reason,
and heat maps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from xray_tf.artifact import ArtifactError, Card
from xray_tf.data.chest.lung_atlas import LungAtlas
from xray_tf.data.records import Record, Records
from xray_tf.data.scores import VERDICTS, Scores
from xray_tf.data.tables.arrays import read_arrays
from xray_tf.models.asked.queries import batches, readable, record_batches
from xray_tf.models.features import LungReader
from xray_tf.models.lungs import find_fields, lung_warnings
from xray_tf.models.normal_chest import COMMITTEE, NormalChest
from xray_tf.models.opened import Opened
from xray_tf.operating_point import DetectorPoint
from xray_tf.stats.detector.committee import Committee
from xray_tf.stats.detector.density import Density
from xray_tf.stats.detector.or_rule import OrRule

REFERENCE = "reference.npz"
FEATURE_MODEL, ATLAS, DENSITY, MAP_RANGE = "features.keras", "atlas", "density", "map_range"


class Detector(Opened):
    """An anomaly detector with its card.

    Attributes:
        folder: the artifact's folder.
        card: its description; see `xray_tf.artifact.Card`.
        model: the autoencoder, features of the lungs' zones (B, D) float32 -> embedding,
            reconstruction, reconstruction_error.
        rule: thresholds and calibration normals; see `xray_tf.stats.detector.or_rule.OrRule`.
    """

    @cached_property
    def encoder(self):
        """The encoder alone, a Keras model zones (B, D) -> code (B, K)."""
        from xray_tf.nets.classifier import derive

        return derive(self.model, "embedding")

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """The contents of reference.npz."""
        try:
            arrays = read_arrays(self.folder / REFERENCE)
        except ValueError as error:
            raise ArtifactError(f"{error} Fit the detector again.") from error
        odd = [n for n, a in arrays.items() if a.dtype.kind == "f" and not np.isfinite(a).all()]
        if odd:
            raise ArtifactError(
                f"{self.folder / REFERENCE}: {odd[0]} has numbers that are not finite. Fit the "
                "detector again."
            )
        return arrays

    @cached_property
    def normal_chest(self) -> NormalChest:
        """The object that turns pixels into raw scores and heat maps."""
        from xray_tf.nets.keras_file import load_model

        if not (self.folder / FEATURE_MODEL).is_file() or MAP_RANGE not in self.arrays:
            raise ArtifactError(
                f"{self.folder} was fitted to whole radiographs, before lungs were registered. Fit "
                "the detector again."
            )
        committee = _under(COMMITTEE, self.arrays)
        return NormalChest(
            LungReader(load_model(self.folder / FEATURE_MODEL), find_fields),
            self.model,
            Density.from_arrays(_under(DENSITY, self.arrays)),
            Committee.from_arrays(committee) if committee else None,
            LungAtlas.from_arrays(_under(ATLAS, self.arrays)),
        )

    @cached_property
    def rule(self) -> OrRule:
        return rule_of(self.card, self.arrays["normals"])

    def score(self, images: Any, batch_size: int = 64, rule: OrRule | None = None) -> Scores:
        """Score radiographs.

        Args:
            images: as `Classifier.predict` takes them.
            batch_size: radiographs per forward pass.
            rule: replaces the artifact's own, such as `detector.rule.with_thresholds({...})`.

        Returns:
            One row per radiograph, in order. A file that cannot be read, or a picture of one grey
            level or too few, gives a row with `error`; one without two upright lungs gives a row
            with `warning`.

        Raises:
            ValueError: pixels have another type, range or shape, or no file was found.
        """
        parts = [
            self.judged(records, results, rule, batch_size)[0]
            for records, results in batches(images, self.card, batch_size)
        ]
        return Scores.joined(parts)

    def stream(
        self, records: Records, batch_size: int = 64, rule: OrRule | None = None
    ) -> Iterator[tuple[Scores, np.ndarray]]:
        """Score files batch by batch, in order and in constant memory; yield (scores, pixels (n, S,
        S) uint8 of the rows without an error).
        """
        for batch, results in record_batches(records, self.card, batch_size):
            yield self.judged(batch, results, rule, batch_size)

    def maps(self, pixels: np.ndarray) -> np.ndarray:
        """Return heat maps (N, S, S) float32 in [0, 1] of pixels (N, S, S) uint8 as the model sees
        them: how much brighter the lungs are than normal lungs in the same place.

        0 is the median pixel of the calibration normals, and 1 the value that one of their pixels
        in a thousand exceeds, so colours are comparable between radiographs.
        """
        return self.normal_chest.heat(self.arrays[MAP_RANGE], pixels)

    def registered(self, pixels: np.ndarray) -> np.ndarray:
        """Return all that the detector looks at of pixels (N, S, S) uint8: their registered lungs
        (N, S, S) uint8, see `data.chest.registered_lungs`.
        """
        found = self.normal_chest.reader.registered(pixels)
        return np.concatenate([part.images for part in found])

    def judged(
        self, records: Sequence[Record], results: Sequence, rule: OrRule | None, batch_size: int
    ) -> tuple[Scores, np.ndarray]:
        """Score one batch of what `data.pixels.reading.stream_pixels` gives for records: pixels
        (S, S) uint8, or a finding where a file cannot be read; return the scores, and the pixels
        (n, S, S) uint8 of the rows without an error.
        """
        rule, (good, pixels, errors) = rule or self.rule, readable(results, self.card)
        values = np.full((len(results), len(rule.names)), np.nan)
        warnings = np.full(len(results), "", object)
        if len(pixels):
            values[good] = self.normal_chest.scores(pixels, batch_size)
            warnings[good] = lung_warnings(pixels)
        return score_table(rule, records, values, errors, warnings), pixels

    def __repr__(self) -> str:
        bounds = ", ".join(f"{n} {t:.4g}" for n, t in self.rule.bounds().items())
        return f"Detector({self.card.name!r}, thresholds {bounds})"

    def _repr_html_(self) -> str:
        from xray_tf.pages.detector.page import render_detector_summary

        return render_detector_summary(self.card)


def rule_of(card: Card, normals: np.ndarray) -> OrRule:
    """Return the rule on a detector's card, with the calibration normals (n, K) of its
    reference.
    """
    point = card.point()
    bounds = np.array(list(point.thresholds.values()), np.float64)
    return OrRule(point.scores, bounds, normals, point.budget, point.tails)


def point_of(rule: OrRule, **about: Any) -> DetectorPoint:
    """Return the operating point on a detector's card that `rule_of` reads; `about` is what else a
    `DetectorPoint` says: density, detectors, radiographs.
    """
    name, how = "by_hand", ", set by hand"
    if rule.budget is not None:
        name = "budget"
        how = f"; at most {rule.budget:.3g} of exchangeable normal patients are flagged"
    return DetectorPoint(
        name,
        f"any score beyond its threshold{how}",
        rule.bounds(),
        rule.budget,
        rule.tails,
        calibration_patients=len(rule.normals),
        calibration_false_alarms=rule.false_alarms(),
        **about,
    )


def score_table(
    rule: OrRule,
    records: Sequence[Record],
    values: np.ndarray,
    errors: Sequence[str] | None = None,
    warnings: Sequence[str] | None = None,
) -> Scores:
    """Apply a rule to raw scores (N, K), NaN for rows with an error, and join their records."""
    errors = [""] * len(records) if errors is None else list(errors)
    good = np.array([not e for e in errors], bool)
    percentiles, anomaly = np.full(values.shape, np.nan), np.full(len(values), np.nan)
    verdicts, reasons = np.full(len(values), "", object), np.full(len(values), "", object)
    if good.any():
        judged = rule.judge(values[good])
        percentiles[good], anomaly[good] = judged.percentiles, judged.anomaly
        reasons[good] = judged.reasons
        verdicts[good] = [VERDICTS[int(a)] for a in judged.anomalous]
    return Scores(
        rule.names,
        [r.path for r in records],
        values,
        percentiles,
        anomaly,
        verdicts,
        reasons,
        patients=[r.patient for r in records],
        splits=[r.split for r in records],
        labels=[r.label for r in records],
        errors=errors,
        warnings=warnings,
    )


def _under(prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(f"{prefix}."): value
        for name, value in arrays.items()
        if name.startswith(f"{prefix}.")
    }
