"""What every command does the same way: errors become one line on stderr and exit status 2, Ctrl-C
status 130.
"""

from __future__ import annotations

import argparse
import errno
import shlex
import sys
from collections.abc import Callable, Sequence

from xray_tf.shipped import DEFAULT

_WRITABLE = ". Expected a place that can be read and, for --out and --cache, written; name another."
_ADVICE = {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR), _WRITABLE),
    errno.ENOSPC: ". Free some space, or name another --out or --cache.",
}


def command_line(module: str, args: Sequence[str] | None) -> str:
    """Return the line that runs a command again."""
    return shlex.join(
        ["python", "-m", f"xray_tf.{module}", *(sys.argv[1:] if args is None else args)]
    )


def add_model_argument(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Give `parser` --model; where it is not `required`, None is the shipped binary classifier."""
    parser.add_argument(
        "--model",
        required=required,
        metavar="MODEL",
        help="the folder that train made, or the name of a shipped model"
        + ("" if required else f" (default: {DEFAULT})"),
    )


def add_file_arguments(parser: argparse.ArgumentParser, out_required: bool = True) -> None:
    """Give `parser` what every command that takes single radiographs takes."""
    parser.add_argument("files", nargs="+", metavar="FILES", help="files, folders or globs")
    add_model_argument(parser, required=False)
    parser.add_argument(
        "--out",
        required=out_required,
        metavar="DIR",
        help="the folder to make; it must not exist"
        + ("" if out_required else " (default: answers are only printed)"),
    )
    parser.add_argument(
        "--operating-point", metavar="NAME", help="a point on the card instead of its default"
    )
    parser.add_argument(
        "--strict", action="store_true", help="stop at the first file that cannot be read"
    )


def run(job: Callable[[], int | None]) -> int:
    """Run a command's job and return its exit status; what the user can mend is told without a
    traceback.
    """
    try:
        return job() or 0
    except (ValueError, OSError, ImportError) as error:
        advice = _ADVICE.get(getattr(error, "errno", None), "")
        print(f"error: {error}{advice}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
