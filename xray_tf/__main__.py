"""Run one of the commands: `xray-tf COMMAND`, or `python -m xray_tf COMMAND`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from xray_tf import __version__
from xray_tf.commands import find_commands, summary
from xray_tf.spelling import did_you_mean, meant

# the commands in the order of `--help`; others come under More
GROUPS = {
    "Use a model": ("demo", "predict", "serve", "explain", "lungs", "embed", "detect"),
    "Look at data, train and measure": (
        *("audit", "train", "evaluate", "accept", "examine", "train-lungs", "distil", "export"),
        "reproduce",
    ),
    "In a hospital": ("listen", "to-dicom"),
}


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
    width, rows = max(map(len, commands)) + 2, []
    groups = {title: [n for n in names if n in commands] for title, names in GROUPS.items()}
    known = {name for names in groups.values() for name in names}
    groups["More"] = [name for name in commands if name not in known]
    for title, names in groups.items():
        if names:
            rows += ["", f"{title}:", *(f"  {n:{width}}{summary(commands[n])}" for n in names)]
    return "\n".join(
        (
            "usage: xray-tf COMMAND [options]",
            "",
            "Chest radiographs and pneumonia. Research software, not a medical device.",
            *rows,
            "",
            "`xray-tf COMMAND --help` shows the options and examples of one command;",
            "`xray-tf --version` shows the version.",
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
