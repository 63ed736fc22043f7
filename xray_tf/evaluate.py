"""xray-tf evaluate --model MODEL --data DATA (--out DIR | --into-artifact) [options]

Score labelled radiographs with a trained classifier.

Nothing is fitted to them: decisions are taken at the operating point that the model was saved with.
The new folder --out holds metrics.json (each number with a 95 % interval, bootstrapped by patient),
predictions.csv, audit.csv (files that were left out), and report.html, which opens with small
pictures of the surest mistakes (mistakes.json). --split and --part choose the rows, such as those
that the model was tested on. --shift also scores the radiographs under graded changes: shift.json,
shift.csv and shift.png.

--into-artifact puts the pictures of the model's own mistakes on its test rows into its folder, so
that its report.html opens with them. With --shift it measures these rows under the changes instead,
and puts the three files there. Older ones are replaced, and README.md and report.html are written
again.

Examples:
  xray-tf evaluate --model runs/first --data other_hospital --out runs/elsewhere
  xray-tf evaluate --model runs/first --data chest_xray --split runs/first/split.csv --part test \\
      --out runs/test
  xray-tf evaluate --model runs/first --data chest_xray --into-artifact --mistakes 6
  xray-tf evaluate --model runs/first --data chest_xray --into-artifact --shift
"""

from __future__ import annotations

from collections.abc import Sequence

from xray_tf.commands import CommandParser, add_machine, add_measuring_arguments, on_machine
from xray_tf.exit_status import run
from xray_tf.options import (
    DataOptions,
    EvaluateOptions,
    PageOptions,
    ShiftOptions,
    add_flags,
    from_flags,
)


def main(args: Sequence[str] | None = None) -> int:
    """Parse, score, and print the headline numbers."""
    parser = CommandParser(__doc__)
    into = (
        "put the surest mistakes on the model's own test rows into its folder, or with --shift "
        "their shift card"
    )
    add_measuring_arguments(parser, "; a test part alone is enough", into)
    groups = (DataOptions, EvaluateOptions, ShiftOptions, PageOptions)
    add_flags(parser, *groups)
    add_machine(parser)
    given = parser.parse_args(args)
    if given.into_artifact and given.part != "all":
        parser.error("--into-artifact chooses the rows itself (no --part)")
    if given.into_artifact and not given.shift and given.operating_point:
        parser.error("--into-artifact without --shift shows the decisions in the model's folder")

    def job() -> None:
        if given.into_artifact:
            from xray_tf.jobs.add_to_artifact import add_mistakes, add_shift_card

            where, numbers, bench, page = (from_flags(given, group) for group in groups)
            if given.shift:
                point = given.operating_point
                add_shift_card(
                    given.model, given.data, where, numbers, bench, operating_point=point
                )
                what = "the shift card"
            else:
                told = add_mistakes(given.model, given.data, where, page)
                what = f"{len(told['cells'])} mistakes"
            print(f"Finished: {what}, README.md and report.html of {given.model}")
            return
        from xray_tf.jobs.classifier.evaluate_model import evaluate_model
        from xray_tf.pages.kit.words import interval_text
        from xray_tf.writing import refuse_target

        refuse_target(given.out)
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
            print(f"  {name:18} {interval_text(cell, digits=4)}")
        print(f"Finished: {given.out}/")

    return run(on_machine(given, job))


if __name__ == "__main__":
    raise SystemExit(main())
