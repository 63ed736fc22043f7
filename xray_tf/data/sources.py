"""Who makes records: a folder in Kaggle's layout, a CSV manifest, a MedMNIST .npz, the phantom, the Kaggle download.

Scanning reads names only and stays fast; the cache builder, the audit or `fill_records` then reads every file's bytes
once. What a source does not say stays empty: a label, sub-type or patient is read by a rule stated in
`NAME_RULES` or `CLASS_FOLDERS`, or it becomes a finding.
"""

from __future__ import annotations

import csv
import glob
import hashlib
import importlib
import io
import os
import re
import zipfile
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from xray_tf.artifact import new_folder
from xray_tf.data import phantom
from xray_tf.data.cache import ProgressLine, default_directory, each, read_file
from xray_tf.data.records import Finding, Findings, Record, Records
from xray_tf.registry import KAGGLE_DATASET, SOURCES

PATIENT_KEYS = ("namespaced", "bare")
IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".tif", ".tiff", ".webp")
SPLIT_FOLDERS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
# folder or manifest word -> (label, sub-type)
CLASS_FOLDERS = {
    "normal": ("normal", ""), "pneumonia": ("pneumonia", ""),
    "bacterial": ("pneumonia", "bacterial"), "bacteria": ("pneumonia", "bacterial"),
    "viral": ("pneumonia", "viral"), "virus": ("pneumonia", "viral"),
}
CHECK_SIZE = 64  # pixels: side of the square a file is decoded to only to see that it can be
PHANTOM_PATIENTS, PHANTOM_SEED, PHANTOM_SIZE, PHANTOM_MARK = 200, 0, 256, "phantom.json"
MANUAL_WAY = f"download https://www.kaggle.com/datasets/{KAGGLE_DATASET} elsewhere, unpack it, and give the folder as --data"


@dataclass(frozen=True)
class NameRule:
    """One pattern of file names that says who and what, and the sentence that states it.

    `namespaced` and `bare` are templates of the patient key; {word} is bacteria, virus or normal.
    """

    pattern: re.Pattern
    namespaced: str
    bare: str
    says: str


NAME_RULES = (
    NameRule(re.compile(r"person(?P<number>\d+)_(?P<word>bacteria|virus)_\d+(_\d+)?", re.I), "{word}:person{number}", "person{number}",
             "person1000_bacteria_2931: child 1000 of the bacterial (or viral) numbering; a further number (person447_virus_921_1) is a further image."),
    NameRule(re.compile(r"(?P<series>NORMAL\d+-)?IM-(?P<number>\d+)(-\d+){1,2}", re.I), "{series}IM-{number}", "{series}IM-{number}",
             "NORMAL2-IM-0501-0001 and IM-0125-0001-0002: a normal child; the numbers after the first are images, the prefix NORMAL2- starts a new numbering."),
    NameRule(re.compile(r"(?P<word>bacteria|virus|normal)-(?P<number>\d+)-\d+", re.I), "{word}:{number}", "{number}",
             "BACTERIA-1135262-0001 (Mendeley release 3): class, randomised patient number, image."),
)


class SourceError(ValueError):
    """The data are not there or not in a form this package reads; the message says what was expected."""


class Scan(NamedTuple):
    """What a source gave: `records, findings = scan(...)`."""

    records: Records
    findings: Findings


def scan(data: str | os.PathLike, source: str = "auto", patient_key: str = "namespaced", cache: str | os.PathLike | None = None,
         progress: bool = False) -> Scan:
    """Make records of a data set from names alone; no radiograph is opened.

    Args:
        data: a folder, a .csv manifest, a MedMNIST .npz, or the words `phantom[:PATIENTS[:SEED]]` or `kaggle`. The words win over
            a folder of the same name; write ./phantom for that.
        source: a key of `registry.SOURCES`, or `auto` to look at `data`.
        patient_key: `namespaced` (person1 of bacteria and of virus are two children) or `bare` (they are one).
        cache: where .npz images and phantoms are written as PNG, once; the user's cache folder if None.
        progress: show a line while writing them.

    Returns:
        (records, findings); sha256, width, height and mode are still empty.

    Raises:
        FileNotFoundError: `data` is not there.
        SourceError: it is empty, or not in the layout of `source`.
    """
    allowed = ("auto", *SOURCES)
    if source not in allowed:
        raise SourceError(f"source must be one of {allowed}. Received: source={source!r}")
    if patient_key not in PATIENT_KEYS:
        raise SourceError(f"patient_key must be one of {PATIENT_KEYS}. Received: patient_key={patient_key!r}")
    data = os.fspath(data)
    directory = default_directory() if cache is None else Path(cache).expanduser()
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
        return _scan_csv(path)
    return _scan_medmnist(path, directory, progress) if source == "medmnist" else _scan_folder(path, patient_key)


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

def read_name(name: str, patient_key: str = "namespaced") -> tuple[str, str, str] | None:
    """Read (label, sub-type, patient key) from a file name by `NAME_RULES`, None where no rule fits."""
    stem = name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    for rule in NAME_RULES:
        match = rule.pattern.fullmatch(stem)
        if match:
            groups = {k: v or "" for k, v in match.groupdict().items()}
            word = groups.get("word", "normal").lower()
            template = rule.namespaced if patient_key == "namespaced" else rule.bare
            return *CLASS_FOLDERS[word], template.format(word=word, number=groups["number"], series=groups.get("series", "").upper())
    return None


def natural_key(path: str) -> tuple:
    """Return a sort key that puts image2 before image10, folder by folder."""
    parts = path.split("/")
    return tuple(tuple(int(t) if i % 2 else t.lower() for i, t in enumerate(re.split("([0-9]+)", part))) for part in parts), path


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
        raise SourceError(f"{root} has no image in its class folders. Expected *.jpeg, *.png ... in {{NORMAL,PNEUMONIA}}, or in train/, val/, test/ of them.")
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
            elif suffix in IMAGE_SUFFIXES and (entry.is_file() or entry.is_symlink()):
                files.append(path)  # a link that leads nowhere stays in, to become a finding when it is read
            else:
                other[suffix or "no suffix"] += 1
    findings = [Finding("ignored", "note", "", f"{count} x {what} passed over: written by an operating system, not radiographs.")
                for what, count in sorted(ignored.items())]
    findings += [Finding("not-an-image", "note", "", f"{count} file(s) with {what} passed over; images end in {', '.join(IMAGE_SUFFIXES)}.")
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
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
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


# ---- CSV manifest

def _scan_csv(path: Path) -> Scan:
    """Read a manifest: UTF-8 (a byte-order mark is fine), comma, semicolon or tab, paths relative to its folder.

    Nothing is read from file names: what a column does not say stays empty. Backslashes in paths become slashes.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}). Save the manifest as CSV UTF-8.") from error
    head = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns = [c.strip().lower() for c in next(reader, [])]
    missing = [c for c in ("path", "label") if c not in columns]
    if missing:
        raise SourceError(f"{path} must have the columns path and label, and may have subtype, patient, split. Received the header: {head.strip()!r}")
    findings = [Finding("unused-column", "note", "", f"The manifest's column {c!r} is not used.") for c in columns
                if c not in ("path", "label", "subtype", "patient", "split")]
    rows, numbers = [], {}
    for values in reader:
        if not any(v.strip() for v in values):
            continue
        where = f"{path}, line {reader.line_num}"
        if len(values) != len(columns):
            raise SourceError(f"{where}: expected {len(columns)} values, as in the header. Received {len(values)}: {delimiter.join(values)!r}")
        row = _manifest_row({c: v.strip() for c, v in zip(columns, values, strict=True)}, where)
        if row.path in numbers:
            raise SourceError(f"{where}: {row.path!r} is already on line {numbers[row.path]}. List each radiograph once.")
        numbers[row.path] = reader.line_num
        rows.append(row)
    if not rows:
        raise SourceError(f"{path} has a header and no rows. Expected one row a radiograph.")
    if not any(r.patient for r in rows):
        findings.append(Finding("no-patient-key", "warning", "", "The manifest has no patient column, or an empty one; such data can be split only with "
                                "--split-by image."))
    return Scan(Records(rows, path.parent), Findings(findings))


def _manifest_row(values: dict[str, str], where: str) -> Record:
    word, subtype_word, split_word = (values.get(c, "").lower() for c in ("label", "subtype", "split"))
    if word not in CLASS_FOLDERS:
        raise SourceError(f"{where}: label must be one of {tuple(CLASS_FOLDERS)}, in any case. Received: {values['label']!r}")
    label, subtype = CLASS_FOLDERS[word]
    if subtype_word:
        named = CLASS_FOLDERS.get(subtype_word, ("", ""))[1]
        if not named:
            raise SourceError(f"{where}: subtype must be empty or one of ('bacterial', 'viral', 'bacteria', 'virus'). Received: {values['subtype']!r}")
        if label == "normal" or subtype not in ("", named):
            raise SourceError(f"{where}: label {values['label']!r} and subtype {values['subtype']!r} contradict each other.")
        subtype = named
    if split_word and split_word not in SPLIT_FOLDERS:
        raise SourceError(f"{where}: split must be empty or one of {tuple(SPLIT_FOLDERS)}. Received: {values['split']!r}")
    if not values["path"]:
        raise SourceError(f"{where}: path is empty. Expected the image file, relative to the manifest's folder.")
    return Record(values["path"].replace("\\", "/"), label, subtype, values.get("patient", ""), split=SPLIT_FOLDERS.get(split_word, ""))


# ---- MedMNIST

def _scan_medmnist(path: Path, cache: Path, progress: bool) -> Scan:
    """Stream a .npz to PNG files in the cache, once; later scans read the records.csv written beside them."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = {i.filename: i for i in archive.infolist()}
            parts = [s for s in ("train", "val", "test") if f"{s}_images.npy" in infos and f"{s}_labels.npy" in infos]
            if not parts:
                raise SourceError(f"{path} is no MedMNIST file. Expected the arrays train_images, train_labels (val_, test_), found {sorted(infos)[:8]}.")
            # the archive's own checksums name the content without reading it
            said = repr([(n, i.CRC, i.file_size) for n, i in sorted(infos.items())])
            folder = cache / f"medmnist-{path.stem}-{hashlib.sha256(said.encode()).hexdigest()[:16]}"
            if not folder.is_dir():
                _write_once(folder, lambda draft: _write_medmnist(path, archive, parts, draft, progress))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise SourceError(f"{path} is damaged or no .npz file ({error}). Download it again.") from error
    findings = [Finding("no-patient-key", "warning", "", "MedMNIST has no patient key; it can be split only with --split-by image."),
                Finding("medmnist-labels", "note", "", "Label 0 is read as normal and 1 as pneumonia, as PneumoniaMNIST means them.")]
    return Scan(Records(Records.read_csv(folder / "records.csv").rows, folder), Findings(findings))


def _write_medmnist(path: Path, archive: zipfile.ZipFile, parts: list[str], draft: Path, progress: bool) -> None:
    rows = []
    for part in parts:
        labels = _read_labels(path, archive, f"{part}_labels.npy")
        count, images = _read_images(path, archive, f"{part}_images.npy")
        if count != len(labels):
            raise SourceError(f"{path}: {part}_images has {count} images, {part}_labels {len(labels)} labels. Expected as many.")
        for name in ("NORMAL", "PNEUMONIA"):
            (draft / part / name).mkdir(parents=True)
        names = [f"{part}/{('NORMAL', 'PNEUMONIA')[label]}/{index:06d}.png" for index, label in enumerate(labels)]

        def write(job: tuple[str, np.ndarray]) -> None:
            done, data = cv2.imencode(".png", job[1] if job[1].ndim == 2 else np.ascontiguousarray(job[1][..., ::-1]))
            if not done:
                raise SourceError(f"{path}: {job[0]} could not be encoded as PNG. Received shape {job[1].shape}.")
            (draft / job[0]).write_bytes(data.tobytes())

        with ProgressLine(f"Writing {part} of {path.name}", count, progress) as line:
            for _ in each(write, zip(names, images, strict=True)):
                line.step()
        rows += [Record(name, ("normal", "pneumonia")[label], split=part) for name, label in zip(names, labels, strict=True)]
    Records(rows).write_csv(draft / "records.csv")


def _open_array(path: Path, archive: zipfile.ZipFile, name: str) -> tuple[Any, tuple[int, ...], np.dtype]:
    """Open one member behind its .npy header; arrays of Python objects (pickles) are refused, and so is a false size."""
    stream = archive.open(name)
    try:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran, dtype = read(stream)
    except (ValueError, KeyError) as error:
        raise SourceError(f"{path}: {name} has no readable .npy header ({error}).") from error
    if dtype.hasobject:
        raise SourceError(f"{path}: {name} holds pickled Python objects, which are never loaded. Expected plain uint8 arrays.")
    if fortran and len(shape) > 1 or not shape:
        raise SourceError(f"{path}: {name} must be a C-ordered array. Received shape {shape}{', Fortran order' if fortran else ''}; save it again.")
    if archive.getinfo(name).file_size - stream.tell() != int(np.prod(shape, dtype=object)) * dtype.itemsize:
        raise SourceError(f"{path}: {name} declares shape {shape}, which is not the size it has. The file is damaged.")
    return stream, shape, dtype


def _read_labels(path: Path, archive: zipfile.ZipFile, name: str) -> list[int]:
    stream, shape, dtype = _open_array(path, archive, name)
    with closing(stream):
        if dtype.kind not in "iub" or shape[1:] not in ((), (1,)):
            raise SourceError(f"{path}: {name} must hold one whole number an image. Received shape {shape}, dtype {dtype}.")
        labels = np.frombuffer(stream.read(), dtype).astype(np.int64)
    if not set(labels.tolist()) <= {0, 1}:
        raise SourceError(f"{path}: {name} must hold 0 (normal) and 1 (pneumonia). Received the labels {sorted(set(labels.tolist()))[:10]}.")
    return labels.tolist()


def _read_images(path: Path, archive: zipfile.ZipFile, name: str) -> tuple[int, Iterator[np.ndarray]]:
    """Return how many images there are and an iterator that holds one at a time: (H, W) or (H, W, 3) uint8."""
    stream, shape, dtype = _open_array(path, archive, name)
    if dtype != np.uint8 or len(shape) not in (3, 4) or len(shape) == 4 and shape[3] != 3 or 0 in shape[1:]:
        stream.close()
        raise SourceError(f"{path}: {name} must be (N, H, W) or (N, H, W, 3) uint8. Received shape {shape}, dtype {dtype}.")

    def images() -> Iterator[np.ndarray]:
        with closing(stream):
            for _ in range(shape[0]):
                yield np.frombuffer(stream.read(int(np.prod(shape[1:]))), np.uint8).reshape(shape[1:])

    return shape[0], images()


# ---- phantom and download

def _write_phantom(data: str, cache: Path, progress: bool) -> Path:
    """Write the phantoms that `phantom[:PATIENTS[:SEED]]` asks for, once, and return their folder."""
    match = re.fullmatch(r"phantom(?::(\d+))?(?::(\d+))?", data)
    if not match:
        raise SourceError(f"a phantom is asked for as phantom, phantom:PATIENTS or phantom:PATIENTS:SEED, in whole numbers. Received: {data!r}")
    patients, seed = int(match[1] or PHANTOM_PATIENTS), int(match[2] or PHANTOM_SEED)
    folder = cache / f"phantom-{patients}-patients-seed-{seed}-{PHANTOM_SIZE}px-v{phantom.VERSION}"
    line = None

    def show(done: int, total: int) -> None:
        nonlocal line
        line = line or stack.enter_context(ProgressLine("Drawing phantoms", total, progress))
        line.step()

    try:
        with ExitStack() as stack:
            phantom.write_phantoms(folder, patients, seed, PHANTOM_SIZE, progress=show)
    except ValueError as error:
        raise SourceError(f"{data}: {error}") from error
    return folder


def _write_once(folder: Path, write: Callable[[Path], Any]) -> None:
    """Fill a new cache folder, whole or not at all; a twin process that finishes first is as good."""
    try:
        with new_folder(folder) as draft:
            write(draft)
    except FileExistsError:
        if not folder.is_dir():
            raise


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
