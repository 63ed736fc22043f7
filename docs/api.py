"""Write docs/api.md: every public name of xray_tf, the objects they return, and their options.

python docs/api.py

Each comes with the first paragraph of its docstring. Nothing heavy is imported.
"""

from __future__ import annotations

import ast
import importlib.util
import textwrap
from pathlib import Path

import xray_tf

HERE = Path(__file__).parent
PACKAGE = Path(xray_tf.__file__).parent
OBJECTS = ("Classifier", "Detector", "LungSegmenter", "Evidence", "Predictions", "Scores")
HEAD = """# Public names

Every name below is `xray_tf.NAME`, and is loaded on first use. `help(xray_tf.NAME)` shows its
arguments, shapes and errors. This page is written by `python docs/api.py`; a test checks that it is
complete.

| name | what it does |
| --- | --- |
"""
OBJECTS_HEAD = """
## The objects they return

`load` and `train_classifier` return a `Classifier`, `load` and `fit_detector` a `Detector`, `load`
and `train_segmenter` a `LungSegmenter`. In a notebook the first two show their card.
"""
OPTIONS_HEAD = """
## Options

`xray_tf.options` holds the options of functions and commands as frozen dataclasses. `--help` of a
command explains every field.

| name | what it holds |
| --- | --- |
"""


def first_sentence(name: str) -> str:
    """Return the first paragraph of a public name's docstring."""
    source = Path(importlib.util.find_spec(xray_tf._PUBLIC[name]).origin)
    body = ast.parse(source.read_text(encoding="utf-8")).body
    return line(next(node for node in body if getattr(node, "name", None) == name))


def classes(path: Path) -> dict[str, ast.ClassDef]:
    """Return the public classes of a file by name."""
    return {
        node.name: node
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    }


def line(node: ast.AST) -> str:
    """Return the first paragraph of a docstring in one line."""
    return " ".join(ast.get_docstring(node).split("\n\n")[0].split()).replace("|", "\\|")


def objects(every_class: dict[str, ast.ClassDef]) -> str:
    """Return the sections on the objects that public names return."""
    sections = []
    for name in OBJECTS:
        node = every_class[name]
        rows = [
            f"| `.{method.name}` | {line(method)} |\n"
            for method in node.body
            if isinstance(method, ast.FunctionDef)
            and not method.name.startswith("_")
            and ast.get_docstring(method)
        ]
        sections.append(
            f"\n### {name}\n\n{textwrap.fill(line(node), 100)}\n\n| name | what it does |\n| --- | --- |\n"
            + "".join(rows)
        )
    return OBJECTS_HEAD + "".join(sections)


def options() -> str:
    """Return the section on options."""
    rows = [
        f"| `options.{name}` | {line(node)} |\n"
        for path in sorted((PACKAGE / "options").glob("*.py"))
        for name, node in classes(path).items()
        if name.endswith("Options")
    ]
    return OPTIONS_HEAD + "".join(rows)


def page() -> str:
    """Return the page."""
    rows = "".join(
        f"| `{name}` | {first_sentence(name)} |\n"
        for name in sorted(xray_tf._PUBLIC, key=str.lower)
    )
    every_class = {k: v for path in sorted(PACKAGE.rglob("*.py")) for k, v in classes(path).items()}
    version = "| `__version__` | The version, as text. |\n"
    return HEAD + rows + version + objects(every_class) + options()


if __name__ == "__main__":
    (HERE / "api.md").write_text(page(), encoding="utf-8")
