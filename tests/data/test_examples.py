"""The radiographs that travel with the package are few, small, credited, and known to no model."""

import csv
from pathlib import Path

import pytest

from xray_tf.data.examples import FOLDER, example_radiographs
from xray_tf.data.pixels.reading import read_file

MODELS = Path(__file__).parents[2] / "saved_models"


def test_there_are_four_of_each_kind_and_all_can_be_read():
    for kind in ("normal", "bacterial", "viral"):
        assert len(example_radiographs(kind)) == 4
    files = example_radiographs()
    assert len(files) == 12 and sum(f.stat().st_size for f in files) < 1_000_000
    assert all(read_file(file, 224, "squash")[1] is not None for file in files)
    with pytest.raises(ValueError, match="kind must be one of"):
        example_radiographs("fungal")


def test_whose_they_are_is_said():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for said in ("Kermany", "CC BY 4.0", "doi:10.17632/rscbjbr9sj", "Changed"):
        assert said in text


@pytest.mark.parametrize("model", ["pneumonia-binary", "pneumonia-three-class", "normal-chest"])
def test_no_shipped_model_learned_from_their_patients(model):
    with (MODELS / model / "split.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    learned = {r["patient"] for r in rows if r["split"] in ("train", "fit", "calibrate")}
    names = {file.name for file in example_radiographs()}
    patients = {r["patient"] for r in rows if Path(r["path"]).name in names}
    assert patients and not patients & learned
