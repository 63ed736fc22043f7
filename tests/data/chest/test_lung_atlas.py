"""The atlas of normal lungs finds what is brighter than normal lungs, where it is."""

import numpy as np
import pytest

from xray_tf.data.chest.lung_atlas import LungAtlas
from xray_tf.data.chest.registered_lungs import register_lungs
from xray_tf.data.synthetic.phantom import draw_phantom

SIDE = 96


def drawn(kind, seed, count):
    return [draw_phantom(kind, seed, i, height=SIDE, width=SIDE) for i in range(count)]


def registered(phantoms):
    return register_lungs(
        np.stack([p.image for p in phantoms]), np.stack([p.lungs for p in phantoms])
    )


@pytest.fixture(scope="module")
def normals():
    return drawn("normal", 3, 24)


@pytest.fixture(scope="module")
def atlas(normals):
    return LungAtlas().fit([registered(normals)])


def test_consolidations_stand_out_inside_true_lungs_and_normal_lungs_stay_dark(atlas):
    sick = drawn("bacterial", 4, 12)
    maps = atlas.unusual(registered(sick))
    assert maps.dtype == np.float32 and maps.shape == (12, SIDE, SIDE) and maps.min() == 0
    inside = np.array([m[p.lesion].mean() for m, p in zip(maps, sick, strict=True)])
    beside = np.array([m[p.lungs & ~p.lesion].mean() for m, p in zip(maps, sick, strict=True)])
    hits = [
        p.lesion[np.unravel_index(m.argmax(), m.shape)] for m, p in zip(maps, sick, strict=True)
    ]
    assert (inside > beside).mean() >= 0.9 and np.mean(hits) >= 0.6
    assert not maps[~np.stack([p.lungs for p in sick])].any(), "nothing is said outside the lungs"
    others = atlas.unusual(registered(drawn("normal", 5, 12)))
    assert others.max(axis=(1, 2)).mean() < 0.8 * maps.max(axis=(1, 2)).mean()


def test_it_is_the_same_from_its_arrays_and_in_any_batch(atlas, normals):
    again, one = LungAtlas.from_arrays(atlas.to_arrays()), registered(normals[5:6])
    np.testing.assert_array_equal(again.unusual(one), atlas.unusual(registered(normals))[5:6])
    assert atlas.unusual(registered(normals)).shape == (24, SIDE, SIDE)
    plain = LungAtlas().fit([registered(normals[12:]), registered(normals[:12])])
    np.testing.assert_allclose(plain.mean_, atlas.mean_, atol=1e-5)


def test_too_few_normals_are_refused(normals):
    with pytest.raises(ValueError, match="at least 2 normals. Received: 1"):
        LungAtlas().fit([registered(normals[:1])])
