"""Every source gives the records it promises, and says in plain words what it cannot read."""

import hashlib
import io
import os
import sys
import types
import zipfile
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from xray_tf.data.pixels.cache import build_cache
from xray_tf.data.records import Record
from xray_tf.data.sources.dicom_headers import KEYED
from xray_tf.data.sources.files import find_files, list_files
from xray_tf.data.sources.kaggle import DATASET
from xray_tf.data.sources.medmnist import PNEUMONIAMNIST
from xray_tf.data.sources.names import NAME_RULES, SourceError, natural_key, read_name
from xray_tf.data.sources.scan import recognise, scan
from xray_tf.registry import read_task

SHARED = Path(__file__).parents[3].parent / "shared" / "data"


def png(seed=0, shape=(40, 32)):
    return cv2.imencode(".png", np.random.default_rng(seed).integers(0, 256, shape, np.uint8))[
        1
    ].tobytes()


def fill(folder, *paths, data=b"not looked at by scan"):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def kinds(findings):
    return dict(Counter((f.kind, f.severity) for f in findings))


KAGGLE = (
    "train/NORMAL/IM-0115-0001.jpeg",
    "train/PNEUMONIA/person1000_bacteria_2931.jpeg",
    "val/PNEUMONIA/person3_virus_15.jpeg",
    "test/NORMAL/NORMAL2-IM-0501-0001.jpeg",
)


# ---- names


@pytest.mark.parametrize(
    "name, label, subtype, namespaced, bare",
    [
        (
            "person1000_bacteria_2931.jpeg",
            "pneumonia",
            "bacterial",
            "bacteria:person1000",
            "person1000",
        ),
        ("person1000_virus_1681.jpeg", "pneumonia", "viral", "virus:person1000", "person1000"),
        ("person447_virus_921_1.jpeg", "pneumonia", "viral", "virus:person447", "person447"),
        ("IM-0115-0001.jpeg", "normal", "", "IM-0115", "IM-0115"),
        ("IM-0125-0001-0002.jpeg", "normal", "", "IM-0125", "IM-0125"),
        ("NORMAL2-IM-0501-0001.jpeg", "normal", "", "NORMAL2-IM-0501", "NORMAL2-IM-0501"),
        ("NORMAL2-IM-1096-0001-0003.jpeg", "normal", "", "NORMAL2-IM-1096", "NORMAL2-IM-1096"),
        ("BACTERIA-1135262-0001.jpeg", "pneumonia", "bacterial", "bacteria:1135262", "1135262"),
        ("VIRUS-83086-0001.jpeg", "pneumonia", "viral", "virus:83086", "83086"),
        ("NORMAL-1003233-0001.jpeg", "normal", "", "normal:1003233", "1003233"),
        ("folder.with.dots/PERSON7_Virus_1.PNG", "pneumonia", "viral", "virus:person7", "person7"),
    ],
)
def test_names_are_read_by_the_stated_rules(name, label, subtype, namespaced, bare):
    assert read_name(name) == (label, subtype, namespaced)
    assert read_name(name, "bare") == (label, subtype, bare)


@pytest.mark.parametrize(
    "name",
    [
        "person1_bacteria.jpeg",
        "person1_fungus_3.jpeg",
        "IM-0115.jpeg",
        "person1_bacteria_2 (1).jpeg",
        "copy of IM-0115-0001.jpeg",
        "IM-0115-0001-0002-0003.jpeg",
        "scan.jpeg",
        "BACTERIA-12.jpeg",
        "",
    ],
)
def test_other_names_say_nothing(name):
    assert read_name(name) is None


def read(records, folder):
    """Read every file, as all jobs do; return (records with what was read, findings)."""
    cache = build_cache(records, 64, "squash", folder / "read", progress=False)
    return cache.records, cache.findings


def test_each_rule_is_stated_by_an_example_it_reads():
    for rule in NAME_RULES:
        assert rule.pattern.fullmatch(rule.says.split()[0].rstrip(":"))


def test_natural_order_counts_numbers():
    names = ["b/1", "a/image10", "a/image2", "a/image02", "a/Image1"]
    assert sorted(names, key=natural_key) == [
        "a/Image1",
        "a/image02",
        "a/image2",
        "a/image10",
        "b/1",
    ]


# ---- folders


def test_kaggle_layout_gives_label_subtype_patient_and_part(tmp_path):
    records, findings = scan(fill(tmp_path, *KAGGLE))
    assert list(records) == [
        Record(
            "test/NORMAL/NORMAL2-IM-0501-0001.jpeg", "normal", "", "NORMAL2-IM-0501", split="test"
        ),
        Record("train/NORMAL/IM-0115-0001.jpeg", "normal", "", "IM-0115", split="train"),
        Record(
            "train/PNEUMONIA/person1000_bacteria_2931.jpeg",
            "pneumonia",
            "bacterial",
            "bacteria:person1000",
            split="train",
        ),
        Record(
            "val/PNEUMONIA/person3_virus_15.jpeg",
            "pneumonia",
            "viral",
            "virus:person3",
            split="val",
        ),
    ]
    assert not findings.rows and records.root == tmp_path


def test_the_bare_key_is_given_on_request(tmp_path):
    assert scan(fill(tmp_path, *KAGGLE), patient_key="bare").records.column("patient") == [
        "NORMAL2-IM-0501",
        "IM-0115",
        "person1000",
        "person3",
    ]


@pytest.mark.parametrize(
    "above", ["", "chest_xray", "versions/2/chest_xray", "chest_xray/chest_xray"]
)
@pytest.mark.parametrize(
    "below",
    [
        ("train/NORMAL", "train/PNEUMONIA"),
        ("normal", "Pneumonia"),
        ("Test/normal", "Test/pneumonia"),
        ("train/Normal", "train/PNEUMONIA/batch 7"),
    ],
)
def test_the_layout_is_found_wherever_it_begins(tmp_path, above, below):
    records, findings = scan(
        fill(
            tmp_path,
            f"{above}/{below[0]}/IM-1-1.jpeg".strip("/"),
            f"{above}/{below[1]}/person1_virus_1.jpeg".strip("/"),
        )
    )
    assert Counter(records.column("label")) == {"normal": 1, "pneumonia": 1} and not findings.rows
    assert set(records.column("split")) == {
        below[0].split("/")[0].lower() if "/" in below[0] else ""
    }


def test_three_class_folders_give_the_subtype_without_any_naming_rule(tmp_path):
    records, findings = scan(fill(tmp_path, "NORMAL/1.png", "BACTERIA/1.png", "VIRUS/1.png"))
    assert [(r.path, r.label, r.subtype, r.patient) for r in records] == [
        ("BACTERIA/1.png", "pneumonia", "bacterial", ""),
        ("NORMAL/1.png", "normal", "", ""),
        ("VIRUS/1.png", "pneumonia", "viral", ""),
    ]
    assert kinds(findings) == {("no-patient-key", "warning"): 1}


def test_a_nested_second_copy_and_system_files_are_left_out_with_a_note_each(tmp_path):
    twice = [
        f"{prefix}{path}" for prefix in ("chest_xray/", "chest_xray/chest_xray/") for path in KAGGLE
    ]
    fill(
        tmp_path,
        *twice,
        "chest_xray/__MACOSX/train/NORMAL/._IM-0115-0001.jpeg",
        "chest_xray/train/NORMAL/._IM-0115-0001.jpeg",
        "chest_xray/train/.DS_Store",
        "__MACOSX/chest_xray/train/NORMAL/IM-0001-0001.jpeg",
    )
    records, findings = scan(tmp_path)
    assert len(records) == len(KAGGLE)
    assert kinds(findings) == {("nested-copy", "note"): 1, ("ignored", "note"): 3}
    assert any(
        "The second copy in chest_xray/ (4 images) is left out." in f.detail for f in findings
    )


def test_a_nested_copy_that_holds_more_is_a_warning(tmp_path):
    findings = scan(fill(tmp_path, *KAGGLE, "chest_xray/train/NORMAL/IM-9-9.jpeg")).findings
    assert [(f.kind, f.severity) for f in findings] == [("nested-copy", "warning")] and (
        "1 of its names exist only there"
    ) in findings[0].detail


def test_an_irregular_name_is_a_finding_and_never_a_guess(tmp_path):
    records, findings = scan(fill(tmp_path, *KAGGLE, "train/PNEUMONIA/pneumonia 12.jpeg"))
    row = next(r for r in records if r.path.endswith("12.jpeg"))
    assert (row.label, row.subtype, row.patient) == ("pneumonia", "", "")
    assert [(f.kind, f.path) for f in findings] == [("irregular-name", row.path)]


@pytest.mark.parametrize(
    "path, label, subtype, patient",
    [
        ("train/NORMAL/person1_virus_2.jpeg", "normal", "", "virus:person1"),
        ("train/PNEUMONIA/IM-0001-0001.jpeg", "pneumonia", "", "IM-0001"),
        ("BACTERIA/person1_virus_2.jpeg", "pneumonia", "", "virus:person1"),
        ("PNEUMONIA/NORMAL/scan.jpeg", "normal", "", ""),
    ],
)
def test_a_contradiction_between_folder_and_name_is_a_finding(
    tmp_path, path, label, subtype, patient
):
    records, findings = scan(
        fill(
            tmp_path,
            path,
            "NORMAL/IM-0009-0001.jpeg"
            if "/" not in path.split("train/")[0]
            else "train/NORMAL/IM-0009-0001.jpeg",
        )
    )
    row = next(r for r in records if r.path == path)
    assert (row.label, row.subtype, row.patient) == (label, subtype, patient)
    assert [f.path for f in findings if f.kind == "label-contradiction"] == [path]


def test_spaced_non_ascii_and_repeated_names_are_fine(tmp_path):
    root = fill(
        tmp_path / "Röntgen Bilder 胸",
        "train/NORMAL/IM-1-1.jpeg",
        "test/NORMAL/IM-1-1.jpeg",
        "train/NORMAL/ä ö.jpeg",
        data=png(),
    )
    records, findings = read(scan(root).records, tmp_path)
    assert (
        records.column("path")
        == ["test/NORMAL/IM-1-1.jpeg", "train/NORMAL/IM-1-1.jpeg", "train/NORMAL/ä ö.jpeg"]
        and not findings.rows
    )


def test_links_are_followed_once_and_loops_end(tmp_path):
    data = fill(tmp_path / "data", "train/NORMAL/IM-1-1.jpeg")
    fill(tmp_path / "elsewhere", "person1_virus_1.jpeg")
    (data / "train" / "PNEUMONIA").symlink_to(tmp_path / "elsewhere")
    (data / "train" / "NORMAL" / "loop").symlink_to(data)
    (data / "train" / "AGAIN").symlink_to(data / "train" / "NORMAL")
    records, findings = scan(data)
    assert records.column("path") == [
        "train/NORMAL/IM-1-1.jpeg",
        "train/PNEUMONIA/person1_virus_1.jpeg",
    ]
    assert kinds(findings) == {("repeated-folder", "note"): 2}


def test_a_file_that_is_a_link_to_itself_costs_only_itself(tmp_path):
    for kind in ("NORMAL", "PNEUMONIA"):
        for i in range(3):
            fill(tmp_path, f"{kind}/{i}.png", data=png(i))
    (tmp_path / "NORMAL" / "loop.png").symlink_to("loop.png")
    for found in (scan(tmp_path), find_files([tmp_path])):
        built = build_cache(found.records, 16, "crop", tmp_path / "cache", progress=False)
        assert len(built.records) == 6
        told = [f for f in (*found.findings, *built.findings) if "loop.png" in f.path + f.detail]
        assert told, "it is not left out without a word"


def test_stray_and_foreign_files_are_reported(tmp_path):
    records, findings = scan(
        fill(
            tmp_path,
            *KAGGLE,
            "train/loose.jpeg",
            "train/COVID/x.jpeg",
            "train/NORMAL/notes.txt",
            "train/NORMAL/README",
        )
    )
    assert len(records) == 4
    assert kinds(findings) == {("unlabelled-file", "warning"): 2, ("not-an-image", "note"): 2}


def test_one_class_can_be_scanned_and_is_a_warning(tmp_path):
    records, findings = scan(fill(tmp_path, "test/NORMAL/IM-1-1.jpeg"))
    assert len(records) == 1 and kinds(findings) == {("one-class", "warning"): 1}


# ---- what cannot be read


def no_data(path):
    return path / "nowhere"


def empty_folder(path):
    return path


def folder_of_files(path):
    return fill(path, "1.jpeg", "2.jpeg")


def folder_with_a_manifest(path):
    return fill(path, "manifest.csv")


def folder_without_images(path):
    return fill(path, "NORMAL/readme.txt")


def two_unknown_folders(path):
    return fill(path, "cats/1.jpeg", "dogs/1.jpeg")


def an_archive(path):
    return fill(path, "data.zip") / "data.zip"


def one_image(path):
    return fill(path, "a.jpeg") / "a.jpeg"


@pytest.mark.parametrize(
    "make, options, error, message",
    [
        (no_data, {}, FileNotFoundError, "does not exist. Expected a folder"),
        (empty_folder, {}, SourceError, "is not in Kaggle's layout.*found nothing"),
        (
            folder_of_files,
            {},
            SourceError,
            r"found 2 file\(s\) and no folders.*columns path and label",
        ),
        (folder_with_a_manifest, {}, SourceError, "It contains manifest.csv"),
        (folder_without_images, {}, SourceError, "has no image in its class folders"),
        (two_unknown_folders, {}, SourceError, r"found the folders \['cats', 'dogs'\]"),
        (an_archive, {}, SourceError, "Unpack it and give the folder"),
        (one_image, {}, SourceError, "can be given to predict"),
        (one_image, {"source": "kaggle-folder"}, SourceError, "needs a folder. Received the file"),
        (empty_folder, {"source": "csv"}, SourceError, "needs a .csv file. Received the folder"),
        (
            empty_folder,
            {"source": "medmnist"},
            SourceError,
            "needs a .npz file. Received the folder",
        ),
        (
            empty_folder,
            {"source": "dicom"},
            SourceError,
            "source must be one of.*Received: source='dicom'",
        ),
        (
            empty_folder,
            {"patient_key": "name"},
            SourceError,
            "patient_key must be one of.*Received: patient_key='name'",
        ),
    ],
)
def test_what_cannot_be_scanned_is_refused_with_a_way_out(tmp_path, make, options, error, message):
    with pytest.raises(error, match=message):
        scan(make(tmp_path), **options)


@pytest.mark.parametrize(
    "data, source", [("phantom", "phantom"), ("phantom:9:1", "phantom"), ("kaggle", "kaggle")]
)
def test_words_are_recognised(data, source):
    assert recognise(data) == source


# ---- predict's list


def test_files_folders_and_globs_keep_the_order_given(tmp_path, monkeypatch):
    fill(
        tmp_path,
        "z.jpeg",
        "in/10.png",
        "in/2.png",
        "in/deep/1.png",
        "in/notes.txt",
        "weird.dat",
        "g1.png",
        "g10.png",
        "g2.png",
    )
    monkeypatch.chdir(tmp_path)
    records, findings = find_files(["z.jpeg", "weird.dat", "in", "g*.png"])
    assert records.column("path") == [
        "z.jpeg",
        "weird.dat",
        "in/2.png",
        "in/10.png",
        "in/deep/1.png",
        "g1.png",
        "g2.png",
        "g10.png",
    ]
    assert kinds(findings) == {("not-an-image", "note"): 1}
    assert all(records.file(r).is_file() for r in records) and list_files("z.jpeg").column(
        "path"
    ) == ["z.jpeg"]


def test_files_are_labelled_by_layout_where_there_is_one(tmp_path):
    fill(tmp_path, *KAGGLE, "mixed/a.jpeg")
    rows = list_files(
        [
            tmp_path / "test",
            tmp_path / "train" / "PNEUMONIA",
            tmp_path / "mixed",
            tmp_path / "train/NORMAL/IM-0115-0001.jpeg",
        ]
    )
    assert [(r.label, r.subtype, r.patient, r.split) for r in rows] == [
        ("normal", "", "NORMAL2-IM-0501", "test"),
        ("pneumonia", "bacterial", "bacteria:person1000", ""),
        ("", "", "", ""),
        ("normal", "", "IM-0115", ""),
    ]


def test_a_file_given_twice_is_read_once(tmp_path):
    fill(tmp_path, "a/1.png")
    records, findings = find_files([tmp_path / "a", tmp_path / "a/1.png"])
    assert len(records) == 1 and kinds(findings) == {("named-twice", "note"): 1}


@pytest.mark.parametrize(
    "given, message",
    [
        ([], "no radiograph was given"),
        (["nowhere.png"], "nowhere.png leads to no image"),
        (
            ["*.png"],
            r"\*.png leads to no "
            r"image",
        ),
        (["texts"], "texts leads to no image.*1 file.* with .txt skipped"),
    ],
)
def test_nothing_to_predict_is_an_error(tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(fill(tmp_path, "texts/a.txt"))
    with pytest.raises(SourceError, match=message):
        list_files(given)


# ---- CSV


def manifest(folder, text):
    (folder / "manifest.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    return folder / "manifest.csv"


@pytest.mark.parametrize(
    "text",
    [
        "path,label,subtype,patient,split\na/1.png,normal,,p1,train\nb.png,PNEUMONIA,virus,p2,Test\nc "  # noqa: E501
        "d.png,Bacterial,,p3,validation\n",
        "\ufeffPath;Label;Patient;Split;Subtype\r\na/1.png;NORMAL;p1;train;\r\nb.png;viral;p2;test;viral\r\n\r\nc "  # noqa: E501
        "d.png;bacteria;p3;val;bacterial\r\n",
        'path\tlabel\tsubtype\tpatient\tsplit\na\\1.png\tnormal\t\tp1\ttrain\nb.png\tvirus\t\tp2\ttest\n"c '  # noqa: E501
        'd.png"\tbacteria\t\tp3\tval',
    ],
)
def test_a_manifest_is_read_in_the_dialects_spreadsheets_write(tmp_path, text):
    records, findings = scan(manifest(tmp_path, text))
    assert [(r.path, r.label, r.subtype, r.split) for r in records] == [
        ("a/1.png", "normal", "", "train"),
        ("b.png", "pneumonia", "viral", "test"),
        ("c d.png", "pneumonia", "bacterial", "val"),
    ]
    # p1, p2 and p3 are kept as keyed hashes
    assert len(set(records.column("patient"))) == 3
    assert all(KEYED.fullmatch(patient) for patient in records.column("patient"))
    assert records.root == tmp_path and not findings.rows


def test_a_manifest_says_everything_itself(tmp_path):
    records, findings = scan(
        manifest(tmp_path, "path,label,age\nperson1_virus_1.jpeg,pneumonia,3\n")
    )
    assert records[0] == Record("person1_virus_1.jpeg", "pneumonia")
    assert kinds(findings) == {("unused-column", "note"): 1, ("no-patient-key", "warning"): 1}
    records, _ = scan(manifest(tmp_path, "path,label,acquisition\na.png,normal,ward 2\n"))
    assert records[0] == Record("a.png", "normal", acquisition="ward 2")


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "must have the columns path and label"),
        ("file,label\na.png,normal\n", "must have the columns path and label.*'file,label'"),
        ("path,label\n", "has a header and no rows"),
        (
            "path,label\na.png,normal\nb.png,covid\n",
            r"line 3: label must be one of \('normal', "
            r"'pneumonia', 'bacterial'.*Received: 'covid'",
        ),
        ("path,label\na.png,\n", "line 2: label must be one of"),
        ("path,label\n,normal\n", "line 2: path is empty"),
        ("path,label\na.png\n", "line 2: expected 2 values"),
        (
            "path,label,subtype\na.png,normal,viral\n",
            "line 2: label 'normal' and subtype 'viral' contradict",
        ),
        (
            "path,label,subtype\na.png,bacterial,viral\n",
            "line 2: label 'bacterial' and subtype 'viral' contradict",
        ),
        ("path,label,subtype\na.png,pneumonia,fungal\n", "line 2: subtype must be empty or one of"),
        ("path,label,split\na.png,normal,holdout\n", "line 2: split must be empty or one of"),
        (
            "path,label\na.png,normal\nb.png,normal\na.png,viral\n",
            "line 4: 'a.png' is already on line 2",
        ),
        ("path,label\nä.png,normal\n".encode("latin-1"), "is not UTF-8 text"),
    ],
)
def test_a_bad_manifest_is_refused_by_line(tmp_path, text, message):
    with pytest.raises(SourceError, match=message):
        scan(manifest(tmp_path, text))


def test_a_file_that_the_manifest_names_and_is_not_there_becomes_a_finding(tmp_path):
    fill(tmp_path, "a.png", data=png())
    scanned = scan(manifest(tmp_path, "path,label\na.png,normal\nb.png,viral\n"))
    records, findings = read(scanned.records, tmp_path)
    assert records.column("path") == ["a.png"] and [
        (f.kind, f.severity, f.path) for f in findings
    ] == [("missing", "error", "b.png")]


@pytest.mark.parametrize("word", ["nan", "NaN", "None", "NULL", "n/a", "<NA>", "-", "unknown"])
def test_patients_that_are_not_known_do_not_become_one_child(tmp_path, word):
    rows = [f"{i}.png,{('normal', 'pneumonia')[i % 2]},{word}" for i in range(4)]
    path = tmp_path / "m.csv"
    path.write_text("\n".join(["path,label,patient", *rows, "4.png,normal,p4"]))
    records, findings = scan(path)
    known = records.column("patient")
    assert known[:4] == ["", "", "", ""] and KEYED.fullmatch(known[4])  # p4, as a key
    (said,) = [f for f in findings if f.kind == "unknown-patient"]
    assert "4 of 5 rows" in said.detail and repr(word) in said.detail
    path.write_text("\n".join(["path,label,patient", *rows]))
    assert "no-patient-key" in {f.kind for f in scan(path).findings}


# ---- MedMNIST


def medmnist(path, train=5, shape=(28, 28), save=np.savez_compressed, **other):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", train), ("val", 2), ("test", 3)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (count, *shape), np.uint8)
        arrays[f"{part}_labels"] = (np.arange(count) % 2).astype(np.uint8).reshape(-1, 1)
    arrays.update(other)
    save(path / "pneumoniamnist.npz", **arrays)
    return path / "pneumoniamnist.npz", arrays


@pytest.mark.parametrize("shape", [(28, 28), (20, 24, 3)])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_medmnist_pixels_labels_and_parts_come_through_exactly(tmp_path, shape, save):
    path, arrays = medmnist(tmp_path, shape=shape, save=save)
    records, findings = scan(path, cache=tmp_path / "cache")
    assert Counter(records.column("split")) == {"train": 5, "val": 2, "test": 3} and not any(
        records.column("patient")
    )
    assert ("no-patient-key", "warning") in kinds(findings)
    for part in ("train", "val", "test"):
        rows = [r for r in records if r.split == part]
        assert [r.label for r in rows] == [
            ("normal", "pneumonia")[k] for k in arrays[f"{part}_labels"].ravel()
        ]
        for row, expected in zip(rows, arrays[f"{part}_images"], strict=True):
            image = cv2.imread(str(records.file(row)), cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(image if image.ndim == 2 else image[..., ::-1], expected)


def test_medmnist_is_written_once(tmp_path):
    path, _ = medmnist(tmp_path)
    first = scan(path, cache=tmp_path / "cache").records
    stamps = {p: p.stat().st_mtime_ns for p in first.root.rglob("*")}
    assert scan(path, cache=tmp_path / "cache").records == first
    assert {p: p.stat().st_mtime_ns for p in first.root.rglob("*")} == stamps
    medmnist(tmp_path, train=6)
    assert len(scan(path, cache=tmp_path / "cache").records) == len(first) + 1


@pytest.mark.parametrize(
    "other, message",
    [
        (
            {"train_images": np.array([{}, 1], object)},
            "pickled Python objects, which are never loaded",
        ),
        (
            {"train_labels": np.array([[None]] * 5, object)},
            "pickled Python objects, which are never loaded",
        ),
        ({"train_labels": np.zeros((5, 14), np.uint8)}, "one integer per image"),
        (
            {"train_labels": np.full((5, 1), 2, np.uint8)},
            r"must contain 0 \(normal\) and 1 \(pneumonia\)",
        ),
        ({"train_labels": np.zeros((5, 1), np.float32)}, "one integer per image"),
        (
            {"train_labels": np.zeros((4, 1), np.uint8)},
            "train_images has 5 images, train_labels 4 labels",
        ),
        (
            {"train_images": np.zeros((5, 28, 28), np.float32)},
            r"must be \(N, H, W\) or \(N, H, W, 3\) "
            r"uint8",
        ),
        (
            {"train_images": np.zeros((5, 28, 28, 4), np.uint8)},
            r"must be \(N, H, W\) or \(N, H, W, "
            r"3\) uint8",
        ),
        (
            {"train_images": np.asfortranarray(np.zeros((5, 28, 28), np.uint8))},
            "Fortran order; save it again",
        ),
    ],
)
def test_other_npz_contents_are_refused_and_leave_nothing(tmp_path, other, message):
    path, _ = medmnist(tmp_path, **other)
    with pytest.raises(SourceError, match=message):
        scan(path, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_false_size_is_refused_before_anything_is_written(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 4096, 4096)}
    )
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        labels = io.BytesIO()
        np.save(labels, np.zeros((1, 1), np.uint8))
        archive.writestr("train_labels.npy", labels.getvalue())
        archive.writestr("train_images.npy", header.getvalue() + b"\0" * 10)
    with pytest.raises(SourceError, match="declares shape .* which is not its size"):
        scan(tmp_path / "bomb.npz", cache=tmp_path / "cache")


@pytest.mark.parametrize(
    "data, message",
    [(b"not a zip", "is damaged or not a .npz"), (None, "is damaged or not a .npz")],
)
def test_a_damaged_npz_is_refused(tmp_path, data, message):
    path, _ = medmnist(tmp_path)
    path.write_bytes(data or path.read_bytes()[:-200])
    with pytest.raises(SourceError, match=message):
        scan(path, cache=tmp_path / "cache")


def test_an_npz_with_flipped_bytes_is_refused_and_leaves_nothing(tmp_path):
    path, _ = medmnist(tmp_path)
    data = bytearray(path.read_bytes())
    data[400:460] = bytes(255 - b for b in data[400:460])
    path.write_bytes(data)
    with pytest.raises(SourceError, match="is damaged or not a .npz"):
        scan(path, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_an_npz_of_other_arrays_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    with pytest.raises(SourceError, match="is not a MedMNIST file"):
        scan(tmp_path / "x.npz", cache=tmp_path / "cache")


@pytest.mark.parametrize("name", ["breastmnist.npz", "breastmnist_224.npz", "download.npz"])
def test_labels_of_another_medmnist_file_are_asked_for(tmp_path, name):
    path, _ = medmnist(tmp_path)
    path = path.rename(tmp_path / name)
    with pytest.raises(SourceError, match="not say what its labels 0 and 1 mean.*--classes"):
        scan(path, cache=tmp_path / "cache")
    for classes, labels in (
        ("normal,pneumonia", {"normal", "pneumonia"}),
        ("malignant,benign", {"malignant", "benign"}),
    ):
        records, _ = scan(path, cache=tmp_path / "cache", task=read_task("binary", classes))
        assert set(records.column("label")) == labels


def test_pneumoniamnist_is_known_by_its_numbers_under_any_name(tmp_path):
    arrays = {}
    for part, (count, sick) in zip(("train", "val", "test"), PNEUMONIAMNIST, strict=True):
        arrays[f"{part}_images"] = np.zeros((count, 2, 2), np.uint8)
        arrays[f"{part}_labels"] = (np.arange(count) < sick).astype(np.uint8)[:, None]
    np.savez_compressed(tmp_path / "download.npz", **arrays)
    records, _ = scan(tmp_path / "download.npz", cache=tmp_path / "cache")
    assert Counter(records.column("label")) == {"normal": 1583, "pneumonia": 4273}


# ---- phantom and download


def test_the_phantom_is_a_source_with_patients_and_both_subtypes(tmp_path):
    records, findings = scan("phantom:8:3", cache=tmp_path)
    assert (
        not findings.rows
        and {r.subtype for r in records} == {"", "bacterial", "viral"}
        and all(r.patient for r in records)
    )
    assert len(set(records.column("patient"))) == 8 and not any("mask" in r.path for r in records)
    assert scan("phantom:8:3", cache=tmp_path).records == records


@pytest.mark.parametrize(
    "data", ["phantom:many", "phantom:1:2:3", "phantom:-1", "phantom:0", "phantoms"]
)
def test_a_phantom_asked_for_wrongly_is_refused(tmp_path, data):
    with pytest.raises(SourceError, match="phantom"):
        scan(data, "phantom", cache=tmp_path)


def test_the_download_is_read_as_a_folder(tmp_path, monkeypatch):
    fill(tmp_path, *[f"chest_xray/{p}" for p in KAGGLE])
    asked = []
    monkeypatch.setitem(
        sys.modules,
        "kagglehub",
        types.SimpleNamespace(dataset_download=lambda name: asked.append(name) or str(tmp_path)),
    )
    assert len(scan("kaggle").records) == 4 and asked == [DATASET]


def test_without_the_extra_the_download_names_it_and_the_manual_way(monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(
        SourceError,
        match=r"xray_tf\[kaggle\].*https://www.kaggle.com/datasets/paultimothymooney.*give "
        r"the folder",
    ):
        scan("kaggle")


def test_offline_the_download_names_the_manual_way(monkeypatch):
    def offline(name):
        raise ConnectionError("no route")

    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(dataset_download=offline))
    with pytest.raises(SourceError, match="ConnectionError: no route.*give the folder as --data"):
        scan("kaggle")


# ---- reading


def test_filling_reads_hash_size_and_mode_and_sets_bad_files_aside(tmp_path):
    good = png(1, (40, 32, 3))
    fill(tmp_path, "NORMAL/IM-1-1.png", data=good)
    bad = {
        "IM-2-1.png": (b"", "empty"),
        "IM-3-1.jpeg": (b"just text", "not-an-image"),
        "IM-4-1.png": (good[:-40], "truncated"),
        "IM-5-1.png": (png(2, (1, 1)), "too-small"),
    }
    for name, (data, _) in bad.items():
        fill(tmp_path, f"NORMAL/{name}", data=data)
    (tmp_path / "NORMAL" / "IM-6-1.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "NORMAL" / "IM-7-1.png").symlink_to(tmp_path / "pipe.png")
    records, findings = read(scan(tmp_path).records, tmp_path)
    assert list(records) == [
        Record(
            "NORMAL/IM-1-1.png",
            "normal",
            "",
            "IM-1",
            hashlib.sha256(good).hexdigest(),
            32,
            40,
            "RGB",
        )
    ]
    expected = {f"NORMAL/{name}": kind for name, (_, kind) in bad.items()} | {
        "NORMAL/IM-6-1.png": "missing",
        "NORMAL/IM-7-1.png": "unreadable",
    }
    assert {f.path: f.kind for f in findings} == expected and {f.severity for f in findings} == {
        "error"
    }


@pytest.mark.skipif(
    not SHARED.is_dir(), reason="the real radiographs (../shared/data) are not here"
)
def test_every_real_name_follows_a_rule():
    records, findings = scan(SHARED / "chest_xray")
    assert not findings.rows
    assert Counter((r.label, r.subtype) for r in records) == {
        ("normal", ""): 1341,
        ("pneumonia", "bacterial"): 2530,
        ("pneumonia", "viral"): 1345,
    }
    assert all(records.column("patient")) and set(records.column("split")) == {"train"}
