"""The audit finds what was planted, and nothing where nothing was planted."""

import json
import os
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from xray_tf.data.duplicates import (
    NEAR_CORRELATION,
    SCREEN,
    correlation,
    low_frequencies,
    near_pairs,
)
from xray_tf.data.synthetic.phantom import draw_phantom
from xray_tf.jobs.audit.audit_data import audit_records

SHARED = Path(__file__).parents[3].parent / "shared" / "data"
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the real radiographs (../shared/data) are not here"
)


def picture(seed, height=80, width=80):
    """A smooth random picture, (H, W) uint8; two seeds give pictures that hardly correlate."""
    noise = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 6)
    return np.clip(128 + 45 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def save(folder, path, image, options=()):
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(cv2.imencode(Path(path).suffix, image, options)[1].tobytes())


def data_set(folder, count=12, split="train"):
    """`count` radiographs a class, one patient each, all alike in size and mode."""
    for i in range(count):
        save(folder, f"{split}/NORMAL/IM-{i:04d}-0001.png", picture(i))
        save(
            folder,
            f"{split}/PNEUMONIA/person{i}_{'virus' if i % 3 else 'bacteria'}_{i}.png",
            picture(100 + i),
        )
    return folder


def audit(folder, **options):
    return audit_records(folder, progress=False, **options)


def found(result, *wanted):
    return sorted(
        (f.kind, f.severity, f.path) for f in result.findings if not wanted or f.kind in wanted
    )


def test_a_clean_data_set_has_no_findings(tmp_path):
    result = audit(data_set(tmp_path))
    assert not result.findings.rows
    assert result.summary["classes"] == {
        "train": {"normal": 12, "pneumonia, bacterial": 4, "pneumonia, viral": 8}
    }
    assert result.summary["files"] == result.summary["usable"] == len(result.records) == 24
    assert all(r.sha256 and (r.width, r.height, r.mode) == (80, 80, "L") for r in result.records)
    assert "Nothing." in result.text() and json.loads(json.dumps(result.summary)) == result.summary


def huge(data):
    return data[:16] + (60000).to_bytes(4, "big") * 2 + data[24:]


GOOD = cv2.imencode(".png", picture(7))[1].tobytes()
JPEG = cv2.imencode(".jpg", picture(8))[1].tobytes()


@pytest.mark.parametrize(
    "name, data, kind",
    [
        ("IM-1-1.jpeg", b"", "empty"),
        ("IM-1-1.jpeg", JPEG[: len(JPEG) // 2], "truncated"),
        ("IM-1-1.png", GOOD[: len(GOOD) // 2], "truncated"),
        ("IM-1-1.jpeg", b"This is no radiograph.", "not-an-image"),
        ("IM-1-1.png", cv2.imencode(".png", np.zeros((1, 1), np.uint8))[1].tobytes(), "too-small"),
        ("IM-1-1.png", huge(GOOD), "too-large"),
        ("IM-1-1.bmp", cv2.imencode(".bmp", picture(3))[1].tobytes(), "unsupported-format"),
    ],
)
def test_a_bad_file_is_set_aside_with_its_reason_and_the_rest_goes_on(tmp_path, name, data, kind):
    data_set(tmp_path)
    (tmp_path / "train/NORMAL" / name).write_bytes(data)
    result = audit(tmp_path)
    assert found(result) == [(kind, "error", f"train/NORMAL/{name}")]
    assert len(result.records) == 24 and result.summary["set_aside"] == {kind: 1}
    assert (
        "25 radiographs (read as kaggle-folder); 24 can be used, 1 cannot and are left out: "
        f"1 {kind}."
    ) in result.text()


def test_files_that_cannot_be_opened_are_set_aside(tmp_path):
    data_set(tmp_path)
    (tmp_path / "train/NORMAL/IM-90-1.png").symlink_to("nowhere.png")
    kinds = {"missing"}
    if os.geteuid():  # root reads whatever it likes
        save(tmp_path, "train/NORMAL/IM-91-1.png", picture(3))
        (tmp_path / "train/NORMAL/IM-91-1.png").chmod(0)
        kinds.add("unreadable")
    assert {f.kind for f in audit(tmp_path).findings} == kinds


def test_files_of_other_depth_and_colour_are_usable(tmp_path):
    data_set(tmp_path)
    save(tmp_path, "train/NORMAL/IM-90-1.png", picture(90).astype(np.uint16) * 257)
    result = audit(tmp_path)
    assert result.summary["modes"] == {
        "L": {"normal": 12, "pneumonia": 12},
        "L16": {"normal": 1, "pneumonia": 0},
    }
    assert found(result) == [("mode-leak", "note", "")], "one file of its mode is no evidence"


def test_a_folder_of_bad_files_only_is_told_of_too(tmp_path):
    for name in ("NORMAL/IM-1-1.png", "PNEUMONIA/person1_virus_1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"")
    result = audit(tmp_path)
    assert (
        len(result.records) == 0
        and result.summary["set_aside"] == {"empty": 2}
        and ("0 can be used") in result.text()
    )


def test_exact_copies_are_grouped(tmp_path):
    data_set(tmp_path)
    for name in ("IM-0003-0002.png", "IM-0003-0003.png"):
        save(tmp_path, f"train/NORMAL/{name}", picture(3))
    result = audit(tmp_path)
    assert found(result) == [("exact-duplicate", "note", "train/NORMAL/IM-0003-0001.png")]
    assert (
        result.findings[0].related == "train/NORMAL/IM-0003-0002.png|train/NORMAL/IM-0003-0003.png"
    )
    assert result.summary["duplicates"]["exact"] == {
        "groups": 1,
        "files": 3,
        "across_labels": 0,
        "across_patients": 0,
        "across_splits": 0,
    }
    assert result.summary["duplicates"]["near"]["groups"] == 0, (
        "a copy is not reported a second time as a near one"
    )


@pytest.mark.parametrize(
    "path, conflicts",
    [
        ("train/NORMAL/IM-0099-0001.png", {"patient"}),
        ("train/PNEUMONIA/person99_virus_1.png", {"patient", "label"}),
        ("test/NORMAL/IM-0003-0001.png", {"split"}),
    ],
)
@pytest.mark.parametrize("kind", ["exact", "near"])
def test_copies_that_contradict_each_other_are_warnings(tmp_path, path, conflicts, kind):
    data_set(tmp_path)
    save(
        tmp_path,
        path,
        picture(3) if kind == "exact" else np.clip(picture(3) * 0.9 + 5, 0, 255).astype(np.uint8),
    )
    result = audit(tmp_path)
    assert {
        f.kind
        for f in result.findings
        if f.kind.startswith("duplicate-") and f.severity == "warning"
    } == {f"duplicate-{c}" for c in conflicts}
    assert {
        c
        for c in ("label", "patient", "split")
        if result.summary["duplicates"][kind][f"across_{c}s"]
    } == conflicts


def test_a_copy_whose_patient_or_subtype_is_not_known_contradicts_nothing(tmp_path):
    data_set(tmp_path)
    path = "train/PNEUMONIA/nameless.png"
    save(tmp_path, path, picture(103))
    assert found(audit(tmp_path)) == [
        ("exact-duplicate", "note", path),
        ("irregular-name", "warning", path),
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda image: cv2.resize(image, (160, 190)),
        lambda image: cv2.imdecode(
            cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, 30))[1], 0
        ),
        lambda image: (255 * (image / 255.0) ** 0.8).astype(np.uint8),
        lambda image: np.clip(image * 0.8 + 20, 0, 255).astype(np.uint8),
        lambda image: cv2.cvtColor(image, cv2.COLOR_GRAY2BGR),
    ],
)
def test_the_same_picture_in_other_bytes_is_found(tmp_path, change):
    data_set(tmp_path)
    image = draw_phantom("viral", 5).image
    save(tmp_path, "train/PNEUMONIA/person50_virus_1.png", image)
    save(tmp_path, "train/PNEUMONIA/person50_virus_2.png", change(image))
    result = audit(tmp_path)
    assert found(result, "exact-duplicate", "near-duplicate") == [
        ("near-duplicate", "warning", "train/PNEUMONIA/person50_virus_1.png")
    ]
    assert result.summary["duplicates"]["near"]["files"] == 2


def test_phantoms_of_one_patient_are_not_taken_for_copies(tmp_path):
    result = audit_records("phantom:12", cache=tmp_path, progress=False)
    assert (
        result.summary["patients"]["namespaced"]["with_several"] > 0
        and result.summary["duplicates"]["near"]["groups"] == 0
    )


def test_near_pairs_equal_the_slow_reference():
    rng = np.random.default_rng(0)
    base = np.stack(
        [cv2.resize(picture(i), (64, 64), interpolation=cv2.INTER_AREA) for i in range(40)]
    )
    mixed = [
        np.clip(
            base[i] * (1 - share) + base[(i + 1) % 40] * share + rng.normal(0, 2, (64, 64)), 0, 255
        ).astype(np.uint8)
        for i in range(40)
        for share in (0.05, 0.12, 0.17, 0.3)
    ]
    thumbnails = np.concatenate([base, np.stack(mixed), np.full((2, 64, 64), 9, np.uint8)])
    with np.errstate(invalid="ignore", divide="ignore"):
        reference = np.corrcoef(thumbnails.reshape(len(thumbnails), -1).astype(np.float64))
    wanted = [
        (i, j)
        for i in range(len(thumbnails))
        for j in range(i + 1, len(thumbnails))
        if reference[i, j] >= NEAR_CORRELATION
    ]
    assert near_pairs(thumbnails) == wanted and 40 < len(wanted) < 400
    np.testing.assert_allclose(
        correlation(thumbnails[:3], thumbnails[40:43]),
        reference[range(3), range(40, 43)],
        atol=1e-5,
    )


def test_low_frequencies_are_the_cosine_transform_scaled_to_length_one():
    thumbnails = np.stack(
        [cv2.resize(picture(i), (64, 64)) for i in range(3)] + [np.full((64, 64), 7, np.uint8)]
    )
    low = low_frequencies(thumbnails)
    for k in range(3):
        expected = cv2.dct(thumbnails[k].astype(np.float32))[:12, :12].ravel()[1:]
        np.testing.assert_allclose(low[k], expected / np.linalg.norm(expected), atol=1e-5)
    assert not low[3].any()
    assert SCREEN <= (NEAR_CORRELATION - 0.4) / (1 - 0.4) + 1e-12


def test_a_picture_of_one_grey_is_set_aside_and_no_copy_of_another(tmp_path):
    data_set(tmp_path)
    for k in (1, 2):
        save(tmp_path, f"train/NORMAL/IM-9{k}-1.png", np.full((80, 80), 40 * k, np.uint8))
    assert found(audit(tmp_path)) == [
        ("constant", "error", f"train/NORMAL/IM-9{k}-1.png") for k in (1, 2)
    ]


# ---- patients


def test_both_keys_stand_side_by_side_with_the_overlaps_each_implies(tmp_path):
    for i, path in enumerate(
        (
            "train/PNEUMONIA/person1_bacteria_1.png",
            "train/PNEUMONIA/person1_bacteria_2.png",
            "train/PNEUMONIA/person2_virus_1.png",
            "train/NORMAL/IM-0001-0001.png",
            "test/PNEUMONIA/person1_virus_5.png",
            "test/PNEUMONIA/person2_virus_9.png",
            "test/NORMAL/NORMAL2-IM-0001-0001.png",
            "val/NORMAL/IM-0001-0001-0001.png",
        )
    ):
        save(tmp_path, path, picture(i))
    patients = audit(tmp_path).summary["patients"]
    assert patients["namespaced"] == {
        "patients": 5,
        "without_key": 0,
        "with_several": 3,
        "images_of_those": 6,
        "most_images": 2,
        "both_subtypes": 0,
        "images_of_both_subtypes": 0,
        "overlaps": {
            "train and val": {"patients": 1, "train": 1, "val": 1},
            "train and test": {"patients": 1, "train": 1, "test": 1},
            "val and test": {"patients": 0, "val": 0, "test": 0},
        },
    }
    assert patients["bare"] == {
        "patients": 4,
        "without_key": 0,
        "with_several": 3,
        "images_of_those": 7,
        "most_images": 3,
        "both_subtypes": 1,
        "images_of_both_subtypes": 3,
        "overlaps": {
            "train and val": {"patients": 1, "train": 1, "val": 1},
            "train and test": {"patients": 2, "train": 3, "test": 2},
            "val and test": {"patients": 0, "val": 0, "test": 0},
        },
    }


@pytest.mark.parametrize(
    "patient_key, patients",
    [
        ("namespaced", {"bacteria:person0", "virus:person1", "virus:person2"}),
        ("bare", {"person0", "person1", "person2"}),
    ],
)
def test_the_records_have_the_key_that_was_asked_for(tmp_path, patient_key, patients):
    result = audit(data_set(tmp_path, 3), patient_key=patient_key)
    assert {r.patient for r in result.records if r.label == "pneumonia"} == patients and (
        f"the {patient_key} one was used"
    ) in result.text()


def test_a_source_that_gives_its_own_patients_has_one_key(tmp_path):
    lines = ["path,label,patient"]
    for i in range(6):
        save(tmp_path, f"{i}.png", picture(i))
        lines.append(f"{i}.png,{('normal', 'viral')[i % 2]},child {i // 2}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    result = audit(tmp_path / "manifest.csv")
    assert (
        list(result.summary["patients"]) == ["as given"]
        and result.summary["patients"]["as given"]["patients"] == 3
    )
    assert "100% of the radiographs are of patients with several" in result.text()


def test_a_source_without_patients_says_what_follows(tmp_path):
    for i in range(4):
        save(tmp_path, f"{('NORMAL', 'PNEUMONIA')[i % 2]}/scan {i}.png", picture(i))
    assert "only --split-by image is possible" in audit(tmp_path).text()


# ---- leaks


def test_colour_size_and_aspect_that_follow_the_label_are_warnings(tmp_path):
    data_set(tmp_path)
    for i in range(12):
        save(
            tmp_path,
            f"train/PNEUMONIA/person{i}_{'virus' if i % 3 else 'bacteria'}_{i}.png",
            cv2.cvtColor(picture(100 + i, 60, 90 + i), cv2.COLOR_GRAY2BGR),
        )
    result = audit(tmp_path)
    assert Counter((f.kind, f.severity) for f in result.findings) == {
        ("mode-leak", "warning"): 2,
        ("size-leak", "warning"): 2,
        ("aspect-leak", "warning"): 1,
    }
    sizes = result.summary["sizes"]
    assert (sizes["width"]["auroc"], sizes["height"]["auroc"], sizes["aspect ratio"]["auroc"]) == (
        1.0,
        0.0,
        1.0,
    )
    assert sizes["width"]["normal"] == 80 and sizes["width"]["pneumonia"] == 95.5


def test_a_few_files_are_no_evidence_of_a_size_leak(tmp_path):
    for i in range(4):
        save(tmp_path, f"NORMAL/IM-{i}-1.png", picture(i))
        save(tmp_path, f"PNEUMONIA/person{i}_virus_1.png", picture(10 + i, 60, 70))
    assert not found(audit(tmp_path), "size-leak", "aspect-leak")


# ---- the real thing


@needs_shared
def test_the_real_training_part_has_its_24_groups_of_copies_and_no_other_finding():
    result = audit(SHARED / "chest_xray")
    assert result.summary["usable"] == 5216
    assert result.summary["duplicates"]["exact"] == {
        "groups": 24,
        "files": 50,
        "across_labels": 0,
        "across_patients": 0,
        "across_splits": 0,
    }
    assert result.summary["duplicates"]["near"]["groups"] == 0
    assert {f.kind for f in result.findings} == {"exact-duplicate"}
    bare, namespaced = result.summary["patients"]["bare"], result.summary["patients"]["namespaced"]
    assert (namespaced["patients"], bare["patients"], bare["both_subtypes"]) == (3654, 2846, 808)


@needs_shared
def test_the_real_originals_show_the_colour_size_and_aspect_leaks():
    result = audit(SHARED / "originals")
    assert result.summary["modes"] == {
        "L": {"normal": 60, "pneumonia": 110},
        "RGB": {"normal": 0, "pneumonia": 14},
    }
    assert Counter(f.kind for f in result.findings) == {
        "mode-leak": 1,
        "size-leak": 2,
        "aspect-leak": 1,
    }
    sizes = result.summary["sizes"]
    assert (
        sizes["width"]["auroc"] < 0.15
        and sizes["height"]["auroc"] < 0.15
        and sizes["aspect ratio"]["auroc"] > 0.85
    )


@needs_shared
def test_real_originals_and_their_224_pixel_twins_are_near_duplicates(tmp_path):
    names = (
        sorted((SHARED / "originals/NORMAL").iterdir())[:12]
        + sorted((SHARED / "originals/PNEUMONIA").iterdir())[:12]
    )
    for part, root in (("train", SHARED / "originals"), ("test", SHARED / "chest_xray/train")):
        for name in names:
            (tmp_path / part / name.parent.name).mkdir(parents=True, exist_ok=True)
            (tmp_path / part / name.parent.name / name.name).symlink_to(
                (root / name.parent.name / name.name).resolve()
            )
    near = audit(tmp_path).summary["duplicates"]["near"]
    assert near == {
        "groups": 24,
        "files": 48,
        "across_labels": 0,
        "across_patients": 0,
        "across_splits": 24,
    }
