"""Run a command's job, and turn however it ends into an exit status."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from xray_tf.progress import printable
from xray_tf.quiet import quiet_start

_WRITABLE = ". Expected a place that can be read and, for --out and --cache, written; name another."
_ADVICE = {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR), _WRITABLE),
    errno.ENOSPC: ". Free some space, or name another --out or --cache.",
}


def run(job: Callable[[], int | None]) -> int:
    """Run a command's job and return its exit status.

    Errors that the user can correct are one line on stderr and status 2, without a traceback;
    Ctrl-C is status 130, a TERM signal 143, and a closed pipe 141, as shells count them. Whatever
    ends it, what was begun is cleaned up first.
    """
    # TensorFlow's messages that are neither warnings nor errors
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    quiet_start()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # a file's name outside the console's code page is shown with escapes
            stream.reconfigure(errors="backslashreplace")
    _open_missing_streams()
    try:
        with _ended_by_term():
            status = job() or 0
            sys.stdout.flush()
            return status
    except BrokenPipeError:
        # whoever read the answers went away; Python must not write what is left at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except (ValueError, OSError, ImportError) as error:
        advice = _ADVICE.get(getattr(error, "errno", None), "")
        print(f"error: {printable(str(error))}{advice}", file=sys.stderr)
        return 2
    except Terminated:
        print("terminated", file=sys.stderr)
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


class Terminated(BaseException):
    """A TERM signal came."""


def _terminate(number: int, frame: object) -> None:
    raise Terminated


@contextmanager
def _ended_by_term() -> Iterator[None]:
    """Let a TERM signal end a job as Ctrl-C does, where signals can be handled."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _open_missing_streams() -> None:
    """Give a process that was started without a standard stream one that goes nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
