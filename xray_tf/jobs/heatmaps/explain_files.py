"""Explain files, folders and globs: write heat maps, overlays and a page."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np

from xray_tf.artifact import write_text
from xray_tf.card import CHECKSUM
from xray_tf.data.predictions import Predictions
from xray_tf.data.records import Record, Records
from xray_tf.data.sources.files import list_files
from xray_tf.data.sources.shareable import shareable_name
from xray_tf.data.tables.table import TableWriter
from xray_tf.jobs.classifier.predict_files import refuse_unread
from xray_tf.jobs.heatmaps.heatmap_file import MAPS, PICTURES, MapsFile, picture_path, write_picture
from xray_tf.jobs.run import Options, Run, names_of, takes
from xray_tf.models.asked.queries import pixels_of, record_batches
from xray_tf.models.classifier import Classifier
from xray_tf.models.load import load
from xray_tf.models.lungs import lung_masks
from xray_tf.options import ExplainOptions
from xray_tf.pages.heatmaps.page import ExplanationsPage, Shown
from xray_tf.pages.kit import overlays
from xray_tf.spelling import did_you_mean
from xray_tf.stats.heatmaps.localisation import inside

PAGE = "explanations.html"


@dataclass
class Explained:
    """The outcome of a run: `rows` radiographs, of which `failed` could not be read and `empty`
    have an empty heat map.
    """

    rows: int = 0
    failed: int = 0
    empty: int = 0


@takes(ExplainOptions)
def explain_files(
    model: str | os.PathLike | Classifier,
    files: Iterable[str | os.PathLike],
    out: str | os.PathLike,
    *,
    options: Options,
    operating_point: str | None = None,
    strict: bool = False,
) -> Explained:
    """Explain radiographs, labelled or not, in the order given, and write a folder, completely or
    not at all.

    Until it is complete it is `OUT.partial`, in which the same call goes on after an interruption.
    The folder has `overlays/NNNN_<file stem>.png` at the model's size, `predictions.csv`,
    `explanations.html`, and `maps.npz`: `maps` (N, S, S) float32 in [0, 1], `paths` (N,),
    `explained` (N,) class index (-1 if the file could not be read), `empty` (N,) bool,
    `class_names`, `method` and `layer`. A heat map explains the class decided at the operating
    point, unless `target` names another.

    Args:
        model: an artifact's folder, or an opened artifact.
        files: files, folders or globs.
        out: the folder to create.
        options: `ExplainOptions`, or single options by name: method, layer, class, colours.
        operating_point: a name on the card; its default if None.
        strict: stop at the first file that cannot be read.

    Raises:
        FileExistsError: `out` exists.
        ValueError: there is no file, or the class, layer or colour map is unknown; or, with
            `strict`, a file cannot be read.
    """
    run = options[Run].at(out)
    classifier = load(model, kind="classifier")
    records = list_files(files, classifier.card.to_task())
    work = _Explaining(classifier, records, options[ExplainOptions], operating_point, strict)
    names = classifier.card.class_names
    plan = {
        "card": classifier.card.to_dict()[CHECKSUM],
        "operating_point": classifier.card.point(operating_point).name,
        "options": asdict(work.options),
        "layer": work.net.layer,  # an unknown one is refused before anything is answered
        **names_of(records),
    }
    with run.answers(plan) as draft:
        (draft / PICTURES).mkdir(exist_ok=True)
        with (
            run.line("explaining", len(records)) as line,
            TableWriter(draft / "predictions.csv", Predictions, names) as writer,
            MapsFile(draft / MAPS, work.side, writer.rows) as maps,
        ):
            for predictions, heat in work.batches(draft, writer.before, maps):
                if sum(map(len, work.decided)) > writer.rows:  # else an earlier run wrote them
                    maps.append(heat)
                    writer.append(predictions)
                line.step(len(predictions))
            maps.close_with(
                paths=np.array([r.path for r in records], str),
                explained=np.concatenate(work.explained),
                empty=np.concatenate(work.empty),
                class_names=np.array(names),
                method=np.array(work.options.method),
                layer=np.array(work.net.layer),
            )
        write_text(draft / PAGE, work.page())
    return Explained(len(records), len(work.errors), int(np.concatenate(work.empty).sum()))


@dataclass
class _Explaining:
    """The tools of a run, and what it remembers of the radiographs it has seen."""

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
    in_lungs: list[dict[str, np.ndarray]] = field(default_factory=list)

    def __post_init__(self) -> None:
        names = self.classifier.card.class_names
        if self.options.target is not None and self.options.target not in names:
            raise ValueError(
                f"target must be one of {names}, or left out to explain the class decided. "
                f"Received: target={self.options.target!r}."
                f"{did_you_mean(self.options.target, names)}"
            )
        overlays.check_colormap(self.options.colormap)
        self.side = self.classifier.card.preprocessing["image_size"]
        self.negative = self.classifier.card.to_task().negative

    @cached_property
    def net(self):
        from xray_tf.nets.heatmaps.gradcam import GradCAM

        return GradCAM(self.classifier.model, self.options.layer, self.options.map_batch_size)

    def batches(
        self, draft: Path, before: Predictions, kept: MapsFile
    ) -> Iterator[tuple[Predictions, np.ndarray]]:
        """Yield (predictions, heat maps (B, S, S) float32) per batch, and write the overlays.

        The rows `before`, and their heat maps, are those of a run that was interrupted: what is
        told of them is measured again, and they are not.
        """
        card, size, done, known = self.classifier.card, self.options.map_batch_size, 0, len(before)
        parts = [
            self.records.with_rows(self.records.rows[r]) for r in (slice(known), slice(known, None))
        ]
        for batch, results in chain.from_iterable(record_batches(p, card, size) for p in parts):
            maps = None
            if done < known:
                rows = np.arange(done, done + len(batch))
                predictions, maps = before.where(rows), kept.kept(done, done + len(batch))
            else:
                predictions = self.classifier.decided(batch, results, self.operating_point)
            if self.strict:
                refuse_unread(predictions)
            names = [self._name(r) for r in batch]
            self.errors += [
                (n, p.error) for n, p in zip(names, predictions, strict=True) if p.error
            ]
            good = np.flatnonzero(predictions.errors == "")
            images = [results[i] for i in good]
            maps = self._explain(predictions, images, good, maps)
            lungs, shares = self._in_lungs(images, maps[good])
            for k, i in enumerate(good):
                picture = overlays.overlay(images[k], maps[i], *self._colours)
                path = picture_path(draft, done + i + 1, names[i])
                write_picture(path, overlays.lung_outline(picture, lungs[k]))
                if len(self.shown) < self.options.page_rows:
                    seen, explained = (images[k], maps[i], lungs[k]), self.explained[-1][i]
                    self._show(names[i], predictions[int(i)], explained, seen, shares[k])
            done += len(batch)
            yield predictions, maps

    def _explain(
        self,
        predictions: Predictions,
        images: list[np.ndarray],
        good: np.ndarray,
        kept: np.ndarray | None,
    ) -> np.ndarray:
        """Return the heat maps (B, S, S) of a batch whose rows `good` have the pixels `images`;
        zero if a file could not be read; or those that were `kept`.
        """
        count, names = len(predictions), self.classifier.card.class_names
        maps = np.zeros((count, self.side, self.side), np.float32)
        explained, empty = np.full(count, -1, np.int64), np.zeros(count, bool)
        if images:
            target = self.options.target
            classes = predictions.predicted[good] if target is None else names.index(target)
            maps[good] = self._maps(np.stack(images), classes) if kept is None else kept[good]
            explained[good], empty[good] = classes, ~maps[good].any(axis=(1, 2))
        self.explained.append(explained)
        self.empty.append(empty)
        self.decided.append(predictions)
        return maps

    def _maps(self, images: np.ndarray, classes) -> np.ndarray:
        from xray_tf.nets.heatmaps.attribution import METHODS

        return METHODS[self.options.method](self.net, images, classes)

    def _in_lungs(self, images: list[np.ndarray], maps: np.ndarray) -> tuple[Sequence, np.ndarray]:
        """Return the lungs (S, S) bool of each image, or None, and the share (B,) of each map that
        lies in them, NaN where it cannot be said; and remember what is known.
        """
        shares = np.full(len(images), np.nan)
        lungs = lung_masks(np.stack(images)) if images else None
        if lungs is None:
            return [None] * len(images), shares
        some = maps.any(axis=(1, 2))
        if some.any():
            found = inside(maps[some], lungs[some])
            shares[some] = found["energy"]
            self.in_lungs.append(found)
        return lungs, shares

    def _name(self, record: Record) -> str:
        """Return the name of a radiograph in the page and of its picture."""
        return shareable_name(record.path, self.records.file(record), self.options.keep_identifiers)

    def _show(self, name: str, prediction, explained: int, seen: tuple, in_lungs: float) -> None:
        """Keep a radiograph for the page; `seen` are its pixels, heat map and lungs."""
        names, (image, heat, lungs) = self.classifier.card.class_names, seen
        titles = ("radiograph", names[explained], "top region")
        self.shown.append(
            Shown(
                name,
                prediction.predicted,
                prediction.probabilities[names.index(prediction.predicted)],
                names[explained],
                not heat.any(),
                prediction.label,
                overlays.panel(image, heat, *self._colours, titles=titles, lungs=lungs),
                in_lungs,
            )
        )

    @property
    def _colours(self) -> tuple[float, str]:
        return self.options.alpha, self.options.colormap

    def page(self) -> str:
        """Return the page; the few radiographs of the grid are read and explained again, so that
        none has to be kept in memory.
        """
        card, options = self.classifier.card, self.options
        target = "the class decided at the operating point"
        if options.target:
            target = f"the class {options.target}"
        facts = [
            f"Method {options.method}, layer {self.net.layer}, for {target}.",
            f"Operating point: {self.operating_point or card.default_operating_point}.",
            f"The pictures show what the model saw, {self.side} x {self.side} pixels.",
            f"Top region: the hottest {overlays.TOP_SHARE:.0%} of the pixels, inside the "
            "white line.",
            f"{int(np.concatenate(self.empty).sum()):,} heat maps are empty.",
            *self._lung_facts(),
        ]
        read = len(self.records) - len(self.errors)
        rule = overlays.RULE_WITHOUT_NORMAL if self.negative is None else overlays.RULE
        return ExplanationsPage(
            card, facts, self.shown, read, self.errors, self._grid(), rule
        ).render()

    def _lung_facts(self) -> list[str]:
        """Say how much of the evidence lies in the lungs, and how much would by chance."""
        shares, areas = (
            np.concatenate([[], *(p[k] for p in self.in_lungs)]) for k in ("energy", "area")
        )
        if not len(shares):
            return []
        return [
            f"Of the heat, {shares.mean():.0%} lies in the lungs, which cover {areas.mean():.0%} "
            f"of the picture (means over {len(shares):,} heat maps). The magenta line is around "
            "the lungs that the segmenter found."
        ]

    def _grid(self) -> np.ndarray | None:
        labels, predicted, probabilities = (
            np.concatenate([getattr(p, c) for p in self.decided])
            for c in ("labels", "predicted", "probabilities")
        )
        if not (labels >= 0).any():
            return None
        chosen = overlays.choose_outcomes(
            labels, predicted, probabilities, self.options.grid_columns, self.negative
        )
        rows = np.unique(np.concatenate(list(chosen.values())))
        if not len(rows):
            return None
        images = pixels_of(self.records, rows, self.classifier.card)
        maps = self._maps(images, np.concatenate(self.explained)[rows])
        places = {outcome: np.searchsorted(rows, members) for outcome, members in chosen.items()}
        return overlays.outcome_grid(
            images, maps, places, probabilities[rows], *self._colours, self.negative
        )
