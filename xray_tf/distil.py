"""xray-tf distil --data DATA --out DIR [options]

Make a start for a backbone whose ImageNet weights cannot be downloaded.

The backbone learns to give the feature maps of another one whose ImageNet weights come with this
package, on radiographs without their labels. The new folder --out holds its trunk, for --weights of
xray-tf train, with the split, the history and a card: model.keras, card.json, split.csv,
history.csv, metrics.json, audit.csv and README.md. Research software, not a medical device.

Examples:
  xray-tf distil --data chest_xray --out runs/start --backbone resnet18
  xray-tf train --data chest_xray --out runs/resnet18 --backbone resnet18 \\
      --weights runs/start/model.keras --split runs/start/split.csv
  xray-tf distil --data chest_xray --out runs/start --backbone resnet18 --resume
"""

from __future__ import annotations

from collections.abc import Sequence

from xray_tf.commands import CommandParser, add_machine, add_shared, command_line, on_machine
from xray_tf.exit_status import run
from xray_tf.options import DataOptions, DistilOptions, add_flags, from_flags


def main(args: Sequence[str] | None = None) -> int:
    """Parse, teach, and say where the result is."""
    parser = CommandParser(__doc__)
    add_shared(parser, "--data", "--out", "--resume", "--tensorboard")
    add_flags(parser, DataOptions, DistilOptions)
    add_machine(parser)
    given = parser.parse_args(args)

    def job() -> None:
        from xray_tf.jobs.distil_trunk import distil_trunk

        distil_trunk(
            given.data,
            given.out,
            from_flags(given, DataOptions),
            from_flags(given, DistilOptions),
            resume=given.resume,
            tensorboard=given.tensorboard,
            command_line=command_line("distil", args),
        )

    return run(on_machine(given, job))


if __name__ == "__main__":
    raise SystemExit(main())
