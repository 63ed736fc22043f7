"""Check that the packages of the extra `clinic` are there, and keep what they say of a patient out
of the log.
"""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

NEEDED = ("pydicom", "highdicom", "pynetdicom", "cryptography")
LIBRARIES = ("pydicom", "highdicom", "pynetdicom")  # they log and warn with values of tags


def check_extra() -> None:
    """Raise ImportError, with the way to get it, unless every package is there."""
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ImportError(
                f"DICOM objects and the listener need the package {name}: pip install "
                "'xray_tf[clinic]'."
            ) from error


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence the warnings and the log of the DICOM libraries while the block runs: both repeat
    values of tags, such as names of patients. Values are not validated either; what matters is
    checked by `objects.source`.
    """
    settings = importlib.import_module("pydicom.config").settings
    modes = settings.reading_validation_mode, settings.writing_validation_mode
    ignore = importlib.import_module("pydicom.config").IGNORE
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    disabled = [(logger, logger.level, logger.propagate) for logger in loggers]
    with warnings.catch_warnings():
        for name in LIBRARIES:
            warnings.filterwarnings("ignore", module=rf"{name}(\.|$)")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
            logger.propagate = False
        settings.reading_validation_mode = settings.writing_validation_mode = ignore
        try:
            yield
        finally:
            settings.reading_validation_mode, settings.writing_validation_mode = modes
            for logger, level, propagate in disabled:
                logger.setLevel(level)
                logger.propagate = propagate
