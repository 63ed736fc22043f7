"""Synthetic lesions: inside the lungs, brighter but never past the tissue's grey, graded, and the
same for the same arguments.
"""

import numpy as np
import pytest
from lesions import LESIONS, LesionGrid, paste_lesion

from xray_tf.data.synthetic.phantom import draw_phantom


@pytest.fixture(scope="module")
def normal():
    return draw_phantom("normal", seed=3, height=96, width=96)


@pytest.mark.parametrize("kind", LESIONS)
def test_a_lesion_lies_in_the_lungs_and_grows_with_its_severity(kind, normal):
    lungs = normal.lungs
    mild, severe = (
        paste_lesion(normal.image, kind, s, seed=1, key="a", lungs=lungs) for s in (0.3, 0.9)
    )
    near = lungs.copy()
    for axis in (0, 1):  # the edge is soft: four pixels around
        near = np.any([np.roll(near, d, axis) for d in range(-4, 5)], axis=0)
    assert severe.mask.any() and not severe.mask[~near].any()
    assert severe.mask.sum() >= mild.mask.sum()
    before = normal.image.astype(float)
    change = severe.image - before
    np.testing.assert_array_equal(severe.mask, np.abs(change) > 2)
    assert (
        change[severe.mask].mean() > 2
        and change[severe.mask].mean() > (mild.image - before)[severe.mask].mean()
    )
    assert severe.image.max() <= max(normal.image.max(), 255)
    # airless lung is no whiter than what is beside it, but for the detail that stays
    assert np.percentile(severe.image[lungs], 95) <= np.percentile(normal.image[~lungs], 95)


def test_nothing_is_pasted_at_severity_zero(normal):
    for kind in LESIONS:
        lesion = paste_lesion(normal.image, kind, 0, lungs=normal.lungs)
        np.testing.assert_array_equal(lesion.image, normal.image)
        assert not lesion.mask.any()


def test_the_place_is_the_keys_and_the_seeds_and_nothing_elses(normal):
    def at(**change):
        return paste_lesion(
            normal.image,
            **{
                "kind": "opacity",
                "severity": 0.9,
                "seed": 0,
                "key": "a",
                "lungs": normal.lungs,
                **change,
            },
        ).mask

    np.testing.assert_array_equal(at(), at())
    assert (at() != at(seed=1)).any() and (at() != at(key="b")).any()


def test_a_grid_is_the_single_lesions_in_order_and_each_kind_meets_every_severity(normal):
    drawn = [draw_phantom("normal", 3, p, height=64, width=64) for p in range(4)]
    pixels, lungs = np.stack([p.image for p in drawn]), np.stack([p.lungs for p in drawn])
    grid = LesionGrid(
        pixels,
        [3, 1, 0],
        ["x", "y", "z"],
        lungs[[3, 1, 0]],
        kinds=("lobar", "diffuse"),
        severities=(0.2, 0.5, 0.8),
        seed=5,
    )
    assert grid.shape == (6, 64, 64) and len(grid) == 6
    images = grid[np.arange(6)]
    assert [grid.about(i) for i in range(6)] == [
        (0, "lobar", 0.2),
        (1, "lobar", 0.5),
        (2, "lobar", 0.8),
        (0, "diffuse", 0.5),
        (1, "diffuse", 0.8),
        (2, "diffuse", 0.2),
    ]
    for i, (row, kind, severity) in enumerate(map(grid.about, range(6))):
        at = [3, 1, 0][row]
        alone = paste_lesion(pixels[at], kind, severity, 5, "xyz"[row], lungs=lungs[at])
        np.testing.assert_array_equal(images[i], alone.image)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((40, 41), np.uint8)}, r"image must be \(S, S\) uint8"),
        ({"image": np.zeros((40, 40))}, "float64"),
        ({"kind": "fracture"}, "kind must be one of"),
        ({"severity": 1.5}, r"severity must lie in \[0, 1\]"),
    ],
)
def test_bad_arguments_are_refused(change, message, normal):
    with pytest.raises(ValueError, match=message):
        paste_lesion(
            **{
                "image": normal.image,
                "kind": "opacity",
                "severity": 0.5,
                "lungs": normal.lungs,
                **change,
            }
        )
