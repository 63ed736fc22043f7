"""Make DICOM files of radiographs in other formats, or of phantoms, with synthetic identifiers: to
try a PACS, not to store radiographs.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf.clinic.extra import check_extra, quiet_libraries
from xray_tf.data.pixels.decoding import grey_of, read_header
from xray_tf.data.pixels.header import DecodeError, check_header
from xray_tf.data.sources.files import list_files
from xray_tf.data.synthetic.phantom import KINDS, draw_phantom
from xray_tf.jobs.run import Options, Run, takes

PHANTOM = re.compile(r"phantom(?::(\d+))?")
PHANTOMS, SIDES = 6, (640, 720)  # their number where none is given, and their height and width
WHOLE = 1 << 15  # the side of a square so large that no JPEG is decoded at half scale
DAY, TIME = "20000101", "120000"
MADE = "Made from an image file; all identifiers are synthetic"


@dataclass(frozen=True)
class _Image:
    """One picture: (H, W) uint8, what its identifiers depend on, and, of a JPEG, how many times
    smaller than its pixels it was.
    """

    pixels: np.ndarray
    about: str
    ratio: float = 0.0
    synthetic: bool = False


@takes()
def to_dicom(
    files: Sequence[str | os.PathLike], out: str | os.PathLike, *, options: Options
) -> tuple[int, int]:
    """Write one CR image a radiograph, `0001.dcm` and so on, in the order given.

    Names, numbers and dates are made up. UIDs depend on the pixels alone, so the same radiograph
    always makes the same file.

    Args:
        files: files, folders or globs; or the word `phantom:N`, which draws N phantoms.
        out: the folder to create.

    Returns:
        (files written, files that could not be read).

    Raises:
        FileExistsError: `out` exists.
        ImportError: a package of the extra `clinic` is not installed.
        ValueError: no file was found, or none could be read.
    """
    run, written, failed = options[Run].at(out), 0, 0
    check_extra()
    with run.folder() as folder, quiet_libraries():
        for image in _images([os.fspath(f) for f in files], run):
            if image is None:
                failed += 1
                continue
            written += 1
            _write(folder / f"{written:04d}.dcm", image)
        if not written:
            raise ValueError(f"none of {failed} file(s) could be read")
    return written, failed


def _images(files: list[str], run: Run) -> Iterator[_Image | None]:
    found = PHANTOM.fullmatch(files[0]) if len(files) == 1 else None
    if found and not os.path.exists(files[0]):
        for i in range(int(found[1] or PHANTOMS)):
            pixels = draw_phantom(KINDS[i % len(KINDS)], i, height=SIDES[0], width=SIDES[1]).image
            yield _Image(pixels, f"phantom {i}", synthetic=True)
        return
    yield from _read(list_files(files), run)


def _read(records: Iterable, run: Run) -> Iterator[_Image | None]:
    for row in records:
        try:
            data = Path(row.path).read_bytes()
            header = read_header(data)
            if header.format == "dicom":
                raise DecodeError("unsupported-format", "It is a DICOM file already.")
            check_header(header)
            pixels = grey_of(data, header, WHOLE)
        except (DecodeError, OSError) as error:
            run.say(f"{row.path}: {error}")
            yield None
            continue
        ratio = pixels.size / len(data) if header.format == "jpeg" else 0.0
        yield _Image(pixels, hashlib.sha256(data).hexdigest(), ratio)


def _write(path: Path, image: _Image) -> None:
    import pydicom

    from xray_tf.clinic.objects.source import CR

    made = pydicom.Dataset()
    _identify(made, image.about)
    made.SOPClassUID, made.Modality, made.Manufacturer = CR, "CR", "xray_tf"
    made.BodyPartExamined, made.ViewPosition, made.PatientOrientation = "CHEST", "AP", ["L", "F"]
    made.ImageType = ["DERIVED", "PRIMARY"]
    made.ImageComments = "Research use only, not for diagnosis"
    if image.synthetic:
        made.BurnedInAnnotation = "NO"
    if image.ratio:
        made.LossyImageCompression, made.LossyImageCompressionMethod = "01", "ISO_10918_1"
        made.LossyImageCompressionRatio = f"{image.ratio:.2f}"
    made.Rows, made.Columns = image.pixels.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation = 7, 0
    made.WindowCenter, made.WindowWidth = 128, 256
    data = np.ascontiguousarray(image.pixels).tobytes()
    made.add_new("PixelData", "OB", data + b"\0" * (len(data) % 2))
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    pydicom.dcmwrite(path, made, enforce_file_format=True)


def _identify(made: Any, about: str) -> None:
    from xray_tf.clinic.objects.identity import uid_of

    short = hashlib.sha256(about.encode()).hexdigest()[:8].upper()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.PatientName, made.PatientID = f"Synthetic^{short}", f"SYN-{short}"
    made.PatientBirthDate = made.PatientSex = made.ReferringPhysicianName = ""
    made.PatientIdentityRemoved, made.DeidentificationMethod = "YES", MADE
    made.AccessionNumber, made.StudyID, made.StudyDescription = "", "1", "Chest, synthetic"
    for name in ("Study", "Series", "Acquisition", "Content"):
        setattr(made, f"{name}Date", DAY)
        setattr(made, f"{name}Time", TIME)
    made.SeriesNumber = made.InstanceNumber = made.AcquisitionNumber = 1
    for name in ("Study", "Series"):
        setattr(made, f"{name}InstanceUID", uid_of("to-dicom", name, about))
    made.SOPInstanceUID = uid_of("to-dicom", "image", about)
