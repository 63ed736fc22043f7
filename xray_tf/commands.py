"""Find the commands, and give all of them the same parser and common arguments.

A command is a module at the top of the package whose docstring opens with `xray-tf NAME`, and which
has `main(args=None) -> int`. It is found by that: nothing else has to be edited. The docstring is
its `--help`: the lines that run it, what it does, and examples.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import textwrap
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import xray_tf
from xray_tf.machine import use
from xray_tf.options import GPU, PARTS, EngineOptions, MachineOptions, add_flags, from_flags, one_of
from xray_tf.registry import DEFAULT_MODEL
from xray_tf.spelling import did_you_mean, meant

WIDTH = 100
DOUBTFUL, UNREAD = "without two upright lungs", "could not be read"


def find_commands() -> dict[str, str]:
    """Return every command by name, with its docstring, without importing one."""
    found = {}
    for file in sorted(file for folder in xray_tf.__path__ for file in Path(folder).glob("*.py")):
        name = file.stem.replace("_", "-")
        text = file.read_text(encoding="utf-8")
        if text.split("\n")[0].split()[:2] == ['"""xray-tf', name]:
            found[name] = text[3 : text.index('"""', 3)]
    return found


def summary(docstring: str) -> str:
    """Return what a command does in one sentence: the paragraph after the lines that run it."""
    return " ".join(docstring.split("\n\n")[1].split()).rstrip(".")


class _Help(argparse.HelpFormatter):
    """Wraps paragraphs, keeps indented lines as they are, and is at most `WIDTH` columns wide."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=30)
        self._width = min(self._width, WIDTH)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip().split("\n\n")
        return "\n\n".join(
            p if "\n  " in p else textwrap.fill(" ".join(p.split()), width) for p in paragraphs
        )


class CommandParser(argparse.ArgumentParser):
    """Parses the arguments of one command; its help is a docstring, and it corrects spelling.

    Args:
        text: the lines that run the command, what it does, and `Examples:`.
        options: of argparse.
    """

    def __init__(self, text: str = "", **options):
        usage, _, rest = text.partition("\n\n")
        about, _, examples = rest.partition("\nExamples:\n")
        words = takewhile(lambda w: w[0].isalpha() and w.islower(), usage.split())
        options["prog"] = " ".join(words)
        super().__init__(
            usage=usage.replace("%", "%%").replace("\n", "\n" + " " * len("usage: ")),
            description=about,
            epilog=f"Examples:\n{examples.rstrip()}" if examples else None,
            formatter_class=_Help,
            **options,
        )
        version = f"xray_tf {xray_tf.__version__}"
        self.add_argument("--version", action="version", version=version, help="show the version")

    def parse_known_args(self, args: Sequence[str] | None = None, namespace=None):
        """Parse what argparse parses, after options spelt a little differently are put right."""
        args = sys.argv[1:] if args is None else args
        # a parser with actions (`detect fit`) leaves their options to their own parsers
        return super().parse_known_args(args if self._subparsers else self._spelt(args), namespace)

    def _spelt(self, args: Sequence[str]) -> list[str]:
        """Return `args` with `--image_size` as `--image-size`; refuse an option that is unknown."""
        known = [flag for flag in self._option_string_actions if flag.startswith("--")]
        flags = list(takewhile(lambda arg: arg != "--", args))
        done = []
        for arg in flags:
            name, equals, value = arg.partition("=")
            if name.startswith("--"):
                name = meant(name, known)
                if not any(flag.startswith(name) for flag in known):
                    self.error(f"unknown option {name}.{did_you_mean(name, known)}")
            done.append(name + equals + value)
        return done + list(args[len(flags) :])


# arguments that several commands take, as argparse takes them
_SHARED: dict[str, dict[str, Any]] = {
    "files": {"nargs": "+", "metavar": "FILES", "help": "files, folders or globs"},
    "--data": {
        "required": True,
        "metavar": "DATA",
        "help": "a folder, a CSV manifest, a MedMNIST .npz file, phantom[:PATIENTS], or kaggle",
    },
    "--out": {
        "required": True,
        "metavar": "DIR",
        "help": "the folder to create; it must not exist",
    },
    "--model": {
        "required": True,
        "metavar": "MODEL",
        "help": "the folder that train created, or the name of a shipped model",
    },
    "--operating-point": {
        "metavar": "NAME",
        "help": "the operating point that decides (default: the model's own default)",
    },
    "--detector": {
        "metavar": "MODEL",
        "help": "the anomaly detector to ask as well, or none (default: the shipped normal-chest)",
    },
    "--pictures": {
        "metavar": "DIR",
        "help": "a folder with the training radiographs, for the neighbours' pictures where the "
        "model keeps none",
    },
    "--part": {
        **one_of(PARTS),
        "default": "all",
        "help": "use only the rows of this part of the split (default: all)",
    },
    "--strict": {"action": "store_true", "help": "stop at the first file that cannot be read"},
    "--resume": {
        "action": "store_true",
        "help": "go on with an unfinished run of the same options",
    },
    "--tensorboard": {"metavar": "DIR", "help": "also write TensorBoard events here"},
}


def add_shared(parser: argparse._ActionsContainer, *names: str, **changed: Any) -> None:
    """Give `parser` arguments that several commands share; `changed` replaces parts of them, such
    as `help`, and `then` is added to the help.
    """
    then = changed.pop("then", "")
    for name in names:
        how = {**_SHARED[name], **changed}
        parser.add_argument(name, **{**how, "help": how["help"] + then})


def add_file_arguments(
    parser: argparse.ArgumentParser, out_required: bool = True, **files: Any
) -> None:
    """Give `parser` what every command that takes single radiographs takes; `files` replaces parts
    of the argument FILES.
    """
    add_shared(parser, "files", **files)
    add_shared(parser, "--model", required=False, then=f" (default: {DEFAULT_MODEL})")
    only_printed = "" if out_required else " (default: answers are only printed)"
    add_shared(parser, "--out", required=out_required, then=only_printed)
    add_shared(parser, "--operating-point", "--strict")


def add_batch_size(parser: argparse.ArgumentParser, default: int) -> None:
    """Give `parser` the number of radiographs in a forward pass."""
    how = {"type": int, "default": default, "metavar": "N"}
    text = f"radiographs per forward pass (default: {default})"
    parser.add_argument("--batch-size", **how, help=text)


def add_evidence_arguments(parser: argparse._ActionsContainer) -> None:
    """Give `parser` what says which evidence stands beside an answer."""
    add_shared(parser, "--detector", "--pictures")
    parser.add_argument("--data", dest="pictures", help=argparse.SUPPRESS)  # its earlier name


def add_measuring_arguments(
    parser: argparse.ArgumentParser, data_more: str, into_artifact: str
) -> None:
    """Give `parser` what every command that measures a classifier takes: a new folder, or the
    model's own (see `into_artifact`).
    """
    add_shared(parser, "--model")
    add_shared(parser, "--data", help=f"labelled radiographs, as for train{data_more}")
    where = parser.add_mutually_exclusive_group(required=True)
    add_shared(where, "--out", required=False)
    where.add_argument("--into-artifact", action="store_true", help=into_artifact)
    add_shared(parser, "--operating-point", "--part")


def counted(counts: dict[str, int]) -> str:
    """Say how many there are of each kind, as the end of a sentence; kinds without any are left
    out.
    """
    return "".join(f", {count} {what}" for what, count in counts.items() if count)


def finished(rows: int, counts: dict[str, int], where: str = "") -> str:
    """Say how many radiographs were dealt with, with `counts` of those to know of, and where the
    result is.
    """
    place = f", in {where}" if where else ""
    return f"Finished: {rows} radiograph{'s' * (rows != 1)}{counted(counts)}{place}"


def answer_archive(
    given: argparse.Namespace, sources: Sequence[str], answers: str, decide: str | None = None
) -> int:
    """Run what `--engine parts` and `--engine ray` ask for, and return the exit status.

    Args:
        given: the parsed arguments, with `model`, `out`, `strict` and those of `EngineOptions`.
        sources: radiographs, or where they are listed.
        answers: `predictions`, `scores` or `embeddings`.
        decide: an operating point or thresholds.
    """
    from xray_tf.engines.score_archive import score_archive

    how = from_flags(given, EngineOptions)
    found = score_archive(
        given.model, sources, given.out, how, answers=answers, decide=decide, strict=given.strict
    )
    counts = found.counts
    known = {
        "anomalous": counts.anomalous,
        DOUBTFUL: counts.doubtful,
        UNREAD: counts.failed,
        "from an earlier run": found.before,
    }
    print(finished(counts.rows, known, found.folder))
    return 1 if counts.failed == counts.rows else 0


def add_machine(*parsers: argparse.ArgumentParser) -> None:
    """Give the parsers of a command that computes the flags that say on what; see `on_machine`."""
    for parser in parsers:
        add_flags(parser, MachineOptions)


def on_machine(given: argparse.Namespace, job: Callable[[], int | None]) -> Callable:
    """Return a job that first chooses what computes, by the flags of `MachineOptions`, and refuses
    a device that is not there.
    """

    def chosen() -> int | None:
        how = from_flags(given, MachineOptions)
        use(how)
        if how.device and how.device.startswith(GPU):
            from xray_tf.nets.training.devices import refuse_missing_gpu

            refuse_missing_gpu(how.device)
        return job()

    return chosen


def command_line(module: str, args: Sequence[str] | None) -> str:
    """Return the line that runs a command again."""
    return shlex.join(
        ["python", "-m", f"xray_tf.{module}", *(sys.argv[1:] if args is None else args)]
    )
