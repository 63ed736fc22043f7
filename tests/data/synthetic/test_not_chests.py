"""Pictures that are no chest: every kind is drawn, the same for the same seed."""

import numpy as np
import pytest

from xray_tf.data.synthetic.not_chests import DRAWN, TURNED
from xray_tf.data.synthetic.phantom import draw_phantom
from xray_tf.data.synthetic.unseen_pictures import UNSEEN_DRAWN, UNSEEN_TURNED


def test_no_kind_is_both_learnt_and_unseen():
    assert not ({*DRAWN, *TURNED} & {*UNSEEN_DRAWN, *UNSEEN_TURNED})


@pytest.mark.parametrize("kind", [*DRAWN, *UNSEEN_DRAWN])
def test_every_kind_is_drawn_again_as_it_was(kind):
    draw = {**DRAWN, **UNSEEN_DRAWN}[kind]
    one, two, other = (draw(96, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert one.shape == (96, 96) and one.dtype == np.uint8
    assert np.array_equal(one, two) and not np.array_equal(one, other)


@pytest.mark.parametrize("kind", [*TURNED, *UNSEEN_TURNED])
def test_every_change_keeps_the_size_and_changes_the_picture(kind):
    image = draw_phantom("normal", 0, height=96, width=96).image
    changed = {**TURNED, **UNSEEN_TURNED}[kind](image, np.random.default_rng(5))
    assert changed.shape == image.shape and changed.dtype == np.uint8
    assert not np.array_equal(changed, image)
