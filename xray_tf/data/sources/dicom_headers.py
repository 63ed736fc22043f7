"""What the DICOM files of a data set say beside their pixels: a patient key that names nobody,
burned-in text, missing windows.

The key is `dicom:` and the first 64 bits of HMAC-SHA256 over issuer and PatientID under a random
key of 32 bytes, which is made once, lies as `dicom-key` in the cache folder, and is never written
anywhere else. A plain hash would not do: hospital numbers are few enough to be tried out. Without
the file nobody can, and nobody can tell the same patient by it either: copy it to have the same
keys on another machine.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from xray_tf.data.pixels.cache import CacheError
from xray_tf.data.pixels.dicom import has_window, is_dicom_file, raw, read_tags
from xray_tf.data.pixels.header import DecodeError
from xray_tf.data.pixels.reading import each
from xray_tf.data.records import Finding, Findings, Records
from xray_tf.data.sources.names import IMAGE_SUFFIXES, Scan

KEY_NAME = "dicom-key"
PATIENT_ID, ISSUER, BURNED_IN = 0x00100020, 0x00100021, 0x00280301


@dataclass(frozen=True)
class Said:
    """What one header says, and nothing that names a patient: the key (empty without PatientID),
    burned-in text, a window of its own.
    """

    patient: str
    burned_in: bool
    windowed: bool


def with_dicom_headers(scanned: Scan, directory: Path) -> Scan:
    """Look into the headers of a table's DICOM files: patient keys where names and columns gave
    none, and notes.

    Args:
        scanned: records and findings as their source gave them; a table without DICOM files comes
            back as it is.
        directory: the cache folder, where the key lies.

    Raises:
        ImportError: there are DICOM files and pydicom is not installed.
        CacheError: the key cannot be made or read.
    """
    records, findings = scanned
    doubtful = [
        r
        for r in records
        if os.path.splitext(r.path)[1].lower() not in IMAGE_SUFFIXES
        and is_dicom_file(records.file(r))
    ]
    if not doubtful:
        return scanned
    key = patient_secret(directory)
    said = dict(
        zip(
            (r.path for r in doubtful),
            each(lambda r: read_said(records.file(r), key), doubtful),
            strict=True,
        )
    )
    keyed = {path: s.patient for path, s in said.items() if s is not None and s.patient}
    rows = [
        replace(r, patient=keyed[r.path]) if r.path in keyed and not r.patient else r
        for r in records
    ]
    return Scan(
        records.with_rows(rows),
        Findings([*_without_stale(findings, rows, keyed), *_notes(records, said, keyed)]),
    )


def read_said(path: str | os.PathLike, key: bytes) -> Said | None:
    """Read one header; None where it cannot be read, which the reader of its pixels then
    reports.
    """
    try:
        with open(path, "rb") as stream:
            tags = read_tags(stream, more=(PATIENT_ID, ISSUER, BURNED_IN))
        windowed = has_window(tags)
    except (DecodeError, OSError):
        return None
    patient, issuer = (raw(tags, tag).strip(b" \0") for tag in (PATIENT_ID, ISSUER))
    return Said(
        patient_key(patient, issuer, key) if patient else "",
        raw(tags, BURNED_IN).strip(b" \0").upper() == b"YES",
        windowed,
    )


def patient_key(patient: bytes, issuer: bytes, key: bytes) -> str:
    """Return the key of a PatientID: `dicom:` and 16 hex digits."""
    message = len(issuer).to_bytes(4, "big") + issuer + patient
    return "dicom:" + hmac.new(key, message, hashlib.sha256).hexdigest()[:16]


def patient_secret(directory: Path) -> bytes:
    """Return the 32 secret bytes of a cache folder, made on first use, readable by their owner
    only.

    Raises:
        CacheError: the file cannot be made, or is not what it should be.
    """
    path = directory / KEY_NAME
    try:
        if not path.exists():
            directory.mkdir(parents=True, exist_ok=True)
            handle, draft = tempfile.mkstemp(prefix=f".{KEY_NAME}-", dir=directory)
            try:
                with os.fdopen(handle, "w", encoding="ascii") as stream:
                    stream.write(secrets.token_hex(32) + "\n")
                with suppress(FileExistsError):  # another process was first: its key is the one
                    os.link(draft, path)
            finally:
                os.unlink(draft)
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise CacheError(
            f"{path} must hold the 64 hex digits that patient keys of DICOM files "
            f"are made with ({type(error).__name__}). "
            "Name a writable folder with --cache DIR, or remove the file to have "
            "another made."
        ) from None
    if len(key) != 32:
        raise CacheError(
            f"{path} must hold 64 hex digits. Received: {2 * len(key)}. Remove the "
            "file to have another made."
        )
    return key


def _without_stale(findings: Findings, rows: list, keyed: dict[str, str]) -> list[Finding]:
    """Leave out what names and columns missed and headers then gave."""
    any_key = any(r.patient for r in rows)
    return [
        f
        for f in findings
        if not (
            f.kind == "no-patient-key" and any_key or f.kind == "irregular-name" and f.path in keyed
        )
    ]


def _notes(records: Records, said: dict[str, Said | None], keyed: dict[str, str]) -> list[Finding]:
    """Say what a header says of one file (burned-in text) and of how many (no window, no PatientID,
    one PatientID for all).
    """
    read = {path: s for path, s in said.items() if s is not None}
    total = f"{len(said)} DICOM file(s)"
    findings = [
        Finding(
            "burned-in-annotation",
            "warning",
            path,
            "The DICOM says that text is "
            "burned into its pixels: it may name the patient, and a net can "
            "read it. It is kept; look at it, or leave it out.",
        )
        for path, s in read.items()
        if s.burned_in
    ]
    missing = sum(not s.windowed for s in read.values())
    if missing:
        findings.append(
            Finding(
                "no-window",
                "note",
                "",
                f"{missing} of {total} give no window of "
                "grey values: those of 8 bits are shown as they are, "
                "the others from the 0.5th to the 99.5th percentile of their "
                "pixels.",
            )
        )
    nameless = [
        r.path for r in records if r.path in read and not read[r.path].patient and not r.patient
    ]
    if nameless:
        findings.append(
            Finding(
                "no-patient-id",
                "warning",
                "",
                f"{len(nameless)} of {total} have no PatientID, so their patient stays empty.",
            )
        )
    if len(keyed) > 1 and len(set(keyed.values())) == 1:
        findings.append(
            Finding(
                "one-patient-id",
                "warning",
                "",
                f"All {len(keyed)} DICOM files "
                "that have a PatientID have the same one. Where "
                "de-identification wrote it, give a CSV manifest with a patient "
                "column of your own.",
            )
        )
    return findings
