"""python docs/api.py

Write docs/api.md: every public name of xray_tf, the objects they return and their options, each
with its docstring's first line. Nothing heavy is imported.
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

OBJECTS_HEAD = """
## What comes back

`load` and `train_classifier` return a `Classifier`, `load` and `fit_detector` a `Detector`; both show themselves in a notebook.
"""
OPTIONS_HEAD = """
## Options

`xray_tf.options` holds what functions and commands can be told, as frozen dataclasses; `help(xray_tf.options.TrainOptions)` names the fields, the `--help` of
a command says what each means.

| name | what it says |
| --- | --- |
"""
PACKAGE = Path(xray_tf.__file__).parent
OBJECTS = {
    "Classifier": "jobs/loaded.py",
    "Detector": "jobs/loaded_detector.py",
    "Evidence": "pages/evidence.py",
    "Predictions": "data/predictions.py",
    "Scores": "data/scores.py",
}


def first_sentence(name: str) -> str:
    """Return the first line of a public name's docstring."""
    source = Path(importlib.util.find_spec(xray_tf._PUBLIC[name]).origin)
    node = next(
        n
        for n in ast.parse(source.read_text(encoding="utf-8")).body
        if getattr(n, "name", None) == name
    )
    return line(node)


def classes(path: Path) -> dict[str, ast.ClassDef]:
    """Return the public classes of a file by name."""
    return {
        n.name: n
        for n in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(n, ast.ClassDef) and not n.name.startswith("_")
    }


def line(node: ast.AST) -> str:
    """Return the first line of a docstring."""
    return ast.get_docstring(node).split("\n")[0].replace("|", "\\|")


def objects() -> str:
    """Return what the objects that `load` and the other names return can do, and which options
    there are.
    """
    out = []
    for name, module in OBJECTS.items():
        node = classes(PACKAGE / module)[name]
        methods = [
            m
            for m in node.body
            if isinstance(m, ast.FunctionDef)
            and not m.name.startswith("_")
            and ast.get_docstring(m)
        ]
        out.append(
            f"\n### {name}\n\n{line(node)}\n\n| name | what it does |\n| --- | --- |\n"
            + "".join(f"| `.{m.name}` | {line(m)} |\n" for m in methods)
        )
    rows = [
        f"| `options.{name}` | {line(node)} |\n"
        for name, node in classes(PACKAGE / "options.py").items()
        if name.endswith("Options")
    ]
    return OBJECTS_HEAD + "".join(out) + OPTIONS_HEAD + "".join(rows)


def page() -> str:
    """Return the page."""
    rows = "".join(
        f"| `{name}` | {first_sentence(name)} |\n"
        for name in sorted(xray_tf._PUBLIC, key=str.lower)
    )
    return HEAD + rows + "| `__version__` | The version, a text. |\n" + objects()


if __name__ == "__main__":
    (HERE / "api.md").write_text(page(), encoding="utf-8")
