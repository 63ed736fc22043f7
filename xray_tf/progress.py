"""Show the progress of a job: lines through the logger `xray_tf`, and on a terminal a bar with the
remaining time.
"""

from __future__ import annotations

import logging
import shutil
import sys
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

_UNPRINTABLE = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")  # controls, marks of direction, surrogates
LOG = logging.getLogger("xray_tf")


@contextmanager
def shown(enabled: bool = True) -> Iterator[None]:
    """Show the logger's lines on stdout while the block runs.

    Nothing is set up at import. If a program has given the logger a handler of its own, or if not
    `enabled`, the lines go where that program sends them.
    """
    if not enabled or LOG.handlers:
        yield
        return
    handler, level, propagate = _Lines(sys.stdout), LOG.level, LOG.propagate
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    try:
        yield
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(level)
        LOG.propagate = propagate


def printable(text: str, lines: bool = False) -> str:
    """Return a text whose control characters are escaped, so that a file's name can neither move
    the cursor nor forge a line; line breaks stay where `lines` is true.
    """
    kept = "\n\t" if lines else ""
    return "".join(
        c
        if c in kept or unicodedata.category(c) not in _UNPRINTABLE
        else c.encode("unicode_escape").decode()
        for c in text
    )


class _Lines(logging.StreamHandler):
    """Writes a line above the bar, where one is drawn."""

    def emit(self, record: logging.LogRecord) -> None:
        if "tqdm" in sys.modules:
            sys.modules["tqdm"].tqdm.write(self.format(record), file=self.stream)
        else:
            super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), lines=True)


class ProgressLine:
    """Counts the progress of one step: a bar with the remaining time on a terminal, and one line on
    stderr at the end.

    Args:
        label: what is being done.
        total: the final count; None where it is not known.
        enabled: False shows nothing.
        stream: stderr if None.
        line: False omits the final line.
    """

    def __init__(
        self,
        label: str,
        total: int | None,
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
        """Whether a bar is visible."""
        return self._bar is not None

    def __enter__(self) -> ProgressLine:
        if self.enabled and self.stream is not None and self.stream.isatty():
            from tqdm import tqdm

            form = "{desc} {n_fmt}/{total_fmt} {bar} {rate_fmt}, {remaining} left"
            form = "{desc} {n_fmt} {rate_fmt}" if self.total is None else form
            self._bar = tqdm(
                total=self.total,
                desc=self.label,
                file=self.stream,
                leave=False,
                mininterval=0.25,
                ncols=min(100, shutil.get_terminal_size().columns),
                unit="",
                bar_format=form,
            )
        return self

    def __exit__(self, *_) -> None:
        """Remove the bar and write the line, also after an error."""
        if self._bar is not None:
            self._bar.close()
        if self.enabled and self.line and self.stream is not None:
            rate = self.count / max(time.monotonic() - self.started, 1e-9)
            total = "" if self.total is None else f"/{self.total:,}"
            self.stream.write(f"{self.label} {self.count:,}{total}  {rate:,.0f}/s\n")
            self.stream.flush()
