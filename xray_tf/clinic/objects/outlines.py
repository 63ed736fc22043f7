"""Draw the outlines: a presentation state (GSPS) that lays lungs and hottest region over the
radiograph itself, with the grey values that the radiograph has.
"""

from __future__ import annotations

import highdicom as hd
import numpy as np

from xray_tf import __version__
from xray_tf.clinic.objects.answer import Answer
from xray_tf.clinic.objects.identity import MANUFACTURER, RESEARCH
from xray_tf.clinic.objects.place import outlines

LUNGS, HOTTEST, NOTE = "LUNGS", "HOTTEST REGION", "RESEARCH USE"
MOST = 8  # outlines of each kind


def outlines_of(
    answer: Answer, series: str, uid: str, number: int
) -> hd.pr.GrayscaleSoftcopyPresentationState | None:
    """Return the outlines on a radiograph; None for one in colour, which GSPS does not take.
    Arguments are those of `report_of`.
    """
    header = answer.source.header
    if header.SamplesPerPixel != 1:
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
    return hd.pr.GrayscaleSoftcopyPresentationState(
        referenced_images=[header],
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


def _polyline(answer: Answer, outline: np.ndarray) -> hd.pr.GraphicObject:
    points = answer.place.points(outline)
    closed = np.concatenate([points, points[:1]])
    header = answer.source.header
    return hd.pr.GraphicObject(
        graphic_type=hd.pr.GraphicTypeValues.POLYLINE,
        graphic_data=np.clip(closed, 0, (header.Columns, header.Rows)).astype(np.float32),
        units=hd.pr.AnnotationUnitsValues.PIXEL,
    )
