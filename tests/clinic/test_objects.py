"""What is written about a radiograph is valid DICOM, says what was found and by what, and is the
same on every run.
"""

import io
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pydicom
import pytest

from xray_tf import __version__
from xray_tf.clinic.extra import quiet_libraries
from xray_tf.clinic.objects.answer import ask
from xray_tf.clinic.objects.bundle import objects_of
from xray_tf.clinic.objects.identity import RESEARCH, uid_of
from xray_tf.clinic.objects.outlines import outlines_of
from xray_tf.clinic.objects.picture import HIDDEN, draw
from xray_tf.clinic.objects.place import Place, outlines, spread
from xray_tf.clinic.objects.source import Refused, read_source
from xray_tf.data.pixels.square import resize_pixels
from xray_tf.operating_point import OperatingPoint

DX = "1.2.840.10008.5.1.4.1.1.1.1"


def written(model, data, point=None):
    """Return the objects on a DICOM file, {modality: data set}, and their bytes."""
    with quiet_libraries():
        found = objects_of(ask(model, read_source(data), point))
    sets = {uid: pydicom.dcmread(io.BytesIO(b)) for uid, b in found.items()}
    assert all(s.SOPInstanceUID == uid for uid, s in sets.items())
    return {s.Modality: s for s in sets.values()}, found


@pytest.fixture(scope="module")
def objects(binary, dicom):
    return written(binary, dicom())


def values(item, found=None):
    """Return {concept: value} of a content tree."""
    found = {} if found is None else found
    for child in item.get("ContentSequence", ()):
        name = child.ConceptNameCodeSequence[0].CodeMeaning
        if child.ValueType == "NUM":
            found[name] = float(child.MeasuredValueSequence[0].NumericValue)
        elif child.ValueType == "CODE":
            found[name] = child.ConceptCodeSequence[0].CodeMeaning
        elif child.ValueType == "TEXT":
            found.setdefault(name, []).append(child.TextValue)
        values(child, found)
    return found


def test_every_object_is_in_the_study_in_a_series_of_its_own_and_for_research_only(objects, dicom):
    sets, _ = objects
    source = pydicom.dcmread(io.BytesIO(dicom()))
    assert list(sets) == ["SR", "OT", "PR"]
    assert len({s.SeriesInstanceUID for s in sets.values()} | {source.SeriesInstanceUID}) == 4
    for made in sets.values():
        for name in ("StudyInstanceUID", "PatientName", "PatientID", "AccessionNumber"):
            assert str(made[name].value) == str(source[name].value), name
        assert RESEARCH in made.SeriesDescription and made.SpecificCharacterSet == "ISO_IR 192"
        assert made.Manufacturer == "xray_tf" and made.SoftwareVersions == __version__
        assert len(made.SOPInstanceUID) <= 64 and made.SOPInstanceUID.is_valid
        assert "InstitutionName" not in made
    assert sets["OT"].ImageComments == RESEARCH
    assert RESEARCH in str(sets["PR"].GraphicAnnotationSequence[-1].TextObjectSequence[0])


def test_the_report_says_what_the_model_says(objects, binary, chest):
    said = values(objects[0]["SR"])
    answer = binary.predict(chest)[0]
    point = binary.card.point()
    assert said["Calibrated probability of pneumonia"] == pytest.approx(
        answer.probabilities[1], abs=1e-5
    )
    assert said["Probability from which pneumonia is said"] == pytest.approx(
        point.threshold, abs=1e-6
    )
    assert said["Decision at the operating point"].lower() == answer.predicted
    assert said["Operating point"] == point.name and said["Intended use"] == RESEARCH
    assert said["Algorithm Version"] == [__version__]
    assert said["Algorithm Name"] == [f"xray_tf {binary.card.name}"]
    fingerprint = binary.card.to_dict()["checksum"]
    assert any(fingerprint in text for text in said["Algorithm Parameters"])
    referenced = objects[0]["SR"].CurrentRequestedProcedureEvidenceSequence[0]
    image = referenced.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert image.ReferencedSOPInstanceUID == "1.2.826.77.1"


@pytest.fixture(scope="module")
def answer(binary, dicom):
    with quiet_libraries():
        return ask(binary, read_source(dicom()))


def test_three_classes_and_their_codes(answer):
    said = replace(
        answer.prediction, probabilities=(0.2, 0.5, 0.3), predicted="bacterial", warning="Doubt."
    )
    other = replace(
        answer,
        class_names=("normal", "bacterial", "viral"),
        prediction=said,
        point=OperatingPoint("balanced", offsets=(0, 0, 0)),
        source=replace(answer.source, date="20200229"),
    )
    report = pydicom.dcmread(io.BytesIO(next(iter(objects_of(other).values()))))
    said = values(report)
    assert said["Calibrated probability of viral"] == 0.3 and said["Warning"] == "Doubt."
    assert said["Decision at the operating point"] == "Bacterial pneumonia"
    assert "Probability from which viral is said" not in said
    assert report.ContentDate == "20200229"


def test_a_second_run_makes_the_same_bytes_and_another_model_others(objects, answer, binary, dicom):
    assert written(binary, dicom())[1] == objects[1]
    other = objects_of(replace(answer, maker=replace(answer.maker, fingerprint="f" * 64)))
    assert not set(other) & set(objects[1])
    source = read_source(dicom(SOPInstanceUID="1.2.826.77.9"))
    assert not set(objects_of(replace(answer, source=source))) & set(objects[1])


def test_a_uid_is_a_uuid_of_version_8_and_depends_on_how_texts_are_divided():
    number = int(uid_of("a", "b").removeprefix("2.25."))
    assert number >> 76 & 0xF == 8 and number >> 62 & 3 == 2 and number < 1 << 128
    assert uid_of("a", "b") == uid_of("a", "b") != uid_of("ab", "")


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="needs dciodvfy (Debian dicom3tools)")
@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"SOPClassUID": DX, "Modality": "DX"},
        {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 100, "WindowWidth": 80},
        {"PatientSex": "unknown", "PatientBirthDate": "", "StudyTime": "", "PatientName": ""},
        {
            "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
            "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
            "StudyDescription": "山田",
        },
    ],
    ids=["CR", "DX", "negative", "bare", "Japanese"],
)
def test_every_object_is_valid(tags, binary, dicom, tmp_path):
    with quiet_libraries():
        data = dicom(**tags)
    sets, found = written(binary, data)
    for name, made in zip(sets, found.values(), strict=True):
        (tmp_path / name).write_bytes(made)
        done = subprocess.run(["dciodvfy", tmp_path / name], capture_output=True, text=True)
        errors = [line for line in done.stderr.splitlines() if line.startswith("Error")]
        assert not errors, (name, errors)
    assert str(sets["SR"].PatientName) == str(tags.get("PatientName", "Plantedname^Jürgen"))


def table(entries, bits):
    """Return a look-up table of 12-bit values."""
    made = pydicom.Dataset()
    made.add_new("LUTDescriptor", "US", [len(entries), 0, bits])
    made.add_new("LUTData", "OW", np.asarray(entries, "<u2").tobytes())
    return made


DEEP = {"BitsAllocated": 16, "BitsStored": 12, "HighBit": 11}
RAMP = np.arange(4096)


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="needs dciodvfy (Debian dicom3tools)")
@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ({"WindowCenter": [2000, 1000], "WindowWidth": [4000, 500]}, (2000, 4000)),
        ({"RescaleSlope": "1", "WindowCenter": "0", "WindowWidth": "0"}, None),
        ({"VOILUTSequence": [table(RAMP, 12)], "WindowCenter": 9, "WindowWidth": 9}, 65535),
        ({"VOILUTSequence": [table(RAMP, 16)]}, 65535),
        ({"ModalityLUTSequence": [table(RAMP, 12)]}, "no outlines"),
        ({"ModalityLUTSequence": [table(RAMP * 16 + 15, 16)]}, None),
    ],
    ids=["windows", "no width", "12-bit table", "declared as 16", "odd modality", "modality"],
)
def test_outlines_of_deep_radiographs_show_what_the_model_saw(
    tags, found, answer, dicom, chest, tmp_path
):
    for sequence in ("ModalityLUTSequence",):
        for item in tags.get(sequence, ()):
            item.ModalityLUTType = "US"
    with quiet_libraries():
        source = read_source(dicom(image=chest.astype(np.uint16) * 16, **DEEP, **tags))
        made = outlines_of(replace(answer, source=source), "1.2.3", "1.2.3.4", 1)
    if found == "no outlines":
        assert made is None
        return
    greys = made.get("SoftcopyVOILUTSequence", [pydicom.Dataset()])[0]
    if found is None:
        assert "SoftcopyVOILUTSequence" not in made
        assert "RescaleIntercept" in made or "ModalityLUTSequence" in made
    elif found == 65535:
        item = greys.VOILUTSequence[0]
        assert np.frombuffer(item.LUTData, "<u2").max() == found and item.LUTDescriptor[2] == 16
        assert "WindowCenter" not in greys
    else:
        assert (greys.WindowCenter, greys.WindowWidth) == found
    pydicom.dcmwrite(tmp_path / "pr", made, enforce_file_format=True)
    done = subprocess.run(["dciodvfy", tmp_path / "pr"], capture_output=True, text=True)
    wrong = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    assert all("Laterality" in line for line in wrong), wrong  # `objects_of` adds the body part


def test_outlines_keep_the_radiographs_grey_values(binary, dicom):
    tags = {"WindowCenter": 100, "WindowWidth": 80, "PhotometricInterpretation": "MONOCHROME1"}
    made = written(binary, dicom(**tags))[0]["PR"]
    assert made.PresentationLUTShape == "INVERSE"
    assert float(made.SoftcopyVOILUTSequence[0].WindowCenter) == 100
    made = written(binary, dicom())[0]["PR"]
    assert made.PresentationLUTShape == "IDENTITY"


def test_a_radiograph_in_colour_gets_no_grey_presentation_state(binary, dicom, chest):
    sets, _ = written(binary, dicom(np.repeat(chest[..., None], 3, -1)))
    assert list(sets) == ["SR", "OT"]


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
@pytest.mark.parametrize("shape", [(300, 200), (200, 300)])
def test_an_outline_lies_where_the_lesion_is(resize, shape):
    image = np.zeros(shape, np.uint8)
    image[90:110, 120:150] = 255
    square = resize_pixels(image, 64, resize)
    place = Place.of(*shape, 64, resize)
    x, y = place.points(outlines(square >= 128)[0]).T
    coarse = 1.5 * max(place.high, place.wide) / 64
    np.testing.assert_allclose(
        [x.min(), x.max(), y.min(), y.max()], [120, 150, 90, 110], atol=coarse
    )
    back = spread(square / 255, place, *shape) >= 0.5
    both = (back & (image > 0)).sum() / (back | (image > 0)).sum()
    assert back.shape == shape and both > 0.75


def test_what_is_burned_into_a_radiograph_is_not_in_the_picture(binary, dicom, objects):
    with quiet_libraries():
        answer = ask(binary, read_source(dicom(BurnedInAnnotation="YES")))
    shown, hidden = draw(answer), draw(answer, hidden=True)
    wide = shown.shape[1] // 2 - 60
    assert np.ptp(shown[30:100, 30:wide]) > 50 and (hidden[30:100, 30:wide] == HIDDEN).all()
    picture = written(binary, dicom(BurnedInAnnotation="YES"))[0]["OT"]
    assert picture.BurnedInAnnotation == "NO"
    assert np.array_equal(picture.pixel_array, hidden)
    assert "BurnedInAnnotation" not in objects[0]["OT"]  # the radiograph does not say


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT"}, "not a CR or DX image"),
        ({"SOPClassUID": f"{DX}.1"}, "DX for processing"),
        ({"BodyPartExamined": "HAND"}, "not a chest"),
        ({"ViewPosition": "LL"}, "not frontal"),
        ({"SOPInstanceUID": ""}, "no valid SOPInstanceUID"),
        ({"StudyInstanceUID": None}, "no valid StudyInstanceUID"),
        ({"SeriesInstanceUID": "1.2.Plantedname"}, "no valid SeriesInstanceUID"),
    ],
)
def test_what_is_no_frontal_chest_radiograph_is_refused_with_the_reason(tags, reason, dicom):
    with quiet_libraries():
        data = dicom(**tags)
        with pytest.raises(Refused, match=reason) as caught:
            read_source(data)
    assert "Planted" not in str(caught.value)


def test_what_the_header_leaves_open_is_taken(dicom):
    source = read_source(dicom(BodyPartExamined=None, ViewPosition=None, StudyDate=""))
    assert source.uid == "1.2.826.77.1" and source.date == ""
    for data in (b"", b"not DICOM", dicom()[:400], dicom()[:140]):
        with pytest.raises(Refused):
            read_source(data)


def test_headers_keep_nothing_but_what_objects_repeat(dicom):
    header = read_source(dicom(PatientAddress="Planted street", OtherPatientIDs="PL-3")).header
    text = str(header)
    assert "Planted street" not in text and "PL-3" not in text
    assert re.search("HOSP-4711-77", text)
