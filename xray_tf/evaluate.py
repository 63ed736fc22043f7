"""xray-tf evaluate --model MODEL --data DATA (--out DIR | --into-artifact) [options]

Score labelled radiographs with a trained classifier.

Nothing is fitted to them: decisions are taken at the operating point that the model was saved with.
The new folder --out holds metrics.json (each number with a 95 % interval, bootstrapped by patient),
predictions.csv, audit.csv (files that were left out), and report.html, which opens with small
pictures of the surest mistakes (mistakes.json). --split and --part choose the rows, such as those
that the model was tested on. --shift also scores the radiographs under graded changes: shift.json,
shift.csv and shift.png.

--shift --into-artifact measures the model's own test rows under the changes, puts the three files
into the model's folder in place of older ones, and writes its README.md and report.html again.

Examples:
  xray-tf evaluate --model runs/first --data other_hospital --out runs/elsewhere
  xray-tf evaluate --model runs/first --data chest_xray --split runs/first/split.csv --part test \\
      --out runs/test
  xray-tf evaluate --model runs/first --data chest_xray --shift --into-artifact
"""

from __future__ import annotations

from collections.abc import Sequence

from xray_tf.commands import CommandParser, add_machine, add_measuring_arguments, on_machine, run
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
    into = "with --shift: put the shift card of the model's own test rows into its folder"
    add_measuring_arguments(parser, "; a test part alone is enough", into)
    groups = (DataOptions, EvaluateOptions, ShiftOptions, PageOptions)
    add_flags(parser, *groups)
    add_machine(parser)
    given = parser.parse_args(args)
    if given.into_artifact and (not given.shift or given.part != "all"):
        parser.error("--into-artifact needs --shift, and chooses the rows itself (no --part)")

    def job() -> None:
        if given.into_artifact:
            from xray_tf.jobs.add_to_artifact import add_shift_card

            add_shift_card(
                given.model,
                given.data,
                *(from_flags(given, group) for group in groups[:-1]),
                operating_point=given.operating_point,
            )
            print(f"Finished: the shift card, README.md and report.html of {given.model}")
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
