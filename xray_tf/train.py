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
"""

from __future__ import annotations

from collections.abc import Sequence

from xray_tf.commands import CommandParser, add_shared, command_line, run
from xray_tf.options import (
    DataOptions,
    EvaluateOptions,
    ModelOptions,
    PageOptions,
    TrainOptions,
    add_flags,
    from_flags,
)


def main(args: Sequence[str] | None = None) -> int:
    """Parse, train, and say where the result is."""
    parser = CommandParser(__doc__)
    add_shared(parser, "--data", "--out", "--resume", "--tensorboard")
    groups = (DataOptions, ModelOptions, TrainOptions, EvaluateOptions, PageOptions)
    add_flags(parser, *groups)
    given = parser.parse_args(args)

    def job() -> None:
        from xray_tf.jobs.classifier.train_classifier import train_classifier

        train_classifier(
            given.data,
            given.out,
            *(from_flags(given, group) for group in groups),
            resume=given.resume,
            tensorboard=given.tensorboard,
            command_line=command_line("train", args),
        )

    return run(job)


if __name__ == "__main__":
    raise SystemExit(main())
