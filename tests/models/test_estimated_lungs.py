"""The estimate of lungs that older detectors stand on: what it gave, it gives."""

import numpy as np
import pytest

from xray_tf.data.synthetic.phantom import draw_phantom
from xray_tf.models.estimated_lungs import atlas_lungs, estimated_fields

SIDE = 96


def overlap(one, other):
    both, either = (one & other).sum(axis=(1, 2)), (one | other).sum(axis=(1, 2))
    return both / either


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
    found = estimated_fields(images)
    assert found.masks.shape == images.shape and found.masks.dtype == bool and found.sure.all()
    iou = overlap(found.masks, truth)
    assert iou.mean() >= least and iou.min() >= 0.45


def test_the_estimate_follows_lungs_that_lie_elsewhere(drawn):
    image, lungs = drawn["normal"][0].image, drawn["normal"][0].lungs
    moved, moved_lungs = np.roll(image, 8, axis=1), np.roll(lungs, 8, axis=1)
    one, other = estimated_fields(np.stack([image, moved])).masks
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
    found = estimated_fields(image[None])
    assert not found.sure.any()
    np.testing.assert_allclose(found.places[0], (0.50, 0.49, 0.80, 0.66))


def test_one_radiograph_is_estimated_as_among_others(drawn):
    images = np.stack([p.image for p in drawn["viral"][:3]])
    together = estimated_fields(images)
    for i, image in enumerate(images):
        np.testing.assert_array_equal(estimated_fields(image[None]).masks[0], together.masks[i])


def test_the_mean_shape_fits_the_frame_of_an_atlas():
    lungs = atlas_lungs()
    assert lungs.shape == (64, 64) and lungs.dtype == np.float32
    assert 0 <= lungs.min() and lungs.max() <= 1 and 0.3 < lungs.mean() < 0.7


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
        estimated_fields(images)
