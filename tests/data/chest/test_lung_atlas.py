"""The atlas of normal lungs finds what is brighter than normal lungs, where it is."""

import cv2
import numpy as np
import pytest

from xray_tf.data.chest.lung_atlas import LungAtlas
from xray_tf.data.synthetic.phantom import draw_phantom
from xray_tf.models.lungs import find_fields

RIM = 8  # pixels of 96: the lungs of one normal differ from those of the mean


def drawn(kind, seed, count):
    return [draw_phantom(kind, seed, i, height=96, width=96) for i in range(count)]


@pytest.fixture(scope="module")
def normals():
    return np.stack([p.image for p in drawn("normal", 3, 24)])


@pytest.fixture(scope="module")
def atlas(normals):
    return LungAtlas(find_fields).fit(normals)


def test_consolidations_stand_out_inside_true_lungs_and_normal_lungs_stay_dark(atlas, normals):
    sick = drawn("bacterial", 4, 12)
    maps = atlas.unusual(np.stack([p.image for p in sick]))
    inside = np.array([m[p.lesion].mean() for m, p in zip(maps, sick, strict=True)])
    beside = np.array([m[p.lungs & ~p.lesion].mean() for m, p in zip(maps, sick, strict=True)])
    hits = [
        p.lesion[np.unravel_index(m.argmax(), m.shape)] for m, p in zip(maps, sick, strict=True)
    ]
    assert (inside > beside).mean() >= 0.9 and np.mean(hits) >= 0.6
    others = atlas.unusual(np.stack([p.image for p in drawn("normal", 5, 12)]))
    assert others.max(axis=(1, 2)).mean() < 0.8 * maps.max(axis=(1, 2)).mean()


def test_nothing_is_said_outside_of_the_lungs_or_of_what_is_darker(atlas, normals):
    images = np.stack([p.image for p in drawn("normal", 5, 2)])
    # everything is brighter or darker in a negative; its lungs are found in the picture itself
    negatives = LungAtlas.from_arrays(atlas.to_arrays(), lambda n: find_fields(255 - n))
    maps = negatives.unusual(255 - images)
    assert maps.dtype == np.float32 and maps.shape == (2, 96, 96) and maps.min() == 0
    brush = np.ones((2 * RIM + 1, 2 * RIM + 1), np.uint8)
    for heat, lungs in zip(maps, find_fields(images).masks, strict=True):
        near = cv2.dilate(lungs.astype(np.uint8), brush) > 0
        assert heat[near].any() and heat[~near].sum() < 0.01 * heat.sum()
    darker = normals[0].copy()
    shadow = atlas.unusual(normals[:1])[0] > 0
    darker[shadow] = (0.5 * darker[shadow]).astype(np.uint8)
    assert atlas.unusual(darker[None])[0].sum() < atlas.unusual(normals[:1])[0].sum()


def test_it_is_the_same_from_its_arrays_and_in_any_batch(atlas, normals):
    again = LungAtlas.from_arrays(atlas.to_arrays(), find_fields)
    np.testing.assert_array_equal(
        again.unusual(normals, [5, 2]), np.stack([atlas.unusual(normals[[i]])[0] for i in (5, 2)])
    )
    assert atlas.unusual(normals, []).shape == (0, 96, 96)
    plain = LungAtlas(find_fields).fit(normals[::-1], np.arange(24)[::-1])
    np.testing.assert_allclose(plain.mean_, atlas.mean_, atol=1e-5)


def test_too_few_normals_are_refused(normals):
    with pytest.raises(ValueError, match="at least 2 normals. Received: 1"):
        LungAtlas(find_fields).fit(normals[:1])
