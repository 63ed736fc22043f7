"""xray-tf reproduce --data DATA --out DIR [--preset report|best|quick|demo] [--dry-run] [options]

Reproduce the course report's whole study, stage by stage.

The stages are audit, split, classifiers, nearest neighbours and t-SNE, shift bench, anomaly
detector and heat maps. The folder --out holds one folder per stage, results.json and results.csv
(the report's numbers and the best published ones beside yours, unless the radiographs are
synthetic), and report.html. Run the same line again after an interruption: finished stages are
skipped. --dry-run prints the plan with estimated times. Research software, not a medical device.

Examples:
  xray-tf reproduce --data phantom:200 --out runs/demo --preset quick
  xray-tf reproduce --data chest_xray --out runs/study --preset best --dry-run
  xray-tf reproduce --data chest_xray --out runs/study --preset best --only train,report
"""

from __future__ import annotations

from collections.abc import Sequence

from xray_tf.commands import CommandParser, add_machine, add_shared, command_line, on_machine
from xray_tf.exit_status import run
from xray_tf.options import DataOptions, ReproduceOptions, add_flags, from_flags


def main(args: Sequence[str] | None = None) -> int:
    """Parse, run the study, and print its table."""
    parser = CommandParser(__doc__)
    add_shared(parser, "--data")
    unfinished = "the study's folder: a new one, or an unfinished one to go on with"
    add_shared(parser, "--out", help=unfinished)
    parser.add_argument(
        "--only",
        metavar="STAGE,...",
        help="run only these stages, by name or kind, such as train or embed; report: the page",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="run stages again: those of --only, or else those whose options or data changed",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the plan, with times estimated from a short measurement, and stop",
    )
    add_flags(parser, ReproduceOptions, DataOptions)
    add_machine(parser)
    given = parser.parse_args(args)

    def job() -> None:
        from xray_tf.study.reproduce_study import reproduce_study
        from xray_tf.study.results import format_results

        rows = reproduce_study(
            given.data,
            given.out,
            from_flags(given, ReproduceOptions),
            from_flags(given, DataOptions),
            force=given.force,
            only=[name for name in (given.only or "").split(",") if name],
            dry_run=given.dry_run,
            command_line=command_line("reproduce", args),
        )
        if not given.dry_run:
            print(f"\n{format_results(rows)}\n\nFinished: {given.out}/report.html")

    return run(on_machine(given, job))


if __name__ == "__main__":
    raise SystemExit(main())
