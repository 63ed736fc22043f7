"""Recognise a name that is spelt a little differently, and suggest the nearest one."""

from __future__ import annotations

from collections.abc import Iterable


def plain(name: str) -> str:
    """Return a name without case and punctuation: `Grad-CAM++` is `gradcam`."""
    return "".join(c for c in name.casefold() if c.isalnum())


def meant(name: str, known: Iterable[str]) -> str:
    """Return the known name that is meant by `name`.

    That is `name` itself if it is known, or else the only known name that differs from it in case
    and punctuation alone. Otherwise `name` comes back unchanged, and the caller refuses it.
    """
    known = list(known)
    if name in known:
        return name
    alike = [k for k in known if plain(k) == plain(name)]
    return alike[0] if len(alike) == 1 and plain(name) else name


def pick(option: str, name: str, known: Iterable[str]) -> str:
    """Return the known name that is meant by an option's value.

    Raises:
        ValueError: there is none; the message lists the known names and suggests the nearest.
    """
    known = list(known)
    found = meant(name, known)
    if found not in known:
        raise ValueError(
            f"{option} must be one of {', '.join(known)}. Received: {option}={name!r}."
            f"{did_you_mean(name, known)}"
        )
    return found


def pick_several(
    option: str, text: str, known: Iterable[str], alone: tuple[str, ...] = ()
) -> list[str]:
    """Return the known names that are meant by a comma-separated list, each once, in its order.

    Args:
        option: the name of the option, for the message.
        text: its value.
        known: the names to choose from.
        alone: further words that the option takes in place of a list, such as `all`.

    Raises:
        ValueError: a name is unknown, or none is given; the message suggests the nearest.
    """
    known = list(known)
    names = [part.strip() for part in text.split(",") if part.strip()]
    allowed = known if len(names) > 1 else [*alone, *known]
    for name in names or [""]:
        if meant(name, allowed) not in allowed:
            words = f"{', '.join(alone)}, or " if alone else ""
            raise ValueError(
                f"{option} must be {words}some of {', '.join(known)}, separated by commas. "
                f"Received: {option}={text!r}.{did_you_mean(name, allowed)}"
            )
    return list(dict.fromkeys(meant(name, allowed) for name in names))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'NAME'?` with the nearest known name, or nothing if none is near."""
    import difflib

    by_plain = {plain(k): k for k in known}
    near = difflib.get_close_matches(plain(name), by_plain, n=1, cutoff=0.7)
    return f" Did you mean {by_plain[near[0]]!r}?" if near else ""
