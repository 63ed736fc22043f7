"""python -m xray_tf.examine --model MODEL --data DIR --out DIR [--split FILE --part test]

Examines a classifier on labelled radiographs: does it need the lungs, and are its heat maps
faithful to it? Leaves in --out: shortcuts.json and .csv (what survives without lungs, border,
markers; where maps lie), faithfulness.json, .csv and .npz (deletion, insertion, ROAD, average drop
against controls; maps while weights are shuffled), pictures, and examination.html. `--parts
shortcuts` measures one of the three.

With --into-artifact instead of --out it examines the model's own test rows, those of its split.csv,
puts figures and diagrams (no radiograph) into the model's folder, replacing older ones, and makes
its README.md and report.html anew.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from xray_tf.commands import add_model_argument, run
from xray_tf.options import PARTS, DataOptions, ExamineOptions, add_flags, from_flags


def main(args: Sequence[str] | None = None) -> int:
    """Parse, examine, and print what was found."""
    parser = argparse.ArgumentParser(
        prog="python -m xray_tf.examine",
        description="Examine what a classifier looks at, and its heat maps. Research software.",
    )
    add_model_argument(parser)
    parser.add_argument("--data", required=True, help="labelled radiographs, as in training")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", metavar="DIR", help="the folder to make; it must not exist")
    where.add_argument(
        "--into-artifact",
        action="store_true",
        help="put what is found on the model's own test rows into its folder",
    )
    parser.add_argument(
        "--operating-point", metavar="NAME", help="a point on the card instead of its default"
    )
    parser.add_argument(
        "--part",
        choices=PARTS,
        default="all",
        help="examine only the rows of this part (default: all)",
    )
    groups = (DataOptions, ExamineOptions)
    for group in groups:
        add_flags(parser, group)
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
        from xray_tf.artifact import refuse_existing
        from xray_tf.jobs.heatmaps.measure_explanations import PAGE, measure_explanations

        refuse_existing(given.out)
        measure_explanations(
            given.model,
            given.data,
            given.out,
            *options,
            part=given.part,
            operating_point=given.operating_point,
        )
        print(f"Finished: {given.out}/{PAGE}")

    return run(job)


if __name__ == "__main__":
    raise SystemExit(main())
