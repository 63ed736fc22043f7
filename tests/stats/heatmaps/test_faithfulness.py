import numpy as np
import pytest

from xray_tf.stats.heatmaps import faithfulness
from xray_tf.stats.heatmaps.faithfulness import (
    Removal,
    average_drop,
    deletion,
    insertion,
    removal_curves,
    removal_figures,
    road,
)
from xray_tf.stats.heatmaps.localisation import control_maps, inside, localisation
from xray_tf.stats.paired import paired_bootstrap

RNG = np.random.default_rng(0)
SIDE = 8
PLACE = np.zeros((SIDE, SIDE), bool)
PLACE[2:4, 5:7] = True
IMAGES = RNG.uniform(60, 120, (3, SIDE, SIDE)).astype(np.float32)
IMAGES[:, PLACE] = 250
KNOWING = np.repeat(PLACE[None].astype(np.float32), 3, 0)


def brightness_of_place(images):
    """A net that looks at one place only."""
    return images[:, PLACE].mean(axis=(1, 2)) / 255


def test_localisation_by_hand():
    maps, masks = np.zeros((4, 2, 4)), np.zeros((4, 2, 4), bool)
    masks[:, 0, :2] = True
    maps[0] = [[1.0, 0.5, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0]]  # maximum inside
    maps[1] = [[0.2, 0.0, 0.0, 1.0], [0.3, 0.0, 0.0, 0.5]]  # maximum outside
    # one of two maxima inside; maps[3] is empty
    maps[2] = [[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    found = localisation(maps, masks, quantile=0.7)
    np.testing.assert_allclose(found["hit"], [1, 0, 0.5, 0])
    np.testing.assert_allclose(found["energy"], [0.75, 0.1, 0.5, 0])
    np.testing.assert_allclose(found["area"], 0.25)
    # best: above 0.5 the region of map 0 is 3 pixels, of which 2 inside; of map 1 the lesion comes
    # last: 1 of (2 + 4 - 1)
    np.testing.assert_allclose(found["iou_best"], [2 / 3, 1 / 5, 1 / 3, 0])
    # 0.7-quantiles: 0.45, 0.29 and 0 (only values above 0 count)
    np.testing.assert_allclose(found["iou_quantile"], [2 / 3, 0 / 5, 1 / 3, 0])


def test_the_best_iou_equals_a_loop_over_every_threshold():
    maps, masks = RNG.integers(0, 6, (5, 9, 9)) / 5, RNG.random((5, 9, 9)) < 0.3
    slow = [
        max((((m >= t) & k).sum() / ((m >= t) | k).sum()) for t in np.unique(m[m > 0]))
        for m, k in zip(maps, masks, strict=True)
    ]
    np.testing.assert_allclose(localisation(maps, masks)["iou_best"], slow)


def test_a_hit_may_be_near_when_asked():
    one, mask = np.zeros((1, 9, 9)), np.zeros((1, 9, 9), bool)
    one[0, 4, 7], mask[0, 4, 4] = 1, True
    assert [localisation(one, mask, tolerance=t)["hit"][0] for t in (0, 2, 3)] == [0, 0, 1]


def test_chance_is_the_lesions_area():
    masks = np.zeros((400, 14, 14), bool)
    masks[:, 3:8, 2:9] = True
    found = localisation(control_maps(np.zeros((400, 14, 14)))["random"], masks)
    assert (
        abs(found["hit"].mean() - found["area"][0]) < 0.06
        and abs(found["energy"].mean() - found["area"][0]) < 0.03
    )


def test_controls_are_what_they_say():
    image = np.zeros((2, 21, 21), np.uint8)
    image[:, :, 15:] = 200
    maps = control_maps(image, seed=1)
    assert all(
        m.shape == (2, 21, 21)
        and m.dtype == np.float32
        and m.min() >= 0
        and np.allclose(m.max((1, 2)), 1)
        for m in maps.values()
    )
    assert np.unravel_index(maps["centre"][0].argmax(), (21, 21)) == (10, 10) and set(
        maps["edge"][0].argmax(1)
    ) <= {14, 15}
    assert not np.array_equal(maps["random"][0], maps["random"][1])
    np.testing.assert_array_equal(maps["random"], control_maps(image, seed=1)["random"])


def test_deletion_and_insertion_by_hand():
    steps = 16  # 4 pixels a step: exactly the place
    area, curves = deletion(IMAGES, KNOWING, brightness_of_place, steps=steps)
    mean = IMAGES.mean((1, 2)) / 255
    np.testing.assert_allclose(curves[:, 0], 250 / 255, rtol=1e-6)
    np.testing.assert_allclose(curves[:, 1:], np.repeat(mean[:, None], steps, 1), rtol=1e-5)
    np.testing.assert_allclose(area, (250 / 255 - mean) / 2 / steps + mean, rtol=1e-5)
    area, curves = insertion(IMAGES, KNOWING, brightness_of_place, steps=steps, baseline="mean")
    np.testing.assert_allclose(curves[:, 0], mean, rtol=1e-5)
    np.testing.assert_allclose(curves[:, 1:], 250 / 255, rtol=1e-6)


def test_a_knowing_map_beats_every_control_and_an_empty_one_scores_nothing():
    controls = {**control_maps(IMAGES), "empty": np.zeros_like(KNOWING)}
    for name, maps in controls.items():
        assert (
            deletion(IMAGES, KNOWING, brightness_of_place)[0]
            < deletion(IMAGES, maps, brightness_of_place)[0]
        ).all(), name
        assert (
            insertion(IMAGES, KNOWING, brightness_of_place)[0]
            > insertion(IMAGES, maps, brightness_of_place)[0]
        ).all(), name
        assert (
            road(IMAGES, KNOWING, brightness_of_place)[0]
            > road(IMAGES, maps, brightness_of_place)[0]
        ).all(), name
    np.testing.assert_array_equal(
        road(IMAGES, np.zeros((3, SIDE, SIDE)), brightness_of_place)[0], 0
    )


@pytest.mark.parametrize("baseline", faithfulness.BASELINES)
def test_the_answer_does_not_depend_on_the_batches(baseline):
    maps, shares, sizes = control_maps(IMAGES)["random"], (0.0, 0.25, 0.6, 1.0), []

    def predict(images):
        sizes.append(len(images))
        return images[:, :3].mean(axis=(1, 2, 3))

    whole = removal_curves(IMAGES, maps, predict, Removal(shares, baseline))
    small = removal_curves(IMAGES, maps, predict, Removal(shares, baseline), batch_size=2)
    # the solver stops a whole batch at once
    np.testing.assert_allclose(whole, small, atol=0.3 if baseline == "noisy_linear" else 1e-4)
    assert sizes[0] == 12 and max(sizes[1:]) == 2  # image x share in one batch
    np.testing.assert_allclose(whole[:, 0], IMAGES[:, :3].mean((1, 2)), rtol=1e-6)


def test_scores_a_class_are_taken_by_class_index():
    def predict(images):
        bright = brightness_of_place(images)
        return np.stack([1 - bright, bright], 1)

    maps = control_maps(IMAGES)["random"]
    of_class = removal_curves(IMAGES, maps, predict, Removal((0, 0.5)), class_index=[1, 0, 1])
    plain = removal_curves(IMAGES, maps, brightness_of_place, Removal((0, 0.5)))
    np.testing.assert_allclose(of_class, [plain[0], 1 - plain[1], plain[2]])


def test_one_pair_of_curves_holds_deletion_insertion_and_the_gap():
    maps = control_maps(IMAGES)["random"]
    figures, curves = removal_figures(IMAGES, maps, brightness_of_place, steps=5)
    for baseline in ("mean", "blur"):
        np.testing.assert_allclose(
            figures[f"deletion_{baseline}"],
            deletion(IMAGES, maps, brightness_of_place, 5, baseline)[0],
            rtol=1e-6,
        )
        np.testing.assert_allclose(
            figures[f"insertion_{baseline}"],
            insertion(IMAGES, maps, brightness_of_place, 5, baseline)[0],
            rtol=1e-6,
        )
    gap, most, least = road(IMAGES, maps, brightness_of_place, shares=(0.2, 0.4, 0.6, 0.8))
    # each share's noise is drawn by its place among the shares
    np.testing.assert_allclose(figures["gap_noisy_linear"], gap, atol=2e-3)
    np.testing.assert_allclose(curves["noisy_linear_most"][:, 1:-1], most, atol=0.02)
    np.testing.assert_array_equal(curves["mean_most"][:, [0, -1]], curves["mean_least"][:, [0, -1]])
    assert all(c.shape == (3, 6) for c in curves.values()) and len(curves) == 6


def test_inside_counts_equal_maxima_by_share_and_an_empty_map_not_at_all():
    maps, masks = np.zeros((3, 2, 2)), np.zeros((3, 2, 2), bool)
    maps[0], maps[1] = [[1, 1], [2, 2]], [[1, 3], [0, 0]]
    masks[0, :, 0] = masks[2, 0, 0] = True
    found = inside(maps, masks)
    np.testing.assert_allclose(
        [found["hit"], found["energy"], found["area"]], [[0.5, 0, 0], [0.5, 0, 0], [0.5, 0, 0.25]]
    )


def test_average_drop_by_hand():
    maps = np.stack([KNOWING[0], 1 - KNOWING[0], np.ones((SIDE, SIDE), np.float32)])
    drops, increases = average_drop(IMAGES, maps, brightness_of_place)
    np.testing.assert_allclose(drops, [0, 1, 0], atol=1e-6)
    assert not increases.any()
    _, increases = average_drop(IMAGES, maps, lambda x: 1 - x.mean(axis=(1, 2, 3)) / 255)
    np.testing.assert_array_equal(increases, [True, True, False])


def test_the_paired_bootstrap_finds_what_is_there():
    ours = RNG.normal(0.3, 1.0, 300)
    found = paired_bootstrap(ours, np.zeros(300))
    error = ours.std(ddof=1) / 300**0.5
    np.testing.assert_allclose(
        [found["low"], found["high"]],
        [ours.mean() - 1.96 * error, ours.mean() + 1.96 * error],
        atol=0.15 * error,
    )
    assert (
        found["difference"] == pytest.approx(ours.mean())
        and found["p"] < 0.01
        and found["groups"] == 300
    )
    same = paired_bootstrap(ours, ours)
    assert (same["difference"], same["low"], same["high"], same["p"]) == (0, 0, 0, 1)


def test_patients_are_drawn_whole():
    values, patients = np.repeat(RNG.normal(0, 1, 30), 10), np.repeat(np.arange(30), 10)
    by_patient, by_image = (
        paired_bootstrap(values, np.zeros(300), groups) for groups in (patients, None)
    )
    assert (by_patient["high"] - by_patient["low"]) / (
        by_image["high"] - by_image["low"]
    ) == pytest.approx(10**0.5, rel=0.15)
    assert by_patient["groups"] == 30


MAPS = np.ones((3, SIDE, SIDE))


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: localisation(MAPS, np.zeros((3, SIDE, SIDE))),
            "each hold a lesion.*3 of them empty",
        ),
        (lambda: localisation(MAPS, np.ones((2, SIDE, SIDE))), "shape of maps"),
        (lambda: localisation(-MAPS, MAPS), ">= 0"),
        (lambda: localisation(MAPS * np.nan, MAPS), "finite"),
        (lambda: localisation(MAPS, MAPS, quantile=1.0), "between 0 and 1"),
        (
            lambda: removal_curves(IMAGES, MAPS[:2], brightness_of_place, Removal((0.5,))),
            "maps' size",
        ),
        (lambda: removal_curves(IMAGES, MAPS, brightness_of_place, Removal((1.5,))), r"\[0, 1\]"),
        (
            lambda: removal_curves(IMAGES, MAPS, brightness_of_place, Removal((0.5,), "grey")),
            "baseline must be one of",
        ),
        (
            lambda: removal_curves(IMAGES, MAPS, lambda x: np.ones((len(x), 2)), Removal((0.5,))),
            "one finite score an image",
        ),
        (
            lambda: removal_curves(
                IMAGES, MAPS, lambda x: np.ones((len(x), 2)), Removal((0.5,)), class_index=2
            ),
            "class_index below K",
        ),
        (
            lambda: removal_curves(
                IMAGES, MAPS, lambda x: np.full(len(x), np.nan), Removal((0.5,))
            ),
            "finite score",
        ),
        (
            lambda: removal_figures(IMAGES, MAPS, brightness_of_place, steps=1),
            "steps must be at least 2",
        ),
        (
            lambda: average_drop(IMAGES, MAPS, brightness_of_place, baseline="white"),
            "black, mean or blur",
        ),
        (lambda: paired_bootstrap([1, 2], [1]), "one an image"),
        (lambda: paired_bootstrap([1, np.nan], [1, 2]), "finite"),
        (lambda: paired_bootstrap([1, 2], [1, 2], groups=[1]), "one key an image"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
