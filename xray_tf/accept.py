"""xray-tf accept --model MODEL --data DATA --out DIR [options]

Judge a classifier on labelled radiographs of your site, and adapt it there.

50 to 500 radiographs are enough, and nothing is fitted unless asked for. The new folder --out holds
report.html and acceptance.json: how the frozen operating point does here, with intervals by
patient, overall and by every column of the manifest (site, scanner, view, sex, age, ...); whether
probabilities mean here what they say; how far the radiographs are from what the model knows (no
labels needed); how many would be enough; and, with --require, a verdict with the chance that it is
wrong.

--compare MODEL asks another model about the same radiographs. --recalibrate and --prevalence write
new models into --out; the old one is never changed. Only the prevalence can be estimated without
labels. No output may guide the care of a patient.

Examples:
  xray-tf accept --model pneumonia-binary --data local.csv --out runs/site \\
      --require "sensitivity>=0.9,specificity>=0.85"
  xray-tf accept --model pneumonia-binary --data local.csv --out runs/recalibrated --recalibrate
  xray-tf accept --model runs/new --data local.csv --compare pneumonia-binary --out runs/compared
  xray-tf accept --model pneumonia-binary --data folder --source flat --prevalence em --out runs/em
"""

from __future__ import annotations

from collections.abc import Sequence

from xray_tf.commands import CommandParser, add_machine, add_shared, command_line, on_machine
from xray_tf.exit_status import run
from xray_tf.options import AcceptOptions, DataOptions, EvaluateOptions, add_flags, from_flags

GROUPS = (AcceptOptions, DataOptions, EvaluateOptions)


def main(args: Sequence[str] | None = None) -> int:
    """Parse, judge, and print what was found."""
    parser = CommandParser(__doc__)
    add_shared(parser, "--model")
    add_shared(
        parser, "--data", help="radiographs of the site, as for train; labelled ones for a verdict"
    )
    add_shared(parser, "--out", "--operating-point", "--part")
    parser.add_argument(
        "--compare", metavar="MODEL", help="another model, asked about the same radiographs"
    )
    add_flags(parser, *GROUPS)
    add_machine(parser)
    given = parser.parse_args(args)

    def job() -> None:
        from xray_tf.jobs.classifier.acceptance.accept_model import accept_model
        from xray_tf.jobs.run import Run
        from xray_tf.pages.acceptance.words import summary_lines
        from xray_tf.writing import refuse_target

        refuse_target(given.out)
        told = accept_model(
            given.model,
            given.data,
            given.out,
            *(from_flags(given, group) for group in GROUPS),
            Run(command_line=command_line("accept", args)),
            part=given.part,
            operating_point=given.operating_point,
            compare=given.compare,
        )
        for line in summary_lines(told):
            print(line)
        print(f"Finished: {given.out}/")

    return run(on_machine(given, job))


if __name__ == "__main__":
    raise SystemExit(main())
