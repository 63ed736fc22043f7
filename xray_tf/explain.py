"""xray-tf explain FILES... --out DIR [--model MODEL] [options]

Explain a classifier's decisions by heat maps.

FILES are radiographs, labelled or not: files, folders or globs. The new folder --out holds
overlays/ (one PNG per radiograph), maps.npz (the heat maps as float32), predictions.csv, and
explanations.html, one self-contained page. A file that cannot be read becomes a row with its
error. Research software, not a medical device.

Examples:
  xray-tf explain scan.jpeg --out runs/heatmaps
  xray-tf explain chest_xray/test --model runs/first --out runs/heatmaps --method layer_cam
"""

from __future__ import annotations

from collections.abc import Sequence

from xray_tf.commands import (
    UNREAD,
    CommandParser,
    add_file_arguments,
    add_machine,
    finished,
    on_machine,
)
from xray_tf.exit_status import run
from xray_tf.options import ExplainOptions, add_flags, from_flags


def main(args: Sequence[str] | None = None) -> int:
    """Parse, explain, and say where the page is."""
    parser = CommandParser(__doc__)
    add_file_arguments(parser)
    add_flags(parser, ExplainOptions)
    add_machine(parser)
    given = parser.parse_args(args)

    def job() -> int:
        from xray_tf.jobs.heatmaps.explain_files import PAGE, explain_files

        done = explain_files(
            given.model,
            given.files,
            given.out,
            from_flags(given, ExplainOptions),
            operating_point=given.operating_point,
            strict=given.strict,
        )
        counts = {"with an empty map": done.empty, UNREAD: done.failed}
        print(finished(done.rows, counts, f"{given.out}/{PAGE}"))
        return 1 if done.failed == done.rows else 0

    return run(on_machine(given, job))


if __name__ == "__main__":
    raise SystemExit(main())
