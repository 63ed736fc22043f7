"""xray-tf export --model MODEL [--openvino | --compact]

Add a TensorFlow SavedModel to a trained classifier's folder.

The new saved_model/ takes encoded JPEG or PNG bytes, or pixels of any size, and returns
probabilities, decisions and heat maps; it needs neither Keras nor xray_tf. parity.json records the
largest differences from Python. With --openvino the new folder is openvino/: a graph from pixels of
any size to probabilities and decisions, which OpenVINO alone runs (docs/scale.md). With --compact
no folder is new: model.keras is stored in two thirds of the space.

Examples:
  xray-tf export --model runs/first
  xray-tf export --model runs/first --openvino
  xray-tf export --model runs/first --compact
"""

from __future__ import annotations

from collections.abc import Sequence

from xray_tf.commands import CommandParser, add_shared
from xray_tf.exit_status import run


def main(args: Sequence[str] | None = None) -> int:
    """Parse, export, and say where the result is."""
    parser = CommandParser(__doc__)
    add_shared(parser, "--model")
    parser.add_argument(
        "--openvino",
        action="store_true",
        help="add a graph for OpenVINO instead (needs the extra openvino)",
    )
    parser.add_argument(
        "--compact",
        action="store_true",
        help="round the kernels in model.keras to 14 significant bits, and compress it; refused "
        "where a probability would move by more than 0.001",
    )
    given = parser.parse_args(args)
    if given.compact and given.openvino:
        parser.error("give --openvino or --compact, not both")

    def job() -> None:
        if given.compact:
            from xray_tf.jobs.classifier.compact_model import compact_model

            moved = compact_model(given.model)
            print(f"Finished: no probability moved by more than {moved:.1e}")
            return
        if given.openvino:
            from xray_tf.engines.openvino_graph import export_openvino

            print(f"Finished: {export_openvino(given.model)}/")
            return
        from xray_tf.jobs.classifier.export_model import export_model

        print(f"Finished: {export_model(given.model)}/")

    return run(job)


if __name__ == "__main__":
    raise SystemExit(main())
