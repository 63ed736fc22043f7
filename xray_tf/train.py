"""xray-tf train --data DATA --out DIR [options]

Train a classifier of chest radiographs.

The new folder --out holds the model, its card, the split, calibrated predictions, metrics with
95 % intervals, the training history, what is wrong with the data, a model card and a report:
model.keras, card.json, split.csv, predictions.csv, metrics.json, mistakes.json, history.csv,
audit.csv, README.md and report.html. The report opens with small pictures of the surest mistakes.
Research software, not a medical device.

Examples:
  xray-tf train --data chest_xray --out runs/first
  xray-tf train --data chest_xray --out runs/three --task three-class --backbone resnet50
  xray-tf train --data phantom:60 --out runs/quick --image-size 96 --fine-tune none
  xray-tf train --data chest_xray --out runs/first --resume
  KERAS_BACKEND=jax xray-tf train --data chest_xray --out runs/first --processes 2
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from xray_tf.commands import CommandParser, add_machine, add_shared, command_line, on_machine
from xray_tf.exit_status import run
from xray_tf.options import (
    DataOptions,
    EvaluateOptions,
    ModelOptions,
    PageOptions,
    ProcessOptions,
    TrainOptions,
    add_flags,
    from_flags,
)


def main(args: Sequence[str] | None = None) -> int:
    """Parse, train, and say where the result is."""
    parser = CommandParser(__doc__)
    add_shared(parser, "--data", "--out", "--resume", "--tensorboard")
    groups = (DataOptions, ModelOptions, TrainOptions, EvaluateOptions, PageOptions)
    add_flags(parser, *groups, ProcessOptions)
    add_machine(parser)
    given = parser.parse_args(args)

    def job() -> int | None:
        together = from_flags(given, ProcessOptions)
        if together.processes > 1:
            from xray_tf.engines.processes import join, start_processes

            if together.coordinator is None:
                return start_processes("train", args, together.processes)
            join(together)
        from xray_tf.jobs.classifier.train_classifier import train_classifier

        train_classifier(
            given.data,
            given.out,
            *(from_flags(given, group) for group in groups),
            resume=given.resume,
            tensorboard=given.tensorboard,
            progress=not together.process,
            process=together.process,
            command_line=_without_place(command_line("train", args)),
        )

    return run(on_machine(given, job))


def _without_place(line: str) -> str:
    """Return a command line without what only one process of one run needs."""
    return re.sub(r" --(coordinator|process)[ =]\S+", "", line)


if __name__ == "__main__":
    raise SystemExit(main())
