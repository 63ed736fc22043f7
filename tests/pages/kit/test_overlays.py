import cv2
import numpy as np
import pytest

from xray_tf.pages.kit.overlays import (
    COLORMAPS,
    OUTCOMES,
    beside,
    choose_outcomes,
    color_bar,
    contour,
    outcome_grid,
    overlay,
    panel,
    stacked,
    titled,
    top_region,
)

IMAGE = np.random.default_rng(0).integers(0, 256, (32, 40)).astype(np.uint8)
HEAT = np.linspace(0, 1, 32 * 40, dtype=np.float32).reshape(32, 40)


def colour_of(value, colormap="jet"):
    """The colormap's own table, asked one value at a time."""
    return cv2.applyColorMap(
        np.array([[round(value * 255)]], np.uint8), getattr(cv2, f"COLORMAP_{colormap.upper()}")
    )[0, 0, ::-1].astype(float)


@pytest.mark.parametrize(
    "alpha, colormap", [(0.5, "jet"), (0.3, "viridis"), (0.0, "jet"), (1.0, "inferno")]
)
def test_an_overlay_blends_as_it_says(alpha, colormap):
    picture = overlay(IMAGE, HEAT, alpha, colormap)
    assert picture.shape == (32, 40, 3) and picture.dtype == np.uint8
    for y, x in ((0, 0), (10, 7), (31, 39)):
        expected = (1 - alpha) * IMAGE[y, x] + alpha * colour_of(float(HEAT[y, x]), colormap)
        np.testing.assert_allclose(picture[y, x], expected, atol=0.51)


def test_jet_is_red_where_it_is_hot_and_blue_where_it_is_not():
    picture = overlay(np.zeros((32, 40), np.uint8), HEAT, alpha=1.0)
    assert tuple(picture[31, 39]) == (128, 0, 0) and tuple(picture[0, 0]) == (0, 0, 128)


def test_an_empty_map_leaves_the_radiograph_alone():
    np.testing.assert_array_equal(
        overlay(IMAGE, np.zeros((32, 40))), np.repeat(IMAGE[..., None], 3, -1)
    )


def test_grey_rgb_and_float_pictures_and_smaller_maps_are_the_same_thing():
    expected, original = overlay(IMAGE, HEAT), IMAGE.copy()
    rgb = np.repeat(IMAGE[..., None], 3, -1)
    for image in (IMAGE[..., None], rgb, IMAGE.astype(np.float32)):
        np.testing.assert_array_equal(overlay(image, HEAT), expected)
    np.testing.assert_array_equal(IMAGE, original)
    small = HEAT[::4, ::4]
    np.testing.assert_array_equal(
        overlay(IMAGE, small),
        overlay(IMAGE, cv2.resize(small, (40, 32), interpolation=cv2.INTER_LINEAR)),
    )


def test_the_contour_goes_round_the_hottest_tenth():
    heat = np.zeros((32, 40), np.float32)
    heat[8:16, 10:26] = 1.0  # exactly a tenth
    assert top_region(heat).sum() == 128
    drawn = contour(np.zeros((32, 40), np.uint8), heat, colour=(0, 255, 0))
    ring = np.zeros((32, 40), bool)
    ring[8:16, 10:26] = True
    ring[9:15, 11:25] = False
    np.testing.assert_array_equal((drawn == (0, 255, 0)).all(-1), ring)
    assert not contour(np.zeros((32, 40), np.uint8), np.zeros((32, 40))).any()
    assert not top_region(np.zeros((4, 4))).any()


def test_the_colour_bar_runs_from_one_at_the_top_to_zero():
    bar = color_bar(100)
    assert bar.shape == (100, 56, 3) and bar.dtype == np.uint8
    np.testing.assert_array_equal(bar[0, 10], colour_of(1.0))
    np.testing.assert_array_equal(bar[-1, 10], colour_of(0.0))
    assert (bar[:, 24:] < 128).any()


def test_a_panel_sets_the_three_pictures_side_by_side():
    made = panel(IMAGE, HEAT)
    assert made.shape == (24 + 32, 3 * (40 + 8) + 56, 3) and made.dtype == np.uint8
    np.testing.assert_array_equal(made[24:, :40], np.repeat(IMAGE[..., None], 3, -1))
    np.testing.assert_array_equal(made[24:, 48:88], overlay(IMAGE, HEAT))
    np.testing.assert_array_equal(made[24:, 96:136], contour(IMAGE, HEAT))


def test_an_empty_map_says_so_on_its_panel():
    large = np.zeros((100, 120), np.uint8)
    empty, cold = panel(large, np.zeros((100, 120))), panel(large, np.full((100, 120), 0.01))
    title = slice(0, 24), slice(128, 248)
    assert (empty[title] < 128).sum() > 1.4 * (cold[title] < 128).sum()  # more letters


def test_pictures_of_different_sizes_are_joined_on_white():
    made = beside([np.zeros((4, 5, 3), np.uint8), np.zeros((6, 2, 3), np.uint8)])
    assert (
        made.shape == (6, 15, 3)
        and made[:4, :5].sum() == 0
        and (made[4:, :5] == 255).all()
        and (made[:, 5:13] == 255).all()
    )
    assert stacked([np.zeros((4, 5, 3), np.uint8), np.zeros((6, 2, 3), np.uint8)]).shape == (
        18,
        5,
        3,
    )
    assert titled(
        np.zeros((4, 50, 3), np.uint8), "a title far too long for fifty pixels"
    ).shape == (28, 50, 3)


def test_outcomes_are_chosen_by_the_rule():
    abnormal = np.array([0.9, 0.7, 0.8, 0.2, 0.6, 0.95, 0.3, 0.1, 0.99, 0.5])
    labels = np.array([1, 1, 1, 0, 0, 1, 1, 0, -1, 0])
    predicted = np.array([1, 1, 1, 0, 1, 1, 0, 0, 1, -1])
    chosen = choose_outcomes(labels, predicted, np.stack([1 - abnormal, abnormal], 1), count=2)
    assert list(chosen) == list(OUTCOMES)
    # true positives 0.9 0.7 0.8 0.95, median 0.85: 0.9 and 0.8 are equally near, the earlier file
    # first
    assert {k: v.tolist() for k, v in chosen.items()} == {
        "true positive": [0, 2],
        "false positive": [4],
        "true negative": [3, 7],
        "false negative": [6],
    }


def test_one_pneumonia_taken_for_another_is_a_true_positive():
    chosen = choose_outcomes(
        np.array([1, 2]), np.array([2, 0]), np.array([[0.1, 0.2, 0.7], [0.8, 0.1, 0.1]])
    )
    assert chosen["true positive"].tolist() == [0] and chosen["false negative"].tolist() == [1]


def test_the_grid_has_a_row_for_each_outcome():
    images, maps = np.zeros((3, 40, 40), np.uint8), np.random.default_rng(0).random((3, 40, 40))
    chosen = {
        "true positive": np.array([0, 1]),
        "false positive": np.array([], int),
        "true negative": np.array([2]),
        "false negative": np.array([], int),
    }
    grid = outcome_grid(images, maps, chosen, np.full((3, 2), 0.5))
    assert grid.shape == (2 * (24 + 24 + 40) + 2 * (24 + 8) + 3 * 8, 2 * 40 + 8, 3)
    np.testing.assert_array_equal(grid[48:88, 48:88], contour(overlay(images[1], maps[1]), maps[1]))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: overlay(IMAGE, HEAT, colormap="jets"), "colormap must be one of .*jet"),
        (lambda: overlay(IMAGE, HEAT, alpha=1.5), r"alpha must lie in \[0, 1\]"),
        (lambda: overlay(IMAGE, HEAT * 2), r"in \[0, 1\]. Received: shape \(32, 40\), \[0, 2\]"),
        (lambda: overlay(IMAGE, HEAT * np.nan), "finite"),
        (lambda: overlay(IMAGE, HEAT[None]), "heatmap must be"),
        (lambda: overlay(IMAGE, HEAT[:, :20]), "different aspect ratios"),
        (lambda: overlay(IMAGE / 255.0, HEAT), "multiply them by 255"),
        (lambda: overlay(IMAGE.astype(np.int16) + 300, HEAT), r"must lie in \[0, 255\]"),
        (lambda: overlay(IMAGE[None, None], HEAT), "image must be grey"),
        (lambda: top_region(HEAT, 1.0), "share must lie between 0 and 1"),
        (lambda: beside([]), "no picture to join"),
        (lambda: choose_outcomes([1], [1, 0], np.ones((1, 2))), "have one length"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_every_colormap_draws():
    assert len(COLORMAPS) > 15 and all(
        overlay(IMAGE, HEAT, colormap=name).shape == (32, 40, 3) for name in COLORMAPS
    )
