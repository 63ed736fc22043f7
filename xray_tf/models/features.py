"""The stronger score: frozen ImageNet features of a radiograph, and detectors that have seen only
normals' features.
"""

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
_ROWS = 128  # at a time: patch features of many radiographs do not fit into memory


@dataclass(frozen=True)
class FeatureScores:
    """A frozen trunk and the committee of detectors on its features; scores are the committee's,
    higher = more normal.

    Attributes:
        model: of `nets.feature_maps`.
        committee: fitted on the fit normals.
        find_lungs: finds the lungs that some of the features are of.
        locator: a detector on patches that says where, and has no part in the scores; None where
            none was asked for.
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
        """Return one score a row (M,) float64."""
        scores, wanted = [np.empty(0)], eaten_by(self.committee.names)
        for features in self._features(wanted, pixels, indices, batch_size):
            scores.append(self.committee.score_samples(features))
            if progress:
                progress(len(scores[-1]))
        return np.concatenate(scores)

    def unusual(
        self, pixels: np.ndarray, indices: Sequence[int] | None = None, batch_size: int = 64
    ) -> np.ndarray:
        """Return maps (M, S, S) float32, higher = less normal, interpolated bilinearly from one
        value a patch.
        """
        side = pixels.shape[1]
        coarse = [
            -self.locator.score_map(f[PATCHES]).astype(np.float32)
            for f in self._features((PATCHES,), pixels, indices, batch_size)
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
        batch_size: int,
    ) -> Iterator[dict[str, np.ndarray]]:
        from xray_tf.nets.feature_maps import FeatureExtractor

        extractor = FeatureExtractor(self.model, batch_size=batch_size, find_lungs=self.find_lungs)
        indices = np.arange(len(pixels)) if indices is None else np.asarray(indices)
        for start in range(0, len(indices), _ROWS):
            yield extractor.extract(pixels, indices[start : start + _ROWS], wanted)


def detectors_of(text: str) -> tuple[str, ...]:
    """Read what --detectors says: names of `DETECTORS` joined by commas, `default` or `none`.

    Raises:
        ValueError: an unknown name, or one twice.
    """
    names = pick_several("detectors", text, DETECTORS, alone=(DEFAULT, NONE))
    if len(names) < len(text.split(",")):
        raise ValueError(f"detectors must name each detector once. Received: detectors={text!r}")
    if names in ([DEFAULT], [NONE]):
        return CHOSEN if names == [DEFAULT] else ()
    return tuple(names)


def locator_of(text: str) -> tuple[str, ...]:
    """Read what --locate says: the one name of a detector that has maps, or `none`.

    Raises:
        ValueError: neither.
    """
    able = [name for name, row in DETECTORS.items() if row.maps]
    name = pick("locate", text, (*able, NONE))
    return () if name == NONE else (name,)


def load_features(
    model: Any, arrays: dict[str, np.ndarray], locator: dict[str, np.ndarray], find_lungs: FindLungs
) -> FeatureScores:
    """Return what `fit_features` made, from its model, the arrays of its committee and its locator
    (none: no arrays), and what found the lungs that it was fitted to.
    """
    kinds = {row.kind.__name__: row.kind for row in DETECTORS.values() if row.maps}
    opened = (
        kinds[json.loads(str(locator["about"]))["detector"]].from_arrays(locator)
        if locator
        else None
    )
    return FeatureScores(model, Committee.from_arrays(arrays), find_lungs, opened)


def eaten_by(names: Sequence[str]) -> tuple[str, ...]:
    """Return which features detectors of these names take."""
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
