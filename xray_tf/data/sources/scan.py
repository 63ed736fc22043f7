"""Make records of any data set: a folder in Kaggle's layout, a CSV manifest, a MedMNIST .npz, the
phantoms, the Kaggle download, or any other row of `registry.SOURCES`.

Scanning is fast because it reads only names (and the headers of DICOM files). The cache or the
audit then reads every file once. What a source does not say stays empty: label, sub-type and
patient follow from a rule in `NAME_RULES` or `registry.CLASS_WORDS`, or become a finding.
"""

from __future__ import annotations

import os
from pathlib import Path

from xray_tf.data.pixels.cache import default_directory
from xray_tf.data.sources.dicom_headers import with_dicom_headers
from xray_tf.data.sources.names import PATIENT_KEYS, Request, Scan, SourceError
from xray_tf.registry import SOURCES, TASKS, Task

_HINTS = dict.fromkeys((".zip", ".gz", ".tar"), "Unpack it and give the folder.")


def scan(
    data: str | os.PathLike,
    source: str = "auto",
    patient_key: str = "namespaced",
    cache: str | os.PathLike | None = None,
    progress: bool = False,
    task: Task = TASKS["binary"],
) -> Scan:
    """Make records of a data set from names alone; only the headers of DICOM files are opened.

    Args:
        data: a folder, a .csv manifest, a MedMNIST .npz, or the words `phantom[:PATIENTS[:SEED]]`
            or `kaggle`. The words win over a folder of the same name; write ./phantom for that.
        source: a key of `registry.SOURCES`, or `auto` to decide by looking at `data`.
        patient_key: `namespaced` (person1 of bacteria and of virus are two children) or `bare`
            (they are one).
        cache: the folder in which .npz images and phantoms are written as PNG, and which holds
            the secret of DICOM patient keys; the user's cache folder if None.
        progress: show a line while writing them.
        task: whose words name classes; those of every row of `registry.TASKS` are known anyway.

    Returns:
        (records, findings); sha256, width, height and mode are still empty.

    Raises:
        FileNotFoundError: `data` does not exist.
        SourceError: it is empty, or not in the layout of `source`.
        ImportError: it contains DICOM files, and pydicom is not installed.
    """
    allowed = ("auto", *SOURCES)
    if source not in allowed:
        raise SourceError(f"source must be one of {allowed}. Received: source={source!r}")
    if patient_key not in PATIENT_KEYS:
        raise SourceError(
            f"patient_key must be one of {PATIENT_KEYS}. Received: patient_key={patient_key!r}"
        )
    data = os.fspath(data)
    source = recognise(data) if source == "auto" else source
    directory = default_directory() if cache is None else Path(cache).expanduser()
    request = Request(data, source, patient_key, directory, task, progress)
    return with_dicom_headers(SOURCES[source].scan(request), directory)


def recognise(data: str | os.PathLike) -> str:
    """Say which source `data` is, by its word, suffix or kind.

    Raises:
        SourceError: a file of another kind.
    """
    data = os.fspath(data)
    for name, source in SOURCES.items():
        if source.recognise(data):
            return name
    hint = _HINTS.get(
        Path(data).suffix.lower(),
        "A single radiograph can be given to predict, not used as a data set.",
    )
    raise SourceError(
        f"{data} is neither a folder, nor a .csv manifest, nor a MedMNIST .npz. {hint}"
    )
