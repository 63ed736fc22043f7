"""Who makes records: a folder in Kaggle's layout, a CSV manifest, a MedMNIST .npz, the phantom, the Kaggle download.

Scanning reads names only (of DICOM files the header too) and stays fast; the cache builder, the audit or `fill_records` then reads every
file's bytes once. What a source does not say stays empty: a label, sub-type or patient is read by a rule stated in
`NAME_RULES` or `CLASS_FOLDERS`, or it becomes a finding.
"""

from __future__ import annotations

import glob
import importlib
import os
import re
from collections import Counter, deque
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from xray_tf.data.cache import ProgressLine, default_directory, each, read_file
from xray_tf.data.dicom import SUFFIXES, is_dicom_file
from xray_tf.data.dicom_headers import with_dicom_headers
from xray_tf.data.manifest import scan_csv
from xray_tf.data.medmnist import scan_medmnist
from xray_tf.data.names import CLASS_FOLDERS, IMAGE_SUFFIXES, PATIENT_KEYS, SPLIT_FOLDERS, Scan, SourceError, natural_key, read_name
from xray_tf.data.phantom import VERSION
from xray_tf.data.phantom_folder import write_phantoms
from xray_tf.data.records import Finding, Findings, Record, Records
from xray_tf.registry import KAGGLE_DATASET, SOURCES

CHECK_SIZE = 64  # pixels: side of the square a file is decoded to only to see that it can be
PHANTOM_PATIENTS, PHANTOM_SEED, PHANTOM_SIZE, PHANTOM_MARK = 200, 0, 256, "phantom.json"
MANUAL_WAY = f"download https://www.kaggle.com/datasets/{KAGGLE_DATASET} elsewhere, unpack it, and give the folder as --data"


def scan(data: str | os.PathLike, source: str = "auto", patient_key: str = "namespaced", cache: str | os.PathLike | None = None,
         progress: bool = False) -> Scan:
    """Make records of a data set from names alone; no radiograph is opened, but for the headers of DICOM files.

    Args:
        data: a folder, a .csv manifest, a MedMNIST .npz, or the words `phantom[:PATIENTS[:SEED]]` or `kaggle`. The words win over
            a folder of the same name; write ./phantom for that.
        source: a key of `registry.SOURCES`, or `auto` to look at `data`.
        patient_key: `namespaced` (person1 of bacteria and of virus are two children) or `bare` (they are one).
        cache: where .npz images and phantoms are written as PNG, once, and where the key of DICOM patient keys lies; the user's cache folder if None.
        progress: show a line while writing them.

    Returns:
        (records, findings); sha256, width, height and mode are still empty.

    Raises:
        FileNotFoundError: `data` is not there.
        SourceError: it is empty, or not in the layout of `source`.
        ImportError: it holds DICOM files and pydicom is not installed.
    """
    directory = default_directory() if cache is None else Path(cache).expanduser()
    return with_dicom_headers(_scan(os.fspath(data), source, patient_key, directory, progress), directory)


def _scan(data: str, source: str, patient_key: str, directory: Path, progress: bool) -> Scan:
    allowed = ("auto", *SOURCES)
    if source not in allowed:
        raise SourceError(f"source must be one of {allowed}. Received: source={source!r}")
    if patient_key not in PATIENT_KEYS:
        raise SourceError(f"patient_key must be one of {PATIENT_KEYS}. Received: patient_key={patient_key!r}")
    source = recognise(data) if source == "auto" else source
    if source == "phantom":
        return _scan_folder(_write_phantom(data, directory, progress), patient_key)
    if source == "kaggle":
        return _scan_folder(_download(), patient_key)
    path = Path(data).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{data} does not exist. Expected a folder, a .csv manifest, a MedMNIST .npz, or the word phantom or kaggle.")
    if source == "flat":
        return find_files(path)
    if source == "kaggle-folder" and not path.is_dir():
        raise SourceError(f"source kaggle-folder needs a folder. Received the file {path}.")
    if source in ("csv", "medmnist") and not path.is_file():
        raise SourceError(f"source {source} needs a {'.csv' if source == 'csv' else '.npz'} file. Received the folder {path}.")
    if source == "csv":
        return scan_csv(path)
    return scan_medmnist(path, directory, progress) if source == "medmnist" else _scan_folder(path, patient_key)


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
    hint = {".zip": "Unpack it and give the folder.", ".gz": "Unpack it and give the folder.", ".tar": "Unpack it and give the folder."}.get(
        suffix, "A single radiograph can be given to predict, not used as a data set.")
    raise SourceError(f"{data} is neither a folder, nor a .csv manifest, nor a MedMNIST .npz. {hint}")


# ---- folders


def _scan_folder(folder: Path, patient_key: str) -> Scan:
    root = _layout_root(folder)
    files, findings = _walk(root)
    files, nested = _without_nested_copy(files)
    findings += nested
    if (root / PHANTOM_MARK).is_file():  # the phantom's own truth, not radiographs
        files = [f for f in files if not f.startswith("masks/")]
        findings = [f for f in findings if f.kind != "not-an-image"]
    rows, stray = [], Counter()
    for path in files:
        *folders, _ = path.split("/")
        words = [CLASS_FOLDERS[f.lower()] for f in folders if f.lower() in CLASS_FOLDERS]
        split = SPLIT_FOLDERS.get(folders[0].lower(), "") if folders else ""
        if not words:
            stray["/".join(folders) or "."] += 1
            continue
        row, said = _row(path, words, split, patient_key)
        rows.append(row)
        findings += said
    findings += [Finding("unlabelled-file", "warning", "", f"{count} image(s) directly in {where} lie in no class folder and are left out; expected "
                         "a folder named NORMAL, PNEUMONIA, BACTERIA or VIRUS.") for where, count in sorted(stray.items())]
    if not rows:
        raise SourceError(f"{root} has no image in its class folders. Expected *.jpeg, *.png, *.dcm ... in {{NORMAL,PNEUMONIA}}, or in train/, val/, test/ "
                          "of them.")
    return Scan(Records(rows, root), Findings(_summarise_names(rows, findings)))


def _row(path: str, words: list[tuple[str, str]], split: str, patient_key: str) -> tuple[Record, list[Finding]]:
    """Make one record from its folders' words and its name; the folder's label wins, a contradiction is reported."""
    findings = []
    labels, subtypes = {label for label, _ in words}, {subtype for _, subtype in words if subtype}
    label, subtype = words[-1][0], subtypes.pop() if len(subtypes) == 1 else ""
    if len(labels) > 1 or subtypes:
        findings.append(Finding("label-contradiction", "warning", path, f"Its folders name several classes; {label} is kept, from the innermost."))
    named = read_name(path, patient_key)
    if named is None:
        findings.append(Finding("irregular-name", "warning", path, "No naming rule fits, so its patient (and a sub-type that no folder names) stays empty."))
        return Record(path, label, subtype if label == "pneumonia" else "", "", split=split), findings
    if named[0] != label or subtype and named[1] != subtype:
        what = named[1] or named[0]
        findings.append(Finding("label-contradiction", "warning", path, f"The folder says {subtype or label}, the name says {what}; "
                                f"{label} is kept from the folder and the sub-type is left empty."))
        return Record(path, label, "", named[2], split=split), findings
    return Record(path, label, named[1], named[2], split=split), findings


def _summarise_names(rows: list[Record], findings: list[Finding]) -> list[Finding]:
    """Replace one finding a file by one for the whole where no name at all follows a rule; note a lone class."""
    irregular = sum(f.kind == "irregular-name" for f in findings)
    if irregular == len(rows):
        findings = [f for f in findings if f.kind != "irregular-name"]
        findings.append(Finding("no-patient-key", "warning", "", f"None of the {len(rows)} file names follows a naming rule, so no patient is known; "
                                "such data can be split only with --split-by image."))
    labels = {row.label for row in rows}
    if len(labels) == 1:
        findings.append(Finding("one-class", "warning", "", f"All {len(rows)} radiographs are {labels.pop()}; they can be scored, not trained on."))
    return findings


def _layout_root(folder: Path) -> Path:
    """Return the folder that holds split or class folders: `folder`, its chest_xray, or the only folder in it."""
    here, seen = folder, []
    for _ in range(5):
        names = sorted(e.name for e in os.scandir(here) if e.is_dir() and not _ignored(e.name))
        if any(n.lower() in SPLIT_FOLDERS or n.lower() in CLASS_FOLDERS for n in names):
            return here
        seen = names
        below = [n for n in names if n.lower() == "chest_xray"] or names
        if len(below) != 1:
            break
        here = here / below[0]
    files = sorted(e.name for e in os.scandir(here) if not _ignored(e.name) and e.is_file())
    hint = [n for n in files if n.lower().endswith((".csv", ".npz", ".zip"))]
    hint = f" It holds {hint[0]}: is that what to give?" if hint else ""
    found = f"the folders {seen[:5]}" if seen else f"{len(files)} file(s) and no folders" if files else "nothing"
    raise SourceError(f"{folder} is not in Kaggle's layout. Expected [train|val|test]/{{NORMAL,PNEUMONIA}} or {{NORMAL,PNEUMONIA}} in it, found {found}.{hint} "
                      "For radiographs sorted otherwise, give a CSV manifest with the columns path and label.")


def _ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in ("__macosx", "thumbs.db", "desktop.ini")


def _walk(root: Path) -> tuple[list[str], list[Finding]]:
    """List the image files below `root` in natural order, with notes on what was passed over.

    Links are followed after every real folder has been seen, and no folder is entered twice, so loops end and real paths win.
    """
    files, ignored, other, repeated, seen = [], Counter(), Counter(), [], set()
    queue = deque([""])
    while queue:
        folder = queue.popleft()
        status = os.stat(root / folder)
        if (status.st_dev, status.st_ino) in seen:
            repeated.append(folder)
            continue
        seen.add((status.st_dev, status.st_ino))
        try:
            entries = list(os.scandir(root / folder))
        except OSError as error:
            raise SourceError(f"the folder {root / folder} cannot be listed ({error.strerror}). Make it readable, or move it away.") from error
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            suffix = os.path.splitext(entry.name)[1].lower()
            if _ignored(entry.name):
                ignored["__MACOSX" if entry.name.lower() == "__macosx" else "._* files" if entry.name.startswith("._") else entry.name] += 1
            elif entry.is_dir():
                (queue.append if entry.is_symlink() else queue.appendleft)(path)
            elif suffix in (*IMAGE_SUFFIXES, *SUFFIXES) and (entry.is_file() or entry.is_symlink()):
                files.append(path)  # a link that leads nowhere stays in, to become a finding when it is read
            elif entry.name.upper() != "DICOMDIR" and is_dicom_file(entry.path):  # exports often give them no suffix, or a UID's last number
                files.append(path)
            else:
                other[suffix or "no suffix"] += 1
    findings = [Finding("ignored", "note", "", f"{count} x {what} passed over: written by an operating system, not radiographs.")
                for what, count in sorted(ignored.items())]
    findings += [Finding("not-an-image", "note", "", f"{count} file(s) with {what} passed over; images end in {', '.join(IMAGE_SUFFIXES)} or are DICOM.")
                 for what, count in sorted(other.items())]
    findings += [Finding("repeated-folder", "note", "", f"The link {path} leads to a folder that is already there; its files are counted once.")
                 for path in sorted(repeated)]
    return sorted(files, key=natural_key), findings


def _without_nested_copy(files: list[str]) -> tuple[list[str], list[Finding]]:
    """Leave out chest_xray/ inside the layout: Kaggle's archive holds everything twice."""
    nested = [f for f in files if f.split("/", 1)[0].lower() == "chest_xray"]
    if not nested:
        return files, []
    kept = [f for f in files if f.split("/", 1)[0].lower() != "chest_xray"]
    only_there = len({f.split("/", 1)[1] for f in nested} - set(kept))
    severity, but = ("warning", f", although {only_there} of its names are not outside it: move those out if they are wanted") if only_there else ("note", "")
    return kept, [Finding("nested-copy", severity, "", f"The second copy in {nested[0].split('/', 1)[0]}/ ({len(nested)} images) is left out{but}.")]


def list_files(paths: str | os.PathLike | Iterable[str | os.PathLike]) -> Records:
    """List what `predict` shall read, as `find_files` does, without its notes."""
    return find_files(paths).records


def find_files(paths: str | os.PathLike | Iterable[str | os.PathLike]) -> Scan:
    """List files, folders (recursive, natural order) and globs, in the order given, labelled or not.

    A file named outright is kept whatever its suffix. Labels come from folder names in `CLASS_FOLDERS` where there are any (for
    a file: the folder it lies in); paths stay as given, relative to the working folder.

    Raises:
        SourceError: nothing was given, or one of the paths leads to nothing.
    """
    single = isinstance(paths, str | os.PathLike | bytes) or not isinstance(paths, Iterable)
    given = [paths] if single else list(paths)
    wrong = [type(item).__name__ for item in given if not isinstance(item, str | os.PathLike)]
    if wrong:
        raise SourceError(f"expected paths of files, folders or globs, or one array of grey pixels where arrays are taken. Received: {wrong[0]}.")
    if not given:
        raise SourceError("no radiograph was given. Expected files, folders or globs.")
    found, findings = {}, []
    for item in map(os.fspath, given):
        before = len(found), len(findings)
        matches = [item] if os.path.lexists(item) else sorted(glob.glob(os.path.expanduser(item), recursive=True), key=natural_key)
        again = 0
        for match in matches:
            files, walked = _walk(Path(match)) if os.path.isdir(match) else ([""], [])
            findings += walked
            for file in files:
                path = os.path.join(match, file) if file else match
                again += path in found
                found.setdefault(path, [Path(os.path.abspath(match)).name, *file.split("/")[:-1]] if file else Path(os.path.abspath(match)).parts[-2:-1])
        if again:
            findings.append(Finding("named-twice", "note", "", f"{again} file(s) of {item} were given before; each is read once."))
        elif len(found) == before[0]:
            skipped = " ".join(f.detail for f in findings[before[1]:])
            raise SourceError(f"{item} leads to no image. Expected a file, a folder with images in it, or a glob that matches some. {skipped}".strip())
    return Scan(Records(_unlabelled_row(path, folders) for path, folders in found.items()), Findings(findings))


def _unlabelled_row(path: str, folders: Iterable[str]) -> Record:
    words = [CLASS_FOLDERS[f.lower()] for f in folders if f.lower() in CLASS_FOLDERS]
    named = read_name(Path(path).name)
    if not words:
        return Record(path, patient=named[2] if named else "")
    return _row(path, words, next((SPLIT_FOLDERS[f.lower()] for f in folders if f.lower() in SPLIT_FOLDERS), ""), "namespaced")[0]


# ---- phantom and download

def _write_phantom(data: str, cache: Path, progress: bool) -> Path:
    """Write the phantoms that `phantom[:PATIENTS[:SEED]]` asks for, once, and return their folder."""
    match = re.fullmatch(r"phantom(?::(\d+))?(?::(\d+))?", data)
    if not match:
        raise SourceError(f"a phantom is asked for as phantom, phantom:PATIENTS or phantom:PATIENTS:SEED, in whole numbers. Received: {data!r}")
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
        raise SourceError(f"--data kaggle needs the package kagglehub: pip install 'xray_tf[kaggle]'. Or {MANUAL_WAY}.") from error
    try:
        return Path(kagglehub.dataset_download(KAGGLE_DATASET))
    except Exception as error:  # kagglehub lets requests' and its own errors through; whatever it was, the way out is the same
        raise SourceError(f"Kaggle's data set {KAGGLE_DATASET} could not be downloaded ({type(error).__name__}: {error}). "
                          f"Check the network and the Kaggle token, or {MANUAL_WAY}.") from error


# ---- reading

def fill_records(records: Records, workers: int | None = None, progress: bool = False) -> Scan:
    """Read every file once, on threads, and fill in sha256, width, height and mode.

    The file is decoded too, small, so that what passes here passes in `build_cache` as well.

    Returns:
        (records, findings): a row whose file is missing, empty, damaged or no image is left out and has an `error` finding.
    """
    rows, findings = [], []
    with ProgressLine("Reading", len(records), progress) as line:
        for row, reading in zip(records, each(lambda row: read_file(records.file(row), CHECK_SIZE, "squash")[0], records, workers), strict=True):
            if reading.kind:
                findings.append(reading.finding(row.path))
            else:
                rows.append(reading.fill(row))
            line.step()
    return Scan(records.with_rows(rows), Findings(findings))
