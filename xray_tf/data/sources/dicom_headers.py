"""Read the headers of DICOM files: a patient key that identifies nobody, burned-in text, missing
windows.

The patient key is `dicom:` and the first 64 bits of HMAC-SHA256 over issuer and PatientID. The
secret has 32 random bytes; it is created once, is kept as `dicom-key` in the cache folder, and is
written nowhere else. A plain hash would not be enough, because there are few enough hospital
numbers to try all of them. Without the secret nobody can do that, or recognise the same patient in
another data set. Copy the file to get the same keys on another machine.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from xray_tf.data.kin import known_patient
from xray_tf.data.pixels.cache import CacheError
from xray_tf.data.pixels.dicom_grey import has_window
from xray_tf.data.pixels.dicom_tags import is_dicom_file, raw, read_tags
from xray_tf.data.pixels.header import DecodeError
from xray_tf.data.pixels.reading import each
from xray_tf.data.records import Finding, Findings, Records
from xray_tf.data.sources.names import IMAGE_SUFFIXES, Scan
from xray_tf.writing import kept_secret

KEYED = re.compile("(dicom|manifest):[0-9a-f]{16}")  # patient keys that name nobody
KEY_NAME = "dicom-key"
PATIENT_ID, ISSUER, BURNED_IN = 0x00100020, 0x00100021, 0x00280301


@dataclass(frozen=True)
class Said:
    """What one header says, without anything that identifies a patient: the key (empty without
    PatientID), burned-in text, and whether there is a window.
    """

    patient: str
    burned_in: bool
    windowed: bool


def with_dicom_headers(scanned: Scan, directory: Path) -> Scan:
    """Read the headers of a table's DICOM files, and add patient keys that names and columns did
    not give, and notes.

    Args:
        scanned: records and findings of a source; a table without DICOM files is returned
            unchanged.
        directory: the cache folder, which holds the secret.

    Raises:
        ImportError: there are DICOM files and pydicom is not installed.
        CacheError: the secret cannot be created or read.
    """
    records, findings = scanned
    other = [r for r in records if os.path.splitext(r.path)[1].lower() not in IMAGE_SUFFIXES]
    dicom = [r for r in other if is_dicom_file(records.file(r))]
    if not dicom:
        return scanned
    key = patient_secret(directory)
    headers = each(lambda r: read_said(records.file(r), key), dicom)
    said = dict(zip((r.path for r in dicom), headers, strict=True))
    keyed = {path: s.patient for path, s in said.items() if s is not None and s.patient}
    rows = [r if r.patient else replace(r, patient=keyed.get(r.path, "")) for r in records]
    kept = _without_stale(findings, rows, keyed)
    return Scan(records.with_rows(rows), Findings([*kept, *_notes(records, said, keyed)]))


def read_said(path: str | os.PathLike, key: bytes) -> Said | None:
    """Read one header; return None if that fails, which the reader of its pixels will report."""
    try:
        with open(path, "rb") as stream:
            tags = read_tags(stream, more=(PATIENT_ID, ISSUER, BURNED_IN))
        windowed = has_window(tags)
    except (DecodeError, OSError):
        return None
    patient, issuer = (raw(tags, tag).strip(b" \0") for tag in (PATIENT_ID, ISSUER))
    known = known_patient(patient.decode("ascii", "replace"))
    return Said(
        patient_key(patient, issuer, key) if known else "",
        raw(tags, BURNED_IN).strip(b" \0").upper() == b"YES",
        windowed,
    )


def patient_key(patient: bytes, issuer: bytes, key: bytes) -> str:
    """Return the key of a PatientID: `dicom:` and 16 hex digits."""
    return keyed_hash(patient, issuer, key, "dicom")


def keyed_hash(patient: bytes, issuer: bytes, key: bytes, source: str) -> str:
    """Return the key of a patient's identifier: the source's name and 16 hex digits."""
    message = len(issuer).to_bytes(4, "big") + issuer + patient
    return f"{source}:{hmac.new(key, message, hashlib.sha256).hexdigest()[:16]}"


def patient_secret(directory: Path) -> bytes:
    """Return the 32 secret bytes of a cache folder. The file is created on first use, and only its
    owner can read it.

    Raises:
        CacheError: the file cannot be created, or has other contents.
    """
    path = directory / KEY_NAME
    try:
        return kept_secret(path)
    except (OSError, ValueError) as error:
        why = str(error) if isinstance(error, ValueError) else type(error).__name__
        raise CacheError(
            f"{path} must contain 64 hex digits, the secret of the patient keys of DICOM files "
            f"({why}). Name a writable folder with --cache DIR, or remove the file to get a new "
            "one."
        ) from None


def _without_stale(findings: Findings, rows: list, keyed: dict[str, str]) -> list[Finding]:
    """Drop the findings about patients that the headers have since supplied."""
    stale = {"no-patient-key"} if any(r.patient for r in rows) else set()
    kept = [f for f in findings if f.kind not in stale]
    return [f for f in kept if f.kind != "irregular-name" or f.path not in keyed]


def _notes(records: Records, said: dict[str, Said | None], keyed: dict[str, str]) -> list[Finding]:
    """Return notes on single files (burned-in text) and on their number (no window, no PatientID,
    one PatientID for all).
    """
    read = {path: s for path, s in said.items() if s is not None}
    total = f"{len(said)} DICOM file(s)"
    findings = []
    for path in (path for path, s in read.items() if s.burned_in):
        text = (
            "The header says that text is burned into the pixels. It may name the patient, and a "
            "network can read it. The file is kept: look at it, or leave it out."
        )
        findings.append(Finding("burned-in-annotation", "warning", path, text))
    if missing := sum(not s.windowed for s in read.values()):
        text = (
            f"{missing} of {total} have no window of grey values: 8-bit files are used as they "
            "are, others from the 0.5th to the 99.5th percentile of their pixels."
        )
        findings.append(Finding("no-window", "note", "", text))
    nameless = sum(r.path in read and not read[r.path].patient and not r.patient for r in records)
    if nameless:
        text = f"{nameless} of {total} have no PatientID, so their patient stays empty."
        findings.append(Finding("no-patient-id", "warning", "", text))
    if len(keyed) > 1 and len(set(keyed.values())) == 1:
        text = (
            f"All {len(keyed)} DICOM files that have a PatientID have the same one. If "
            "de-identification wrote it, use a CSV manifest with a patient column."
        )
        findings.append(Finding("one-patient-id", "warning", "", text))
    return findings
