"""Stresses are graded, repeatable and do what they say; natural splits cut where they say, and
never through a patient.
"""

import cv2
import numpy as np
import pytest
from natural_splits import natural_splits

from xray_tf.data.records import Record, Records
from xray_tf.data.synthetic.stresses import STRESSES, StressGrid, apply_stress, choose_stresses
from xray_tf.data.tables.split_file import apply_split, write_split


@pytest.fixture(scope="module")
def images():
    """Three smooth squares with detail and a dark border, (3, 128, 128) uint8: CLAHE's tiles need
    some pixels.
    """
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:128, :128] / 127
    smooth = np.stack([110 + 60 * np.sin(3 * x + k) * np.cos(4 * y - k) for k in range(3)])
    smooth[:, 40:80, 30:60] += 50
    out = np.clip(smooth + 8 * rng.standard_normal(smooth.shape), 0, 255).astype(np.uint8)
    out[:, :6], out[:, :, :6] = 10, 10
    return out


@pytest.mark.parametrize("name", STRESSES)
def test_a_stress_is_graded_repeatable_and_leaves_its_input(name, images):
    before = images.copy()
    results = [apply_stress(images, name, s, seed=1) for s in STRESSES[name].severities]
    assert all(r.shape == images.shape and r.dtype == np.uint8 for r in results)
    np.testing.assert_array_equal(images, before)
    # it tends to equalisation tile by tile, which need not be farther away; what grows is local
    # contrast
    if name == "clahe":
        distances = [
            np.abs(np.diff(r.astype(float), axis=2)).mean()
            - np.abs(np.diff(images.astype(float), axis=2)).mean()
            for r in results
        ]
    else:
        distances = [np.abs(r.astype(float) - images).mean() for r in results]
    assert 0 < distances[0] and all(
        a < b for a, b in zip(distances, distances[1:], strict=False)
    ), distances
    np.testing.assert_array_equal(
        results[1], apply_stress(images, name, STRESSES[name].severities[1], seed=1)
    )


@pytest.mark.parametrize("name", STRESSES)
def test_a_radiographs_stress_depends_on_its_key_and_not_on_its_batch(name, images):
    keys, severity = ["a", "b", "c"], STRESSES[name].severities[1]
    together = apply_stress(images, name, severity, 3, keys)
    np.testing.assert_array_equal(
        apply_stress(images[[2, 0]], name, severity, 3, ["c", "a"]), together[[2, 0]]
    )


@pytest.mark.parametrize(
    "name", ["uneven", "noise", "crop", "shrunk", "shifted", "markers", "leads"]
)
def test_another_seed_and_another_key_draw_anew(name, images):
    severity = STRESSES[name].severities[-1]
    first = apply_stress(images[:1], name, severity, 0, ["a"])
    assert (first != apply_stress(images[:1], name, severity, 1, ["a"])).any()
    assert (first != apply_stress(images[:1], name, severity, 0, ["b"])).any()


@pytest.mark.parametrize(
    ("name", "severity", "grey", "expected"),
    [
        # 255 * 0.4 ** 2 = 40.8
        ("brighter", 20, 100, 120),
        ("brighter", 60, 230, 255),
        ("darker", -40, 30, 0),
        ("gamma-dark", 2.0, 102, 41),
        ("gamma-light", 0.5, 64, 128),  # 255 * sqrt(64 / 255) = 127.7
        # x = 0.8: 1 / (1 + exp(-1.2)) = 0.76852, (0.76852 - 0.11920) / 0.76159 = 0.8526, 217.4
        ("steep-curve", 1.0, 204, 217),
    ],
)
def test_grey_levels_go_where_the_formula_says(name, severity, grey, expected):
    assert apply_stress(np.full((1, 8, 8), grey, np.uint8), name, severity)[0, 4, 4] == expected


def test_contrast_is_about_the_images_own_mean():
    image = np.array([[[80, 120], [80, 120]]], np.uint8)  # mean 100
    np.testing.assert_array_equal(
        apply_stress(image, "contrast-low", 0.5), [[[90, 110], [90, 110]]]
    )
    np.testing.assert_array_equal(
        apply_stress(image, "contrast-high", 2.0), [[[60, 140], [60, 140]]]
    )


def test_the_two_curves_undo_each_other_and_keep_black_and_white():
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    flat = apply_stress(ramp, "flat-curve", 1.0)
    assert flat.min() == 0 and flat.max() == 255
    back = apply_stress(flat, "steep-curve", 1.0).astype(int)
    assert np.abs(back - ramp).max() <= 2  # the rounding of a grey level, at most 1.6 times steeper


def test_equalised_all_the_way_is_opencvs(images):
    np.testing.assert_array_equal(
        apply_stress(images, "equalized", 100)[0], cv2.equalizeHist(images[0])
    )


def test_noise_has_the_spread_it_names():
    grey = np.full((1, 128, 128), 128, np.uint8)
    assert (apply_stress(grey, "noise", 12) - 128.0).std() == pytest.approx(12, rel=0.05)


def test_detail_stresses_leave_an_even_image_alone():
    grey = np.full((1, 48, 48), 90, np.uint8)
    for name in ("blur", "sharpened", "resolution", "aliasing"):
        np.testing.assert_array_equal(
            apply_stress(grey, name, STRESSES[name].severities[-1]), grey, err_msg=name
        )


def test_blur_is_scaled_to_the_images_side():
    point = np.zeros((2, 448, 448), np.uint8)
    point[:, 220:229, 220:229] = 255
    np.testing.assert_array_equal(
        apply_stress(point, "blur", 1.5)[0], cv2.GaussianBlur(point[0], (0, 0), 3.0)
    )


def test_blanked_parts_are_black_and_the_rest_is_untouched(images):
    corners, border = (apply_stress(images, n, 25) for n in ("no-corners", "no-border"))
    inner = slice(32, -32)
    assert not corners[:, :32, :32].any() and not corners[:, -32:, -32:].any()
    np.testing.assert_array_equal(corners[:, inner], images[:, inner])
    np.testing.assert_array_equal(border[:, inner, inner], images[:, inner, inner])
    assert border.sum() == border[:, inner, inner].sum()


def centre_of(image, axis):
    weights = image.astype(float).sum(axis=axis)
    return (weights * np.arange(len(weights))).sum() / weights.sum(), weights


def test_geometry_moves_a_disc_as_far_and_as_wide_as_it_says():
    disc = np.zeros((1, 128, 128), np.uint8)
    cv2.circle(disc[0], (64, 64), 20, 200, -1)
    moved = apply_stress(disc, "shifted", 10)[0]
    far = np.hypot(*(centre_of(moved, a)[0] - centre_of(disc[0], a)[0] for a in (0, 1)))
    assert far == pytest.approx(12.8, abs=0.3)
    area = (disc > 100).sum()
    for name, severity, factor in (
        ("taller", 1.2, 1.2),
        ("wider", 1.2, 1.2),
        ("crop", 80, 1 / 0.64),
        ("shrunk", 80, 0.64),
        ("rotated", 30, 1.0),
    ):
        assert (apply_stress(disc, name, severity) > 100).sum() / area == pytest.approx(
            factor, rel=0.04
        ), name
    height, width = (
        np.ptp(np.flatnonzero(apply_stress(disc, "taller", 1.5)[0].max(axis=a) > 100))
        for a in (1, 0)
    )
    assert height == pytest.approx(60, abs=2) and width == pytest.approx(40, abs=2)


def test_rotation_turns_by_the_angle():
    bar = np.zeros((1, 129, 129), np.uint8)
    bar[0, 62:67, 24:105] = 200
    y, x = np.nonzero(apply_stress(bar, "rotated", 18)[0] > 100)
    assert abs(np.rad2deg(np.arctan(np.polyfit(x, y, 1)[0]))) == pytest.approx(18, abs=1)


def test_more_markers_and_leads_keep_those_there_are(images):
    dark = np.zeros((1, 128, 128), np.uint8)
    for name in ("markers", "leads"):
        few, more = (apply_stress(dark, name, n)[0].astype(int) for n in (1, 4))
        assert few.any() and (more[few > 0] > 0).all() and (more > 0).sum() > 1.5 * (few > 0).sum()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((2, 8, 8), np.uint8), "fog", 1), "name must be one of"),
        ((np.zeros((2, 8, 8)), "blur", 1), "uint8"),
        ((np.zeros((8, 8), np.uint8), "blur", 1), "shape"),
        ((np.zeros((2, 8, 8), np.uint8), "blur", 1, 0, ["a"]), "one entry per image"),
    ],
)
def test_what_cannot_be_changed_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        apply_stress(*arguments)


def test_stresses_are_chosen_by_name_and_group_in_the_tables_order():
    assert choose_stresses() == list(STRESSES)
    assert choose_stresses("jpeg, blur") == ["blur", "jpeg"]
    assert choose_stresses("geometry,noise") == [
        "noise",
        "crop",
        "shrunk",
        "shifted",
        "taller",
        "wider",
        "rotated",
    ]
    for wrong in ("fog", "", "all,fog"):
        with pytest.raises(ValueError, match="stresses must be some of all"):
            choose_stresses(wrong)


def test_a_grid_gives_the_rows_under_each_cell_whatever_the_batch(images):
    cells = [None, ("noise", 12), ("darker", -20)]
    grid = StressGrid(images, [2, 0], ["c", "a"], cells, seed=5)
    assert grid.shape == (6, 128, 128) and len(grid) == 6
    expected = np.concatenate(
        [images[[2, 0]], *(apply_stress(images[[2, 0]], n, s, 5, ["c", "a"]) for n, s in cells[1:])]
    )
    np.testing.assert_array_equal(grid[np.arange(6)], expected)
    np.testing.assert_array_equal(grid[[4, 1, 3]], expected[[4, 1, 3]])


def kermany(duplicates=()):
    """Rows named as the real ones are: two acquisitions of normals, two sub-types, patients with
    one to three images.
    """
    rows = []
    for family, low, label, subtype in (
        ("IM-", 115, "normal", ""),
        ("NORMAL2-IM-", 383, "normal", ""),
        ("bacteria:person", 1, "pneumonia", "bacterial"),
        ("virus:person", 80, "pneumonia", "viral"),
    ):
        for n in range(40):
            for image in range(1 + n % 3):
                path = f"{family.replace(':', '_')}{low + n:04d}-{image}.jpeg"
                rows.append(
                    Record(
                        path,
                        label,
                        subtype,
                        f"{family}{low + n}",
                        sha256=f"sha-{path}",
                        width=1,
                        height=1,
                        mode="L",
                    )
                )
    twin = dict(duplicates)
    return Records(
        [
            r if r.path not in twin else Record(**{**r.__dict__, "sha256": f"sha-{twin[r.path]}"})
            for r in rows
        ],
        "data",
    )


def numbers(records, family, split):
    return {
        int(r.patient.removeprefix(family))
        for r in records
        if r.split == split and r.patient.startswith(family)
    }


def test_early_takes_the_lowest_numbers_of_each_family_without_a_gap():
    early = natural_splits(kermany(), share=0.2)["early"]
    for family in ("IM-", "NORMAL2-IM-", "bacteria:person", "virus:person"):
        tested, others = (
            numbers(early, family, "test"),
            numbers(early, family, "train") | numbers(early, family, "val"),
        )
        rows = [r for r in early if r.patient.startswith(family)]
        assert max(tested) < min(others) and numbers(early, family, "val")
        assert sum(r.split == "test" for r in rows) / len(rows) == pytest.approx(0.2, abs=0.04)


@pytest.mark.parametrize(
    ("name", "tested", "trained"),
    [("acquisition-im", "IM-", "NORMAL2-IM-"), ("acquisition-normal2", "NORMAL2-IM-", "IM-")],
)
def test_an_acquisition_is_tested_by_a_model_that_never_saw_it(name, tested, trained):
    split = natural_splits(kermany(), share=0.2)[name]
    assert {r.split for r in split if r.patient.startswith(tested)} == {"test"}
    assert {r.split for r in split if r.patient.startswith(trained)} == {"train", "val"}
    pneumonia = [r for r in split if r.label == "pneumonia"]
    assert {r.split for r in pneumonia} == {"train", "val", "test"}
    assert sum(r.split == "test" for r in pneumonia) / len(pneumonia) == pytest.approx(
        0.2, abs=0.06
    )


def test_patients_and_duplicates_stay_together_in_every_natural_split(tmp_path):
    records = kermany(
        duplicates=[
            ("NORMAL2-IM-0422-0.jpeg", "IM-0115-0.jpeg"),
            ("virus_person0119-0.jpeg", "bacteria_person0001-0.jpeg"),
        ]
    )
    for name, split in natural_splits(records, share=0.2).items():
        for key in ("patient", "sha256"):
            parts = {}
            for r in split:
                parts.setdefault(getattr(r, key), set()).add(r.split)
            assert all(len(p) == 1 for p in parts.values()), (name, key)
        assert sorted(split.column("path")) == sorted(records.column("path"))
        again, findings = apply_split(records, write_split(split, tmp_path / f"{name}.csv"))
        assert again.column("split") == split.column("split") and not len(findings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share": 0.0}, "share"),
        ({"share": 1.0}, "share"),
        (
            {
                "records": Records(
                    [
                        Record("a", "normal", patient="someone"),
                        Record("b", "pneumonia", patient="p1"),
                    ]
                )
            },
            "end in a number",
        ),
        (
            {
                "records": Records(
                    [Record("a", "normal", patient="IM-1"), Record("b", "pneumonia", patient="p1")]
                )
            },
            "both acquisitions",
        ),
    ],
)
def test_what_has_no_natural_split_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        natural_splits(**{"records": kermany(), **change})
