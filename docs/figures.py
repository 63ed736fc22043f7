"""python docs/figures.py

Write every figure of README.md, docs/, benchmarks/README.md and saved_models/README.md anew from
its result file, and say which changed.

A figure is a number with its source right behind it: `0.972<!-- figure: FILE PATH FORMAT -->`. FILE
is relative to the repository, PATH the keys to the value (`metrics.auroc.value`, list items by
number), FORMAT Python's (`.3f`, `,d`, `.0%`). tests/test_honest_numbers.py holds the numbers to the
files.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
NUMBER = r"\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)?"
FIGURE = re.compile(rf"({NUMBER})((?: ?%)?(?:\*\*)?<!-- figure: (\S+) (\S+) (\S+) -->)")


def pages() -> list[Path]:
    """Return the pages that may hold figures."""
    wanted = [
        REPOSITORY / "README.md",
        *sorted((REPOSITORY / "docs").glob("*.md")),
        *(REPOSITORY / d / "README.md" for d in ("benchmarks", "saved_models")),
    ]
    return [p for p in wanted if p.exists()]


def figure(file: str, path: str, form: str) -> str | None:
    """Return a figure as its file has it, per cent sign left out; None where the file is a model's
    that this clone goes without.
    """
    if file.startswith("saved_models/") and not (REPOSITORY / "saved_models").exists():
        return None
    value = json.loads((REPOSITORY / file).read_text(encoding="utf-8"))
    for key in path.split("."):
        value = value[int(key) if isinstance(value, list) else key]
    return format(value, form).rstrip("%")


def renewed(text: str) -> str:
    """Return a page with every figure as its file has it."""
    return FIGURE.sub(lambda m: (figure(*m.groups()[2:]) or m[1]) + m[2], text)


def main() -> None:
    """Rewrite the pages."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if renewed(text) != text:
            page.write_text(renewed(text), encoding="utf-8")
            print(f"renewed {page.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    main()
