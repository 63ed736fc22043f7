"""Keep TensorFlow's start-up lines off the terminal, and let everything else that it says through.

TensorFlow writes them to the file descriptor of stderr before its own log level counts. So what
comes while it is imported, and while it looks for GPUs, is held back, and passed on without the
lines below.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from importlib.abc import MetaPathFinder

_USUAL = re.compile(
    "All log messages before absl::InitializeLog|oneDNN custom operations are on"
    "|This TensorFlow binary is optimized|To enable the following instructions"
    "|Could not find cuda drivers on your machine"
)
_NO_DRIVER = re.compile("failed call to cuInit")  # a fault only where there is a GPU


def quiet_start() -> None:
    """Hold the start-up lines back when TensorFlow is imported, if it is."""
    if "tensorflow" not in sys.modules and not any(isinstance(f, _Quiet) for f in sys.meta_path):
        sys.meta_path.insert(0, _Quiet())


def is_usual(line: str) -> bool:
    """Tell whether a line says nothing to the user of this machine."""
    return bool(_USUAL.search(line) or (_NO_DRIVER.search(line) and not glob("/dev/nvidia*")))


class _Quiet(MetaPathFinder):
    """Finds TensorFlow once, and wraps its import."""

    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def exec_module(module) -> None:
            with _held_back():
                load(module)
                module.config.list_physical_devices("GPU")

        spec.loader.exec_module = exec_module
        return spec


@contextmanager
def _held_back() -> Iterator[None]:
    """Hold back what is written to the descriptor of stderr, and pass on what is not usual."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            lines = held.read().decode("utf-8", "replace").splitlines(keepends=True)
            os.write(2, "".join(line for line in lines if not is_usual(line)).encode())
