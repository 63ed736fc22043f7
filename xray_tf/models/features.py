"""Score radiographs by frozen ImageNet features and detectors that were fitted on normals only."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from xray_tf.data.chest.lung_fields import FindLungs
from xray_tf.models.lungs import find_fields
from xray_tf.options import DetectOptions
from xray_tf.spelling import pick, pick_several
from xray_tf.stats.detector.committee import CHOSEN, DETECTORS, Committee

NONE, DEFAULT = "none", "default"
PATCHES = "patches"
_ROWS = 128  # rows at a time: the patch features of many radiographs do not fit into memory


@dataclass(frozen=True)
class FeatureScores:
    """A frozen backbone and a committee of detectors on its features; higher scores are more
    normal.

    Attributes:
        model: the feature model, see `nets.feature_maps`.
        committee: the committee, fitted on the fit normals.
        find_lungs: finds the lungs that some of the features describe.
        locator: a detector on patches that draws heat maps and has no part in the scores; None if
            there is none.
    """

    model: Any
    committee: Committee
    find_lungs: FindLungs
    locator: Any = None

    def scores(
        self,
        pixels: np.ndarray,
        indices: Sequence[int] | None = None,
        batch_size: int = 64,
        progress: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """Return the scores (M,) float64."""
        scores, wanted = [np.empty(0)], eaten_by(self.committee.names)
        for features in self._features(wanted, pixels, indices, batch_size):
            scores.append(self.committee.score_samples(features))
            if progress:
                progress(len(scores[-1]))
        return np.concatenate(scores)

    def unusual(self, pixels: np.ndarray, indices: Sequence[int] | None = None) -> np.ndarray:
        """Return unscaled heat maps (M, S, S) float32, higher = less normal, interpolated
        bilinearly from one value per patch.
        """
        side = pixels.shape[1]
        coarse = [
            -self.locator.score_map(f[PATCHES]).astype(np.float32)
            for f in self._features((PATCHES,), pixels, indices)
        ]
        maps = [
            cv2.resize(m, (side, side), interpolation=cv2.INTER_LINEAR)
            for part in coarse
            for m in part
        ]
        return np.stack(maps) if maps else np.empty((0, side, side), np.float32)

    def _features(
        self,
        wanted: Sequence[str],
        pixels: np.ndarray,
        indices: Sequence[int] | None,
        batch_size: int = 64,
    ) -> Iterator[dict[str, np.ndarray]]:
        from xray_tf.nets.feature_maps import FeatureExtractor

        extractor = FeatureExtractor(self.model, batch_size=batch_size, find_lungs=self.find_lungs)
        indices = np.arange(len(pixels)) if indices is None else np.asarray(indices)
        for start in range(0, len(indices), _ROWS):
            yield extractor.extract(pixels, indices[start : start + _ROWS], wanted)


def detectors_of(text: str) -> tuple[str, ...]:
    """Parse --detectors: names in `DETECTORS` separated by commas, `default` or `none`.

    Raises:
        ValueError: a name is unknown, or given twice.
    """
    names = pick_several("detectors", text, DETECTORS, alone=(DEFAULT, NONE))
    if len(names) < len(text.split(",")):
        raise ValueError(f"detectors must name each detector once. Received: detectors={text!r}")
    if names in ([DEFAULT], [NONE]):
        return CHOSEN if names == [DEFAULT] else ()
    return tuple(names)


def locator_of(text: str) -> tuple[str, ...]:
    """Parse --locate: the name of a detector on patches, or `none`.

    Raises:
        ValueError: it is neither.
    """
    able = [name for name, row in DETECTORS.items() if row.maps]
    name = pick("locate", text, (*able, NONE))
    return () if name == NONE else (name,)


def load_features(
    model: Any, arrays: dict[str, np.ndarray], locator: dict[str, np.ndarray], find_lungs: FindLungs
) -> FeatureScores:
    """Return the result of `fit_features` from its model, the arrays of its committee and its
    locator (an empty dict if there is none), and what found the lungs that it was fitted to.
    """
    opened = None
    if locator:
        kinds = {row.kind.__name__: row.kind for row in DETECTORS.values() if row.maps}
        opened = kinds[json.loads(str(locator["about"]))["detector"]].from_arrays(locator)
    return FeatureScores(model, Committee.from_arrays(arrays), find_lungs, opened)


def eaten_by(names: Sequence[str]) -> tuple[str, ...]:
    """Return the features that these detectors need."""
    return tuple(dict.fromkeys(DETECTORS[name].eats for name in names))


def fit_features(
    pixels: np.ndarray,
    rows: np.ndarray,
    patients: Sequence[str],
    options: DetectOptions,
    progress: Callable[[int], None] | None = None,
) -> FeatureScores | None:
    """Fit the detectors that the options name to normals' features; None where they name none.

    Args:
        pixels: (N, S, S) uint8.
        rows: (n,) of the fit normals.
        patients: n keys, for the cross-fitting that brings the detectors' scores to one scale.
        options: detectors, trunk and its weights, folds.
        progress: called with the number of rows done.
    """
    from xray_tf.nets.feature_maps import FeatureExtractor, build_feature_model

    names, locate = detectors_of(options.detectors), locator_of(options.locate)
    if not names:
        return None
    model = build_feature_model(
        options.backbone, options.weights, options.image_size, seed=options.seed
    )
    eaten = eaten_by((*names, *locate))
    extractor = FeatureExtractor(model, find_lungs=find_fields)
    features = extractor.extract(pixels, rows, eaten, progress)
    keys = [p or f"row {i}" for i, p in enumerate(patients)]
    locator = DETECTORS[locate[0]].build().fit(features[PATCHES], keys) if locate else None
    committee = Committee(names).fit(features, keys, folds=options.folds)
    return FeatureScores(model, committee, find_fields, locator)
