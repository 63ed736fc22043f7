"""python docs/api.py

Write docs/api.md: every public name of xray_tf with the first sentence of its docstring. Nothing heavy is imported.
"""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import xray_tf

HERE = Path(__file__).parent
HEAD = """# Public names

Everything here is `xray_tf.NAME`, loaded on first use; `help(xray_tf.NAME)` tells arguments, shapes and what is raised.
This page is written by `python docs/api.py`; a test sees that no name is missing.

| name | what it does |
| --- | --- |
"""


def first_sentence(name: str) -> str:
    """Return the first line of a public name's docstring."""
    source = Path(importlib.util.find_spec(xray_tf._PUBLIC[name]).origin)
    node = next(n for n in ast.parse(source.read_text(encoding="utf-8")).body if getattr(n, "name", None) == name)
    return ast.get_docstring(node).split("\n")[0].replace("|", "\\\\|")


def page() -> str:
    """Return the page."""
    rows = "".join(f"| `{name}` | {first_sentence(name)} |\n" for name in sorted(xray_tf._PUBLIC, key=str.lower))
    return HEAD + rows + "| `__version__` | The version, a text. |\n"


if __name__ == "__main__":
    (HERE / "api.md").write_text(page(), encoding="utf-8")
