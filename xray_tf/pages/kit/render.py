"""Render a page, a dataclass that names its template, as HTML or Markdown.

Everything that a template prints is escaped here and nowhere else: for HTML by Jinja2's autoescape,
for Markdown by `markdown_text`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from jinja2 import Environment, FileSystemLoader, PrefixLoader, StrictUndefined
from markupsafe import Markup

from xray_tf.pages.kit import words
from xray_tf.pages.kit.filters import FILTERS, markdown_table, markdown_text

Table = tuple[list[str], list[list[Any]]]  # (head, rows)
PAGES = Path(__file__).parents[1]
TOLD = ("NOTICE", "IMAGE_SPLIT", "METRICS", "NAMES", "SPLIT_NAMES")
GLOBALS = {**{name: getattr(words, name) for name in TOLD}, "table": markdown_table}


class Part:
    """What a template shows: a dataclass that the template reads as `part`, or a page as `page`.

    The suffix of the template, `.html.jinja` or `.md.jinja`, determines the output. A part can be
    used in another template directly: `{{ section.body }}`.
    """

    template: ClassVar[str]

    def render(self) -> str:
        """Return the text; what is not UTF-8, such as bytes of a path, is written as escapes.

        Raises:
            jinja2.UndefinedError: the template reads an undefined name.
        """
        form, name = self.template.split(".")[-2], "page" if isinstance(self, Page) else "part"
        text = environment(form).get_template(self.template).render({name: self})
        if form == "md":
            text = re.sub(r"\n{3,}", "\n\n", text).lstrip("\n")
        return text.encode("utf-8", "backslashreplace").decode("utf-8")

    __html__ = render


@dataclass(frozen=True)
class Section:
    """One titled part of a page: `key` is its id, and the links at the top lead to it."""

    key: str
    title: str
    body: Part


class Page(Part):
    """A self-contained HTML document: its policy admits nothing from elsewhere, and only its own
    script.

    A subclass is a dataclass; its template extends `kit/page.html.jinja` and
    fills its block `title`.

    Attributes:
        styles: style sheets of its own, as `room/file.css`.
        script: its script, as `room/file.js`; none when empty.
        skip: the id that the first link of the page jumps to.
        sections: the parts of the page in their order, for a template that does not lay them out
            itself.
    """

    styles: ClassVar[tuple[str, ...]] = ()
    script: ClassVar[str] = ""
    skip: ClassVar[str] = "main"

    @property
    def style_sheet(self) -> Markup:
        """The common CSS and the page's own."""
        return Markup("\n").join(map(asset, ("kit/page.css", *self.styles)))

    @property
    def script_text(self) -> Markup:
        """The script, as it appears in the page."""
        return asset(self.script) if self.script else Markup()

    @property
    def policy(self) -> Markup:
        """The content policy: pictures and styles of the page itself, the script by its hash."""
        allowed = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
        if self.script:
            digest = hashlib.sha256(self.script_text.encode()).digest()
            allowed += f"; script-src 'sha256-{base64.b64encode(digest).decode()}'"
        return Markup(allowed)


def sections(parts: Iterable[tuple[str, str, Part | None]]) -> tuple[Section, ...]:
    """Return a section for each (key, title, part) that has a part."""
    return tuple(Section(key, title, part) for key, title, part in parts if part is not None)


def asset(name: str) -> Markup:
    """Return a style sheet or a script of the package, `room/file.css`."""
    room, file = name.split("/")
    return Markup((PAGES / room / "templates" / file).read_text(encoding="utf-8"))


@cache
def environment(form: str) -> Environment:
    """Return the environment that renders `html` or `md`; a template is named `room/file`."""
    rooms = {p.parent.name: FileSystemLoader(p) for p in PAGES.glob("*/templates")}
    made = Environment(
        loader=PrefixLoader(rooms),
        autoescape=True,
        finalize=markdown_text if form == "md" else None,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    made.filters |= FILTERS
    made.globals |= GLOBALS
    if form == "html":
        made.globals["kit"] = made.get_template("kit/kit.html.jinja").module
    return made


def read_json(path: Path) -> Any:
    """Read a JSON file; None if it does not exist."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
