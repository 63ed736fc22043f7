"""xray-tf export --model MODEL [--openvino]

Add a TensorFlow SavedModel to a trained classifier's folder.

The new saved_model/ takes encoded JPEG or PNG bytes, or pixels of any size, and returns
probabilities, decisions and heat maps; it needs neither Keras nor xray_tf. parity.json records the
largest differences from Python. With --openvino the new folder is openvino/: a graph from pixels of
any size to probabilities and decisions, which OpenVINO alone runs (docs/scale.md).

Examples:
  xray-tf export --model runs/first
  xray-tf export --model runs/first --openvino
"""

from __future__ import annotations

from collections.abc import Sequence

from xray_tf.commands import CommandParser, add_shared, run


def main(args: Sequence[str] | None = None) -> int:
    """Parse, export, and say where the result is."""
    parser = CommandParser(__doc__)
    add_shared(parser, "--model")
    parser.add_argument(
        "--openvino",
        action="store_true",
        help="add a graph for OpenVINO instead (needs the extra openvino)",
    )
    given = parser.parse_args(args)

    def job() -> None:
        if given.openvino:
            from xray_tf.engines.openvino_graph import export_openvino

            print(f"Finished: {export_openvino(given.model)}/")
            return
        from xray_tf.jobs.classifier.export_model import export_model

        print(f"Finished: {export_model(given.model)}/")

    return run(job)


if __name__ == "__main__":
    raise SystemExit(main())
