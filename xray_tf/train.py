"""python -m xray_tf.train --data DIR --out DIR [--task binary|three-class] ...

Trains a classifier on a folder of radiographs (or a CSV manifest, a MedMNIST file, `phantom`,
`kaggle`) and leaves in DIR: model.keras, card.json, split.csv, predictions.csv, history.csv,
metrics.json, audit.csv, README.md (model card), report.html.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from xray_tf.commands import command_line, run
from xray_tf.options import (
    DataOptions,
    EvaluateOptions,
    ModelOptions,
    TrainOptions,
    add_flags,
    from_flags,
)


def main(args: Sequence[str] | None = None) -> int:
    """Parse, train, and say where the result lies."""
    parser = argparse.ArgumentParser(
        prog="python -m xray_tf.train",
        description="Train a classifier. Research software, not a medical device.",
    )
    parser.add_argument(
        "--data",
        required=True,
        help="folder, CSV manifest, MedMNIST .npz, phantom[:PATIENTS] or kaggle",
    )
    parser.add_argument("--out", required=True, help="the folder to make; it must not exist")
    parser.add_argument(
        "--resume", action="store_true", help="go on with an unfinished run of the same options"
    )
    parser.add_argument("--tensorboard", metavar="DIR", help="also write TensorBoard events there")
    groups = (DataOptions, ModelOptions, TrainOptions, EvaluateOptions)
    for group in groups:
        add_flags(parser, group)
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
