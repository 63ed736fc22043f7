"""Name radiographs in what is passed on (pages and pictures) without their file names, where these
may identify a patient: exports of DICOM files often put a name, a number or a UID into them.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress

from xray_tf.data.pixels.dicom_tags import is_dicom_file

DIGITS = 12  # of the SHA-256 of the file, as `sha256sum` prints it


def shareable_name(path: str, file: str | os.PathLike, keep: bool = False) -> str:
    """Return `dicom-` and the first digits of a DICOM file's SHA-256; the path of any other file,
    unchanged.

    Args:
        path: as it was asked for.
        file: where it is.
        keep: keep the path of DICOM files too.
    """
    if keep or not is_dicom_file(file):
        return path
    digest = hashlib.sha256()
    with suppress(OSError), open(file, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return f"dicom-{digest.hexdigest()[:DIGITS]}"
