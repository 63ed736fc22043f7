"""Columns of a manifest: which of them group radiographs, and which may not be taken."""

import pytest

from xray_tf.data.sources.scan import scan
from xray_tf.data.sources.traits import MOST_GROUPS, group_by, may_identify


@pytest.mark.parametrize(
    "column",
    ["PatientName", "patient_name", "name", "MRN", "id", "PatientID", "patientid", "birth_date",
     "DOB", "StudyDate", "study date", "Accession", "email", "ReferringPhysician",
     "comments", "StudyNo"],
)  # fmt: skip
def test_names_of_columns_that_may_identify_people_are_known(column):
    assert may_identify(column)


@pytest.mark.parametrize(
    "column",
    ["site", "Scanner", "view", "sex", "age", "ViewPosition", "site_name", "ManufacturerModelName",
     "ward", "Width", "covid", "valid"],
)  # fmt: skip
def test_other_names_are_taken(column):
    assert not may_identify(column)


def test_ages_go_into_bands_however_they_are_written():
    ages = ["0", "006M", "012Y", "3.5", "18", "90D", "065Y", "", "nan"]
    assert group_by("PatientAge", ages) == [
        "0 to 1 years",
        "0 to 1 years",
        "6 to 12 years",
        "2 to 5 years",
        "18 to 39 years",
        "0 to 1 years",
        "65 years and older",
        "not given",
        "not given",
    ]


def test_words_group_as_they_are_and_numbers_in_quarters():
    assert group_by("view", ["PA", "pa", "PA", "AP", "ap", "AP"]) == ["PA"] * 3 + ["AP"] * 3
    widths = [str(w) for w in range(1000, 1100)]
    assert {group_by("width", widths).count(g) for g in set(group_by("width", widths))} == {25}
    assert group_by("bed", ["", *map(str, range(20))])[0] == "not given"


@pytest.mark.parametrize(
    "values", [[f"person {i}" for i in range(40)], ["", "nan"], ["a", "b", "c"]]
)
def test_what_names_radiographs_groups_none_and_is_not_quoted(values):
    with pytest.raises(ValueError, match="empty|different values") as caught:
        group_by("operator", values)
    assert "person" not in str(caught.value)
    assert MOST_GROUPS < 40


def test_a_manifests_columns_travel_with_its_rows(tmp_path):
    head = "path,label,patient,Site,PatientName"
    (tmp_path / "m.csv").write_text(f"{head}\na.png,normal,p1,north,Ada\nb.png,pneumonia,p2,,Bob\n")
    records, findings = scan(tmp_path / "m.csv")
    assert records.traits == {"a.png": {"site": "north"}, "b.png": {"site": ""}}
    assert records.where(lambda r: r.label == "normal").traits is records.traits
    said = {f.detail for f in findings if f.kind == "unused-column"}
    assert any("may identify" in s and "PatientName" in s for s in said) and len(said) == 2
    assert not any("Ada" in s for s in said)
