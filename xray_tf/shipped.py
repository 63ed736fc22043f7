"""The models that come with the package, by name, from a clone and from an installed wheel alike.

In a clone (or an editable install) they lie in `saved_models/` beside the package; a wheel carries
the same folders as `xray_tf/_saved_models/`, less their `saved_model/` twins (see setup.cfg), which
`python -m xray_tf.export` makes again.
"""

from __future__ import annotations

import os
from pathlib import Path

from xray_tf.artifact import CARD, ArtifactError
from xray_tf.registry import DEFAULT_MODEL as DEFAULT

_PACKAGE = Path(__file__).resolve().parent


def shipped_models() -> dict[str, Path]:
    """Return the shipped artifacts, name -> folder, by name; empty where none came along."""
    for place in _places():
        found = {card.parent.name: card.parent for card in sorted(place.glob(f"*/{CARD}"))}
        if found:
            return found
    return {}


def find_model(model: str | os.PathLike | None = None) -> Path:
    """Return the folder that is meant: one that is there, a shipped model by its name, or `DEFAULT`
    when None.

    Raises:
        ArtifactError: there is no such folder and no shipped model of that name.
    """
    if model is not None and Path(model).exists():
        return Path(model)
    shipped, name = shipped_models(), DEFAULT if model is None else os.fspath(model)
    if name in shipped:
        return shipped[name]
    what = (
        f"No model was named, and the shipped {name!r} is not here"
        if model is None
        else (f"{name} is no xray_tf artifact: there is no such folder")
    )
    names = (
        f"Shipped models: {', '.join(shipped)}."
        if shipped
        else (f"No shipped model is here either (looked in {' and '.join(map(str, _places()))}).")
    )
    raise ArtifactError(
        f"{what}. Expected the folder that `python -m xray_tf.train --out` made, "
        f"or the name of a shipped model. {names}"
    )


def _places() -> tuple[Path, ...]:
    """Return where models may lie; the folder beside the package counts only in a clone, not in
    site-packages.
    """
    beside = (
        (_PACKAGE.parent / "saved_models",) if (_PACKAGE.parent / "setup.cfg").is_file() else ()
    )
    return (_PACKAGE / "_saved_models", *beside)
