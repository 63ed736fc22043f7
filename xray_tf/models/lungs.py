"""A lung segmenter, opened; and `segment_lungs`, which asks the shipped one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from xray_tf.artifact import ArtifactError
from xray_tf.data.chest.lung_fields import LungFields, places_of
from xray_tf.data.chest.lung_masks import fit_to, resize_lungs
from xray_tf.data.chest.lung_table import INSIDE, NO_LUNGS
from xray_tf.models.opened import Opened
from xray_tf.options import LUNGS, ModelOptions

__all__ = ["LungSegmenter", "Lungs", "segment_lungs", "shipped_segmenter"]
NAME = "lungs"  # of the shipped artifact, and the kind of all of them
POINT = "two upright lungs"
_BATCH = 64  # images a forward pass


class Lungs(NamedTuple):
    """The lungs of one image.

    Attributes:
        mask: (H, W) float32 in [0, 1], lung from 0.5 on.
        chest: how sure the net is that two upright lungs are there, in [0, 1].
    """

    mask: np.ndarray
    chest: float


class LungSegmenter(Opened):
    """A trained lung segmenter with its card.

    Attributes:
        folder: where it lies.
        card: what it says of itself; see `xray_tf.artifact.Card`.
        model: the Keras model, image (B, S, S, 1) float32 in [0, 255] -> lungs (B, S, S, 1) and
            chest (B, 1), both in [0, 1].
    """

    @property
    def threshold(self) -> float:
        """A score below it says that there are no two upright lungs in the picture."""
        return float(self.card.point(POINT).threshold)

    def segment(self, images: Any, batch_size: int = 32) -> np.ndarray:
        """Find the lungs of images, as `segment_lungs` says."""
        images = _checked(images)
        lungs = np.empty(images.shape, np.float32)
        for i, found in enumerate(self.stream(images, batch_size)):
            lungs[i] = found.mask
        return lungs

    def stream(self, images: Iterable[np.ndarray], batch_size: int = 32) -> Iterator[Lungs]:
        """Yield the lungs of images (H, W) uint8, each of any size, in memory for one batch."""
        images = iter(images)
        while part := list(islice(images, batch_size)):
            yield from map(Lungs._make, self._found(part))

    def _found(self, images: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, float]]:
        plain = self.plain if self.is_few(len(images)) else None
        if plain is None:
            from xray_tf.nets.lungs import segment

            yield from segment(self.model, images, len(images))
            return
        fitted = np.stack([fit_to(image, plain.side) for image in images])
        found = plain.forward(fitted, ("lungs", "chest"))
        for image, lungs, chest in zip(images, found["lungs"], found["chest"], strict=True):
            yield resize_lungs(lungs[..., 0], image.shape), float(chest[0])

    def fields(self, images: np.ndarray) -> LungFields:
        """Find the lungs of square images (N, S, S) uint8 as masks.

        How well they were found is the mean of what the net says inside them, in [0.5, 1].
        """
        images = _checked(images)
        masks, fits = np.empty(images.shape, bool), np.full(len(images), INSIDE, np.float32)
        sure = np.empty(len(images), bool)
        for i, found in enumerate(self.stream(images, _BATCH)):
            masks[i], sure[i] = found.mask >= INSIDE, found.chest >= self.threshold
            if masks[i].any():
                fits[i] = found.mask[masks[i]].mean()
        return LungFields(masks, fits, places_of(masks), sure)

    def warnings(self, images: Iterable[np.ndarray]) -> list[str]:
        """Return one text an image (H, W) uint8: empty, or that no two upright lungs are there."""
        found = self.stream(images, _BATCH)
        return ["" if lungs.chest >= self.threshold else NO_LUNGS for lungs in found]

    def __repr__(self) -> str:
        iou = self.card.metrics["iou_mean"]["value"]
        return f"LungSegmenter({self.card.name!r}, mean IoU {iou:.3f})"


def segment_lungs(images: Any, batch_size: int = 32) -> np.ndarray:
    """Find the lungs in frontal chest radiographs with the shipped segmenter.

    Args:
        images: (N, H, W) uint8 of grey pixels in [0, 255], or one (H, W); any size, bone white.
        batch_size: images a forward pass.

    Returns:
        (N, H, W) float32 in [0, 1] at the size given, lung from 0.5 on; N is 1 for one image.

    Raises:
        ValueError: images of another type or shape.
        ArtifactError: the shipped segmenter is not here.
    """
    return shipped_segmenter().segment(images, batch_size)


@lru_cache(maxsize=1)
def shipped_segmenter() -> LungSegmenter:
    """Open the shipped segmenter, once."""
    from xray_tf.models.load import load

    return load(NAME, kind=NAME)


def lungs_for(options: ModelOptions) -> Any:
    """Return the shipped segmenter's Keras model where a classifier of these options holds one,
    otherwise None.
    """
    return shipped_segmenter().model if options.region == LUNGS else None


def find_fields(images: np.ndarray) -> LungFields:
    """Find the lungs of square images (N, S, S) uint8 with the shipped segmenter."""
    return shipped_segmenter().fields(images)


def lung_masks(images: np.ndarray) -> np.ndarray | None:
    """Return the lungs (N, S, S) bool of square images (N, S, S) uint8, found by the shipped
    segmenter; None where it did not come along.
    """
    fields = lung_fields(images)
    return None if fields is None else fields.masks


def lung_fields(images: np.ndarray) -> LungFields | None:
    """Return the lungs of square images (N, S, S) uint8, found by the shipped segmenter; None where
    it did not come along.
    """
    segmenter = _segmenter_if_here()
    return None if segmenter is None else segmenter.fields(images)


def lung_warnings(images: Iterable[np.ndarray]) -> list[str]:
    """Return the shipped segmenter's warning on each image (H, W) uint8, empty where there is
    none; all are empty where it did not come along.
    """
    segmenter = _segmenter_if_here()
    return ["" for _ in images] if segmenter is None else segmenter.warnings(images)


def _segmenter_if_here() -> LungSegmenter | None:
    try:
        return shipped_segmenter()
    except ArtifactError:
        return None


def _checked(images: Any) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim == 2:
        images = images[None]
    if images.ndim != 3 or images.dtype != np.uint8 or 0 in images.shape[1:]:
        raise ValueError(
            "images must be (N, H, W) or (H, W) uint8 in [0, 255], one grey channel. Received: "
            f"shape {images.shape}, {images.dtype}"
        )
    return images
