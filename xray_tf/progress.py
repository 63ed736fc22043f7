"""Tell how far a job has come: lines through the logger `xray_tf`, and on a terminal a bar with
the time left.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

LOG = logging.getLogger("xray_tf")


@contextmanager
def shown(enabled: bool = True) -> Iterator[None]:
    """Show the logger's lines on stdout while the block runs.

    Nothing is set up at import, and a program that gave the logger a handler of its own keeps it:
    then, and where not `enabled`, the lines go wherever that program sends them.
    """
    if not enabled or LOG.handlers:
        yield
        return
    handler, level, propagate = logging.StreamHandler(sys.stdout), LOG.level, LOG.propagate
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    try:
        yield
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(level)
        LOG.propagate = propagate


class ProgressLine:
    """One step of a job that counts up: a bar with the time left on a terminal, and one line on
    stderr when it is done.

    Args:
        label: what is done.
        total: how many there are.
        enabled: false shows nothing.
        stream: stderr when None.
        line: false leaves the last line out.
    """

    def __init__(
        self,
        label: str,
        total: int,
        enabled: bool = True,
        stream: IO[str] | None = None,
        line: bool = True,
    ):
        self.label, self.total, self.enabled, self.line = label, total, enabled, line
        self.stream = sys.stderr if stream is None else stream
        self.count, self.started = 0, time.monotonic()
        self._bar = None

    def step(self, count: int = 1) -> None:
        """Count."""
        self.count += count
        if self._bar is not None:
            self._bar.update(count)

    @property
    def drawn(self) -> bool:
        """Whether a bar is there to be seen."""
        return self._bar is not None

    def __enter__(self) -> ProgressLine:
        if self.enabled and self.stream.isatty():
            from tqdm import tqdm

            form = "{desc} {n_fmt}/{total_fmt} {bar} {rate_fmt}, {remaining} left"
            self._bar = tqdm(
                total=self.total,
                desc=self.label,
                file=self.stream,
                leave=False,
                mininterval=0.25,
                dynamic_ncols=True,
                unit="",
                bar_format=form,
            )
        return self

    def __exit__(self, *_) -> None:
        """Take the bar away and leave the line, after an error too."""
        if self._bar is not None:
            self._bar.close()
        if self.enabled and self.line:
            rate = self.count / max(time.monotonic() - self.started, 1e-9)
            self.stream.write(f"{self.label} {self.count:,}/{self.total:,}  {rate:,.0f}/s\n")
            self.stream.flush()
