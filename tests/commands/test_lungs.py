"""`xray-tf lungs`: a mask of the radiograph's size and a row for each file."""

import csv

import cv2
import numpy as np
import pytest

from xray_tf import lungs
from xray_tf.data.synthetic.phantom import draw_phantom
from xray_tf.jobs.lungs.find_lungs import mask_names


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    phantom = draw_phantom("normal", 3, height=300, width=260)
    cv2.imwrite(str(tmp_path / "in" / "chest.png"), phantom.image)
    cv2.imwrite(str(tmp_path / "in" / "turned.png"), np.rot90(phantom.image))
    (tmp_path / "in" / "broken.png").write_bytes(b"no picture")
    return tmp_path


def test_masks_and_table_say_what_was_found(folder, capsys):
    out = folder / "out"
    assert lungs.main([str(folder / "in"), "--out", str(out)]) == 0
    with (out / "lungs.csv").open() as stream:
        rows = {row["path"].split("/")[-1]: row for row in csv.DictReader(stream)}
    assert rows["broken.png"]["error"] and not rows["chest.png"]["error"]
    assert rows["turned.png"]["warning"] and not rows["chest.png"]["warning"]
    mask = cv2.imread(str(out / "masks" / "chest.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (300, 260) and mask.dtype == np.uint8
    assert np.isclose((mask >= 128).mean(), float(rows["chest.png"]["area"]), atol=2e-3)
    truth = draw_phantom("normal", 3, height=300, width=260).lungs
    assert (truth & (mask >= 128)).sum() > 0.9 * truth.sum()
    said = capsys.readouterr().out
    assert "1 without two upright lungs" in said and "1 could not be read" in said


def test_what_is_there_is_never_overwritten(folder, capsys):
    (folder / "out").mkdir()
    (folder / "out" / "mine.txt").write_text("mine")
    assert lungs.main([str(folder / "in"), "--out", str(folder / "out")]) == 2
    assert "never overwritten" in capsys.readouterr().err


def test_strict_stops_at_a_file_that_cannot_be_read(folder, capsys):
    assert lungs.main([str(folder / "in"), "--out", str(folder / "out"), "--strict"]) == 2
    assert "broken.png" in capsys.readouterr().err and not (folder / "out").exists()


def test_files_of_one_name_get_a_mask_each():
    assert mask_names(["a/x.png", "b/X.dcm", "x-2.png"]) == ["x.png", "X-2.png", "x-2-2.png"]
