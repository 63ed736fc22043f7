"""Heat maps for files, folders and globs: overlays, the maps themselves, and a page, in constant
memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from xray_tf.artifact import new_folder, refuse_existing, write_text
from xray_tf.data.pixels.reading import stream_pixels
from xray_tf.data.predictions import Predictions, PredictionWriter
from xray_tf.data.records import Records
from xray_tf.data.sources.files import list_files
from xray_tf.jobs.heatmap_file import MapsFile, safe_name
from xray_tf.models.classifier import Classifier
from xray_tf.models.load import load
from xray_tf.options import ExplainOptions
from xray_tf.pages.heatmaps.page import Shown, render_explanations
from xray_tf.pages.kit import overlays
from xray_tf.progress import ProgressLine

MAPS, PAGE, PICTURES = "maps.npz", "explanations.html", "overlays"


@dataclass
class Explained:
    """What a run left behind: `rows` radiographs, of which `failed` could not be read and `empty`
    have an empty map.
    """

    rows: int = 0
    failed: int = 0
    empty: int = 0


def explain_files(
    model: str | os.PathLike | Classifier,
    files: Iterable[str | os.PathLike],
    out: str | os.PathLike,
    options: ExplainOptions = ExplainOptions(),
    *,
    operating_point: str | None = None,
    strict: bool = False,
    progress: bool = True,
) -> Explained:
    """Explain radiographs, labelled or not, in the order given, and write a folder, whole or not at
    all.

    The folder holds `overlays/NNNN_<file stem>.png` at the model's size, `predictions.csv` and
    `.jsonl`, `explanations.html`, and `maps.npz`: `maps` (N, S, S) float32 in [0, 1], `paths` (N,),
    `explained` (N,) class index (-1 where the file could not be read), `empty` (N,) bool,
    `class_names`, `method` and `layer`. A map is for the class decided at the operating point,
    unless `options.target` names one.

    Args:
        model: an artifact folder, or one already opened.
        files: files, folders and globs.
        out: a folder to make.
        options: method, layer, class, colours; see `xray_tf.options`.
        operating_point: a name on the card; its default when None.
        strict: stop at the first file that cannot be read.
        progress: show a line.

    Raises:
        FileExistsError: `out` is there.
        ValueError: no file, an unknown class, layer or colour map, or, with `strict`, a file that
            cannot be read.
    """
    refuse_existing(out)
    classifier = load(model, kind="classifier")
    records = list_files(files)
    run = _Run(classifier, records, options, operating_point, strict)
    with new_folder(out) as draft:
        (draft / PICTURES).mkdir()
        writer = PredictionWriter(
            draft / "predictions.csv", draft / "predictions.jsonl", classifier.card.class_names
        )
        with (
            ProgressLine("explaining", len(records), progress) as line,
            writer,
            MapsFile(draft / MAPS, len(records), run.side) as maps,
        ):
            for predictions, heat in run.batches(draft / PICTURES):
                writer.append(predictions)
                maps.append(heat)
                line.step(len(predictions))
            maps.close_with(
                paths=np.array([r.path for r in records], str),
                explained=np.concatenate(run.explained),
                empty=np.concatenate(run.empty),
                class_names=np.array(classifier.card.class_names),
                method=np.array(options.method),
                layer=np.array(run.net.layer),
            )
        write_text(draft / PAGE, run.page())
    return Explained(len(records), len(run.errors), int(np.concatenate(run.empty).sum()))


@dataclass
class _Run:
    """One run: what it explains with, and what it must remember of the radiographs it has seen."""

    classifier: Classifier
    records: Records
    options: ExplainOptions
    operating_point: str | None
    strict: bool
    explained: list[np.ndarray] = field(default_factory=list)
    empty: list[np.ndarray] = field(default_factory=list)
    errors: list[tuple[str, str]] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    decided: list[Predictions] = field(default_factory=list)

    def __post_init__(self) -> None:
        names = self.classifier.card.class_names
        if self.options.target is not None and self.options.target not in names:
            raise ValueError(
                f"target must be one of {names}, or left out to explain what was "
                f"decided. Received: target={self.options.target!r}"
            )
        if self.options.colormap not in overlays.COLORMAPS:
            raise ValueError(
                f"colormap must be one of {', '.join(overlays.COLORMAPS)}. Received: "
                f"colormap={self.options.colormap!r}"
            )
        self.side = self.classifier.card.preprocessing["image_size"]

    @cached_property
    def net(self):
        from xray_tf.nets.heatmaps.gradcam import GradCAM

        return GradCAM(self.classifier.model, self.options.layer, self.options.map_batch_size)

    def batches(self, pictures: Path):
        """Yield (predictions, maps (B, S, S) float32) batch by batch, and write the overlays."""
        prep, size = self.classifier.card.preprocessing, self.options.map_batch_size
        rows, done = iter(self.records), 0
        pixels = iter(
            stream_pixels(
                (self.records.file(r) for r in self.records), prep["image_size"], prep["resize"]
            )
        )
        while batch := list(islice(rows, size)):
            results = [result for _, result in islice(pixels, len(batch))]
            predictions = self.classifier.decided(batch, results, self.operating_point)
            failed = [(p.path, p.error) for p in predictions if p.error]
            if self.strict and failed:
                raise ValueError(
                    f"{failed[0][0]} cannot be read ({failed[0][1]}). Leave out "
                    "--strict to go on with the others."
                )
            self.errors += failed
            good = np.flatnonzero(predictions.errors == "")
            images = (
                np.stack([results[i] for i in good])
                if len(good)
                else np.empty((0, self.side, self.side), np.uint8)
            )
            maps = self._explain(predictions, images, good)
            for i, image in zip(good, images, strict=True):
                self._draw(
                    pictures / f"{done + i + 1:04d}_{safe_name(batch[i].path)}.png",
                    predictions[int(i)],
                    image,
                    maps[i],
                    int(self.explained[-1][i]),
                )
            done += len(batch)
            yield predictions, maps

    def _explain(
        self, predictions: Predictions, images: np.ndarray, good: np.ndarray
    ) -> np.ndarray:
        """Return the maps (B, S, S) of a batch whose rows `good` have the pixels `images`; zero
        where a file could not be read.
        """
        count, names = len(predictions), self.classifier.card.class_names
        maps, explained, empty = (
            np.zeros((count, self.side, self.side), np.float32),
            np.full(count, -1, np.int64),
            np.zeros(count, bool),
        )
        if len(good):
            classes = (
                predictions.predicted[good]
                if self.options.target is None
                else names.index(self.options.target)
            )
            maps[good], explained[good], empty[good] = (
                self._maps(images, classes),
                self.net.explained,
                self.net.empty,
            )
        self.explained.append(explained)
        self.empty.append(empty)
        self.decided.append(predictions)
        return maps

    def _maps(self, images: np.ndarray, classes) -> np.ndarray:
        from xray_tf.nets.heatmaps.attribution import METHODS

        return METHODS[self.options.method](self.net, images, classes)

    def _draw(
        self, path: Path, prediction, image: np.ndarray, heat: np.ndarray, explained: int
    ) -> None:
        names, options = self.classifier.card.class_names, self.options
        picture = overlays.overlay(image, heat, options.alpha, options.colormap)
        path.write_bytes(
            cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()
        )
        if len(self.shown) < options.page_rows:
            probability = prediction.probabilities[names.index(prediction.predicted)]
            panel = overlays.panel(
                image,
                heat,
                options.alpha,
                options.colormap,
                titles=("radiograph", names[explained], "top region"),
            )
            self.shown.append(
                Shown(
                    prediction.path,
                    prediction.predicted,
                    probability,
                    names[explained],
                    not heat.any(),
                    prediction.label,
                    panel,
                )
            )

    def page(self) -> str:
        """Return the page; the few radiographs of the grid are read and explained once more, so
        that none had to be kept.
        """
        card, options = self.classifier.card, self.options
        target = (
            f"the class {options.target}"
            if options.target
            else ("the class decided at the operating point")
        )
        facts = [
            f"Method {options.method}, layer {self.net.layer}, for {target}.",
            f"Operating point: {self.operating_point or card.default_operating_point}.",
            f"The pictures show what the model saw, {self.side} x {self.side} pixels.",
            f"Top region: the hottest {overlays.TOP_SHARE:.0%} of the pixels, inside the "
            "white line.",
            f"{int(np.concatenate(self.empty).sum()):,} maps are empty.",
        ]
        grid = self._grid()
        return render_explanations(
            card.name,
            facts,
            self.shown,
            len(self.records) - len(self.errors),
            self.errors,
            grid,
            overlays.RULE,
        )

    def _grid(self) -> np.ndarray | None:
        labels, predicted, probabilities = (
            np.concatenate([getattr(p, c) for p in self.decided])
            for c in ("labels", "predicted", "probabilities")
        )
        if not (labels >= 0).any():
            return None
        chosen = overlays.choose_outcomes(
            labels, predicted, probabilities, self.options.grid_columns
        )
        rows = np.unique(np.concatenate(list(chosen.values())))
        if not len(rows):
            return None
        prep = self.classifier.card.preprocessing
        images = np.stack(
            [
                image
                for _, image in stream_pixels(
                    [self.records.file(self.records[int(i)]) for i in rows],
                    prep["image_size"],
                    prep["resize"],
                )
            ]
        )
        maps = self._maps(images, np.concatenate(self.explained)[rows])
        places = {outcome: np.searchsorted(rows, members) for outcome, members in chosen.items()}
        return overlays.outcome_grid(
            images, maps, places, probabilities[rows], self.options.alpha, self.options.colormap
        )
