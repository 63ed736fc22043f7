"""Draw the picture: a Secondary Capture of the radiograph, and beside it the heat map, the hottest
region and the lungs.
"""

from __future__ import annotations

import cv2
import highdicom as hd
import numpy as np

from xray_tf import __version__
from xray_tf.clinic.objects.answer import Answer
from xray_tf.clinic.objects.identity import MANUFACTURER, RESEARCH
from xray_tf.clinic.objects.place import spread
from xray_tf.pages.kit import overlays

SIDE = 600  # pixels of the longer side of each of the two pictures
HIDDEN = 96  # the grey of a radiograph that is not shown, since text is burned into it
_PAD, _LINE, _SCALE = 12, 26, 0.62
_INK, _ALERT = (20, 20, 20), (190, 0, 0)
NOT_SHOWN = "The radiograph is not shown: its header says that text is burned in."


def picture_of(answer: Answer, series: str, uid: str, number: int) -> hd.sc.SCImage:
    """Return the picture of a radiograph's answer; arguments are those of `report_of`."""
    header = answer.source.header
    hidden = answer.source.burned_in == "YES"
    picture = hd.sc.SCImage(
        pixel_array=draw(answer, hidden),
        photometric_interpretation=hd.PhotometricInterpretationValues.RGB,
        bits_allocated=8,
        coordinate_system=hd.CoordinateSystemNames.PATIENT,
        patient_orientation=("L", "F"),
        study_instance_uid=header.StudyInstanceUID,
        series_instance_uid=series,
        series_number=number,
        sop_instance_uid=uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        patient_id=header.PatientID,
        patient_name=header.PatientName,
        patient_birth_date=header.PatientBirthDate,
        patient_sex=header.PatientSex or None,
        accession_number=header.AccessionNumber,
        study_id=header.StudyID,
        study_date=header.StudyDate or None,
        study_time=header.StudyTime or None,
        referring_physician_name=header.ReferringPhysicianName,
        specific_character_set=header.SpecificCharacterSet,
        manufacturer_model_name=answer.maker.model[:64],
        software_versions=__version__,
        device_serial_number=answer.maker.fingerprint,
        series_description=f"xray_tf heat map. {RESEARCH}"[:64],
    )
    picture.copy_patient_and_study_information(header)
    picture.ImageComments = RESEARCH
    if hidden or answer.source.burned_in == "NO":
        picture.BurnedInAnnotation = "NO"
    reference = hd.sr.SourceImageForMeasurementGroup(header.SOPClassUID, header.SOPInstanceUID)
    picture.SourceImageSequence = [reference.ReferencedSOPSequence[0]]
    picture.ConversionType = "WSD"
    picture.PatientOrientation = None  # of two pictures and a text there is none
    return picture


def draw(answer: Answer, hidden: bool = False) -> np.ndarray:
    """Draw the radiograph, and beside it heat map, hottest region (white) and lungs (magenta), with
    what was decided and by what below: (H, W, 3) uint8 RGB. Nothing of the header is drawn.

    Args:
        answer: what was found.
        hidden: show no pixels of the radiograph.
    """
    height, width = answer.grey.shape
    scale = SIDE / max(height, width)
    sides = max(1, round(width * scale)), max(1, round(height * scale))
    grey = cv2.resize(answer.grey, sides, interpolation=cv2.INTER_AREA)
    if hidden:
        grey = np.full_like(grey, HIDDEN)
    heat = spread(answer.heat, answer.place, height, width)
    heat = cv2.resize(heat, sides, interpolation=cv2.INTER_LINEAR).clip(0, 1)
    marked = overlays.contour(overlays.overlay(grey, heat, 0.35), heat)
    if answer.lungs is not None:
        lungs = spread(answer.lungs, answer.place, height, width)
        lungs = cv2.resize(lungs, sides, interpolation=cv2.INTER_LINEAR) >= 0.5
        marked = overlays.lung_outline(marked, lungs)
    pictures = overlays.beside(
        [np.repeat(grey[..., None], 3, -1), marked, overlays.color_bar(len(grey))]
    )
    shown = np.pad(pictures, [(_PAD, _PAD // 2), (_PAD, _PAD // 2), (0, 0)], constant_values=255)
    return np.vstack([shown, _caption(answer, shown.shape[1], hidden)])


def _caption(answer: Answer, width: int, hidden: bool) -> np.ndarray:
    maker = answer.maker
    lines = [
        (RESEARCH.upper(), _ALERT),
        (f"Decision: {answer.words()}", _INK),
        (f"Operating point {maker.point}: {answer.point.words(answer.class_names)}", _INK),
        (f"xray_tf {__version__}, {maker.model}, {maker.fingerprint[:16]}", _INK),
        ("Colours: heat map of the decision. White: its hottest tenth. Magenta: lungs.", _INK),
    ]
    lines += [(f"Warning: {answer.prediction.warning}", _ALERT)] * bool(answer.prediction.warning)
    lines += [(NOT_SHOWN, _ALERT)] * hidden
    strip = np.full((_LINE * len(lines) + _PAD, width, 3), 255, np.uint8)
    for row, (text, ink) in enumerate(lines):
        wide = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, _SCALE, 1)[0][0]
        scale = _SCALE * min(1, (width - 2 * _PAD) / max(wide, 1))
        place = (_PAD, _LINE * (row + 1) - 6)
        cv2.putText(strip, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, 1, cv2.LINE_AA)
    return strip
