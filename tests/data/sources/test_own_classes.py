"""Every source reads the classes of a person's own task, and what their folders and labels are
called.
"""

import numpy as np
import pytest

from xray_tf.data.sources.files import list_files
from xray_tf.data.sources.names import SourceError
from xray_tf.data.sources.scan import scan
from xray_tf.registry import read_task

MAPPED = read_task("binary", "healthy=normal,sick=pneumonia")
OWN = read_task("binary", "covid,normal,lung_opacity=opacity")


def fill(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def rows_of(records):
    return [(r.path, r.label, r.subtype, r.patient) for r in records]


def test_a_folder_of_other_names_is_mapped_to_the_classes_known(tmp_path):
    fill(tmp_path, "Healthy/IM-0001-0001.png", "SICK/person1_virus_2.png", "NORMAL/IM-2-1.png")
    assert rows_of(scan(tmp_path, task=MAPPED).records) == [
        ("Healthy/IM-0001-0001.png", "normal", "", "IM-0001"),
        ("NORMAL/IM-2-1.png", "normal", "", "IM-2"),
        ("SICK/person1_virus_2.png", "pneumonia", "viral", "virus:person1"),
    ]
    with pytest.raises(SourceError, match="found the folders .*say what they mean with --classes"):
        scan(fill(tmp_path / "other", "gut/1.png", "schlecht/2.png"))


def test_a_folder_of_own_classes_keeps_them_and_says_what_is_of_no_class(tmp_path):
    names = (
        "test/covid/1.png",
        "train/COVID/IM-1-1.png",
        "train/Lung_Opacity/2.png",
        "train/x/3.png",
    )
    records, findings = scan(fill(tmp_path, *names, "train/normal/4.png"), task=OWN)
    assert [(r.label, r.subtype, r.split) for r in records] == [
        ("covid", "", "test"),
        ("covid", "", "train"),
        ("opacity", "", "train"),
        ("normal", "", "train"),
    ]
    assert records.class_indices(OWN) == [0, 0, 2, 1]
    assert records[1].patient == "IM-1" and not any(
        f.kind == "label-contradiction" for f in findings
    )
    said = next(f.detail for f in findings if f.kind == "unlabelled-file")
    assert "named COVID, NORMAL, OPACITY or LUNG_OPACITY." in said


def test_single_files_are_labelled_by_the_folders_of_the_task(tmp_path):
    fill(tmp_path, "covid/1.png", "other/2.png")
    assert [r.label for r in list_files(tmp_path, OWN)] == ["covid", ""]
    assert [r.label for r in list_files(tmp_path)] == ["", ""]


def test_a_manifest_takes_own_labels_and_no_others(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("path,label,patient\na.png,Covid,p1\nb.png,lung_opacity,p2\nc.png,normal,p3\n")
    assert scan(path, task=OWN).records.column("label") == ["covid", "opacity", "normal"]
    with pytest.raises(SourceError, match="label must be one of .*Received: 'Covid'"):
        scan(path)
    path.write_text("path,label,subtype\na.png,covid,viral\n")
    with pytest.raises(SourceError, match="contradict each other"):
        scan(path, task=OWN)


def test_the_numbers_of_a_medmnist_file_are_the_own_classes_in_order(tmp_path):
    labels = np.array([[0], [2], [1], [2]], np.uint8)
    images = np.zeros((4, 8, 8), np.uint8)
    np.savez(tmp_path / "own.npz", train_images=images, train_labels=labels)
    records, findings = scan(tmp_path / "own.npz", cache=tmp_path / "cache", task=OWN)
    assert records.column("label") == ["covid", "opacity", "normal", "opacity"]
    assert any("read as covid, normal, opacity" in f.detail for f in findings)
    with pytest.raises(SourceError, match=r"must contain 0 \(normal\) and 1 \(pneumonia\)"):
        scan(tmp_path / "own.npz", cache=tmp_path / "cache")
