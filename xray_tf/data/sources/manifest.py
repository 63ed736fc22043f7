"""Make records of a CSV manifest."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

from xray_tf.data.records import Finding, Findings, Record, Records
from xray_tf.data.sources.dicom_headers import KEYED, keyed_hash, patient_secret
from xray_tf.data.sources.names import SPLIT_FOLDERS, Request, Scan, SourceError
from xray_tf.data.sources.traits import may_identify
from xray_tf.data.tables.csv_files import refuse_torn, told

KNOWN = ("path", "label", "subtype", "patient", "split", "acquisition")


def scan_csv(request: Request) -> Scan:
    """Read a manifest: UTF-8 (a byte-order mark is fine), comma, semicolon or tab, paths relative
    to its folder.

    Nothing is read from file names: what no column says stays empty. Backslashes in paths become
    slashes.
    """
    path, known = request.path(".csv"), request.task.class_words
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}). Save the manifest "
            "as CSV UTF-8."
        ) from error
    head = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    with refuse_torn(path):
        lines = [(reader.line_num, values) for values in reader]
    spelt = [c.strip() for c in (lines[0][1] if lines else ())]
    columns = [c.lower() for c in spelt]
    if repeated := sorted({c for c in columns if c and columns.count(c) > 1}):
        raise SourceError(f"{path} names the column {repeated[0]!r} more than once.")
    missing = [c for c in ("path", "label") if c not in columns]
    if missing:
        raise SourceError(
            f"{path} must have the columns path and label, and may have subtype, "
            f"patient, split, acquisition. Received the header: {head.strip()!r}"
        )
    more = [c for c in spelt if c and c.lower() not in KNOWN]
    findings = [Finding("unused-column", "note", "", _fate(c)) for c in more]
    kept = [c.lower() for c in more if not may_identify(c)]
    rows, numbers, unknown, traits = [], {}, [], {}
    for number, values in lines[1:]:
        if not any(v.strip() for v in values):
            continue
        where = f"{path}, line {number}"
        if len(values) != len(columns):
            raise SourceError(
                f"{where}: expected {len(columns)} values, as in the header. "
                f"Received {len(values)}: {delimiter.join(values)!r}"
            )
        named = {c: told(v.strip()) for c, v in zip(columns, values, strict=True)}
        row = manifest_record(named, where, known)
        if row.path in numbers:
            raise SourceError(
                f"{where}: {row.path!r} is already on line {numbers[row.path]}. "
                "List each radiograph once."
            )
        numbers[row.path] = number
        if not row.patient and named.get("patient"):
            unknown.append(repr(named["patient"]))
        rows.append(row)
        traits[row.path] = {c: named[c] for c in kept}
    if not rows:
        raise SourceError(f"{path} has a header and no rows. Expected one row per radiograph.")
    if unknown:
        said = (
            f"{len(unknown)} of {len(rows)} rows have {', '.join(sorted(set(unknown))[:5])} as "
            "patient. It is read as not known: their patient stays empty."
        )
        findings.append(Finding("unknown-patient", "warning", "", said))
    if not any(r.patient for r in rows):
        said = (
            "The manifest has no patient column, or an empty one; this data can only be split "
            "with --split-by image."
        )
        findings.append(Finding("no-patient-key", "warning", "", said))
    records = Records(keyed(rows, request.directory), path.parent, traits=traits if kept else None)
    return Scan(records, Findings(findings))


def _fate(column: str) -> str:
    """Say what becomes of a column that is none of `KNOWN`."""
    if may_identify(column):
        return f"The manifest's column {column!r} is not used: by its name it may identify people."
    return (
        f"The manifest's column {column!r} is not used, except by `xray-tf accept`, which groups "
        "its figures by it."
    )


def keyed(rows: list[Record], directory: Path) -> list[Record]:
    """Replace patient identifiers by keyed hashes, as those of DICOM files are; the secret lies in
    the cache folder `directory`.
    """
    if all(not r.patient or KEYED.fullmatch(r.patient) for r in rows):
        return rows
    secret = patient_secret(directory)
    return [
        r
        if not r.patient or KEYED.fullmatch(r.patient)
        else replace(r, patient=keyed_hash(r.patient.encode("utf-8"), b"", secret, "manifest"))
        for r in rows
    ]


def manifest_record(
    values: dict[str, str],
    where: str,
    known: dict[str, tuple[str, str]],
    labelled: bool = True,
) -> Record:
    """Return the record of one row of a manifest.

    Args:
        values: the row's cells by column, in lower case; of `KNOWN` only path is required.
        where: begins the message of an error.
        known: (label, subtype) by the words for classes, in lower case.
        labelled: whether the label must be there.

    Raises:
        SourceError: the path is empty, or a word is none of those known.
    """
    columns = ("label", "subtype", "split")
    word, subtype_word, split_word = (values.get(c, "").lower() for c in columns)
    if word not in known and (word or labelled):
        raise SourceError(
            f"{where}: label must be one of {tuple(known)}, in any case. "
            f"Received: {values['label']!r}"
        )
    label, subtype = known.get(word, ("", ""))
    if subtype_word:
        named = known.get(subtype_word, ("", ""))[1]
        if not named:
            raise SourceError(
                f"{where}: subtype must be empty or one of ('bacterial', 'viral', "
                f"'bacteria', 'virus'). Received: {values['subtype']!r}"
            )
        if label not in ("", "pneumonia") or subtype not in ("", named):
            raise SourceError(
                f"{where}: label {values['label']!r} and subtype {values['subtype']!r} contradict "
                "each other."
            )
        subtype = named
    if split_word and split_word not in SPLIT_FOLDERS:
        raise SourceError(
            f"{where}: split must be empty or one of {tuple(SPLIT_FOLDERS)}. "
            f"Received: {values['split']!r}"
        )
    if not values["path"]:
        raise SourceError(
            f"{where}: path is empty. Expected the image file, relative to the manifest's folder."
        )
    return Record(
        values["path"].replace("\\", "/"),
        label,
        subtype,
        values.get("patient", ""),
        split=SPLIT_FOLDERS.get(split_word, ""),
        acquisition=values.get("acquisition", ""),
    )
