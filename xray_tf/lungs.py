"""xray-tf lungs FILES... --out DIR [options]

Find the lungs in frontal chest radiographs.

FILES are radiographs: files, folders or globs. The new folder --out holds masks/NAME.png, a grey
picture of the radiograph's size (lung from 128 on), and lungs.csv: the share of the radiograph that
is lung, on each side, the box around the lungs, and how sure the net is that two upright lungs are
in the picture; a warning where it is not. Research software, not a medical device.

Examples:
  xray-tf lungs scan.jpeg --out runs/lungs
  xray-tf lungs scans/ 'more/*.dcm' --out runs/lungs --model runs/my-segmenter
"""

from __future__ import annotations

from collections.abc import Sequence

from xray_tf.commands import (
    DOUBTFUL,
    UNREAD,
    CommandParser,
    add_batch_size,
    add_machine,
    add_shared,
    finished,
    on_machine,
)
from xray_tf.exit_status import run
from xray_tf.progress import printable

SHOWN = 10


def main(args: Sequence[str] | None = None) -> int:
    """Parse, find lungs, and print the first rows."""
    parser = CommandParser(__doc__)
    add_shared(parser, "files", "--out")
    which = "the folder that train-lungs created, or the name of a shipped segmenter"
    add_shared(parser, "--model", required=False, default="lungs", help=f"{which} (default: lungs)")
    add_batch_size(parser, 32)
    add_shared(parser, "--strict")
    add_machine(parser)
    given = parser.parse_args(args)

    def job() -> int:
        from xray_tf.jobs.lungs.find_lungs import find_lungs

        rows = find_lungs(
            given.files,
            given.out,
            given.model,
            batch_size=given.batch_size,
            strict=given.strict,
        )
        for row in list(rows)[:SHOWN]:
            said = f"{row.area:.1%} of it is lung" + (f" ({row.warning})" if row.warning else "")
            print(printable(f"  {row.path}: {row.error or said}"))
        if len(rows) > SHOWN:
            print(f"  ... and {len(rows) - SHOWN} more")
        failed = sum(bool(row.error) for row in rows)
        doubtful = sum(bool(row.warning) for row in rows)
        counts = {DOUBTFUL: doubtful, UNREAD: failed}
        print(finished(len(rows), counts, f"{given.out}/lungs.csv"))
        return 1 if failed == len(rows) else 0

    return run(on_machine(given, job))


if __name__ == "__main__":
    raise SystemExit(main())
