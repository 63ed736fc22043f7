"""xray-tf serve [--port PORT] [--model MODEL] [options]

Read radiographs on a local page: drop pictures, DICOM files or a ZIP in a browser.

The page shows each radiograph at its own resolution under a heat map and an outline of the lungs,
with the decision, what to distrust, the nearest training cases and a detector's verdict. Under it
is a JSON API (/docs tells about it). Radiographs stay in memory and are forgotten with the answer;
nothing is written, and nothing is loaded from elsewhere. Only this machine can reach it, unless
--host names another address, which needs --token. Stop it with Ctrl-C. Research software, not a
medical device.

Examples:
  xray-tf serve
  xray-tf serve --port 0 --model pneumonia-three-class --detector none
  xray-tf serve --host 0.0.0.0 --token "$(openssl rand -hex 16)"
"""

from __future__ import annotations

from collections.abc import Sequence

from xray_tf.commands import (
    CommandParser,
    add_evidence_arguments,
    add_machine,
    add_shared,
    on_machine,
)
from xray_tf.exit_status import run
from xray_tf.progress import printable
from xray_tf.registry import DEFAULT_MODEL

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def main(args: Sequence[str] | None = None) -> int:
    """Parse, serve, and say where."""
    parser = CommandParser(__doc__)
    answers = parser.add_argument_group("What answers")
    add_shared(answers, "--model", required=False, then=f" (default: {DEFAULT_MODEL})")
    add_shared(answers, "--operating-point")
    add_evidence_arguments(answers)
    place = parser.add_argument_group("Where it listens, and who may ask")
    place.add_argument(
        "--host",
        default=LOOPBACK[0],
        metavar="HOST",
        help="the address to listen on (default: 127.0.0.1, this machine only)",
    )
    place.add_argument(
        "--port",
        type=int,
        default=8000,
        metavar="PORT",
        help="the port to listen on; 0 takes a free one and prints it (default: 8000)",
    )
    place.add_argument(
        "--token",
        default="",
        metavar="TOKEN",
        help="a secret that clients must show; needed for every other --host than this machine",
    )
    limits = parser.add_argument_group("Limits")
    limits.add_argument(
        "--max-megabytes",
        type=float,
        default=64,
        metavar="MB",
        help="the largest upload, and the most that a ZIP may unpack to (default: 64)",
    )
    limits.add_argument(
        "--max-megapixels",
        type=float,
        default=50,
        metavar="N",
        help="the largest radiograph, in millions of pixels (default: 50)",
    )
    add_machine(parser)
    given = parser.parse_args(args)
    if given.host not in LOOPBACK and not given.token:
        parser.error(
            f"--host {given.host} lets other machines in, so it needs --token, a secret of yours"
        )
    if not 0 <= given.port < 1 << 16:
        parser.error(f"--port must lie in 0 ... 65535. Received: {given.port}")
    if not given.max_megabytes > 0 or not given.max_megapixels > 0:
        parser.error("--max-megabytes and --max-megapixels must be above 0")

    def job() -> None:
        try:
            from xray_tf.server.start import ServeOptions, serve
        except ModuleNotFoundError as error:
            raise ImportError(
                f"serve needs {error.name}, which is not installed: pip install 'xray_tf[serve]'"
            ) from error

        def listening(address: str, model: str) -> None:
            print(f"Model: {printable(model)}")
            print(f"Listening on {address} (Ctrl-C stops it)", flush=True)

        options = ServeOptions(
            model=given.model,
            detector=given.detector,
            data=given.pictures,
            operating_point=given.operating_point,
            host=given.host,
            port=given.port,
            token=given.token,
            megabytes=given.max_megabytes,
            megapixels=given.max_megapixels,
        )
        serve(options, listening)

    return run(on_machine(given, job))


if __name__ == "__main__":
    raise SystemExit(main())
