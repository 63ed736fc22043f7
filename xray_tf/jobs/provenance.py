"""Record where a result comes from: command line, options, versions, commit, data fingerprint,
machine and time.
"""

from __future__ import annotations

import hashlib
import platform
import shlex
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path, PureWindowsPath
from typing import Any

from xray_tf import __version__
from xray_tf.artifact import CARD, read_card
from xray_tf.card import MODEL
from xray_tf.data.pixels.decoding import DECODING_RULE, describe_rule
from xray_tf.data.records import Records
from xray_tf.options import provenance as options_of
from xray_tf.options import weights_file
from xray_tf.registry import DISTILLED

LIBRARIES = ("tensorflow", "keras", "scikit-learn", "numpy", "opencv-python-headless")


def fingerprint(records: Records) -> str:
    """Return the sha256 of the files' sorted sha256: equal for the same radiographs, whatever
    their names.
    """
    return hash_of_hashes(r.sha256 for r in records)


def hash_of_hashes(hashes: Iterable[str]) -> str:
    """Return the sha256 over sorted sha256."""
    return hashlib.sha256("".join(sorted(hashes)).encode()).hexdigest()


def provenance(command_line: str, records: Records, *options: Any) -> dict[str, Any]:
    """Return what the card says about a result's origin, without paths and host names."""
    return {
        "command_line": shareable(command_line),
        "options": _without_places(options_of(*options)),
        "versions": {
            "xray_tf": __version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in LIBRARIES},
        },
        "commit": _commit(),
        "data": {"fingerprint": fingerprint(records), "radiographs": len(records)},
        "machine": {"system": platform.system(), "processor": platform.machine()},
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def shareable(command_line: str) -> str:
    """Return a command line without what may name people or machines: DATA in place of the path of
    --data, and the last name of every other path that is not relative.
    """
    try:
        words = shlex.split(command_line)
    except ValueError:  # quotes that are not closed
        return ""
    done = []
    for i, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag == "--data" and equals:
            word = f"--data={_label(value)}"
        elif i and words[i - 1] == "--data":
            word = _label(word)
        elif equals and flag.startswith("--"):
            word = f"{flag}={_last_name(value)}"
        else:
            word = _last_name(word)
        done.append(word)
    return shlex.join(done)


def _label(data: str) -> str:
    return data if data.split(":")[0] in ("phantom", "kaggle") else "DATA"


def _last_name(text: str) -> str:
    absolute = text.startswith(("/", "~", "\\")) or PureWindowsPath(text).drive
    return PureWindowsPath(text).name if absolute else text


def _without_places(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_places(v) for k, v in value.items() if k != "cache"}
    return _last_name(value) if isinstance(value, str) else value


def preprocessing(image_size: int, resize: str) -> dict[str, Any]:
    """Return, for the card, how a radiograph is processed before the network sees it."""
    return {
        "image_size": image_size,
        "resize": resize,
        "decoding": DECODING_RULE,
        "decoding_rule": describe_rule(),
        "channels": 1,
        "pixel_range": [0, 255],
    }


def started_from(weights: str | None) -> list[dict[str, Any]]:
    """Return the models from which a network's weights come, the very first one last; empty if
    `weights` is not the model.keras of an artifact.

    Returns:
        One {`name`, `command_line`, `weights`} per model.
    """
    path = weights_file(weights)
    if path is None or path.name != MODEL or not (path.parent / CARD).is_file():
        return []
    card = read_card(path.parent)
    options = card.provenance.get("options", {})
    before = options.get("ModelOptions", {}).get("weights")
    if card.kind == "trunk":
        before = DISTILLED + options.get("DistilOptions", {}).get("teacher", "")
    return [
        {
            "name": card.name,
            "command_line": card.provenance.get("command_line", ""),
            "weights": before,
        },
        *(card.provenance.get("started_from") or started_from(before)),
    ]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """Return the package's git commit, with + if the tree was changed; empty outside a clone."""
    here = Path(__file__).resolve().parent

    def git(*words: str | Path) -> subprocess.CompletedProcess:
        line = ["git", "-C", here, *words]
        return subprocess.run(line, capture_output=True, text=True, timeout=10)

    try:
        if git("ls-files", "--error-unmatch", __file__).returncode:
            return ""
        head = git("rev-parse", "HEAD").stdout.strip()
        changed = git("status", "--porcelain", "-uno", "--", here).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return head + ("+" if changed else "")
