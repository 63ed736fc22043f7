"""Tell on the terminal how far a job has come."""

from __future__ import annotations

import sys
import time
from typing import IO


class ProgressLine:
    """One line on stderr that counts up: redrawn a few times a second on a terminal, elsewhere a
    line every ten seconds and at the end.
    """

    def __init__(self, label: str, total: int, enabled: bool = True, stream: IO[str] | None = None):
        self.label, self.total, self.enabled = label, total, enabled
        self.stream = sys.stderr if stream is None else stream
        self.terminal = enabled and self.stream.isatty()
        self.interval_s = 0.25 if self.terminal else 10.0
        self.count, self.started = 0, time.monotonic()
        self.drawn = self.started

    def step(self, count: int = 1) -> None:
        """Count, and draw when it is time."""
        self.count += count
        if self.enabled and time.monotonic() - self.drawn >= self.interval_s:
            self._draw("" if self.terminal else "\n")

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_) -> None:
        """Draw the last state and end the line, after an error too."""
        if self.enabled:
            self._draw("\n")

    def _draw(self, end: str) -> None:
        self.drawn = time.monotonic()
        rate = self.count / max(self.drawn - self.started, 1e-9)
        left = (
            f", {(self.total - self.count) / rate:.0f} s left"
            if 0 < self.count < self.total
            else ""
        )
        line = f"{self.label} {self.count:,}/{self.total:,}  {rate:,.0f}/s{left}"
        self.stream.write((f"\r\x1b[2K{line}" if self.terminal else line) + end)
        self.stream.flush()
