"""Make records of a folder whose sub-folders name parts and classes."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Container
from pathlib import Path

from xray_tf.data.pixels.decoding import is_image_file
from xray_tf.data.pixels.dicom_tags import SUFFIXES
from xray_tf.data.records import Finding, Findings, Record, Records
from xray_tf.data.sources.folder_words import part_of, part_of_folders
from xray_tf.data.sources.left_out import (
    without_byproducts,
    without_second_copies,
    without_unknown_parts,
)
from xray_tf.data.sources.names import (
    IMAGE_SUFFIXES,
    Request,
    Scan,
    SourceError,
    natural_key,
    read_name,
)
from xray_tf.registry import CUSTOM, LABELS, Task

PHANTOM_MARK = "phantom.json"


def scan_folder(request: Request) -> Scan:
    """List the radiographs of a folder whose sub-folders name their part and class."""
    return records_below(request.path(), request)


def records_below(folder: Path, request: Request) -> Scan:
    """Make records of the class folders below `folder`.

    Raises:
        SourceError: it is not laid out so, or holds no image.
    """
    known = request.task.class_words
    root = _layout_root(folder, known)
    files, findings = walk_images(root)
    files, nested = _without_nested_copy(files)
    findings += nested
    if (root / PHANTOM_MARK).is_file():  # the phantoms' ground truth, not radiographs
        files = [f for f in files if not f.startswith("masks/")]
        findings = [f for f in findings if f.kind != "not-an-image"]
    files, byproducts = without_byproducts(files, known)
    findings += byproducts
    rows, stray = [], Counter()
    for path in files:
        *folders, _ = path.split("/")
        words = [known[f.lower()] for f in folders if f.lower() in known]
        split = part_of_folders(f for f in folders if f.lower() not in known)
        if not words:
            stray["/".join(folders) or "."] += 1
            continue
        row, said = labelled_row(path, words, split, request.patient_key)
        rows.append(row)
        findings += said
    rows, unknown = without_unknown_parts(rows, known)
    rows, copies = without_second_copies(root, rows)
    findings += unknown + copies
    *most, last = _folders_of(request.task)
    for where, count in sorted(stray.items()):
        said = (
            f"{count} image(s) directly in {where} are in no class folder and are left out; "
            f"expected a folder named {', '.join(most)} or {last}."
        )
        findings.append(Finding("unlabelled-file", "warning", "", said))
    if not rows:
        raise SourceError(
            f"{root} has no image in its class folders. Expected *.jpeg, *.png, *.dcm ... in "
            "{NORMAL,PNEUMONIA}, or in train/, val/, test/ of them."
        )
    return Scan(Records(rows, root), Findings(_summarise_names(rows, findings)))


def _folders_of(task: Task) -> list[str]:
    """Name the class folders that are expected."""
    standard = task.class_names if task.name == CUSTOM else ("normal", "pneumonia")
    more = () if task.name == CUSTOM else ("bacteria", "virus")
    return [word.upper() for word in dict.fromkeys((*standard, *task.words, *more))]


def labelled_row(
    path: str, words: list[tuple[str, str]], split: str, patient_key: str
) -> tuple[Record, list[Finding]]:
    """Make one record from the words of its folders and from its name; the folder's label wins,
    and a contradiction is reported.
    """
    findings = []
    labels, subtypes = {label for label, _ in words}, {subtype for _, subtype in words if subtype}
    label, subtype = words[-1][0], subtypes.pop() if len(subtypes) == 1 else ""
    if len(labels) > 1 or subtypes:
        said = f"Its folders name several classes; the innermost, {label}, is kept."
        findings.append(Finding("label-contradiction", "warning", path, said))
    named = read_name(path, patient_key)
    if named is None:
        said = (
            "No naming rule fits, so its patient stays empty (and so does its sub-type, unless a "
            "folder names it)."
        )
        findings.append(Finding("irregular-name", "warning", path, said))
        subtype = subtype if label == "pneumonia" else ""
        return Record(path, label, subtype, "", split=split), findings
    if label not in LABELS:
        return Record(path, label, "", named[2], split=split), findings
    if named[0] != label or subtype and named[1] != subtype:
        said = (
            f"The folder says {subtype or label}, the name says {named[1] or named[0]}; {label} is "
            "kept, and the sub-type stays empty."
        )
        findings.append(Finding("label-contradiction", "warning", path, said))
        return Record(path, label, "", named[2], split=split), findings
    return Record(path, label, named[1], named[2], split=split), findings


def _summarise_names(rows: list[Record], findings: list[Finding]) -> list[Finding]:
    """Replace one finding per file by one for all if no name follows a rule; note a single
    class.
    """
    irregular = sum(f.kind == "irregular-name" for f in findings)
    if irregular == len(rows):
        findings = [f for f in findings if f.kind != "irregular-name"]
        said = (
            f"None of the {len(rows)} file names follows a naming rule, so no patient is "
            "known; this data can only be split with --split-by image."
        )
        findings.append(Finding("no-patient-key", "warning", "", said))
    labels = {row.label for row in rows}
    if len(labels) == 1:
        only = labels.pop()
        said = f"All {len(rows)} radiographs are {only}; they can be scored, but not trained on."
        findings.append(Finding("one-class", "warning", "", said))
    return findings


def _layout_root(folder: Path, known: Container[str]) -> Path:
    """Return the folder that has split or class folders: `folder`, its chest_xray, or the only
    folder in it.
    """
    here, seen = folder, []
    for _ in range(5):
        names = sorted(e.name for e in os.scandir(here) if _is_folder(e) and not _ignored(e.name))
        if any(part_of(n) or n.lower() in known for n in names):
            return here
        seen = names
        below = [n for n in names if n.lower() == "chest_xray"] or names
        if len(below) != 1:
            break
        here = here / below[0]
    files = sorted(
        e.name
        for e in os.scandir(here)
        if not _ignored(e.name) and not e.is_symlink() and e.is_file()
    )
    hint = [n for n in files if n.lower().endswith((".csv", ".npz", ".zip"))]
    hint = f" It contains {hint[0]}: did you mean that?" if hint else ""
    found = f"{len(files)} file(s) and no folders" if files else "nothing"
    found = f"the folders {seen[:5]}" if seen else found
    raise SourceError(
        f"{folder} is not in Kaggle's layout. Expected [train|val|test]/{{NORMAL,PNEUMONIA}} or "
        f"{{NORMAL,PNEUMONIA}} in it, found {found}.{hint} If the class folders have other names, "
        "say what they mean with --classes. For any other layout, use a CSV manifest with the "
        "columns path and label."
    )


def _ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in ("__macosx", "thumbs.db", "desktop.ini")


def walk_images(root: Path) -> tuple[list[str], list[Finding]]:
    """List the image files below `root` in natural order, with notes on what was skipped.

    Links are followed after all real folders, and no folder is entered twice, so loops end and real
    paths win.
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
            raise SourceError(
                f"the folder {root / folder} cannot be listed ({error.strerror}). Make it "
                "readable, or move it away."
            ) from error
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            suffix = os.path.splitext(entry.name)[1].lower()
            if _ignored(entry.name):
                name = "__MACOSX" if entry.name.lower() == "__macosx" else entry.name
                ignored["._* files" if name.startswith("._") else name] += 1
            elif _is_folder(entry):
                (queue.append if entry.is_symlink() else queue.appendleft)(path)
            elif suffix in (*IMAGE_SUFFIXES, *SUFFIXES) and (entry.is_symlink() or entry.is_file()):
                # a broken link stays in; reading it gives a finding
                files.append(path)
            # by content: exported files often have no suffix, or the last number of a UID, and
            # browsers save JPEG as .jfif
            elif entry.name.upper() != "DICOMDIR" and is_image_file(entry.path):
                files.append(path)
            else:
                other[suffix or "no suffix"] += 1
    findings = []
    for what, count in sorted(ignored.items()):
        said = f"{count} x {what} skipped: written by an operating system, not radiographs."
        findings.append(Finding("ignored", "note", "", said))
    for what, count in sorted(other.items()):
        said = (
            f"{count} file(s) with {what} skipped; images end in "
            f"{', '.join(IMAGE_SUFFIXES)}, or start as JPEG, PNG or DICOM files do."
        )
        findings.append(Finding("not-an-image", "note", "", said))
    for path in sorted(repeated):
        said = f"The link {path} leads to a folder that was already read; its files count once."
        findings.append(Finding("repeated-folder", "note", "", said))
    return sorted(files, key=natural_key), findings


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself: reading it gives a finding
        return False


def _without_nested_copy(files: list[str]) -> tuple[list[str], list[Finding]]:
    """Leave out chest_xray/ inside the layout: Kaggle's archive contains everything twice."""
    nested = [f for f in files if f.split("/", 1)[0].lower() == "chest_xray"]
    if not nested:
        return files, []
    kept = [f for f in files if f.split("/", 1)[0].lower() != "chest_xray"]
    only_there = len({f.split("/", 1)[1] for f in nested} - set(kept))
    said = f"The second copy in {nested[0].split('/', 1)[0]}/ ({len(nested)} images) is left out"
    if not only_there:
        return kept, [Finding("nested-copy", "note", "", f"{said}.")]
    said += f", although {only_there} of its names exist only there: move them out to keep them."
    return kept, [Finding("nested-copy", "warning", "", said)]
