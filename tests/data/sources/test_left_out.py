"""What is left out of a folder, and told: held-out folders, by-products, second copies; and what is
found by its content.
"""

import shutil

import cv2
import pytest

from xray_tf.data.sources.files import list_files
from xray_tf.data.sources.folder_words import byproduct, part_of
from xray_tf.data.sources.scan import scan
from xray_tf.data.synthetic.phantom import draw_phantom


def write(folder, path, kind="normal", seed=0, suffix=".png"):
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(cv2.imencode(suffix, draw_phantom(kind, seed=seed).image)[1].tobytes())
    return file


def fill(folder, *places):
    for seed, place in enumerate(places):
        write(folder, f"{place}/NORMAL/a{seed}.png", "normal", 2 * seed)
        write(folder, f"{place}/PNEUMONIA/b{seed}.png", "bacterial", 2 * seed + 1)
    return folder


@pytest.mark.parametrize(
    "name",
    ["test", "Testing", "test_set", "TestSet2", "hold-out", "held_out", "Holdout", "evaluation"],
)
def test_a_held_out_folder_of_another_name_is_the_test_part(tmp_path, name):
    records = scan(fill(tmp_path, "train", f"{name}")).records
    assert {r.split for r in records if r.path.startswith(name)} == {"test"}
    assert {r.split for r in records if r.path.startswith("train")} == {"train"}
    assert len(records) == 4


@pytest.mark.parametrize("word", ["latest", "contest", "value", "trained by", "NORMAL", "pretest"])
def test_other_words_name_no_part(word):
    assert part_of(word) == ""


@pytest.mark.parametrize("place", ["NORMAL/test", "train/NORMAL/testing", "a/b/test/c/NORMAL"])
def test_a_held_out_folder_is_the_test_part_at_any_depth(tmp_path, place):
    write(tmp_path, "train/NORMAL/a.png")
    write(tmp_path, f"{place}/held.png", seed=1)
    rows = {r.path.rsplit("/", 1)[-1]: r.split for r in scan(tmp_path).records}
    assert rows == {"a.png": "train", "held.png": "test"}


@pytest.mark.parametrize("name", ["secret", "batch 2", "site_b/deep", "dev"])
def test_a_folder_of_any_other_name_beside_train_is_left_out_and_told(tmp_path, name):
    records, findings = scan(fill(tmp_path, "train", name))
    assert {r.split for r in records} == {"train"} and len(records) == 2
    said = [f for f in findings if f.kind == "unknown-part"]
    assert len(said) == 2 and all(name in f.detail and "left out" in f.detail for f in said)


def test_class_folders_beside_train_are_kept_and_told(tmp_path):
    write(tmp_path, "train/NORMAL/a.png")
    write(tmp_path, "NORMAL/b.png", seed=1)
    records, findings = scan(tmp_path)
    assert len(records) == 2 and "no-part" in {f.kind for f in findings}


@pytest.mark.parametrize(
    "path",
    [
        "NORMAL/masks/a.png",
        "masks/NORMAL/a.png",
        "NORMAL/Lung Segmentation/a.png",
        "train/NORMAL/augmented_images/a.png",
        "NORMAL/grad-cam/heatmaps/a.png",
        "NORMAL/a_mask.png",
        "NORMAL/mask-12.png",
        "NORMAL/a_aug_3.jpeg",
        "NORMAL/person1_bacteria_2_hflip.png",
        "NORMAL/thumbs/a.png",
    ],
)
def test_by_products_are_left_out_and_told(tmp_path, path):
    write(tmp_path, "train/NORMAL/real.png" if "train" in path else "NORMAL/real.png")
    write(tmp_path, path, seed=1)
    records, findings = scan(tmp_path)
    assert [r.path.rsplit("/", 1)[-1] for r in records] == ["real.png"]
    assert [f.severity for f in findings if f.kind == "by-product"] == ["warning"]


@pytest.mark.parametrize(
    "path",
    [
        "NORMAL/IM-0001-0001.jpeg",
        "images/person1_bacteria_2.jpeg",
        "august/camera 1.png",
        "NORMAL/unmasked.png",
    ],
)
def test_radiographs_are_no_by_products(path):
    assert byproduct(path) == ""


def test_a_folder_of_nothing_else_is_kept(tmp_path):
    write(tmp_path, "NORMAL/augmented/a.png")
    write(tmp_path, "PNEUMONIA/augmented/a.png", "viral")
    assert len(scan(tmp_path).records) == 2


@pytest.mark.parametrize("place", ["backup 2024", "train/NORMAL/copy", "old/chest"])
def test_a_second_copy_under_any_name_is_counted_once_and_told(tmp_path, place):
    fill(tmp_path, "train", "train/more")
    shutil.copytree(tmp_path / "train", tmp_path / "elsewhere")
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(tmp_path / "elsewhere", tmp_path / place / "train")
    records, findings = scan(tmp_path)
    assert len(records) == 4 and not any(place in r.path for r in records)
    assert "second-copy" in {f.kind for f in findings}


def test_equal_names_of_other_bytes_are_no_copies(tmp_path):
    for i, place in enumerate(("a", "b")):
        write(tmp_path, f"NORMAL/{place}/1.png", seed=i)
    records, findings = scan(tmp_path)
    assert len(records) == 2 and "second-copy" not in {f.kind for f in findings}


def test_images_are_found_by_content_whatever_their_suffix(tmp_path):
    names = ["a.jfif", "b.jpe", "c", "d.gif", "e.JPEG", "f.1", "g.img"]
    for i, name in enumerate(names):
        write(tmp_path, f"NORMAL/{name}", seed=i, suffix=".jpg" if i % 2 == 0 else ".png")
    (tmp_path / "NORMAL/notes.txt").write_text("no image")
    (tmp_path / "NORMAL/real.gif").write_bytes(b"GIF89a" + bytes(50))
    records, findings = scan(tmp_path)
    assert [r.path for r in records] == [f"NORMAL/{name}" for name in names]
    assert len(list_files([tmp_path])) == len(names)
    assert sum(f.kind == "not-an-image" for f in findings) == 2
