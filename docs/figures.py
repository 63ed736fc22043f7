"""Write the blocks of README.md and docs/ that come from result files, and say which changed.

python docs/figures.py

A block stands between `<!-- NAME: written by docs/figures.py -->` and `<!-- end -->`, and one
function below writes it. Text outside a block tells no measured number.
tests/test_honest_numbers.py holds both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xray_tf.commands import find_commands, summary

REPOSITORY = Path(__file__).parents[1]
MODELS = REPOSITORY / "saved_models"
BLOCK = re.compile(
    r"(?P<open><!-- (?P<name>\w+): written by docs/figures\.py -->\n).*?(?P<close><!-- end -->)",
    re.S,
)
SHIPPED = {
    "pneumonia-binary": "",
    "pneumonia-three-class": " (macro means)",
    "normal-chest": " (learned from normals only)",
}
SHOWN = {
    "auroc": "AUROC",
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}


def read(path: str) -> dict[str, Any]:
    """Return the contents of a result file of the repository."""
    return json.loads((REPOSITORY / path).read_text(encoding="utf-8"))


def interval(cell: dict[str, float]) -> str:
    """Write a metric with its interval."""
    return f"{cell['value']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]"


def models() -> str | None:
    """Return what the shipped models reached on held-out rows; None in a clone without them."""
    if not MODELS.exists():
        return None
    rows = []
    for name, note in SHIPPED.items():
        found = read(f"saved_models/{name}/metrics.json")
        cells = " | ".join(interval(found["metrics"][key]) for key in SHOWN)
        rows.append(f"| `{name}`{note} | {found['rows']} | {cells} |")
    shift = read("saved_models/pneumonia-binary/shift.json")
    worst = shift["worst"]["specificity"]
    return "\n".join(
        (
            f"| model | rows | {' | '.join(SHOWN.values())} |",
            "| --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            f"Under {len(shift['stresses'])} graded changes of the radiographs, the specificity of",
            f"`pneumonia-binary` is {interval(shift['mean']['specificity'])} on average, and "
            f"{worst['value']:.3f} under the worst one (`{worst['stress']}`).",
        )
    )


def patients() -> str:
    """Return how many of the public radiographs share a child with another one."""
    found = read("docs/public_data.json")
    rows = [
        f"| `{key}` | {keys['patients']:,} | {keys['with_several']:,} | "
        f"{keys['images_of_those']:,} of {found['files']:,} |"
        for key, keys in found["patients"].items()
    ]
    return "\n".join(
        (
            "| patient key | children | with several radiographs | radiographs of these |",
            "| --- | --- | --- | --- |",
            *rows,
        )
    )


def commands() -> str:
    """Return every command with what it does."""
    rows = [f"| `xray-tf {name}` | {summary(text)} |" for name, text in find_commands().items()]
    return "\n".join(("| command | what it does |", "| --- | --- |", *rows))


BLOCKS: dict[str, Callable[[], str | None]] = {
    "models": models,
    "patients": patients,
    "commands": commands,
}


def pages() -> list[Path]:
    """Return the pages that may have blocks."""
    return [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def renewed(text: str) -> str:
    """Return a page with every block as the result files have it."""

    def block(match: re.Match) -> str:
        content = BLOCKS[match["name"]]()
        return match[0] if content is None else f"{match['open']}{content}\n{match['close']}"

    return BLOCK.sub(block, text)


def main() -> None:
    """Rewrite the pages."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if renewed(text) != text:
            page.write_text(renewed(text), encoding="utf-8")
            print(f"renewed {page.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    main()
