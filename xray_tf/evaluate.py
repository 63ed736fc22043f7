"""python -m xray_tf.evaluate --model DIR --data DIR --out DIR [--split FILE --part test] [--shift]

Scores labelled radiographs at the operating point frozen in the artifact and leaves in --out: metrics.json (each number with a
95 % interval bootstrapped by patient), predictions.csv, audit.csv (files set aside), report.html. --split DIR/split.csv --part test scores
only the rows that the model was tested on. --shift also scores the rows under graded changes: shift.json, shift.csv, shift.png.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from xray_tf.commands import run
from xray_tf.options import PARTS, DataOptions, EvaluateOptions, ShiftOptions, add_flags, from_flags


def main(args: Sequence[str] | None = None) -> int:
    """Parse, score, and print the headline numbers."""
    parser = argparse.ArgumentParser(prog="python -m xray_tf.evaluate", description="Score labelled radiographs with a trained classifier.")
    parser.add_argument("--model", required=True, metavar="DIR", help="the artifact that train made")
    parser.add_argument("--data", required=True, help="labelled radiographs; a folder with only a test part will do")
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder to make; it must not exist")
    parser.add_argument("--operating-point", metavar="NAME", help="a point on the card instead of its default")
    parser.add_argument("--part", choices=PARTS, default="all", help="score only the rows of this part (default: all)")
    groups = (DataOptions, EvaluateOptions, ShiftOptions)
    for group in groups:
        add_flags(parser, group)
    given = parser.parse_args(args)

    def job() -> None:
        from xray_tf.artifact import refuse_existing
        from xray_tf.jobs.evaluate_model import evaluate_model

        refuse_existing(given.out)
        metrics, _ = evaluate_model(given.model, given.data, given.out, *(from_flags(given, group) for group in groups), part=given.part,
                                    operating_point=given.operating_point)
        print(f"{metrics['rows']} radiographs, operating point {metrics['operating_point']}, {metrics['interval']['kind']}")
        for name, cell in metrics["metrics"].items():
            shown = f"{cell['value']:.4f} [{cell['low']:.4f}, {cell['high']:.4f}]" if cell["low"] is not None else f"{cell['value']}"
            print(f"  {name:18} {shown}")
        print(f"Finished: {given.out}/")

    return run(job)


if __name__ == "__main__":
    raise SystemExit(main())
