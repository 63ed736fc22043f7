import csv
import re
import shutil
from dataclasses import fields

import cv2
import numpy as np
import pytest

from xray_tf.data.pixels.reading import stream_pixels
from xray_tf.jobs.heatmaps import explain_files as module
from xray_tf.jobs.heatmaps.explain_files import explain_files
from xray_tf.models.lungs import lung_masks
from xray_tf.nets.heatmaps.attribution import METHODS
from xray_tf.nets.heatmaps.gradcam import GradCAM
from xray_tf.options import ExplainOptions
from xray_tf.pages.kit.overlays import lung_outline, overlay


@pytest.fixture(scope="module")
def folder(phantoms, tmp_path_factory):
    """Five radiographs of known class, one file that is none, and one more."""
    folder = tmp_path_factory.mktemp("some") / "test"
    for name, count in (("NORMAL", 3), ("PNEUMONIA", 3)):
        (folder / name).mkdir(parents=True)
        for file in sorted((phantoms / "train" / name).iterdir())[:count]:
            shutil.copy(file, folder / name / file.name)
    (folder / "NORMAL" / "broken.png").write_text("not a picture")
    return folder


@pytest.fixture(scope="module")
def explained(three_class, folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("explained") / "out"
    summary = explain_files(
        three_class, [folder], out, ExplainOptions(map_batch_size=3, page_rows=4), progress=False
    )
    return out, summary


def test_the_maps_are_those_of_the_decided_classes(three_class, explained):
    out, summary = explained
    with np.load(out / "maps.npz") as stored:
        maps, paths, classes, empty = (stored[k] for k in ("maps", "paths", "explained", "empty"))
        assert (str(stored["method"]), tuple(stored["class_names"])) == (
            "grad_cam",
            three_class.card.class_names,
        )
    assert (
        (summary.rows, summary.failed, summary.empty) == (7, 1, int(empty.sum()))
        and maps.dtype == np.float32
        and maps.shape == (7, 32, 32)
    )
    decided = three_class.predict(list(paths))
    np.testing.assert_array_equal(classes, decided.predicted)
    good = classes >= 0
    pixels = np.stack(
        [p for _, p in stream_pixels(paths[good], 32, three_class.card.preprocessing["resize"])]
    )
    np.testing.assert_allclose(
        maps[good], GradCAM(three_class.model)(pixels, classes[good]), atol=1e-5
    )
    assert not maps[~good].any() and [p.rsplit("/", 1)[-1] for p in paths[~good]] == ["broken.png"]
    with open(out / "predictions.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [r["path"] for r in rows] == list(paths) and sum(bool(r["error"]) for r in rows) == 1


def test_the_overlays_are_drawn_from_the_maps(three_class, explained):
    out, _ = explained
    with np.load(out / "maps.npz") as stored:
        maps, paths = stored["maps"], stored["paths"]
    pictures = sorted((out / "overlays").iterdir())
    assert len(pictures) == 6
    for picture in pictures:
        row = int(picture.name[:4]) - 1
        assert picture.stem[5:] == paths[row].rsplit("/", 1)[-1].removesuffix(".png")
        pixels = next(
            p for _, p in stream_pixels([paths[row]], 32, three_class.card.preprocessing["resize"])
        )
        drawn = lung_outline(overlay(pixels, maps[row]), lung_masks(pixels[None])[0])
        np.testing.assert_array_equal(cv2.imread(str(picture))[..., ::-1], drawn)


def test_the_page_is_self_contained_and_names_what_it_shows(explained):
    page = (explained[0] / "explanations.html").read_text(encoding="utf-8")
    assert not re.search(r"<script|<link|src=\"(?!data:)|href=\"(?!#)|url\(", page)
    assert (
        page.count('alt="Radiograph, overlay') == 4
        and "The first 4 of 6" in page
        and ("Right and wrong") in page
        and "broken.png" in page
    )
    # said below each picture, and in words for those who do not see it
    shares = [int(n) for n in re.findall(r"(\d+)% of it in the lungs", page)]
    assert len(shares) == 2 * 4 and all(0 <= n <= 100 for n in shares)
    assert re.search(r"Of the heat, \d+% lies in the lungs, which cover \d+% of the picture", page)
    assert "6 radiographs explained" in page and 'lang="en"' in page


def test_a_named_class_and_another_method_are_obeyed(binary, folder, tmp_path):
    explain_files(
        binary,
        [folder / "NORMAL"],
        tmp_path / "a",
        ExplainOptions(method="layer_cam", target="pneumonia"),
        progress=False,
    )
    with np.load(tmp_path / "a" / "maps.npz") as stored:
        assert set(stored["explained"]) == {-1, 1} and str(stored["method"]) == "layer_cam"


def test_files_without_a_label_have_no_grid(binary, folder, tmp_path):
    file = tmp_path / "scan.png"
    shutil.copy(next(p for p in (folder / "NORMAL").iterdir() if p.name != "broken.png"), file)
    explain_files(binary, [file], tmp_path / "out", progress=False)
    assert "Right and wrong" not in (tmp_path / "out" / "explanations.html").read_text(
        encoding="utf-8"
    )


def test_maps_that_are_all_empty_are_counted_and_shown(binary, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(
        module._Explaining, "_maps", lambda self, images, classes: np.zeros_like(images, np.float32)
    )
    done = explain_files(binary, [folder / "NORMAL"], tmp_path / "out", progress=False)
    assert done.empty == done.rows - done.failed > 0
    assert (tmp_path / "out" / "explanations.html").is_file()


@pytest.mark.parametrize(
    "options, message",
    [
        (ExplainOptions(target="covid"), "target must be one of"),
        (ExplainOptions(colormap="rgb"), "colormap must be one of"),
        (ExplainOptions(layer="conv9"), "Usable layers"),
    ],
)
def test_bad_options_are_named_and_leave_nothing(options, message, binary, folder, tmp_path):
    with pytest.raises(ValueError, match=message):
        explain_files(binary, [folder], tmp_path / "out", options, progress=False)
    assert not any(tmp_path.iterdir())


def test_strict_stops_and_leaves_nothing(binary, folder, tmp_path):
    with pytest.raises(ValueError, match="broken.png cannot be read"):
        explain_files(binary, [folder], tmp_path / "out", strict=True, progress=False)
    assert not any(tmp_path.iterdir())


def test_the_options_know_every_method():
    assert set(
        next(f for f in fields(ExplainOptions) if f.name == "method").metadata["choices"]
    ) == set(METHODS)
