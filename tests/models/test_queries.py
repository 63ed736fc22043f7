"""Arrays are radiographs with their number first; another order of axes is noticed."""

import numpy as np
import pytest

from xray_tf.data.synthetic.phantom import draw_phantom
from xray_tf.models.queries import grey_stack, number_axis

STACK = np.stack(
    [draw_phantom("bacterial", seed=i, patient=i, height=90, width=100).image for i in range(24)]
)


@pytest.mark.parametrize("count", [1, 2, 15, 16, 24])
def test_the_number_comes_first(count):
    assert grey_stack(STACK[:count]) is not None and number_axis(STACK[:count]) == 0
    for axis in (1, 2) if count not in (1, 3, 4) else ():
        moved = np.moveaxis(STACK[:count], 0, axis)
        with pytest.raises(ValueError, match=rf"np.moveaxis\(images, {axis}, 0\)"):
            grey_stack(moved)


def test_copies_noise_and_stripes_are_no_other_order():
    copies = np.stack([STACK[0]] * 20)
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 40), np.uint8)
    stripes = np.tile(np.arange(40) % 2 * 255, (40, 40, 1)).astype(np.uint8)
    for images in (copies, noise, stripes, STACK[:, :, ::-1], STACK.transpose(0, 2, 1)):
        assert number_axis(images) == 0


@pytest.mark.parametrize(
    "shape, message",
    [
        ((2, 1, 64, 64), "second axis looks like channels"),
        ((2, 3, 64, 64), "second axis looks like channels"),
        ((2, 64, 64, 1), "last axis looks like channels"),
        ((64, 64, 3), "last axis looks like channels"),
        ((2, 2, 2, 64, 64), "Received: shape"),
    ],
)
def test_channels_are_told_apart(shape, message):
    with pytest.raises(ValueError, match=message):
        grey_stack(np.zeros(shape, np.uint8))
