"""Filters for templates: pictures and intervals as HTML, text as Markdown."""

from __future__ import annotations

import base64
import inspect
import json
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from xray_tf.pages.kit import canvas, words

JPEG_QUALITY = 88
_INTERVAL = re.compile(r"\[[^\[\]&]{1,24}, [^\[\]&]{1,24}\]")
# Emphasis, code, tables, strikethrough, mathematics; underscores at the edge of a word; what would
# make a link of a bracket.
_MARKS = re.compile(r"[\\`|~$]|\*(?=\S)|(?<=\S)\*|(?<![^\W_])_|_(?![^\W_])|(?<=\])[(\[]")
# Headings, quotes, lists, rules, underlines and the definitions of links count at the start only.
_LINE_START = re.compile(r"^(?:#{1,6}(?=\s|$)|[-+*](?=[-\s]|$)|=(?==*$)|>|\[(?=[^\]]*\]:))")
_NUMBERED = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")


def data_uri(picture: bytes | Figure | np.ndarray) -> str:
    """Return a picture as a data URI: an encoded PNG or JPEG, a matplotlib figure (as PNG), or
    pixels (H, W) grey or (H, W, 3) RGB uint8 (as JPEG).
    """
    if isinstance(picture, Figure):
        picture = canvas.to_png_bytes(picture)
    elif isinstance(picture, np.ndarray):
        picture = jpeg(picture)
    form = "jpeg" if picture[:2] == b"\xff\xd8" else "png"
    return f"data:image/{form};base64,{base64.b64encode(picture).decode('ascii')}"


def jpeg(pixels: np.ndarray, quality: int = JPEG_QUALITY) -> bytes:
    """Return pixels (H, W) grey or (H, W, 3) RGB uint8 as the bytes of a JPEG file."""
    stored = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    return cv2.imencode(".jpg", stored, (cv2.IMWRITE_JPEG_QUALITY, quality))[1].tobytes()


def jpeg_text(pixels: np.ndarray, quality: int = JPEG_QUALITY) -> str:
    """Return `jpeg` in base64, as a JSON file keeps a picture."""
    return base64.b64encode(jpeg(pixels, quality)).decode("ascii")


def png(pixels: np.ndarray) -> bytes:
    """Return pixels (H, W) grey or (H, W, 3) RGB uint8 as the bytes of a PNG file, written fast."""
    stored = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    return cv2.imencode(".png", stored, (cv2.IMWRITE_PNG_COMPRESSION, 1))[1].tobytes()


def plain(value: Any) -> str:
    """Turn HTML that a template produced back into text, to be escaped for an attribute."""
    return Markup(value).unescape() if hasattr(value, "__html__") else str(value)


def unbroken(value: Any) -> Markup:
    """Keep an interval in a text, [low, high], from breaking over two lines."""
    if hasattr(value, "__html__"):
        return Markup(value)
    return Markup(_INTERVAL.sub(r'<span class="whole">\g<0></span>', str(escape(value))))


def markdown_text(value: Any) -> Markup:
    """Escape a value for one line, or one table cell, of Markdown, so that it appears unchanged."""
    if hasattr(value, "__html__"):
        return Markup(value)
    text = " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;")
    text = _NUMBERED.sub(r"\1\\\2", _LINE_START.sub(r"\\\g<0>", _MARKS.sub(r"\\\g<0>", text)))
    return Markup(text)


def code(value: Any) -> Markup:
    """Prepare text for backticks in Markdown, where nothing can be escaped."""
    return Markup(" ".join(str(value).split()).replace("`", "'"))


def quoted(text: str) -> Markup:
    """Write text as a Python literal, for a code block in Markdown."""
    return Markup(json.dumps(text, ensure_ascii=False))


def indented(text: str) -> Markup:
    """Return lines as an indented code block in Markdown."""
    return Markup("\n".join(f"    {line}" for line in text.splitlines()))


def markdown_table(
    head: Sequence[Any], rows: Iterable[Sequence[Any]], aligned: bool = False
) -> Markup:
    """Return a table in Markdown; an `aligned` one is padded, with numbers to the right, so that it
    also reads well as plain text.
    """
    cells = [
        [f"{c:,}" if isinstance(c, int) else str(markdown_text(c)) for c in row]
        for row in (head, *rows)
    ]
    rule = ["---"] * len(head)
    if aligned:
        width = [max(map(len, column)) for column in zip(*cells, strict=True)]
        sides = [str.ljust, *[str.rjust] * (len(head) - 1)]
        cells = [[f(c, w) for f, c, w in zip(sides, row, width, strict=True)] for row in cells]
        rule = ["-" * width[0], *("-" * (w - 1) + ":" for w in width[1:])]
    return Markup("\n".join(f"| {' | '.join(row)} |" for row in (cells[0], rule, *cells[1:])))


def local(place: str) -> str:
    """Write the place of a page in the same folder as a link that leads nowhere else."""
    return "./" + quote(place)


def capital(text: str) -> str:
    """Capitalise the first letter and keep the others."""
    return text[:1].upper() + text[1:]


FILTERS = {
    "fmt": format,
    "uri": data_uri,
    "basename": os.path.basename,
    **{f.__name__: f for f in (plain, unbroken, code, quoted, indented, local, capital)},
    **dict(inspect.getmembers(words, inspect.isfunction)),
}
