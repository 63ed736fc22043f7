"""Run one of the commands: `xray-tf COMMAND`, or `python -m xray_tf COMMAND`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from xray_tf import __version__
from xray_tf.commands import find_commands, summary
from xray_tf.spelling import did_you_mean, meant


def main(args: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names with the rest of them; return its status."""
    first, *rest = (sys.argv[1:] if args is None else args) or [""]
    commands = find_commands()
    name = meant(first, commands)
    if name in commands:
        return importlib.import_module(f"xray_tf.{name.replace('-', '_')}").main(rest)
    if first in ("", "-h", "--help"):
        print(_help(commands), file=sys.stdout if first else sys.stderr)
        return 0 if first else 2
    if first == "--version":
        print(f"xray_tf {__version__}")
        return 0
    print(
        f"error: {first!r} is not a command.{did_you_mean(first, commands)} "
        f"Expected one of {', '.join(commands)}.",
        file=sys.stderr,
    )
    return 2


def _help(commands: dict[str, str]) -> str:
    width = max(map(len, commands)) + 2
    rows = [f"  {name:{width}}{summary(text)}" for name, text in commands.items()]
    return "\n".join(
        (
            "usage: xray-tf COMMAND [options]",
            "",
            "Chest radiographs and pneumonia. Research software, not a medical device.",
            "",
            "Commands:",
            *rows,
            "",
            "`xray-tf COMMAND --help` shows the options and examples of one command;",
            "`xray-tf --version` shows the version.",
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
