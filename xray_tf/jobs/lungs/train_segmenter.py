"""From radiographs and lung masks that people drew to a finished lung segmenter."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf.artifact import Card, seal, write_json, write_text
from xray_tf.card import MODEL
from xray_tf.data.chest.lung_lessons import Lessons, draw_phantoms
from xray_tf.data.chest.lung_table import LungRows, lung_row
from xray_tf.data.tables.split_file import write_split
from xray_tf.jobs.lungs.masked_rows import SIDE, MaskedRows, read_masked_rows
from xray_tf.jobs.lungs.measure_lungs import choose_threshold, measure_lungs
from xray_tf.jobs.provenance import preprocessing, provenance
from xray_tf.jobs.run import Options, Run, recorded, takes
from xray_tf.jobs.training import epoch_text, write_history
from xray_tf.models.load import load
from xray_tf.models.lungs import POINT, LungSegmenter
from xray_tf.operating_point import OperatingPoint
from xray_tf.options import TrainLungsOptions

PHANTOM_SEED = 9100
PARTS = {
    "train": "radiographs with a mask, learnt from",
    "val": "radiographs without a mask, for the threshold of the score",
    "test": "radiographs with a mask, held out",
}


@takes(TrainLungsOptions)
def train_segmenter(
    data: str, masks: str | os.PathLike, out: str | os.PathLike, *, options: Options
) -> LungSegmenter:
    """Train, measure and save a lung segmenter.

    While it trains, its checkpoint lies in a hidden sibling of `out`; `out` appears when all of it
    is there.

    Args:
        data: a folder, CSV manifest or `phantom`, as `train` takes it.
        masks: a folder with NAME.png for some radiographs NAME.*: 255 lung, 127 ignore, 0 the rest.
        out: the folder to make.
        options: `TrainLungsOptions` and `xray_tf.jobs.run.Run` in any order, or single options by
            name, such as `epochs=5` or `resume=True`.

    Returns:
        The finished artifact, opened.

    Raises:
        FileExistsError: `out` is there, or an unfinished run of it is and `resume` is false.
        ValueError: the data cannot be divided, no mask fits it, or Keras runs on another backend
            than TensorFlow; the message says which.
    """
    from xray_tf.nets.inference import refuse_other_backends

    refuse_other_backends("Training the segmenter is what")
    run, how = options[Run].at(out), options[TrainLungsOptions]
    rows = read_masked_rows(data, masks, how, run.progress)
    _announce(rows, run)
    origin = provenance(run.command_line, rows.records, *recorded(options))
    origin["data"]["source_fingerprint"] = rows.sources["radiographs"]
    origin["masks"] = {"fingerprint": rows.sources["masks"], "masks": len(rows.masks)}
    with run.training(rows.records, options) as workshop:
        net, history = _train(rows, how, workshop, run)
        with run.folder() as draft:
            metrics = _write(draft, net, rows, how, history, run)
            _write_card(draft, rows, how, run, origin, metrics)
    run.say(f"Finished: {run.out}/ holds the segmenter, its split and its figures")
    return load(run.out)


def _announce(rows: MaskedRows, run: Run) -> None:
    for split, words in PARTS.items():
        here = rows.of_split(split)
        patients = len(set(rows.column("patient", here)))
        run.say(f"  {split:5} {len(here):6} {words}; {patients} patients")
    for split in ("train", "test"):
        if not len(rows.of_split(split)):
            raise ValueError(
                f"There is no radiograph with a mask in the part {split!r}. Expected masks of "
                "patients inside and outside of --held-out."
            )


def _train(
    rows: MaskedRows, how: TrainLungsOptions, workshop: Path, run: Run
) -> tuple[Any, list[dict]]:
    from xray_tf.nets import lungs
    from xray_tf.nets.training.lung_loop import LungTraining

    train = rows.of_split("train")
    lessons = Lessons(
        rows.images(train),
        rows.masks[train],
        draw_phantoms(how.phantoms, PHANTOM_SEED, SIDE),
        how.batch_size,
        lungs.SIDE,
        lungs.COARSE,
        how.seed,
    )
    training = LungTraining(how, lessons.steps, workshop, lambda row: run.say(epoch_text(row)))
    return training.run(lessons.epoch), training.history


def _write(
    draft: Path, net: Any, rows: MaskedRows, how: TrainLungsOptions, history: list[dict], run: Run
) -> dict[str, Any]:
    """Measure the net and write all but the card and the README; return the metrics."""
    from xray_tf.nets.keras_file import save_packed
    from xray_tf.nets.lungs import segment

    def find(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = list(segment(net, images, 64))
        return np.stack([lungs for lungs, _ in found]), np.array([score for _, score in found])

    run.say("  the threshold of the score")
    others = rows.of_split("val")
    parts = [others[i : i + 256] for i in range(0, len(others), 256)]
    scores = np.concatenate([[], *(find(rows.images(part))[1] for part in parts)])
    known = scores if len(scores) else find(rows.images(rows.of_split("train")))[1]
    threshold = choose_threshold(known, how.refused)
    metrics, ious = measure_lungs(find, rows, threshold, scores, how, run.say)
    save_packed(net, draft / MODEL)
    write_split(rows.records, draft / "split.csv")
    write_history(history, draft / "history.csv")
    rows.findings.write_csv(draft / "audit.csv")
    _table(find, rows, ious, threshold).write_csv(draft / "lungs.csv")
    write_json(draft / "metrics.json", metrics)
    return metrics


def _write_card(
    draft: Path,
    rows: MaskedRows,
    how: TrainLungsOptions,
    run: Run,
    origin: dict[str, Any],
    metrics: dict[str, Any],
) -> None:
    from xray_tf.pages.lungs.model_card import render_lung_card

    chests = len(rows.of_split("val"))
    point = OperatingPoint(
        POINT,
        f"at most {how.refused:.0%} of {chests:,} chests that were not trained on lie below",
        metrics["score"]["threshold"],
        fitted_on="val" if chests else "train",
        rows=chests or len(rows.of_split("train")),
    )
    card = Card(
        kind="lungs",
        name=run.out.name,
        preprocessing=preprocessing(SIDE, "squash"),
        operating_points={POINT: point},
        default_operating_point=POINT,
        metrics={f"iou_{k}": v for k, v in metrics["iou"].items()},
        metrics_split="test",
        provenance=origin,
        notes=_notes(rows),
    )
    write_text(draft / "README.md", render_lung_card(card, metrics))
    seal(draft, card)


def _table(find, rows: MaskedRows, ious: np.ndarray, threshold: float) -> LungRows:
    test = rows.of_split("test")
    found = zip(rows.column("path", test), *find(rows.images(test)), ious, strict=True)
    return LungRows(
        lung_row(path, lungs, score, threshold, iou=i) for path, lungs, score, i in found
    )


def _notes(rows: MaskedRows) -> tuple[str, ...]:
    notes = [
        "Drawn lungs end at the diaphragm that can be seen, but a part of them was drawn further "
        "down; the net follows the diaphragm.",
        "Real side views were not there to train or to measure the score on: only drawn ones.",
    ]
    if not len(rows.of_split("val")):
        notes.append("The score's threshold was set on radiographs that the net was trained on.")
    return tuple(notes)
