"""Make all objects on one radiograph, as the bytes of DICOM files."""

from __future__ import annotations

import datetime
import io
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from xray_tf.clinic.objects.answer import Answer
from xray_tf.clinic.objects.identity import FIRST_SERIES, KINDS
from xray_tf.clinic.objects.outlines import outlines_of
from xray_tf.clinic.objects.picture import picture_of
from xray_tf.clinic.objects.report import report_of

_MAKE = dict(zip(KINDS, (report_of, picture_of, outlines_of), strict=True))
# dates of making, which highdicom takes from the clock
_MOMENTS = (
    ("ContentDate", "ContentTime"),
    ("PresentationCreationDate", "PresentationCreationTime"),
    ("DateOfSecondaryCapture", "TimeOfSecondaryCapture"),
)


def objects_of(answer: Answer) -> dict[str, bytes]:
    """Return the DICOM files on a radiograph, {SOP Instance UID: bytes}: the report, the picture
    and the outlines, each in a series of its own in the radiograph's study.

    The same answer makes the same bytes: dates are those of the radiograph's acquisition, and the
    clock is asked only where the radiograph has none.
    """
    found = {}
    for number, (kind, make) in enumerate(_MAKE.items(), FIRST_SERIES):
        uid = answer.maker.uid(kind, answer.source.uid)
        made = make(answer, answer.maker.uid(f"{kind} series", answer.source.uid), uid, number)
        if made is not None:
            found[uid] = _encoded(_dated(made, answer))
    return found


def _dated(made: Dataset, answer: Answer) -> Dataset:
    now = datetime.datetime.now()
    date = answer.source.date or now.strftime("%Y%m%d")
    time = answer.source.time or ("000000" if answer.source.date else now.strftime("%H%M%S"))
    for day, hour in _MOMENTS:
        if day in made:
            setattr(made, day, date)
            setattr(made, hour, time)
    made.SeriesDate, made.SeriesTime = date, time
    for name in ("InstanceCreationDate", "InstanceCreationTime"):
        if name in made:
            delattr(made, name)
    for item in made.get("ContributingEquipmentSequence", ()):
        del item.ContributionDateTime
    if made.Modality != "SR":
        made.BodyPartExamined = "CHEST"  # not a paired one, so no laterality is missing
    return made


def _encoded(made: Any) -> bytes:
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, made, enforce_file_format=True)
    return stream.getvalue()
