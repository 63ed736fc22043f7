"""python -m xray_tf.explain --model DIR --out DIR FILES...

Explains radiographs (files, folders, globs; labelled or not) by heat maps and leaves in --out:
overlays/ (one PNG a radiograph), maps.npz (the maps, float32), predictions.csv and .jsonl, and
explanations.html, a self-contained page; a file that cannot be read becomes a row with its error.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from xray_tf.commands import add_file_arguments, run
from xray_tf.options import ExplainOptions, add_flags, from_flags


def main(args: Sequence[str] | None = None) -> int:
    """Parse, explain, and say where the page lies."""
    parser = argparse.ArgumentParser(
        prog="python -m xray_tf.explain",
        description="Explain a classifier's decisions by heat maps. Research software.",
    )
    add_file_arguments(parser)
    add_flags(parser, ExplainOptions)
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
        notes = [f"{done.empty} with an empty map"] * bool(done.empty) + [
            f"{done.failed} could not be read"
        ] * bool(done.failed)
        print(
            f"Finished: {done.rows} radiograph{'s' * (done.rows != 1)}"
            + (f" ({', '.join(notes)})" if notes else "")
            + f", in {given.out}/{PAGE}"
        )
        return 1 if done.failed == done.rows else 0

    return run(job)


if __name__ == "__main__":
    raise SystemExit(main())
