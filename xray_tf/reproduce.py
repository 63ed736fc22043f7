"""python -m xray_tf.reproduce --data DIR --out DIR [--preset report|best|quick] [--dry-run]

Runs the report's whole study, stage by stage (audit, split, classifiers, nearest neighbours and
t-SNE, shift bench, anomaly detector, Grad-CAM), and leaves in --out one folder a stage,
results.json and results.csv (the report's figures, the best published ones and ours), and
report.html. The same line again goes on where a run was killed and skips what is done; --dry-run
prints the plan with estimated times.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from xray_tf.commands import command_line, run
from xray_tf.options import DataOptions, ReproduceOptions, add_flags, from_flags


def main(args: Sequence[str] | None = None) -> int:
    """Parse, run the study, and print its table."""
    parser = argparse.ArgumentParser(
        prog="python -m xray_tf.reproduce",
        description="Reproduce the whole study. Research software, not a medical device.",
    )
    parser.add_argument(
        "--data",
        required=True,
        help="folder, CSV manifest, MedMNIST .npz, phantom[:PATIENTS] or kaggle",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="the study's folder: a new one, or an unfinished one to go on with",
    )
    parser.add_argument(
        "--only",
        metavar="STAGE,...",
        help="run only these stages, by name or "
        "kind (such as train, embed, or report for the page)",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="make stages again: those of --only, or else those whose options or data changed",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the plan, with times estimated by a short measurement, and do nothing",
    )
    for group in (ReproduceOptions, DataOptions):
        add_flags(parser, group)
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

    return run(job)


if __name__ == "__main__":
    raise SystemExit(main())
