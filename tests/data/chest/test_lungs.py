import numpy as np
import pytest

from xray_tf.data.chest.lungs import FITTED, TEMPLATE, lung_field, lung_fields, overlap, usual_lungs
from xray_tf.data.synthetic.phantom import draw_phantom

SIDE = 96


@pytest.fixture(scope="module")
def drawn():
    """Phantoms of a seed that the mean shape was not drawn from, and nothing was tuned on."""
    return {
        kind: [draw_phantom(kind, 900, i, height=SIDE, width=SIDE) for i in range(12)]
        for kind in ("normal", "bacterial", "viral")
    }


@pytest.mark.parametrize(
    ("kind", "least"), [("normal", 0.72), ("bacterial", 0.68), ("viral", 0.70)]
)
def test_the_estimate_covers_the_phantoms_lungs(drawn, kind, least):
    images, truth = (
        np.stack([p.image for p in drawn[kind]]),
        np.stack([p.lungs for p in drawn[kind]]),
    )
    found = lung_fields(images)
    assert (
        found.masks.shape == images.shape
        and found.masks.dtype == bool
        and set(found.flags) == {FITTED}
    )
    iou, usual = (
        overlap(found.masks, truth),
        overlap(np.repeat(usual_lungs(SIDE)[None], len(truth), 0), truth),
    )
    assert iou.mean() >= least and iou.min() >= 0.45 and iou.mean() > usual.mean() + 0.05


def test_the_estimate_follows_lungs_that_lie_elsewhere(drawn):
    image, lungs = drawn["normal"][0].image, drawn["normal"][0].lungs
    moved, moved_lungs = np.roll(image, 8, axis=1), np.roll(lungs, 8, axis=1)
    one, other = lung_field(image)[0], lung_field(moved)[0]
    assert (
        overlap(other[None], moved_lungs[None])[0] > overlap(one[None], moved_lungs[None])[0] + 0.05
    )


@pytest.mark.parametrize(
    "image",
    [
        np.full((SIDE, SIDE), 90, np.uint8),
        np.random.default_rng(0).integers(0, 256, (SIDE, SIDE)).astype(np.uint8),
        np.repeat(np.linspace(0, 255, SIDE).astype(np.uint8)[None], SIDE, 0),
    ],
    ids=["flat", "noise", "ramp"],
)
def test_what_is_no_chest_gets_the_usual_shape_and_says_so(image):
    mask, flag = lung_field(image)
    assert flag == TEMPLATE
    np.testing.assert_array_equal(mask, usual_lungs(SIDE))


def test_one_radiograph_is_estimated_as_among_others(drawn):
    images = np.stack([p.image for p in drawn["viral"][:3]])
    together = lung_fields(images)
    for image, mask, flag in zip(images, together.masks, together.flags, strict=True):
        alone = lung_field(image)
        assert alone[1] == flag
        np.testing.assert_array_equal(alone[0], mask)


def test_overlap_by_hand():
    one, other = np.zeros((2, 2, 2), bool), np.zeros((2, 2, 2), bool)
    one[0, 0], other[0, :, 0] = True, True  # one pixel of three is shared; the second pair is empty
    np.testing.assert_allclose(overlap(one, other), [1 / 3, 1])


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 40, 50), np.uint8),
        np.zeros((2, 40, 40), np.float32),
        np.zeros((40, 40), np.uint8),
        np.zeros((1, 8, 8), np.uint8),
    ],
)
def test_bad_pixels_are_named(images):
    with pytest.raises(ValueError, match=r"\(N, S, S\) uint8"):
        lung_fields(images)
