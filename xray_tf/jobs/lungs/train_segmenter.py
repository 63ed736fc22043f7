"""From radiographs and lung masks that people drew to a finished lung segmenter."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf.artifact import CHECKPOINT, Card, new_folder, refuse_existing, seal, write_text
from xray_tf.data.chest.lung_lessons import Lessons, draw_phantoms
from xray_tf.data.chest.lung_table import LungRows, lung_row
from xray_tf.data.pixels.decoding import DECODING_RULE, describe_rule
from xray_tf.data.split import write_split
from xray_tf.jobs.lungs.masked_rows import SIDE, MaskedRows, read_masked_rows
from xray_tf.jobs.lungs.measure_lungs import choose_threshold, measure_lungs
from xray_tf.jobs.provenance import fingerprint, provenance
from xray_tf.jobs.workshop import open_workshop, workshop_of, write_history
from xray_tf.models.load import load
from xray_tf.models.lungs import POINT, LungSegmenter
from xray_tf.options.lungs import TrainLungsOptions

PHANTOM_SEED = 9100


def train_segmenter(
    data: str,
    masks: str | os.PathLike,
    out: str | os.PathLike,
    options: TrainLungsOptions = TrainLungsOptions(),
    *,
    resume: bool = False,
    command_line: str = "",
    progress: bool = True,
) -> LungSegmenter:
    """Train, measure and save a lung segmenter.

    While it trains, its checkpoint lies in a hidden sibling of `out`; `out` appears when all of it
    is there.

    Args:
        data: a folder, CSV manifest or `phantom`, as `train` takes it.
        masks: a folder with NAME.png for some radiographs NAME.*: 255 lung, 127 ignore, 0 the rest.
        out: the folder to make.
        options: see `xray_tf.options.lungs`.
        resume: go on with an unfinished run of the same options.
        command_line: kept on the card.
        progress: say what is going on.

    Returns:
        The finished artifact, opened.

    Raises:
        FileExistsError: `out` is there, or an unfinished run of it is and `resume` is false.
        ValueError: the data cannot be divided, or no mask fits it; the message says which.
    """
    say = partial(print, flush=True) if progress else (lambda *_: None)
    out = Path(out)
    refuse_existing(out)
    workshop = workshop_of(out, resume)
    rows = read_masked_rows(data, masks, options, progress)
    _announce(rows, say)
    origin = provenance(command_line, rows.records, options)
    origin["data"]["source_fingerprint"] = rows.sources["radiographs"]
    origin["masks"] = {"fingerprint": rows.sources["masks"], "masks": len(rows.masks)}
    open_workshop(workshop, resume, {"data": fingerprint(rows.records), **origin["options"]})
    try:
        net, history = _train(rows, options, workshop, say)
    except BaseException:
        if not (workshop / CHECKPOINT).exists():
            shutil.rmtree(workshop)
        raise
    with new_folder(out) as draft:
        _write(draft, out.name, net, history, rows, options, origin, say)
    shutil.rmtree(workshop)
    say(f"Finished: {out}/ holds the segmenter, its split and its figures")
    return load(out)


def _announce(rows: MaskedRows, say: Callable) -> None:
    what = {
        "train": "radiographs with a mask, learnt from",
        "val": "radiographs without a mask, for the threshold of the score",
        "test": "radiographs with a mask, held out",
    }
    for split, words in what.items():
        here = rows.of_split(split)
        patients = len(set(rows.column("patient", here)))
        say(f"  {split:5} {len(here):6} {words}; {patients} patients")
    for split in ("train", "test"):
        if not len(rows.of_split(split)):
            raise ValueError(
                f"There is no radiograph with a mask in the part {split!r}. Expected masks of "
                "patients inside and outside of --held-out."
            )


def _train(
    rows: MaskedRows, options: TrainLungsOptions, workshop: Path, say: Callable
) -> tuple[Any, list[dict]]:
    from xray_tf.nets.lungs import COARSE, SIDE as NET_SIDE
    from xray_tf.nets.training.lung_loop import LungTraining

    train = rows.of_split("train")
    lessons = Lessons(
        rows.images(train),
        rows.masks[train],
        draw_phantoms(options.phantoms, PHANTOM_SEED, SIDE),
        options.batch_size,
        NET_SIDE,
        COARSE,
        options.seed,
    )

    def report(row: dict) -> None:
        say(
            f"  epoch {row['epoch']:3}  loss {row['loss']:.4f}  rate "
            f"{row['learning_rate']:.1e}  {row['seconds']:.1f} s"
        )

    training = LungTraining(options, lessons.steps, workshop, report)
    return training.run(lessons.epoch), training.history


def _write(
    draft: Path,
    name: str,
    net: Any,
    history: list[dict],
    rows: MaskedRows,
    options: TrainLungsOptions,
    origin: dict[str, Any],
    say: Callable,
) -> None:
    from xray_tf.nets.keras_file import save_packed
    from xray_tf.nets.lungs import segment
    from xray_tf.pages.lungs.model_card import render_lung_card

    def find(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = list(segment(net, images, 64))
        return np.stack([lungs for lungs, _ in found]), np.array([score for _, score in found])

    say("  the threshold of the score")
    others = rows.of_split("val")
    scores = np.concatenate([[], *(find(rows.images(part))[1] for part in _parts(others))])
    trained = rows.of_split("train")
    threshold = choose_threshold(
        scores if len(scores) else find(rows.images(trained))[1], options.refused
    )
    metrics, ious = measure_lungs(find, rows, threshold, scores, options, say)
    save_packed(net, draft / "model.keras")
    write_split(rows.records, draft / "split.csv")
    write_history(history, draft / "history.csv")
    rows.findings.write_csv(draft / "audit.csv")
    _table(find, rows, ious, threshold).write_csv(draft / "lungs.csv")
    write_text(draft / "metrics.json", json.dumps(metrics, indent=1, allow_nan=False) + "\n")
    card = Card(
        kind="lungs",
        name=name,
        preprocessing={
            "image_size": SIDE,
            "resize": "squash",
            "decoding": DECODING_RULE,
            "decoding_rule": describe_rule(),
            "channels": 1,
            "pixel_range": [0, 255],
        },
        operating_points={
            POINT: {
                "threshold": threshold,
                "criterion": f"at most {options.refused:.0%} of {len(others):,} chests that were "
                "not trained on lie below",
            }
        },
        default_operating_point=POINT,
        metrics={f"iou_{k}": v for k, v in metrics["iou"].items()},
        metrics_split="test",
        provenance=origin,
        notes=_notes(rows),
    )
    seal(draft, card)
    write_text(draft / "README.md", render_lung_card(card, metrics))
    seal(draft, card)


def _parts(positions: np.ndarray, size: int = 256) -> list[np.ndarray]:
    return [positions[i : i + size] for i in range(0, len(positions), size)]


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
