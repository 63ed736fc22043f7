"""Groups by the look of the surroundings: found where there are some, none where there are none."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from xray_tf.stats.acquisition_groups import (
    LEAST,
    STABLE,
    find_groups,
    outside_only_auroc,
    rare_classes,
)


def look_of(groups, seed=0, apart=6.0):
    """Features (N, 40) of radiographs of given groups."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, apart, (max(groups) + 1, 40))
    return centres[groups] + rng.normal(0, 1, (len(groups), 40))


TRUE = np.repeat([0, 1, 2], [150, 90, 60])


def test_groups_are_found_and_the_largest_is_the_first():
    found = find_groups(look_of(TRUE), seed=1)
    assert found.count == 3 and adjusted_rand_score(TRUE, found.groups) == 1
    np.testing.assert_array_equal(np.bincount(found.groups), [150, 90, 60])
    assert found.stability[3] >= STABLE > found.stability[5]


def test_the_same_seed_gives_the_same_groups():
    features = look_of(TRUE, apart=0.7)
    one, two = find_groups(features, 4), find_groups(features, 4)
    np.testing.assert_array_equal(one.groups, two.groups)
    assert one.stability == two.stability


def test_noise_and_few_radiographs_make_one_group():
    noise = np.random.default_rng(0).normal(0, 1, (400, 40))
    assert find_groups(noise).count == 1
    few = find_groups(look_of(TRUE)[: LEAST - 1])
    assert few.count == 1 and few.stability == {}


def test_what_is_no_table_of_numbers_is_refused():
    with pytest.raises(ValueError, match="finite numbers"):
        find_groups(np.full((80, 4), np.nan))


def test_the_probe_tells_classes_only_where_the_surroundings_do():
    rng = np.random.default_rng(0)
    labels, features = rng.random(300) < 0.5, rng.normal(0, 1, (300, 20))
    patients = [str(i // 2) for i in range(300)]
    assert abs(outside_only_auroc(features, labels, patients) - 0.5) < 0.1
    features[labels, 0] += 5
    assert outside_only_auroc(features, labels, patients) > 0.97
    assert np.isnan(outside_only_auroc(features, np.ones(300, bool), patients))


def test_a_probe_cannot_learn_patients_by_heart():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(60), 5)
    features = rng.normal(0, 5, (60, 30))[patients] + rng.normal(0, 0.01, (300, 30))
    labels = (rng.random(60) < 0.5)[patients]
    assert outside_only_auroc(features, labels, patients.astype(str)) < 0.75


def test_classes_that_are_rare_in_a_group_are_named_with_what_was_expected():
    groups = np.repeat([0, 1], 100)
    labels = np.r_[np.repeat([0, 1], [96, 4]), np.repeat([0, 1], 50), [-1]]
    (found,) = rare_classes(np.r_[groups, 0], labels, 2)
    assert found[:3] == (0, 1, 4) and found[3] == pytest.approx(27)
    assert rare_classes(groups, np.full(200, -1), 2) == []
