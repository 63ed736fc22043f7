"""Read a DICOM radiograph as what is written about it needs it, and refuse what is no frontal chest
radiograph.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.filewriter import correct_ambiguous_vr

from xray_tf.data.pixels.dicom_tags import is_dicom, read_tags
from xray_tf.data.pixels.header import DecodeError

CR = "1.2.840.10008.5.1.4.1.1.1"
DX = "1.2.840.10008.5.1.4.1.1.1.1"
DX_RAW = "1.2.840.10008.5.1.4.1.1.1.1.1"
TAKEN = {CR: "CR", DX: "DX"}
FRONTAL = ("AP", "PA")
CHEST_WORDS = ("CHEST", "THORAX", "LUNG", "RIBS")
# chest and lungs in SNOMED CT, and in the SRT codes of older files
CHEST_CODES = ("51185008", "43799004", "39607008", "T-D3000", "T-28000", "816094009")
PATIENT = ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex")
STUDY = (
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
)
GREYS = (  # how stored numbers become grey values
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
)
IMAGE = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "InstanceNumber",
    "Modality",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    *GREYS,
)
_ASKED = (
    "BodyPartExamined",
    "ViewPosition",
    "AnatomicRegionSequence",
    "BurnedInAnnotation",
    "AcquisitionDate",
    "AcquisitionTime",
    "ContentDate",
    "ContentTime",
    "SeriesDate",
    "SeriesTime",
    "SpecificCharacterSet",
)
_UIDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")


class Refused(ValueError):
    """It is not answered; the message says why and holds no value that identifies anybody."""


@dataclass(frozen=True)
class Source:
    """A radiograph to write about.

    Attributes:
        header: a clean data set with the attributes of patient, study and image that the objects
            repeat, as text in UTF-8, and no other.
        date, time: of its acquisition as `YYYYMMDD` and `HHMMSS`; empty where the file does not
            say.
        burned_in: what the header says of burned-in text: `YES`, `NO` or empty.
        data: the whole file.
    """

    header: Dataset
    date: str
    time: str
    burned_in: str
    data: bytes

    @property
    def uid(self) -> str:
        """Its SOP Instance UID."""
        return str(self.header.SOPInstanceUID)


def read_source(data: bytes) -> Source:
    """Read a DICOM file's header, and check that it is a frontal chest radiograph by all that the
    header says.

    Raises:
        Refused: it is something else, or damaged, or lacks what identifies it.
    """
    if not is_dicom(data[:132]):
        raise Refused("not a DICOM file; xray-tf to-dicom makes one of a JPEG or PNG")
    try:
        read_tags(data)  # a syntax that is never read, and a damaged file
    except DecodeError as error:
        raise Refused(str(error)) from None
    wanted = [*PATIENT, *STUDY, *IMAGE, *_ASKED]
    try:
        tags = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, specific_tags=wanted)
        tags.decode()
    except Exception as error:  # whatever a hostile file provokes; its text may hold values
        raise Refused(f"the header cannot be read ({type(error).__name__})") from None
    refuse_other(tags)
    return Source(_clean(tags), *_moment(tags), _text(tags, "BurnedInAnnotation").upper(), data)


def refuse_other(tags: Any) -> None:
    """Raise Refused unless a header is that of a frontal chest radiograph, CR or DX for
    presentation. What a header leaves open is accepted: the pixels tell, see `Answer.warning`.
    """
    kind = _text(tags, "SOPClassUID")
    if kind == DX_RAW:
        raise Refused("DX for processing; send the images for presentation")
    if kind not in TAKEN:
        raise Refused("not a CR or DX image")
    for name in _UIDS:
        if not _UID.fullmatch(_text(tags, name)) or len(_text(tags, name)) > 64:
            raise Refused(f"no valid {name}")
    part = _text(tags, "BodyPartExamined").upper()
    if part and not any(word in part for word in CHEST_WORDS):
        raise Refused("not a chest: BodyPartExamined is another")
    regions = _codes(tags, "AnatomicRegionSequence")
    if not part and regions and not set(regions) & set(CHEST_CODES):
        raise Refused("not a chest: AnatomicRegionSequence is another")
    view = _text(tags, "ViewPosition").upper()
    if view and view not in FRONTAL:
        raise Refused("not frontal: ViewPosition is neither AP nor PA")


def _clean(tags: Any) -> Dataset:
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    for name in (*PATIENT, *STUDY):
        setattr(header, name, _text(tags, name))
    for name in ("PatientBirthDate", "StudyDate"):
        setattr(header, name, _date(tags, name))
    header.StudyTime = _time(tags, "StudyTime")
    if header.PatientSex not in ("M", "F", "O"):
        header.PatientSex = ""
    for name in ("IssuerOfPatientID", "StudyDescription"):  # optional: left out where empty
        if not header[name].value:
            del header[name]
    for name in IMAGE:
        if name in tags and tags[name].value not in (None, ""):
            header[name] = tags[name]
    return correct_ambiguous_vr(header, True)


def _moment(tags: Any) -> tuple[str, str]:
    for name in ("Acquisition", "Content", "Series", "Study"):
        if date := _date(tags, f"{name}Date"):
            return date, _time(tags, f"{name}Time")
    return "", ""


def _date(tags: Any, name: str) -> str:
    found = re.fullmatch(r"\d{8}", _text(tags, name).replace(".", ""))
    return found[0] if found else ""


def _time(tags: Any, name: str) -> str:
    found = re.match(r"\d{6}|\d{4}|\d{2}", _text(tags, name).replace(":", ""))
    return found[0].ljust(6, "0") if found else ""


def _text(tags: Any, name: str) -> str:
    """Return an element's value as text; of several values, all of them."""
    value = tags.get(name)
    return "" if value is None else str(value).strip(" \0")


def _codes(tags: Any, name: str) -> list[str]:
    return [_text(item, "CodeValue") for item in tags.get(name) or ()]
