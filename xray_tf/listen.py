"""xray-tf listen --send AET@HOST:PORT [--port PORT] [--aet AET] [--model MODEL] [options]

Take chest radiographs from a PACS, and send reports, pictures and outlines back.

A DICOM node (C-STORE and C-ECHO) that takes frontal CR and DX chest radiographs and says why it
refuses others. It says success once a radiograph is on the disk, in --queue, and nothing accepted
is lost by a kill or while the receiver is down. It runs until Ctrl-C or TERM. It listens on this
machine only, unless --host says otherwise; DICOM has neither passwords nor encryption. Needs the
extra clinic. Research software, not a medical device.

Examples:
  xray-tf listen --port 11112 --aet XRAY --send ORTHANC@127.0.0.1:4242
  xray-tf listen --host 0.0.0.0 --accept-from PACS --send PACS@10.0.0.5:104 --queue /srv/queue
"""

from __future__ import annotations

from collections.abc import Sequence

from xray_tf.commands import CommandParser, add_machine, add_shared, on_machine
from xray_tf.exit_status import run
from xray_tf.options import ListenOptions, add_flags, from_flags
from xray_tf.progress import printable
from xray_tf.registry import DEFAULT_MODEL


def main(args: Sequence[str] | None = None) -> int:
    """Parse, and listen until interrupted."""
    parser = CommandParser(__doc__)
    add_shared(parser, "--model", required=False, then=f" (default: {DEFAULT_MODEL})")
    add_flags(parser, ListenOptions)
    add_machine(parser)
    given = parser.parse_args(args)

    def job() -> int:
        from xray_tf.clinic.listener.listen import listen

        options = from_flags(given, ListenOptions)

        def ready(where: str) -> None:
            to = printable(given.send)
            print(f"Listening on {where} as {given.aet}, sending to {to}", flush=True)

        listen(given.model, options, ready=ready)
        return 0

    return run(on_machine(given, job))


if __name__ == "__main__":
    raise SystemExit(main())
