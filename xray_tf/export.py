"""python -m xray_tf.export --model DIR

Adds saved_model/ to an artifact: a TensorFlow SavedModel that answers encoded JPEG or PNG bytes,
and pixels of any size, and draws their heat maps, without Keras and without xray_tf; with
parity.json, its largest differences from the Python path.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from xray_tf.commands import run


def main(args: Sequence[str] | None = None) -> int:
    """Parse, export, and say where it lies."""
    parser = argparse.ArgumentParser(
        prog="python -m xray_tf.export", description="Add a TensorFlow SavedModel to an artifact."
    )
    parser.add_argument(
        "--model", required=True, metavar="DIR", help="the artifact that train made"
    )
    given = parser.parse_args(args)

    def job() -> None:
        from xray_tf.jobs.classifier.export_model import export_model

        print(f"Finished: {export_model(given.model)}/")

    return run(job)


if __name__ == "__main__":
    raise SystemExit(main())
