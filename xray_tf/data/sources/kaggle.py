"""Kaggle's data set, downloaded through kagglehub, and how a download fails."""

from __future__ import annotations

import importlib
from pathlib import Path

from xray_tf.data.sources.folder import records_below
from xray_tf.data.sources.names import Request, Scan, SourceError

DATASET = "paultimothymooney/chest-xray-pneumonia"
MANUAL_WAY = (
    f"download https://www.kaggle.com/datasets/{DATASET} elsewhere, unpack it, "
    "and give the folder as --data"
)


def scan_kaggle(request: Request) -> Scan:
    """Download the data set, on first use, and make its records.

    Raises:
        SourceError: kagglehub is not installed, or the download failed.
    """
    try:
        kagglehub = importlib.import_module("kagglehub")
    except ImportError as error:
        raise SourceError(
            "--data kaggle needs the package kagglehub: pip install "
            f"'xray_tf[kaggle]'. Or {MANUAL_WAY}."
        ) from error
    try:
        folder = Path(kagglehub.dataset_download(DATASET))
    except Exception as error:
        if not is_failed_download(error):
            raise
        raise SourceError(
            f"Kaggle's data set {DATASET} could not be downloaded "
            f"({type(error).__name__}: {error}). "
            f"Check the network and the Kaggle token, or {MANUAL_WAY}."
        ) from error
    return records_below(folder, request)


def is_failed_download(error: BaseException) -> bool:
    """Tell whether an error of Keras, keras-hub or kagglehub means that a download failed.

    What goes wrong below them (no network, a refused token, a full disk) is an OSError, also where
    keras-hub turns it into a ValueError; kagglehub has errors of its own, and Keras raises a bare
    Exception.
    """
    return any(
        isinstance(one, OSError)
        or type(one).__module__.startswith("kagglehub.")
        or type(one) is Exception
        and "URL fetch failure" in str(one)
        for one in (error, error.__cause__ or error.__context__)
    )
