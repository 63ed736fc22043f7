"""Where lungs usually lie, and the boxes of masks."""

import numpy as np
import pytest

from xray_tf.data.chest.lung_fields import places_of, usual_lungs


@pytest.mark.parametrize("side", [32, 96, 224])
def test_usual_lungs_are_two_symmetric_fields_of_a_third_of_the_picture(side):
    lungs = usual_lungs(side)
    assert lungs.shape == (side, side) and lungs.dtype == bool
    assert 0.25 < lungs.mean() < 0.36
    assert (lungs != lungs[:, ::-1]).mean() < 0.02
    assert not lungs[:, side // 2 - 1 : side // 2 + 1].any()


def test_places_are_boxes_as_shares_of_the_side():
    masks = np.zeros((2, 40, 40), bool)
    masks[0, 10:30, 4:36] = True
    places = places_of(masks)
    np.testing.assert_allclose(places[0], (0.5, 0.5, 0.8, 0.5))
    np.testing.assert_allclose(places[1], places_of(usual_lungs(40)[None])[0])
    assert places_of(masks[:0]).shape == (0, 4)
