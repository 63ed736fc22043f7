"""Where an unfinished training keeps its checkpoint and its plan: a hidden sibling of the artifact
that it will be.
"""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

from xray_tf.artifact import CHECKPOINT, write_text


def workshop_of(out: Path, resume: bool) -> Path:
    """Name the workshop of `out`.

    Raises:
        FileExistsError: it holds an unfinished run, and `resume` is false.
    """
    folder = out.parent / f".{out.name}.unfinished"
    if (folder / CHECKPOINT).exists() and not resume:
        raise FileExistsError(
            f"{folder} holds an unfinished run. Add --resume to go on with it, "
            "or remove it to start again."
        )
    return folder


def open_workshop(folder: Path, resume: bool, plan: dict) -> None:
    """Note down what is being trained, or make sure that what is resumed is the same.

    Args:
        folder: the workshop, made where it is not there.
        plan: `data`, the fingerprint, and options by group, as JSON can hold them.

    Raises:
        ValueError: the unfinished run was started with another plan; the message names what
            differs.
    """
    path = folder / "plan.json"
    plan = json.loads(json.dumps(plan))
    for name in ("strict", "cache"):
        plan["DataOptions"].pop(name)
    if resume and path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = sorted(
            f"{group}.{k}" if isinstance(plan[group], dict) else group
            for group in plan
            for k in (plan[group] if isinstance(plan[group], dict) else [None])
            if (
                plan[group] != before[group]
                if k is None
                else plan[group][k] != before[group].get(k)
            )
        )
        if changed:
            raise ValueError(
                f"The unfinished run in {folder} was started with other values of: "
                f"{', '.join(changed)}. Resume with the same options and data."
            )
    if not resume:
        # what a run left that was killed before its first checkpoint
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(plan, indent=1))


def write_history(rows: list[dict], path: Path) -> None:
    """Write one row an epoch: phase, epoch, loss, val_loss, val_accuracy, val_auroc, learning_rate,
    seconds.
    """
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
