"""Acquisition groups of an audit: found by what surrounds the lungs, told with what they lack."""

import cv2
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from xray_tf.audit import main
from xray_tf.data.records import Records
from xray_tf.data.synthetic.phantom import draw_phantom
from xray_tf.jobs.audit.acquisitions import add_acquisitions
from xray_tf.jobs.audit.audit_data import audit_records

SIDE, EACH = 96, 44


def picture(kind, seed, framed):
    """A phantom; a framed one is from another machine."""
    image = draw_phantom(kind, seed, SIDE).image.copy()
    if framed:
        edge = len(image) // 20
        image[:edge], image[-edge:] = 255, 255
        image[:, :edge], image[:, -edge:] = 255, 255
    return image


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Normals come from the framing machine, pneumonias from the other."""
    root = tmp_path_factory.mktemp("machines")
    for name, kind in (("NORMAL", "normal"), ("PNEUMONIA", "bacterial")):
        folder = root / "train" / name
        folder.mkdir(parents=True)
        for i in range(EACH):
            file = f"IM-{i:04}-0001.png" if kind == "normal" else f"person{i + 1}_bacteria_{i}.png"
            cv2.imwrite(str(folder / file), picture(kind, i, kind == "normal"))
    return root


@pytest.fixture(scope="module")
def grouped(data):
    return add_acquisitions(audit_records(data, progress=False), progress=False)


def test_groups_follow_the_machine_and_stand_in_the_records(grouped, tmp_path):
    audit, _ = grouped
    groups, machines = audit.records.column("acquisition"), audit.records.column("label")
    assert adjusted_rand_score(machines, groups) > 0.7
    audit.records.write_csv(tmp_path / "records.csv")
    again = Records.read_csv(tmp_path / "records.csv")
    assert list(again.column("acquisition")) == list(audit.records.column("acquisition"))


def test_a_missing_class_and_a_telling_outside_are_warned_of(grouped):
    audit, _ = grouped
    kinds = [f.kind for f in audit.findings if f.severity == "warning"]
    assert "acquisition-lacks-class" in kinds and "outside-tells-class" in kinds
    text = audit.text()
    assert "## Acquisition groups" in text and audit.summary["acquisitions"]["auroc"] > 0.95
    counts = np.array([list(g.values()) for g in audit.summary["acquisitions"]["groups"].values()])
    assert counts.sum() == 2 * EACH and (counts.min(axis=1) < EACH / 8).all()


def test_the_sheet_has_a_row_for_each_group(grouped):
    audit, sheet = grouped
    assert sheet.dtype == np.uint8 and sheet.shape[-1] == 3
    assert sheet.shape[0] > 96 * len(audit.summary["acquisitions"]["groups"])


def test_the_command_writes_the_sheet_only_where_groups_are_asked_for(data, tmp_path, capsys):
    assert main(["--data", str(data), "--out", str(tmp_path / "plain")]) == 0
    assert not (tmp_path / "plain" / "acquisitions.png").exists()
    assert "Acquisition groups" not in capsys.readouterr().out
    line = ["--data", str(data), "--out", str(tmp_path / "grouped"), "--acquisitions"]
    assert main(line) == 0
    assert (tmp_path / "grouped" / "acquisitions.png").is_file()
    assert "Acquisition groups" in capsys.readouterr().out
