"""Ask a classifier about one DICOM radiograph, and gather what is written about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xray_tf.clinic.objects.identity import Maker
from xray_tf.clinic.objects.place import Place
from xray_tf.clinic.objects.source import Source
from xray_tf.data.pixels.dicom import decode_grey
from xray_tf.data.pixels.square import see
from xray_tf.data.predictions import Prediction
from xray_tf.data.records import Record
from xray_tf.models.lungs import lung_masks
from xray_tf.operating_point import OperatingPoint
from xray_tf.pages.kit.overlays import top_region


@dataclass(frozen=True)
class Answer:
    """What a classifier says of a radiograph.

    Attributes:
        source: the radiograph.
        maker: model, fingerprint and operating point.
        point: how it was decided.
        class_names: in the order of the probabilities.
        prediction: probabilities, decision, sub-type and warning.
        grey: (H, W) uint8 in [0, 255], the radiograph.
        heat: (S, S) float32 in [0, 1], the heat map of the class decided.
        lungs: (S, S) bool; None where there is no segmenter.
        place: of the square in the radiograph.
    """

    source: Source
    maker: Maker
    point: OperatingPoint
    class_names: tuple[str, ...]
    prediction: Prediction
    grey: np.ndarray
    heat: np.ndarray
    lungs: np.ndarray | None
    place: Place

    @property
    def hottest(self) -> np.ndarray:
        """The hottest tenth (S, S) bool of the heat map; empty where the heat map is."""
        return top_region(self.heat)

    def words(self) -> str:
        """Say the decision and the probabilities in a line."""
        shown = zip(self.class_names, self.prediction.probabilities, strict=True)
        return f"{self.prediction.predicted} ({', '.join(f'{n} {p:.3f}' for n, p in shown)})"


def ask(classifier: Any, source: Source, operating_point: str | None = None) -> Answer:
    """Ask a classifier about a radiograph.

    Args:
        classifier: an opened classifier.
        source: see `read_source`.
        operating_point: a name on the card; its default if None.

    Raises:
        DecodeError: the pixels cannot be used.
    """
    card = classifier.card
    size, resize = card.preprocessing["image_size"], card.preprocessing["resize"]
    grey = decode_grey(source.data)
    prediction, heat, lungs = _look(classifier, see(grey, size, resize), operating_point)
    return Answer(
        source,
        Maker.of(card, operating_point),
        card.point(operating_point),
        tuple(card.class_names),
        prediction,
        grey,
        heat,
        lungs,
        Place.of(*grey.shape, size, resize),
    )


def warm_up(classifier: Any) -> None:
    """Load and compile all that `ask` uses, so that the first radiograph takes no longer than the
    others.
    """
    size = classifier.card.preprocessing["image_size"]
    ramp = np.linspace(0, 255, size * size).reshape(size, size)
    _look(classifier, ramp.astype(np.uint8), None)


def _look(
    classifier: Any, square: np.ndarray, operating_point: str | None
) -> tuple[Prediction, np.ndarray, np.ndarray | None]:
    """Return prediction, heat map (S, S) and lungs (S, S) of what a model sees, (S, S) uint8."""
    table = classifier.decided([Record("radiograph")], [square], operating_point)
    heat = classifier.cam(square[None, :, :, None].astype(np.float32), table.predicted)[0]
    lungs = lung_masks(square[None])
    return table[0], heat, None if lungs is None else lungs[0]
