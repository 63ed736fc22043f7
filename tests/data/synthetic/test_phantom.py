"""What the synthetic radiographs promise: same numbers same pixels, exact masks, and nothing but
the lesion tells the label.
"""

import hashlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from xray_tf.data.sources import phantom_folder as module
from xray_tf.data.sources.folder import PHANTOM_MARK
from xray_tf.data.sources.phantom_folder import SHARES, write_phantoms
from xray_tf.data.synthetic import phantom as drawing
from xray_tf.data.synthetic.anatomy import View
from xray_tf.data.synthetic.phantom import (
    KINDS,
    LESION_THRESHOLD,
    _names,
    draw_phantom,
    random_stream,
)

ROOT = Path(__file__).parents[3]
SICK = KINDS[1:]


def fingerprint(phantom):
    return hashlib.sha256(
        phantom.image.tobytes() + phantom.lungs.tobytes() + phantom.lesion.tobytes()
    ).hexdigest()


def tree(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_phantoms(tmp_path_factory.mktemp("phantoms") / "set", patients=40, seed=3, size=48)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_arguments_give_the_same_pixels_in_another_process(kind):
    code = (
        "import hashlib, sys; from xray_tf.data.synthetic.phantom import draw_phantom; p = "
        "draw_phantom(sys.argv[1], 5, 2, 1, 64, 80); "
        "print(hashlib.sha256(p.image.tobytes() + p.lungs.tobytes() + "
        "p.lesion.tobytes()).hexdigest())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, kind],
        cwd=ROOT,
        env={"PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == fingerprint(draw_phantom(kind, 5, 2, 1, 64, 80))


def test_seed_patient_and_view_each_change_the_picture():
    drawn = [
        draw_phantom("viral", *numbers, 48, 56)
        for numbers in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
    ]
    assert len({fingerprint(p) for p in drawn}) == 4


@pytest.mark.parametrize(
    "kind, label, subtype, patient, name",
    [
        ("normal", "normal", "", "NORMAL2-IM-0002", "NORMAL2-IM-0002-0001-0002"),
        ("bacterial", "pneumonia", "bacterial", "bacteria:person2", "person2_bacteria_22"),
        ("viral", "pneumonia", "viral", "virus:person2", "person2_virus_22"),
    ],
)
def test_a_phantom_says_what_it_is(kind, label, subtype, patient, name):
    phantom = draw_phantom(kind, 0, 1, 2, 40, 56)
    assert (phantom.label, phantom.subtype, phantom.patient, phantom.name) == (
        label,
        subtype,
        patient,
        name,
    )
    assert (phantom.image.dtype, phantom.lungs.dtype, phantom.lesion.dtype) == (
        np.uint8,
        bool,
        bool,
    )
    assert phantom.image.shape == phantom.lungs.shape == phantom.lesion.shape == (40, 56)


def test_the_first_normal_view_is_named_as_kaggle_names_it():
    assert [draw_phantom("normal", 0, p, 0, 32, 32).name for p in (0, 1)] == [
        "IM-0001-0001",
        "NORMAL2-IM-0002-0001",
    ]


@pytest.mark.parametrize("kind", SICK)
def test_the_lesion_is_the_whole_difference_from_the_same_child_without_it(kind):
    for patient in range(12):
        sick, well = (
            draw_phantom(kind, 0, patient, 0, 96, 112),
            draw_phantom("normal", 0, patient, 0, 96, 112),
        )
        assert np.array_equal(sick.lungs, well.lungs) and not well.lesion.any()
        change = np.abs(sick.image.astype(int) - well.image)
        assert not change[~sick.lungs].any()
        assert not (sick.lesion & ~sick.lungs).any()
        # Beside the threshold there is only what noise, beam slope and rounding make of it: noise
        # grows with grey, and twice rounded is one level
        assert change[~sick.lesion].max() <= 1.5 * LESION_THRESHOLD + 1
        assert change[sick.lesion].mean() > LESION_THRESHOLD
        assert (sick.image[sick.lesion] >= well.image[sick.lesion] - 1).mean() > 0.99, (
            "a lesion takes air away, so it is whiter"
        )


@pytest.mark.parametrize(
    "kind, low, high, subtle, plain",
    [("bacterial", 0.01, 0.65, 15, 45), ("viral", 0.2, 1.0, 8, 20)],
)
def test_lesions_reach_from_subtle_to_plain_and_have_the_extent_of_their_kind(
    kind, low, high, subtle, plain
):
    drawn = [
        (draw_phantom(kind, 0, p, 0, 96, 112), draw_phantom("normal", 0, p, 0, 96, 112))
        for p in range(40)
    ]
    extent = np.array([sick.lesion.sum() / sick.lungs.sum() for sick, _ in drawn])
    strength = np.array(
        [(sick.image.astype(int) - well.image)[sick.lesion].mean() for sick, well in drawn]
    )
    assert low < extent.min() and extent.max() < high
    assert strength.min() < subtle and strength.max() > plain  # grey levels


def test_bacterial_is_focal_and_viral_lies_on_both_sides():
    def share_of_smaller_side(kind, patient):
        phantom = draw_phantom(kind, 0, patient, 0, 96, 112)
        middle = phantom.lungs.any(axis=0).nonzero()[0].mean()
        left = np.arange(112) < middle
        sides = [
            phantom.lesion[:, half].sum() / phantom.lungs[:, half].sum() for half in (left, ~left)
        ]
        return min(sides) / max(sides)

    assert np.median([share_of_smaller_side("bacterial", p) for p in range(24)]) < 0.1
    assert np.median([share_of_smaller_side("viral", p) for p in range(24)]) > 0.6


def test_the_lungs_are_two_dark_fields_of_plausible_size():
    for patient in range(24):
        phantom = draw_phantom("normal", 0, patient, 0, 128, 150)
        assert 0.12 < phantom.lungs.mean() < 0.50
        _, _, stats, _ = cv2.connectedComponentsWithStats(phantom.lungs.astype(np.uint8))
        areas = np.sort(stats[1:, cv2.CC_STAT_AREA])[::-1]
        assert areas[1] > 0.3 * areas[0] and areas[:2].sum() > 0.97 * areas.sum()
        spine = phantom.image[40:100, 70:80]
        assert phantom.image[phantom.lungs].mean() < spine.mean() - 30


def test_a_child_keeps_its_anatomy_over_views_and_shares_it_with_no_other(monkeypatch):
    # With one and the same exposure and position, what is left is anatomy and noise
    still = View(random_stream(0))
    still.noise = 0.0
    monkeypatch.setattr(drawing, "View", lambda rng: still)
    monkeypatch.setattr(drawing, "_burn_in", lambda *a: None)
    monkeypatch.setattr(drawing, "_collimator", lambda plane, rng: 1.0)
    first, second, other = (
        draw_phantom("bacterial", 0, *numbers, 96, 96) for numbers in ((4, 0), (4, 1), (5, 0))
    )
    assert np.array_equal(first.image, second.image) and np.array_equal(first.lesion, second.lesion)
    assert np.abs(first.image.astype(int) - other.image).mean() > 3


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("fungal", 0), "kind must be one of .* Received: kind='fungal'"),
        (("normal", -1), "seed must be an integer >= 0. Received: seed=-1"),
        (("normal", 0.5), "seed must be an integer >= 0. Received: seed=0.5"),
        (("normal", 0, -2), "patient must be an integer >= 0"),
        (("normal", 0, 0, -1), "view must be an integer >= 0"),
        (("normal", 0, 0, 0, 31), "height must be an integer >= 32"),
        (("normal", 0, 0, 0, 32, 0), "width must be an integer >= 32"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        draw_phantom(*arguments)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"patients": 2}, "patients must be an integer >= 3. Received: patients=2"),
        ({"seed": -1}, "seed must be an integer >= 0"),
        ({"size": 8}, "size must be an integer >= 32"),
    ],
)
def test_bad_sets_are_refused_and_nothing_is_made(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        write_phantoms(tmp_path / "set", **options)
    assert not list(tmp_path.iterdir())


def test_a_set_has_kaggles_layout_with_the_masks_apart(written):
    assert {p.name for p in written.iterdir()} == {"train", "masks", PHANTOM_MARK}
    assert {p.name for p in (written / "train").iterdir()} == {"NORMAL", "PNEUMONIA"}
    images = sorted((written / "train").glob("*/*.png"))
    assert {p.name for p in (written / "masks").iterdir()} == {
        f"{p.stem}_{part}.png" for p in images for part in ("lesion", "lungs")
    }
    for path in images:
        beside = [written / "masks" / f"{path.stem}_{part}.png" for part in ("lesion", "lungs")]
        image, lesion, lungs = (cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in (path, *beside))
        assert image.ndim == 2 and image.shape == lesion.shape == lungs.shape
        assert set(np.unique(lesion)) <= {0, 255} and set(np.unique(lungs)) == {0, 255}
        assert lesion.any() == (path.parent.name == "PNEUMONIA")
        assert path.name.startswith("person") == (path.parent.name == "PNEUMONIA")


def test_a_set_has_the_stated_shares_of_children_and_distinct_numbers():
    plan = list(module._plan(200, 0, 64))
    kinds = {patient: kind for kind, patient, *_ in plan}
    assert len(kinds) == 200
    assert Counter(kinds.values()) == {
        kind: round(share * 200) for kind, share in zip(KINDS, SHARES, strict=True)
    }
    views = Counter(patient for _, patient, *_ in plan)
    assert set(views.values()) == {1, 2, 3}
    names = [_names(kind, patient, view)[1] for kind, patient, view, *_ in plan]
    assert len(set(names)) == len(names)


def test_sizes_and_aspect_ratios_do_not_know_the_label():
    plan = list(module._plan(600, 1, 256))
    sick = np.array([kind != "normal" for kind, *_ in plan])
    height, width = np.array([row[3:] for row in plan], float).T
    for value in (height * width, width / height):
        assert value.std() > 0.05 * value.mean()
        gap = value[sick].mean() - value[~sick].mean()
        assert abs(gap) < 3 * value.std() * np.sqrt(1 / sick.sum() + 1 / (~sick).sum())


def test_everything_outside_the_lungs_is_blind_to_the_label():
    """Position, exposure, markers, blades and noise: the pixels outside the lungs are those of any
    other kind, to the last bit.
    """
    for patient in range(8):
        drawn = {kind: draw_phantom(kind, 7, patient, 1, 64, 72) for kind in KINDS}
        outside = ~drawn["normal"].lungs
        for kind in SICK:
            assert np.array_equal(drawn[kind].image[outside], drawn["normal"].image[outside])


def test_a_set_is_deterministic_and_depends_on_its_seed(tmp_path):
    first, again, other = (
        write_phantoms(tmp_path / name, patients=4, seed=seed, size=40)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert tree(first) == tree(again)
    assert tree(first) != tree(other)


def test_a_set_is_used_again_where_it_is_the_same_and_refused_where_it_is_not(tmp_path):
    folder = write_phantoms(tmp_path / "set", patients=3, seed=1, size=40)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    assert write_phantoms(folder, patients=3, seed=1, size=40) == folder
    assert before == {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    with pytest.raises(
        FileExistsError, match="other parameters. Expected .*'seed': 2.* Received: .*'seed': 1"
    ):
        write_phantoms(folder, patients=3, seed=2, size=40)
    (folder / PHANTOM_MARK).write_text("{")
    with pytest.raises(FileExistsError, match="an unreadable file"):
        write_phantoms(folder, patients=3, seed=1, size=40)


def test_a_set_that_another_process_writes_is_waited_for(tmp_path):
    code = "import sys; from xray_tf.data.sources.phantom_folder import write_phantoms as write; "
    code += "write(sys.argv[1], patients=int(sys.argv[2]), seed=1, size=40)"
    others = []

    def start(done, total):
        if done == 1:
            for patients in "34":
                line = [sys.executable, "-c", code, str(tmp_path / "set"), patients]
                others.append(subprocess.Popen(line, stderr=subprocess.PIPE, text=True))

    folder = write_phantoms(tmp_path / "set", patients=3, seed=1, size=40, progress=start)
    same, different = ((job.communicate()[1], job.returncode) for job in others)
    assert folder == tmp_path / "set" and same[1] == 0, same[0]
    assert different[1] != 0 and "FileExistsError" in different[0]
    assert json.loads((folder / PHANTOM_MARK).read_text())["patients"] == 3
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="never overwritten"):
        write_phantoms(tmp_path, patients=3, size=40)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_an_interrupted_write_leaves_nothing(tmp_path):
    def interrupt(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantoms(tmp_path / "set", patients=4, size=40, progress=interrupt)
    assert not list(tmp_path.iterdir())


def test_progress_counts_every_radiograph_up_to_all_of_them(tmp_path):
    seen = []
    folder = write_phantoms(
        tmp_path / "set",
        patients=4,
        size=40,
        progress=lambda done, total: seen.append((done, total)),
    )
    count = len(list((folder / "train").glob("*/*.png")))
    assert seen == [(i, count) for i in range(1, count + 1)]
    assert json.loads((folder / PHANTOM_MARK).read_text())["patients"] == 4


def test_a_plain_linear_rule_finds_something_but_by_no_means_everything():
    """Ridge regression on 32 x 32 pixels, children apart: better than chance, far from solved."""
    plan = [row for row in module._plan(320, 0, 64) if row[2] == 0]
    pixels = np.stack(
        [
            cv2.resize(
                draw_phantom(*row[:1], 0, *row[1:]).image, (32, 32), interpolation=cv2.INTER_AREA
            ).ravel()
            for row in plan
        ]
    ).astype(float)
    sick = np.array([row[0] != "normal" for row in plan], float)
    train = np.arange(len(plan)) < 200
    center = pixels[train].mean(axis=0)
    centred = (pixels - center) / 255
    gram = centred[train] @ centred[train].T
    weights = np.linalg.solve(gram + 10.0 * np.eye(train.sum()), sick[train] - sick[train].mean())
    scores = centred[~train] @ centred[train].T @ weights
    positive, negative = scores[sick[~train] == 1], scores[sick[~train] == 0]
    auroc = (positive[:, None] > negative).mean()
    assert 0.60 < auroc < 0.92
