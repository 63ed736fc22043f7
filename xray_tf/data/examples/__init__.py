"""Name the twelve radiographs that travel with the package; README.md beside them says whose they
are.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def example_radiographs(kind: str = "all") -> list[Path]:
    """Return the example radiographs, normal ones first: held-out children of the public training
    part, drawn at random.

    Args:
        kind: `all`, `normal`, `bacterial` or `viral`.

    Returns:
        Twelve JPEG files, or four of a kind.

    Raises:
        ValueError: an unknown kind.
    """
    patterns = {"normal": "NORMAL/*", "bacterial": "PNEUMONIA/*bacteria*", "viral": "*/*virus*"}
    if kind not in ("all", *patterns):
        raise ValueError(f"kind must be one of {('all', *patterns)}. Received: kind={kind!r}")
    wanted = patterns.values() if kind == "all" else [patterns[kind]]
    return [file for pattern in wanted for file in sorted(FOLDER.glob(f"{pattern}.jpeg"))]
