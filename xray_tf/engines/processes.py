"""Start the processes of one training on this machine, and end all of them when one fails."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from xray_tf.nets.training.together import join, refuse_without_jax

__all__ = ["join", "start_processes"]

_PAUSE_S = 0.2
_PATIENCE_S = 10  # between asking a process to end and killing it


def start_processes(command: str, args: Sequence[str] | None, count: int) -> int:
    """Run one command line in `count` processes that train together, and return its exit status.

    Only process 0 writes and prints. When one of them fails, the others, which would wait for it,
    are ended; the checkpoint stays.

    Raises:
        ValueError: Keras does not run on JAX.
        ChildProcessError: a signal ended one of them.
    """
    refuse_without_jax()
    line = [sys.executable, "-m", "xray_tf", command, *(sys.argv[1:] if args is None else args)]
    line.append(f"--coordinator=localhost:{_free_port()}")
    # each in a session of its own: Ctrl-C comes here, and all are ended together
    started = [
        subprocess.Popen([*line, "--process", str(i)], start_new_session=True) for i in range(count)
    ]
    try:
        return _first_failure(started)
    finally:
        _end(started)


def _first_failure(started: list[subprocess.Popen]) -> int:
    """Wait until all have ended or one has failed; return its status, or 0."""
    while True:
        ended = [process.poll() for process in started]
        for number, status in enumerate(ended):
            if status and status < 0:
                raise ChildProcessError(
                    f"process {number} of {len(started)} was ended by signal {-status}, so the "
                    "others were ended. The same line with --resume goes on from the last "
                    "checkpoint."
                )
            if status:
                return status  # it has said why
        if None not in ended:
            return 0
        time.sleep(_PAUSE_S)


def _end(started: list[subprocess.Popen]) -> None:
    for process in started:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + _PATIENCE_S
    for process in started:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("localhost", 0))
        return asked.getsockname()[1]
