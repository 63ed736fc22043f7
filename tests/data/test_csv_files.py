"""CSV files: no cell is a formula, every text comes back, and what is torn is refused."""

import csv

import pytest

from xray_tf.data.predictions import Predictions
from xray_tf.data.records import Record, Records
from xray_tf.data.sources.scan import scan
from xray_tf.data.tables.csv_files import harmless, told
from xray_tf.data.tables.split_file import SplitError, read_split, write_split

FORMULAS = [
    *("=cmd|' C calc'!A0", "@SUM(1+1)*cmd", "+1+1", "-2+3+cmd", "\t=1", "\r=1", "=", "-x.png"),
    *("'=quoted", "''@twice", "-é", "+"),
]
PLAIN = ["", "a.png", "-0.5", "+3", "-1e-05", "-inf", "'", "'a'", "a=b", "person1", "-7"]
NAMES = ("normal", "pneumonia")


@pytest.mark.parametrize("text", [*FORMULAS, *PLAIN])
def test_every_text_comes_back(text):
    assert told(harmless(text)) == text
    if text in PLAIN:
        assert harmless(text) == text


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_begins_a_formula(text, tmp_path):
    table = Predictions(NAMES, [text], [[0.5, 0.5]], [0], patients=[text], warnings=[text])
    path = table.write_csv(tmp_path / "p.csv")
    with path.open(newline="") as stream:
        cells = list(csv.reader(stream))[1]
    assert not [c for c in cells if c[:1] in ("=", "+", "-", "@", "\t", "\r")]
    assert Predictions.read_csv(path) == table


def test_a_split_comes_back_too(tmp_path):
    rows = [Record(f"{t}{i}.png", "normal", split="train") for i, t in enumerate(FORMULAS)]
    write_split(Records(rows), tmp_path / "split.csv")
    assert [r["path"] for r in read_split(tmp_path / "split.csv")] == [r.path for r in rows]


TORN = {
    "a stray quotation mark": '"a.png,normal,p1\n' + "b.png,normal,p2\n" * 20_000,
    "an endless cell": "a" * 200_000 + ",normal,p1\n",
}


@pytest.mark.parametrize("what", TORN)
def test_a_torn_file_is_refused_with_what_to_look_for(what, tmp_path):
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,label,patient\n" + TORN[what])
    columns = "path,sha256,patient,label,subtype,split,split_by\n"
    (tmp_path / "s.csv").write_text(columns + TORN[what])
    columns = "path,patient,split,label,prob_normal,prob_pneumonia,predicted\n"
    (tmp_path / "p.csv").write_text(columns + TORN[what])
    for read, path in (
        (lambda p: scan(p, cache=tmp_path / "cache"), manifest),
        (read_split, tmp_path / "s.csv"),
        (Predictions.read_csv, tmp_path / "p.csv"),
    ):
        with pytest.raises(ValueError, match="stray quotation mark"):
            read(path)


def test_a_column_that_comes_twice_is_refused(tmp_path):
    (tmp_path / "m.csv").write_text("path,label,label\na.png,normal,pneumonia\n")
    with pytest.raises(ValueError, match="'label' more than once"):
        scan(tmp_path / "m.csv", cache=tmp_path)
    columns = "path,path,patient,label,subtype,split,split_by\n"
    (tmp_path / "s.csv").write_text(columns + "a,b,p,normal,,train,patient\n")
    with pytest.raises(SplitError, match="must have the columns"):
        read_split(tmp_path / "s.csv")
    columns = "path,sha256,patient,label,subtype,split,split_by\n"
    (tmp_path / "s.csv").write_text(columns + "a,b,p,normal\n")
    with pytest.raises(SplitError, match="line 2: expected 7 cells"):
        read_split(tmp_path / "s.csv")


def test_a_manifests_patients_are_kept_as_keyed_hashes(tmp_path):
    text = "path,label,patient,split\na.png,normal,MRN-7712345,train\nb.png,normal,MRN-7712345,\n"
    (tmp_path / "m.csv").write_text(text + "c.png,normal,,\nd.png,normal,dicom:0123456789abcdef,\n")
    first = scan(tmp_path / "m.csv", cache=tmp_path / "cache").records.column("patient")
    assert first[0] == first[1] and first[0].startswith("manifest:") and "MRN" not in first[0]
    assert first[2:] == ["", "dicom:0123456789abcdef"], "a key is not keyed again"
    assert scan(tmp_path / "m.csv", cache=tmp_path / "cache").records.column("patient") == first
    other = scan(tmp_path / "m.csv", cache=tmp_path / "other").records.column("patient")
    assert other[0] != first[0], "without the secret nobody can try all numbers"
