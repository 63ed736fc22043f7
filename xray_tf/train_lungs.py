"""xray-tf train-lungs --masks DIR --data DATA --out DIR [options]

Train a lung segmenter from masks that people drew.

--masks holds NAME.png for some radiographs NAME.* of --data: 255 lung, 127 ignore, 0 the rest. The
new folder --out holds the segmenter, its card, the split by patient, overlaps with the masks of
held-out patients with 95 % intervals, and what the score says of pictures that are no chest:
model.keras, card.json, split.csv, metrics.json, lungs.csv, history.csv, audit.csv and README.md.
Research software, not a medical device.

Examples:
  xray-tf train-lungs --masks lung_masks --data chest_xray --out runs/lungs
  xray-tf train-lungs --masks lung_masks --data chest_xray --out runs/tried --selection measure
  xray-tf train-lungs --masks lung_masks --data chest_xray --out runs/lungs --resume
"""

from __future__ import annotations

from collections.abc import Sequence

from xray_tf.commands import CommandParser, add_machine, add_shared, command_line, on_machine
from xray_tf.exit_status import run
from xray_tf.options import TrainLungsOptions, add_flags, from_flags


def main(args: Sequence[str] | None = None) -> int:
    """Parse, train, and print the headline."""
    parser = CommandParser(__doc__)
    parser.add_argument("--masks", required=True, metavar="DIR", help="the folder of drawn masks")
    add_shared(parser, "--data", "--out", "--resume")
    add_flags(parser, TrainLungsOptions)
    add_machine(parser)
    given = parser.parse_args(args)

    def job() -> None:
        from xray_tf.jobs.lungs.train_segmenter import train_segmenter
        from xray_tf.pages.kit.words import measured_text

        segmenter = train_segmenter(
            given.data,
            given.masks,
            given.out,
            from_flags(given, TrainLungsOptions),
            resume=given.resume,
            command_line=command_line("train_lungs", args),
        )
        shown = ", ".join(
            f"{name.removeprefix('iou_').replace('_', ' ')} {measured_text(cell)}"
            for name, cell in segmenter.card.metrics.items()
        )
        print(f"  IoU on held-out patients: {shown}")

    return run(on_machine(given, job))


if __name__ == "__main__":
    raise SystemExit(main())
