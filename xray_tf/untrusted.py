"""Read what others may have made or edited: JSON and archives, bounded before they are unpacked,
and values, checked before they are used.
"""

from __future__ import annotations

import json
import math
import os
import sys
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

MAX_JSON = 1 << 20  # bytes of a card, a manifest or a plan
MAX_DEPTH = 32  # of lists and objects in one another
LEAST_UNPACKED, MOST_GROWTH = 256 << 20, 8  # an archive may hold the larger of the two

Check = Callable[[Any, str], None]


def read_json(path: str | os.PathLike, most: int = MAX_JSON) -> Any:
    """Read a JSON file of bounded size and depth, whose numbers are finite and whose names differ.

    Raises:
        ValueError: it is not of that form; the message names the file.
    """
    size = os.stat(path).st_size
    if size > most:
        raise ValueError(f"{path} has {size:,} bytes; at most {most:,} are read.")
    try:
        return parse_json(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def parse_json(text: str | bytes, depth: int = MAX_DEPTH) -> Any:
    """Parse JSON of bounded depth, whose numbers are finite and whose names differ.

    Raises:
        ValueError: it is not of that form.
    """
    try:
        value = json.loads(
            text, parse_constant=_finite, parse_float=_finite, object_pairs_hook=_unlike
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [value]
    for _ in range(depth):
        level = [v for node in level for v in _inside(node)]
        if not level:
            return value
    raise ValueError(f"it is nested more than {depth} deep")


def _inside(node: Any) -> Collection[Any]:
    return node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is not a finite number")
    return number


def _unlike(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"a name comes twice in {[name for name, _ in pairs][:8]}")
    return dict(pairs)


def refuse_bomb(archive: zipfile.ZipFile, path: str | os.PathLike) -> None:
    """Raise ValueError if a zip archive (`.keras`, `.npz`) holds far more than its size on disk:
    more than 8 times as much, and more than 256 MiB.
    """
    held, most = sum(i.file_size for i in archive.infolist()), os.stat(path).st_size * MOST_GROWTH
    if held > max(most, LEAST_UNPACKED):
        raise ValueError(
            f"{path} unpacks to {held:,} bytes; at most {max(most, LEAST_UNPACKED):,} are read "
            "from a file of its size."
        )


def text(most: int = 10_000) -> Check:
    """Return a check for a text of at most so many characters."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, str) or len(value) > most:
            _refuse(value, where, f"a text of at most {most:,} characters")

    return check


def number(low: float = -math.inf, high: float = math.inf, whole: bool = False) -> Check:
    """Return a check for a finite number in [low, high]."""

    def check(value: Any, where: str) -> None:
        kinds = (int,) if whole else (int, float)
        right = isinstance(value, kinds) and not isinstance(value, bool)
        if not right or not abs(value) <= sys.float_info.max or not low <= value <= high:
            bounds = f" from {low:g} to {high:g}" if math.isfinite(low) else ""
            _refuse(value, where, f"a {'whole' if whole else 'finite'} number{bounds}")

    return check


def one_of(*values: Any) -> Check:
    """Return a check for one of some values."""

    def check(value: Any, where: str) -> None:
        if not any(type(value) is type(v) and value == v for v in values):
            _refuse(value, where, f"one of {values}")

    return check


def either(*checks: Check) -> Check:
    """Return a check that one of `checks` passes."""

    def check(value: Any, where: str) -> None:
        for i, each in enumerate(checks):
            try:
                return each(value, where)
            except ValueError:
                if i == len(checks) - 1:
                    raise

    return check


def items(each: Check, most: int = 10_000) -> Check:
    """Return a check for a list whose items pass `each`."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, list | tuple) or len(value) > most:
            _refuse(value, where, f"a list of at most {most:,}")
        for i, item in enumerate(value):
            each(item, f"{where}[{i}]")

    return check


def mapping(each: Check, key: Check | None = None, most: int = 10_000) -> Check:
    """Return a check for an object whose values pass `each`, and whose names pass `key`."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, dict) or len(value) > most:
            _refuse(value, where, f"an object of at most {most:,} names")
        for name, item in value.items():
            if key:
                key(name, f"a name in {where}")
            each(item, f"{where}.{name}")

    return check


def fields(known: dict[str, Check], required: Collection[str] = (), others: bool = False) -> Check:
    """Return a check for an object with these names, each with its check; `others` allows more."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            _refuse(value, where, "an object")
        if missing := sorted(set(required) - set(value)):
            raise ValueError(f"{where} lacks {missing}")
        if unknown := [] if others else sorted(set(value) - set(known)):
            raise ValueError(f"{where} has unknown entries: {unknown}")
        for name in known.keys() & value.keys():
            known[name](value[name], f"{where}.{name}")

    return check


def anything(value: Any, where: str) -> None:
    """Accept any value."""


def _refuse(value: Any, where: str, expected: str) -> None:
    raise ValueError(f"{where} must be {expected}. Received: {str(value)[:80]!r}")
