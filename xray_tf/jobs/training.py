"""Train a network in a job: one line per epoch, a line on the weights that were kept, and the
history on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xray_tf.data.tables.csv_files import csv_line, write_lines
from xray_tf.jobs.run import Run

INTERRUPTED = "Training was interrupted by hand"  # the beginning of the note
NUMBERS = {"loss": ".5f", "val_loss": ".5f", "val_accuracy": ".4f", "val_auroc": ".4f"}


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
        model: the Keras model with the weights that were kept.
        history: one dict per epoch.
        notes: caveats for the card.
    """

    model: Any
    history: list[dict[str, Any]]
    notes: tuple[str, ...]


def train(run: Run, workshop: Path, build: Callable[[], tuple[Any, list, Any]]) -> Trained:
    """Train a network, or go on with an unfinished run.

    Args:
        run: the run of the job.
        workshop: the folder of the checkpoint.
        build: called in the scope of the training devices; returns the model, its phases and the
            optimisation, as in `nets.training.loop`.
    """
    from xray_tf.nets.training.devices import every_gpu
    from xray_tf.nets.training.loop import Training, event_writer
    from xray_tf.nets.training.together import leave, on_this_process

    told = run.tensorboard and not run.process
    write = event_writer(run.tensorboard) if told else lambda row: None

    def report(row: dict[str, Any]) -> None:
        run.say(epoch_text(row))
        write(row)

    with every_gpu():
        model, phases, how = build()
        training = Training(
            model, how, workshop, report, run.resume, run.progress, writes=not run.process
        )
        training.run(phases)
        with on_this_process(model) as alone:
            model = alone
    leave()
    kept, notes = training.kept, ()
    run.say(
        f"  kept: {kept['phase']} epoch {kept['epoch']}, validation loss {kept['val_loss']:.5f}"
    )
    if training.interrupted:
        notes = (
            f"{INTERRUPTED} in {training.stopped}: what was kept are the weights after "
            f"{kept['phase']} epoch {kept['epoch']}, the {how.keep} of {len(training.history)} "
            f"finished epochs; {sum(phase.epochs for phase in phases)} were planned.",
        )
        run.say(f"  {notes[0]}")
    return Trained(model, training.history, notes)


def epoch_text(row: dict[str, Any]) -> str:
    """Describe an epoch in one line."""
    told = {name: form for name, form in NUMBERS.items() if name in row}
    numbers = "  ".join(f"{name.replace('_', ' ')} {row[name]:{f}}" for name, f in told.items())
    return (
        f"  {row['phase']:9} epoch {row['epoch']:3}  {numbers}  rate {row['learning_rate']:.1e}  "
        f"{row['seconds']:.1f} s"
    )


def write_history(history: list[dict[str, Any]], path: Path) -> None:
    """Write one row per epoch: phase, epoch, loss, val_loss and other validation scores,
    learning_rate, seconds.
    """
    write_lines(path, list(history[0]), (csv_line(row.values()) for row in history))
