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


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'NAME'?` with the nearest known name, or nothing if none is near."""
    import difflib

    by_plain = {plain(k): k for k in known}
    near = difflib.get_close_matches(plain(name), by_plain, n=1, cutoff=0.7)
    return f" Did you mean {by_plain[near[0]]!r}?" if near else ""
