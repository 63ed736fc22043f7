"""Make records of any data set: a folder in Kaggle's layout, a CSV manifest, a MedMNIST .npz, the
phantoms, or the Kaggle download.

Scanning is fast because it reads only names (and the headers of DICOM files). The cache or the
audit then reads every file once. What a source does not say stays empty: label, sub-type and
patient follow from a rule in `NAME_RULES` or `CLASS_FOLDERS`, or become a finding.
"""

from __future__ import annotations

import importlib
import os
import re
from contextlib import ExitStack
from pathlib import Path

from xray_tf.data.pixels.cache import default_directory
from xray_tf.data.sources.dicom_headers import with_dicom_headers
from xray_tf.data.sources.files import find_files
from xray_tf.data.sources.folder import PHANTOM_PATIENTS, PHANTOM_SEED, PHANTOM_SIZE, scan_folder
from xray_tf.data.sources.manifest import scan_csv
from xray_tf.data.sources.medmnist import scan_medmnist
from xray_tf.data.sources.names import PATIENT_KEYS, Scan, SourceError
from xray_tf.data.sources.phantom_folder import write_phantoms
from xray_tf.data.synthetic.phantom import VERSION
from xray_tf.progress import ProgressLine
from xray_tf.registry import KAGGLE_DATASET, SOURCES

MANUAL_WAY = (
    f"download https://www.kaggle.com/datasets/{KAGGLE_DATASET} elsewhere, unpack it, "
    "and give the folder as --data"
)


def scan(
    data: str | os.PathLike,
    source: str = "auto",
    patient_key: str = "namespaced",
    cache: str | os.PathLike | None = None,
    progress: bool = False,
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

    Returns:
        (records, findings); sha256, width, height and mode are still empty.

    Raises:
        FileNotFoundError: `data` does not exist.
        SourceError: it is empty, or not in the layout of `source`.
        ImportError: it contains DICOM files, and pydicom is not installed.
    """
    directory = default_directory() if cache is None else Path(cache).expanduser()
    return with_dicom_headers(
        _scan(os.fspath(data), source, patient_key, directory, progress), directory
    )


def _scan(data: str, source: str, patient_key: str, directory: Path, progress: bool) -> Scan:
    allowed = ("auto", *SOURCES)
    if source not in allowed:
        raise SourceError(f"source must be one of {allowed}. Received: source={source!r}")
    if patient_key not in PATIENT_KEYS:
        raise SourceError(
            f"patient_key must be one of {PATIENT_KEYS}. Received: patient_key={patient_key!r}"
        )
    source = recognise(data) if source == "auto" else source
    if source == "phantom":
        return scan_folder(_write_phantom(data, directory, progress), patient_key)
    if source == "kaggle":
        return scan_folder(_download(), patient_key)
    path = Path(data).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f"{data} does not exist. Expected a folder, a .csv manifest, a "
            "MedMNIST .npz, or the word phantom or kaggle."
        )
    if source == "flat":
        return find_files(path)
    if source == "kaggle-folder" and not path.is_dir():
        raise SourceError(f"source kaggle-folder needs a folder. Received the file {path}.")
    if source in ("csv", "medmnist") and not path.is_file():
        raise SourceError(
            f"source {source} needs a {'.csv' if source == 'csv' else '.npz'} file. "
            f"Received the folder {path}."
        )
    if source == "csv":
        return scan_csv(path)
    return (
        scan_medmnist(path, directory, progress)
        if source == "medmnist"
        else scan_folder(path, patient_key)
    )


def recognise(data: str | os.PathLike) -> str:
    """Say which source `data` is, by its word, suffix or kind.

    Raises:
        SourceError: a file of another kind.
    """
    data = os.fspath(data)
    if data == "kaggle" or data.split(":")[0] == "phantom":
        return data.split(":")[0]
    suffix = Path(data).suffix.lower()
    if not Path(data).expanduser().is_file():
        return "kaggle-folder"
    if suffix in (".csv", ".npz"):
        return {".csv": "csv", ".npz": "medmnist"}[suffix]
    hint = "A single radiograph can be given to predict, not used as a data set."
    if suffix in (".zip", ".gz", ".tar"):
        hint = "Unpack it and give the folder."
    raise SourceError(
        f"{data} is neither a folder, nor a .csv manifest, nor a MedMNIST .npz. {hint}"
    )


def _write_phantom(data: str, cache: Path, progress: bool) -> Path:
    """Write the phantoms that `phantom[:PATIENTS[:SEED]]` asks for, once, and return their
    folder.
    """
    match = re.fullmatch(r"phantom(?::(\d+))?(?::(\d+))?", data)
    if not match:
        raise SourceError(
            "a phantom is asked for as phantom, phantom:PATIENTS or "
            f"phantom:PATIENTS:SEED, in whole numbers. Received: {data!r}"
        )
    patients, seed = int(match[1] or PHANTOM_PATIENTS), int(match[2] or PHANTOM_SEED)
    folder = cache / f"phantom-{patients}-patients-seed-{seed}-{PHANTOM_SIZE}px-v{VERSION}"
    line = None

    def show(done: int, total: int) -> None:
        nonlocal line
        line = line or stack.enter_context(ProgressLine("Drawing phantoms", total, progress))
        line.step()

    try:
        with ExitStack() as stack:
            write_phantoms(folder, patients, seed, PHANTOM_SIZE, progress=show)
    except ValueError as error:
        raise SourceError(f"{data}: {error}") from error
    return folder


def _download() -> Path:
    try:
        kagglehub = importlib.import_module("kagglehub")
    except ImportError as error:
        raise SourceError(
            "--data kaggle needs the package kagglehub: pip install "
            f"'xray_tf[kaggle]'. Or {MANUAL_WAY}."
        ) from error
    try:
        return Path(kagglehub.dataset_download(KAGGLE_DATASET))
    # kagglehub lets requests' and its own errors through; whatever it was, the way out is the same
    except Exception as error:
        raise SourceError(
            f"Kaggle's data set {KAGGLE_DATASET} could not be downloaded ({type(error).__name__}: "
            f"{error}). Check the network and the Kaggle token, or {MANUAL_WAY}."
        ) from error
