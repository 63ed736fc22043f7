"""Write a classifier that was adapted to a site as a new artifact: the same network with other
biases of its logits, another temperature and other operating points. The old artifact is only read.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf.artifact import MANIFEST, Card, seal, sha256_of, write_json
from xray_tf.card import MODEL
from xray_tf.data.records import Record, Records
from xray_tf.data.tables.split_file import SPLIT, read_split, write_split
from xray_tf.jobs.provenance import provenance, started_from
from xray_tf.jobs.run import Options, Run, recorded
from xray_tf.models.classifier import Classifier
from xray_tf.models.reference import ABOUT, PIECE
from xray_tf.untrusted import MAX_JSON, read_json


@dataclass(frozen=True)
class Adaptation:
    """What becomes another in a classifier.

    Attributes:
        name: of the new artifact.
        added: (L,) added to its logits.
        card: the old card with the new temperature, operating points, metrics and notes.
        about: for the card's provenance, under `adaptation`.
        rows: the site's records whose part is not empty: `val` where something was fitted on them,
            `test` where it was judged; None where no labels were used.
    """

    name: str
    added: np.ndarray
    card: Card
    about: dict[str, Any]
    rows: Records | None = None


def write_adapted(
    folder: Path,
    classifier: Classifier,
    change: Adaptation,
    options: Options,
    write: Callable[[Path, Card], None] = lambda draft, card: None,
) -> Card:
    """Write the new artifact into a folder that does not exist yet, and return its card.

    Args:
        folder: in the draft of the job's output.
        classifier: the old one.
        change: what becomes another.
        options: of the job, for the provenance.
        write: adds predictions and metrics to the folder, given the card.
    """
    from xray_tf.nets.classifier import add_to_logits
    from xray_tf.nets.keras_file import load_model, save_model
    from xray_tf.pages.classifier.model_card import write_model_card
    from xray_tf.pages.classifier.report import write_report

    folder.mkdir()
    model = load_model(classifier.folder / MODEL)
    add_to_logits(model, change.added)
    save_model(model, folder / MODEL)
    records = _all_rows(classifier, change.rows)
    write_split(records, folder / SPLIT)
    _copy_reference(classifier.folder / PIECE, folder)
    card = replace(
        change.card,
        name=change.name,
        files={},
        provenance=_provenance(classifier, change, records, options),
    )
    write(folder, card)
    card = seal(folder, card)
    write_model_card(folder, card)
    write_report(folder)
    return seal(folder, card)


def _all_rows(classifier: Classifier, rows: Records | None) -> Records:
    """Return what the model was made with, and the site's rows. What fitted the old decisions is
    training now, so that a test on it is called optimistic.
    """
    lines = read_split(classifier.folder / SPLIT)
    split_by = lines[0].pop("split_by")
    old = [Record(**{c: v for c, v in line.items() if c != "split_by"}) for line in lines]
    if rows is None:
        return Records(old, split_by=split_by)
    known, paths = {r.sha256 for r in rows if r.sha256}, {r.path for r in rows}
    before = [
        # another file may have that name here; files are told apart by their bytes
        replace(r, split="train", path=f"before/{r.path}" if r.path in paths else r.path)
        for r in old
        if r.split != "test" and r.sha256 not in known
    ]
    return Records([*before, *rows], split_by=rows.split_by)


def _copy_reference(old: Path, folder: Path) -> None:
    """Keep the training radiographs' embeddings, which other biases of the logits leave alone."""
    if not old.is_dir():
        return
    new = folder / PIECE
    shutil.copytree(old, new)
    about = read_json(new / ABOUT, 64 * MAX_JSON)
    write_json(new / ABOUT, {**about, "model_sha256": sha256_of(folder / MODEL)})
    if (new / MANIFEST).is_file():
        files = json.loads((new / MANIFEST).read_text(encoding="utf-8"))["files"]
        write_json(
            new / MANIFEST, {"files": {f: sha256_of(new / f) for f in files}}, sort_keys=True
        )


def _provenance(
    classifier: Classifier, change: Adaptation, records: Records, options: Options
) -> dict[str, Any]:
    """Return where the new artifact comes from: the options of its training stay, beside those of
    this job.
    """
    old = classifier.card.provenance
    origin = provenance(options[Run].command_line, change.rows or records, *recorded(options))
    kept = {k: old[k] for k in ("data",) if k in old}
    options_kept = {**origin["options"], **old.get("options", {})}
    return {
        **origin,
        **kept,
        "options": options_kept,
        "adaptation": {**change.about, "data": origin["data"]},
        "started_from": started_from(str(classifier.folder / MODEL)),
    }
