"""Find the models that come with the package by name, in a clone and in an installed wheel.

In a clone (or an editable install) they are in `saved_models/` beside the package. A wheel has the
same folders as `xray_tf/_saved_models/`, without their `saved_model/` (see setup.cfg), which
`xray-tf export` creates again.
"""

from __future__ import annotations

import os
from pathlib import Path

from xray_tf.artifact import CARD, ArtifactError
from xray_tf.registry import DEFAULT_MODEL as DEFAULT
from xray_tf.spelling import did_you_mean, meant

CLASSIFIERS = (DEFAULT, "pneumonia-three-class")
_PACKAGE = Path(__file__).resolve().parent


def shipped_models() -> dict[str, Path]:
    """Return the shipped artifacts, {name: folder}; empty if there are none."""
    for place in _places():
        found = {card.parent.name: card.parent for card in sorted(place.glob(f"*/{CARD}"))}
        if found:
            return found
    return {}


def find_model(model: str | os.PathLike | None = None) -> Path:
    """Return the folder of a model: a path that exists, the name of a shipped model in any
    spelling, or None for `DEFAULT`.

    Raises:
        ArtifactError: there is neither such a folder nor such a shipped model.
    """
    if model is not None and Path(model).exists():
        return Path(model)
    shipped = shipped_models()
    name = DEFAULT if model is None else meant(os.fspath(model), shipped)
    if name in shipped:
        return shipped[name]
    what = (
        f"No model was named, and the shipped {name!r} is missing"
        if model is None
        else f"{name} is not an xray_tf artifact: there is no such folder"
    )
    names = (
        f"Shipped models: {', '.join(shipped)}."
        if shipped
        else f"There is no shipped model either (looked in {' and '.join(map(str, _places()))})."
    )
    raise ArtifactError(
        f"{what}. Expected a folder created by `xray-tf train --out` or `xray-tf detect fit --out`"
        f", or the name of a shipped model. {names}{did_you_mean(name, shipped)}"
    )


def shipped_file(name: str) -> Path | None:
    """Return a file that comes along beside the models, such as `trunks/efficientnet_lite0.npz`;
    None where it is not here.
    """
    return next((place / name for place in _places() if (place / name).is_file()), None)


def _places() -> tuple[Path, ...]:
    """Return where models may be; the folder beside the package counts in a clone, but not in
    site-packages.
    """
    beside = (
        (_PACKAGE.parent / "saved_models",) if (_PACKAGE.parent / "setup.cfg").is_file() else ()
    )
    return (_PACKAGE / "_saved_models", *beside)
