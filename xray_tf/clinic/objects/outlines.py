"""Draw the outlines: a presentation state (GSPS) that lays lungs and hottest region over the
radiograph itself, with the grey values that the radiograph has.
"""

from __future__ import annotations

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset

from xray_tf import __version__
from xray_tf.clinic.objects.answer import Answer
from xray_tf.clinic.objects.identity import MANUFACTURER, RESEARCH
from xray_tf.clinic.objects.place import outlines
from xray_tf.clinic.objects.source import GREYS
from xray_tf.data.pixels.dicom_grey import window
from xray_tf.data.pixels.dicom_tags import read_tags

LUNGS, HOTTEST, NOTE = "LUNGS", "HOTTEST REGION", "RESEARCH USE"
MOST = 8  # outlines of each kind


def outlines_of(
    answer: Answer, series: str, uid: str, number: int
) -> hd.pr.GrayscaleSoftcopyPresentationState | None:
    """Return the outlines on a radiograph; None for one in colour, or with a modality LUT of
    another depth than 8 or 16 bits, which GSPS does not take. Arguments are those of `report_of`.
    """
    header = answer.source.header
    if header.SamplesPerPixel != 1 or _has_other_depth(header):
        return None
    layers, annotations = [], []
    for name, mask in ((LUNGS, answer.lungs), (HOTTEST, answer.hottest)):
        drawn = [] if mask is None else outlines(mask)[:MOST]
        if drawn:
            graphics = [_polyline(answer, one) for one in drawn]
            layers.append(hd.pr.GraphicLayer(name, len(layers) + 1, description=RESEARCH))
            annotations.append(
                hd.pr.GraphicAnnotation([header], layers[-1], graphic_objects=graphics)
            )
    layers.append(hd.pr.GraphicLayer(NOTE, len(layers) + 1, description=RESEARCH))
    note = hd.pr.TextObject(
        f"xray_tf: {answer.words()}. {RESEARCH}",
        units=hd.pr.AnnotationUnitsValues.DISPLAY,
        bounding_box=(0.02, 0.94, 0.98, 0.99),
        text_justification=hd.pr.TextJustificationValues.LEFT,
    )
    annotations.append(hd.pr.GraphicAnnotation([header], layers[-1], text_objects=[note]))
    inverse = header.PhotometricInterpretation == "MONOCHROME1"
    shape = hd.PresentationLUTShapeValues.INVERSE if inverse else None
    made = hd.pr.GrayscaleSoftcopyPresentationState(
        referenced_images=[_without_greys(header)],
        series_instance_uid=series,
        series_number=number,
        sop_instance_uid=uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=answer.maker.model[:64],
        software_versions=__version__,
        device_serial_number=answer.maker.fingerprint,
        content_label="XRAY_TF",
        content_description=f"Lungs and hottest region. {RESEARCH}"[:64],
        series_description=f"xray_tf outlines. {RESEARCH}"[:64],
        graphic_layers=layers,
        graphic_annotations=annotations,
        presentation_lut_transformation=shape
        and hd.PresentationLUTTransformation(presentation_lut_shape=shape),
        concept_name=None,
    )
    _add_greys(made, answer)
    return made


def _without_greys(header: Dataset) -> Dataset:
    """Return a header without its grey values: highdicom copies some of them, changes others (the
    depth of a look-up table) and fails on what the standard allows.
    """
    plain = Dataset()
    plain.update({e.tag: e for e in header if e.keyword not in GREYS})
    return plain


def _add_greys(made: Dataset, answer: Answer) -> None:
    """Give the outlines the radiograph's grey values: those that `data.pixels.dicom_grey` uses."""
    header, item = answer.source.header, Dataset()
    if table := header.get("ModalityLUTSequence"):
        made.ModalityLUTSequence = [table[0]]
    elif "RescaleSlope" in header or "RescaleIntercept" in header:
        made.RescaleSlope = header.get("RescaleSlope") or 1
        made.RescaleIntercept = header.get("RescaleIntercept", 0)
        made.RescaleType = header.get("RescaleType", "US")
    if table := header.get("VOILUTSequence"):
        item.VOILUTSequence = [_of_16_bits(table[0])]
    elif found := window(read_tags(answer.source.data)):
        item.WindowCenter, item.WindowWidth, function = found
        if function != "LINEAR":
            item.VOILUTFunction = function
    if len(item):
        made.SoftcopyVOILUTSequence = [item]


def _of_16_bits(table: Dataset) -> Dataset:
    """Return a VOI LUT whose white is the largest number of 16 bits: presentation states know 8 and
    16 bits only, radiographs any number between.
    """
    count, first, _ = table.LUTDescriptor
    data, count = table.LUTData, count or 1 << 16
    if isinstance(data, bytes):
        data = np.frombuffer(data, "<u2" if len(data) >= 2 * count else "u1", count)
    entries = np.asarray(data, np.float64)
    white = (1 << int(entries.max()).bit_length()) - 1
    made = Dataset()
    made.add_new("LUTDescriptor", table["LUTDescriptor"].VR, [count % (1 << 16), first, 16])
    scaled = np.rint(entries * (65535 / max(1, white)))
    made.add_new("LUTData", "OW", scaled.astype("<u2").tobytes())
    return made


def _has_other_depth(header: Dataset) -> bool:
    """Tell whether a modality LUT has a depth that presentation states do not know."""
    tables = header.get("ModalityLUTSequence")
    return bool(tables) and tables[0].LUTDescriptor[2] not in (8, 16)


def _polyline(answer: Answer, outline: np.ndarray) -> hd.pr.GraphicObject:
    points = answer.place.points(outline)
    closed = np.concatenate([points, points[:1]])
    header = answer.source.header
    return hd.pr.GraphicObject(
        graphic_type=hd.pr.GraphicTypeValues.POLYLINE,
        graphic_data=np.clip(closed, 0, (header.Columns, header.Rows)).astype(np.float32),
        units=hd.pr.AnnotationUnitsValues.PIXEL,
    )
