"""python -m xray_tf.evaluate --model MODEL --data DIR --out DIR [--split FILE --part test]
[--shift]

Scores labelled radiographs at the operating point frozen in the artifact and leaves in --out:
metrics.json (each number with a 95 % interval bootstrapped by patient), predictions.csv, audit.csv
(files set aside), report.html. --split DIR/split.csv --part test scores only the rows that the
model was tested on. --shift also scores the rows under graded changes: shift.json, shift.csv,
shift.png.

With --shift --into-artifact instead of --out it measures the model's own test rows, those of its
split.csv, under the changes only, puts the three files into the model's folder (replacing older
ones) and makes its README.md and report.html anew.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from xray_tf.commands import add_model_argument, run
from xray_tf.options import PARTS, DataOptions, EvaluateOptions, ShiftOptions, add_flags, from_flags


def main(args: Sequence[str] | None = None) -> int:
    """Parse, score, and print the headline numbers."""
    parser = argparse.ArgumentParser(
        prog="python -m xray_tf.evaluate",
        description="Score labelled radiographs with a trained classifier.",
    )
    add_model_argument(parser)
    parser.add_argument(
        "--data", required=True, help="labelled radiographs; a folder with only a test part will do"
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", metavar="DIR", help="the folder to make; it must not exist")
    where.add_argument(
        "--into-artifact",
        action="store_true",
        help="with --shift: put the shift card of the model's own test rows into its folder",
    )
    parser.add_argument(
        "--operating-point", metavar="NAME", help="a point on the card instead of its default"
    )
    parser.add_argument(
        "--part",
        choices=PARTS,
        default="all",
        help="score only the rows of this part (default: all)",
    )
    groups = (DataOptions, EvaluateOptions, ShiftOptions)
    for group in groups:
        add_flags(parser, group)
    given = parser.parse_args(args)
    if given.into_artifact and (not given.shift or given.part != "all"):
        parser.error("--into-artifact needs --shift, and chooses the rows itself (no --part)")

    def job() -> None:
        if given.into_artifact:
            from xray_tf.jobs.add_to_artifact import add_shift_card

            add_shift_card(
                given.model,
                given.data,
                *(from_flags(given, group) for group in groups),
                operating_point=given.operating_point,
            )
            print(f"Finished: the shift card, README.md and report.html of {given.model}")
            return
        from xray_tf.artifact import refuse_existing
        from xray_tf.jobs.classifier.evaluate_model import evaluate_model

        refuse_existing(given.out)
        metrics, _ = evaluate_model(
            given.model,
            given.data,
            given.out,
            *(from_flags(given, group) for group in groups),
            part=given.part,
            operating_point=given.operating_point,
        )
        print(
            f"{metrics['rows']} radiographs, operating point {metrics['operating_point']}, "
            f"{metrics['interval']['kind']}"
        )
        for name, cell in metrics["metrics"].items():
            shown = (
                f"{cell['value']:.4f} [{cell['low']:.4f}, {cell['high']:.4f}]"
                if cell["low"] is not None
                else cell.get("reason") or f"{cell['value']}"
            )
            print(f"  {name:18} {shown}")
        print(f"Finished: {given.out}/")

    return run(job)


if __name__ == "__main__":
    raise SystemExit(main())
