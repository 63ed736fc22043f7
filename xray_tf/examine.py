"""xray-tf examine --model MODEL --data DATA (--out DIR | --into-artifact) [options]

Examine whether a classifier needs the lungs, and whether its heat maps are faithful.

Labelled radiographs are needed. The new folder --out holds shortcuts.json and .csv (which decisions
survive without lungs, border or markers, and where the heat maps lie), faithfulness.json, .csv and
.npz (deletion, insertion, ROAD and average drop against controls; heat maps while weights are
shuffled), plots, and the page examination.html.

--into-artifact examines the model's own test rows, puts numbers and plots (no radiographs) into the
model's folder in place of older ones, and writes its README.md and report.html again.

Examples:
  xray-tf examine --model runs/first --data chest_xray --split runs/first/split.csv --part test \\
      --out runs/examined
  xray-tf examine --model runs/first --data chest_xray --into-artifact --methods grad_cam,layer_cam
  xray-tf examine --model runs/first --data chest_xray --out runs/shortcuts --parts shortcuts
"""

from __future__ import annotations

from collections.abc import Sequence

from xray_tf.commands import CommandParser, add_machine, add_measuring_arguments, on_machine
from xray_tf.exit_status import run
from xray_tf.options import DataOptions, ExamineOptions, add_flags, from_flags


def main(args: Sequence[str] | None = None) -> int:
    """Parse, examine, and print what was found."""
    parser = CommandParser(__doc__)
    into = "put what is found on the model's own test rows into its folder"
    add_measuring_arguments(parser, "", into)
    groups = (DataOptions, ExamineOptions)
    add_flags(parser, *groups)
    add_machine(parser)
    given = parser.parse_args(args)
    if given.into_artifact and given.part != "all":
        parser.error("--into-artifact chooses the rows itself (no --part)")

    def job() -> None:
        options = [from_flags(given, group) for group in groups]
        if given.into_artifact:
            from xray_tf.jobs.heatmaps.measure_explanations import add_examination

            add_examination(
                given.model, given.data, *options, operating_point=given.operating_point
            )
            print(f"Finished: the examination, README.md and report.html of {given.model}")
            return
        from xray_tf.jobs.heatmaps.measure_explanations import PAGE, measure_explanations
        from xray_tf.writing import refuse_target

        refuse_target(given.out)
        measure_explanations(
            given.model,
            given.data,
            given.out,
            *options,
            part=given.part,
            operating_point=given.operating_point,
        )
        print(f"Finished: {given.out}/{PAGE}")

    return run(on_machine(given, job))


if __name__ == "__main__":
    raise SystemExit(main())
