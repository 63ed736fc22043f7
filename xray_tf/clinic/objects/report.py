"""Write the report: a Comprehensive SR after TID 1500 (Measurement Report), with the probabilities,
the operating point, the decision and the algorithm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import highdicom as hd
from pydicom.sr.codedict import codes

from xray_tf import __version__
from xray_tf.clinic.objects.answer import Answer
from xray_tf.clinic.objects.identity import MANUFACTURER, RESEARCH, SCHEME, Maker

MEANING, CODE = 64, 16  # the most characters of CodeMeaning (LO) and CodeValue (SH)
SNOMED = {
    "normal": ("17621005", "Normal"),
    "pneumonia": ("233604007", "Pneumonia"),
    "bacterial": ("53084003", "Bacterial pneumonia"),
    "viral": ("75570004", "Viral pneumonia"),
}
Coded = hd.sr.CodedConcept


def report_of(answer: Answer, series: str, uid: str, number: int) -> hd.sr.ComprehensiveSR:
    """Return the report on a radiograph.

    Args:
        answer: what was found.
        series, uid: UIDs of the report's series and of the report.
        number: of the series.
    """
    header, maker = answer.source.header, answer.maker
    device = hd.sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=maker.uid("device"),
            name=MANUFACTURER,
            manufacturer_name=MANUFACTURER,
            model_name=maker.model[:MEANING],
            serial_number=maker.fingerprint,
        ),
    )
    group = hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=maker.uid("tracking", answer.source.uid), identifier=MANUFACTURER
        ),
        algorithm_id=algorithm_of(maker, answer),
        finding_sites=[hd.sr.FindingSite(Coded("39607008", "SCT", "Lung"))],
        measurements=list(_measurements(answer)),
        qualitative_evaluations=list(_evaluations(answer)),
        source_images=[
            hd.sr.SourceImageForMeasurementGroup(header.SOPClassUID, header.SOPInstanceUID)
        ],
    )
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=device),
        procedure_reported=Coded("399208008", "SCT", "Plain chest X-ray"),
        imaging_measurements=[group],
        title=codes.DCM.ImagingMeasurementReport,
    )
    return hd.sr.ComprehensiveSR(
        evidence=[header],
        content=content,
        series_instance_uid=series,
        series_number=number,
        sop_instance_uid=uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        manufacturer_model_name=maker.model[:MEANING],
        software_versions=__version__,
        device_serial_number=maker.fingerprint,
        series_description=f"xray_tf report. {RESEARCH}"[:MEANING],
    )


def algorithm_of(maker: Maker, answer: Answer) -> hd.sr.AlgorithmIdentification:
    """Return the algorithm's identification (TID 4019)."""
    return hd.sr.AlgorithmIdentification(
        name=f"xray_tf {maker.model}"[:MEANING],
        version=__version__,
        parameters=[
            f"fingerprint: sha256 {maker.fingerprint}",
            f"operating point: {maker.point}, {answer.point.words(answer.class_names)}",
            f"intended use: {RESEARCH}",
        ],
    )


def class_code(name: str) -> Coded:
    """Return the code of a class: SNOMED CT where it is known, otherwise one of this package."""
    value, meaning = SNOMED.get(name, ("", ""))
    if value:
        return Coded(value, "SCT", meaning)
    return own_code(name, name)


def own_code(value: str, meaning: str) -> Coded:
    """Return a code of the scheme `99XRAYTF`."""
    short = re.sub(r"[^A-Z0-9_-]+", "-", value.upper())[:CODE].strip("-")
    return Coded(short or "OTHER", SCHEME, meaning[:MEANING])


def _measurements(answer: Answer) -> Iterator[hd.sr.Measurement]:
    unit, predicted = codes.UCUM.NoUnits, answer.prediction.probabilities
    for name, value in zip(answer.class_names, predicted, strict=True):
        concept = own_code(f"PROB-{name}", f"Calibrated probability of {name}")
        yield hd.sr.Measurement(concept, float(f"{value:.6f}"), unit)
    if answer.point.threshold is not None:
        concept = own_code("THRESHOLD", f"Probability from which {answer.class_names[-1]} is said")
        yield hd.sr.Measurement(concept, float(f"{answer.point.threshold:.6f}"), unit)


def _evaluations(answer: Answer) -> Iterator[hd.sr.QualitativeEvaluation]:
    said = answer.prediction
    yield hd.sr.QualitativeEvaluation(
        own_code("INTENDED-USE", "Intended use"), own_code("RESEARCH", RESEARCH)
    )
    yield hd.sr.QualitativeEvaluation(
        own_code("DECISION", "Decision at the operating point"), class_code(said.predicted)
    )
    yield hd.sr.QualitativeEvaluation(
        own_code("POINT", "Operating point"), own_code(answer.maker.point, answer.maker.point)
    )
    if said.subtype:
        yield hd.sr.QualitativeEvaluation(
            own_code("LIKELIER", "Likelier kind"), class_code(said.subtype)
        )
    if said.warning:
        yield hd.sr.QualitativeEvaluation(
            own_code("WARNING", "Warning"), own_code("NO-LUNGS", said.warning)
        )
