"""python -m xray_tf.predict --model DIR --out DIR FILES...

Predicts radiographs (files, folders, globs; labelled or not) in the order given and leaves in --out: predictions.csv and
predictions.jsonl, one row a file; a file that cannot be read becomes a row with its error, and the run goes on.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from itertools import islice

from xray_tf.commands import add_file_arguments, run

SHOWN = 10


def main(args: Sequence[str] | None = None) -> int:
    """Parse, predict, and print the first rows."""
    parser = argparse.ArgumentParser(prog="python -m xray_tf.predict", description="Predict radiographs. Research software, not a medical device.")
    add_file_arguments(parser)
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="radiographs a forward pass (default: 64)")
    given = parser.parse_args(args)

    def job() -> int:
        from xray_tf.jobs.predict_files import predict_files

        rows, failed = predict_files(given.model, given.files, given.out, batch_size=given.batch_size, operating_point=given.operating_point,
                                     strict=given.strict)
        with open(f"{given.out}/predictions.csv", newline="", encoding="utf-8", errors="surrogateescape") as stream:
            for row in islice(csv.DictReader(stream), SHOWN):
                shown = ", ".join(f"{k.removeprefix('prob_')} {float(v):.3f}" for k, v in row.items() if k.startswith("prob_") and v)
                print(f"  {row['path']}: {row['predicted'] + ' (' + shown + ')' if shown else row['error']}")
        print(f"Finished: {rows} radiographs" + (f", {failed} could not be read" if failed else "") + f", in {given.out}/predictions.csv")
        return 1 if failed == rows else 0

    return run(job)


if __name__ == "__main__":
    raise SystemExit(main())
