"""The table everything starts as keeps what it is given and refuses what it does not know."""

from dataclasses import replace
from pathlib import Path

import pytest

from xray_tf.data.records import Finding, Findings, Record, Records, class_index
from xray_tf.registry import TASKS

ROWS = [
    Record(
        "train/NORMAL/a.png",
        "normal",
        patient="IM-1",
        sha256="0" * 64,
        width=40,
        height=30,
        mode="L",
        split="train",
    ),
    Record('train/PNEUMONIA/ä b,"c".png', "pneumonia", "viral", "virus:person1", split="test"),
    Record("unknown.png"),
]


def test_groups_are_matched_by_bytes_and_by_path_where_bytes_are_not_known():
    rows = Records([Record("a.png", sha256="1"), Record("b.png", sha256="2"), Record("c.png")])
    known = [
        Record("moved.png", sha256="1", acquisition="x"),
        Record("b.png", sha256="9", acquisition="wrong"),
        Record("c.png", sha256="3", acquisition="y"),
    ]
    assert rows.with_acquisitions(known).column("acquisition") == ["x", "", "y"]


def test_csv_gives_the_same_table_back(tmp_path):
    records = Records(ROWS, tmp_path)
    assert Records.read_csv(records.write_csv(tmp_path / "records.csv")) == records
    findings = Findings([Finding("empty", "error", "a.png", "It has,\nno bytes.", "b.png|c.png")])
    assert Findings.read_csv(findings.write_csv(tmp_path / "audit.csv")) == findings


def test_file_names_that_are_not_utf8_survive_csv(tmp_path):
    records = Records([Record("caf\udce9.png", "normal")])
    assert Records.read_csv(records.write_csv(tmp_path / "r.csv")) == records


def test_frame_has_the_declared_columns_and_values():
    frame = Records(ROWS).to_frame()
    assert list(frame.columns) == [
        "path",
        "label",
        "subtype",
        "patient",
        "sha256",
        "width",
        "height",
        "mode",
        "split",
        "acquisition",
    ]
    assert frame["width"].tolist() == [40, 0, 0]
    assert "virus:person1" in Records(ROWS)._repr_html_() and repr(Records(ROWS)) == (
        "Records(3 rows)"
    )


@pytest.mark.parametrize("field, value", [("subtype", "virus"), ("split", "training")])
def test_words_outside_the_vocabulary_are_refused(field, value):
    with pytest.raises(
        ValueError,
        match=f"Record.{field} must be empty or one of .*Received: {field}='{value}' for 'a.png'",
    ):
        Record(**{"path": "a.png", field: value})


@pytest.mark.parametrize("header", ["path,colour", ""])
def test_csv_of_another_kind_is_refused(tmp_path, header):
    (tmp_path / "r.csv").write_text(header + "\n")
    with pytest.raises(ValueError, match="must have the columns"):
        Records.read_csv(tmp_path / "r.csv")


def test_rows_of_another_kind_are_refused():
    with pytest.raises(TypeError, match="Records holds Record rows"):
        Records([Finding("empty", "error", "a", "b")])


def test_derived_tables_keep_root_and_split_by(tmp_path):
    records = Records(ROWS, tmp_path, split_by="image")
    for derived in (
        records.where(lambda r: r.label),
        records.with_split(["val", "val", ""]),
        records.with_rows([]),
    ):
        assert (derived.root, derived.split_by) == (tmp_path, "image")
    assert records.with_split(["val", "val", ""]).rows[0] == replace(ROWS[0], split="val")
    with pytest.raises(ValueError):
        records.with_split(["val"])
    assert records.file(ROWS[0]) == tmp_path / "train/NORMAL/a.png"
    assert Records([Record("/elsewhere/x.png")], tmp_path).file(Record("/elsewhere/x.png")) == Path(
        "/elsewhere/x.png"
    )


@pytest.mark.parametrize(
    "row, binary, three",
    [
        (Record("a", "normal"), 0, 0),
        (Record("a", "pneumonia", "bacterial"), 1, 1),
        (Record("a", "pneumonia", "viral"), 1, 2),
        (Record("a", "pneumonia"), 1, -1),
        (Record("a"), -1, -1),
    ],
)
def test_class_order_is_explicit(row, binary, three):
    tasks = TASKS["binary"], TASKS["three-class"]
    assert tuple(class_index(row, task) for task in tasks) == (binary, three)
    assert Records([row]).class_indices(tasks[1]) == [three]


def test_a_sub_type_is_no_label():
    with pytest.raises(ValueError, match="label must be a class, such as pneumonia.*'viral'"):
        Record("a.png", "viral")


@pytest.mark.parametrize(
    "path", ["Icon\r", "a,b.png", 'say "ah".png', "two\nlines.png", "é ü.png", " spaced .png"]
)
def test_every_file_name_survives_the_tables(path, tmp_path):
    from xray_tf.data.tables.split_file import apply_split, write_split

    records = Records(
        [
            Record(path, "normal", patient="p", sha256="a", split="train"),
            Record("b.png", "pneumonia", patient="q", sha256="b", split="test"),
        ]
    )
    assert Records.read_csv(records.write_csv(tmp_path / "records.csv")) == records
    again, _ = apply_split(records, write_split(records, tmp_path / "split.csv"))
    assert again.rows == records.rows
