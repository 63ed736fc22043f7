"""Escape, lay out tables and pictures in HTML."""

from __future__ import annotations

import base64
import csv
import html
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from xray_tf.pages.kit import figures


def lay_out(parts: Iterable[tuple[str, str, str]]) -> str:
    """Return links to the parts, then the parts: each of (id, title, HTML) whose HTML is not
    empty.
    """
    parts = [part for part in parts if part[2]]
    links = "".join(f'<a href="#{key}">{escape(title)}</a>' for key, title, _ in parts)
    bodies = "\n".join(
        f'<section id="{key}" aria-labelledby="{key}-title">\n<h2 '
        f'id="{key}-title">{escape(title)}</h2>\n{body}\n</section>'
        for key, title, body in parts
    )
    return f'<nav aria-label="Parts of this page">{links}</nav>\n{bodies}'


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[Any]],
    caption: str,
    raw: bool = False,
    wide: bool = False,
) -> str:
    """Return a table that scrolls by itself on a narrow page (a `wide` one keeps its width); cells
    are escaped unless `raw` says they are HTML.
    """
    top = "".join(f'<th scope="col">{escape(h)}</th>' for h in head)
    rows = rows if raw else [[_unbroken(cell) for cell in r] for r in rows]
    body = "".join(
        "<tr>"
        + "".join(
            f'<th scope="row">{c}</th>' if i == 0 else f"<td>{c}</td>" for i, c in enumerate(r)
        )
        + "</tr>"
        for r in rows
    )
    kind = ' class="broad"' if wide else ""
    return (
        '<div class="scroll" tabindex="0" role="region" '
        f'aria-label="{escape(caption)}"><table{kind}><caption>{escape(caption)}</caption>'
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _unbroken(cell: Any) -> str:
    """Escape a cell; an interval in it, [low, high], never breaks over two lines."""
    return re.sub(
        r"\[[^\[\]<>]{1,24}, [^\[\]<>]{1,24}\]",
        lambda m: f'<span class="whole">{m[0]}</span>',
        escape(cell),
    )


def image(figure, alt: str, kind: str = "") -> str:
    """Return a matplotlib figure as a picture in the page, with its text alternative; a `wide` one
    scrolls on a phone.
    """
    return picture(figures.to_png_bytes(figure), alt, kind)


def picture(encoded: bytes, alt: str, kind: str = "", caption: str = "") -> str:
    """Return an encoded PNG or JPEG as a picture in the page; `caption` is HTML."""
    data = base64.b64encode(encoded).decode("ascii")
    form = "jpeg" if encoded[:2] == b"\xff\xd8" else "png"
    # it scrolls on a phone, so the keyboard must reach it
    focus = ' tabindex="0"' if kind == "wide" else ""
    return (
        f'<figure class="{kind}"{focus}><img alt="{escape(alt.strip())}" '
        f'src="data:image/{form};base64,{data}">{caption}</figure>'
    )


def flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Return nested values as (dotted name, text)."""
    if isinstance(value, dict):
        return [row for k, v in value.items() for row in flat(v, f"{name}.{k}" if name else str(k))]
    return [(name, json.dumps(value) if isinstance(value, list | tuple) else str(value))]


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV with a header."""
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        return list(csv.DictReader(stream))


def escape(value: Any) -> str:
    """Escape for HTML; undecodable bytes of a path become visible instead of breaking the page's
    encoding.
    """
    return html.escape(str(value).encode("utf-8", "backslashreplace").decode("utf-8"), quote=True)
