"""Declare an option once: a field of a frozen dataclass is a flag, its default and a row of the
card's provenance.
"""

from __future__ import annotations

import argparse
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from typing import Any, ClassVar, get_type_hints

from xray_tf.spelling import did_you_mean, meant, pick


def option(
    default: Any,
    help: str,
    choices: tuple[str, ...] | None = None,
    metavar: str | None = None,
    known: tuple[str, ...] = (),
    least: float | None = None,
    below: float | None = None,
) -> Any:
    """Declare one field of an options dataclass.

    Args:
        default: the value where none is given.
        help: what `--help` says about it.
        choices: the values allowed, if they can be listed.
        metavar: what `--help` shows in place of the value.
        known: names whose spelling is corrected, where other values are allowed too.
        least: the smallest number allowed.
        below: numbers must be smaller than this.
    """
    return field(
        default=default,
        metadata={
            "help": help,
            "choices": choices,
            "metavar": metavar,
            "known": known,
            "least": least,
            "below": below,
        },
    )


def count(default: int, help: str, least: int = 0) -> Any:
    """Declare a whole number from `least` on."""
    return option(default, help, metavar="N", least=least)


def share(default: float, help: str, least: float = 0, below: float = 1) -> Any:
    """Declare a share, from `least` on and `below` the other bound."""
    return option(default, help, metavar="SHARE", least=least, below=below)


def resizing() -> Any:
    """Declare how a radiograph becomes a square."""
    return option(
        "crop",
        "how a radiograph becomes a square; crop hides its aspect ratio",
        ("crop", "pad", "squash"),
    )


def rate(default: float, help: str) -> Any:
    """Declare a learning rate or a decay, from 0 on."""
    return option(default, help, metavar="RATE", least=0)


@dataclass(frozen=True)
class Checked:
    """The base of every options dataclass: it refuses values outside the declared choices and
    ranges, and accepts a choice in another spelling (`gradcam` for `grad_cam`).

    Attributes:
        headings: {field: title}, where a group begins in `--help`; the title of the first one is
            the first line of the docstring if it is not here.
    """

    headings: ClassVar[dict[str, str]] = {}

    def __post_init__(self):
        for item in fields(self):
            value, names = getattr(self, item.name), item.metadata["known"]
            if item.metadata["choices"]:
                value = pick(item.name, str(value), item.metadata["choices"])
                object.__setattr__(self, item.name, value)
            elif names and isinstance(value, str):
                object.__setattr__(self, item.name, meant(value, names))
            least, below = item.metadata["least"], item.metadata["below"]
            if value is None or least is None:
                continue
            if not (value >= least and (below is None or value < below)):
                bound = "" if below is None else f" and below {below}"
                raise ValueError(
                    f"{item.name} must be at least {least}{bound}. Received: {item.name}={value!r}"
                )


def add_flags(parser: argparse.ArgumentParser, *kinds: type, only: tuple[str, ...] = ()) -> None:
    """Give `parser` one flag per field of each options dataclass, in the groups of its headings.

    Args:
        parser: a command's parser.
        kinds: options dataclasses.
        only: the fields to offer; all of them if empty.
    """
    for kind in kinds:
        hints = get_type_hints(kind)
        title = kind.__doc__.partition("\n")[0].rstrip(".")
        headings = {fields(kind)[0].name: title, **kind.headings}
        for item in fields(kind):
            if item.name in headings:
                group = parser.add_argument_group(headings[item.name])
            if not only or item.name in only:
                _add_flag(group, item, hints[item.name])


def _add_flag(group: argparse._ArgumentGroup, item: Field, hint: Any) -> None:
    flag = "--" + item.name.replace("_", "-")
    help_text = item.metadata["help"].replace("%", "%%")
    if hint is bool:
        help_text += " (on by default)" * item.default
        group.add_argument(
            flag, action=argparse.BooleanOptionalAction, default=item.default, help=help_text
        )
        return
    if choices := item.metadata["choices"]:
        how = one_of(choices)
    else:
        kind = next(t for t in (int, float, str) if hint in (t, t | None))
        how = {"type": kind, "metavar": item.metadata["metavar"]}
    default = "" if item.default in (None, MISSING) else f" (default: {item.default})"
    group.add_argument(flag, default=item.default, help=help_text + default, **how)


def one_of(choices: tuple[str, ...]) -> dict[str, Any]:
    """Return what argparse needs to show `choices`, take one of them in any spelling, and suggest
    the nearest one otherwise.
    """

    def choice(text: str) -> str:
        name = meant(text, choices)
        if name not in choices:
            raise argparse.ArgumentTypeError(
                f"invalid choice: {text!r} (choose from {', '.join(choices)})."
                f"{did_you_mean(text, choices)}"
            )
        return name

    return {"type": choice, "metavar": "{" + ",".join(choices) + "}"}


def from_flags(namespace: argparse.Namespace, cls: type) -> Any:
    """Make the options dataclass `cls` from parsed flags."""
    return cls(**{item.name: getattr(namespace, item.name) for item in fields(cls)})


def provenance(*options: Any) -> dict[str, dict[str, Any]]:
    """Return the value of every option for the card: {dataclass name: {field: value}}."""
    return {type(o).__name__: asdict(o) for o in options}
