"""Detectors of departures from the normal: against closed forms and slow references, saved and
loaded, and refused input.
"""

import io

import numpy as np
import pytest

from xray_tf.stats.detector.committee import DETECTORS, Committee, cross_fit_scores
from xray_tf.stats.detector.vectors import Combination, Mahalanobis, NearestNormals

PATIENTS = [f"p{i // 2}" for i in range(60)]


@pytest.fixture(scope="module")
def features():
    """Sixty normals: correlated vectors."""
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(60, 12)) @ rng.normal(size=(12, 12)) + 3).astype(np.float32)
    return {"lungs": vectors, "zones": vectors}


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_scores_the_far_lower_and_comes_back_bit_for_bit_from_an_npz(name, features):
    row, rng = DETECTORS[name], np.random.default_rng(1)
    x = features[row.features]
    detector = row.build()
    assert detector.fit(x) is detector
    far = (x[:20] + 4 * x.std() * rng.choice((-1, 1), size=x[:20].shape)).astype(x.dtype)
    scores = detector.score_samples(x)
    assert scores.shape == (60,) and scores.dtype == np.float64
    assert detector.score_samples(far).max() < np.median(scores)
    buffer = io.BytesIO()
    np.savez(buffer, **detector.to_arrays())
    buffer.seek(0)
    with np.load(buffer, allow_pickle=False) as arrays:
        again = row.kind.from_arrays(dict(arrays))
    np.testing.assert_array_equal(again.score_samples(far), detector.score_samples(far))
    np.testing.assert_array_equal(again.score_samples(x), scores)


def test_mahalanobis_is_the_closed_form_with_the_shrunk_covariance_of_scikit_learn(features):
    from sklearn.covariance import LedoitWolf

    x = features["zones"].astype(np.float64)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    precision = LedoitWolf(assume_centered=True).fit(z).precision_
    expected = -np.sqrt(np.einsum("ni,ij,nj->n", z, precision, z))
    # 11 of 12 directions of their own; the rest's mean variance is then that of the one left, and
    # nothing is approximated but by float16
    np.testing.assert_allclose(
        Mahalanobis(11).fit(features["zones"]).score_samples(features["zones"]),
        expected,
        rtol=5e-3,
    )


def test_mahalanobis_with_fewer_rows_than_dimensions_is_that_of_the_whole_covariance():
    from sklearn.covariance import LedoitWolf

    rng = np.random.default_rng(2)
    x = (
        rng.normal(size=(30, 3)) @ rng.normal(size=(3, 50)) + 0.3 * rng.normal(size=(30, 50))
    ).astype(np.float32)
    new = (rng.normal(size=(7, 50)) * 2).astype(np.float32)
    z, q = (
        (v - x.mean(axis=0, dtype=np.float64)) / x.std(axis=0, dtype=np.float64) for v in (x, new)
    )
    precision = LedoitWolf(assume_centered=True).fit(z).precision_
    expected = -np.sqrt(np.einsum("ni,ij,nj->n", q, precision, q))
    np.testing.assert_allclose(Mahalanobis(40).fit(x).score_samples(new), expected, rtol=5e-3)


def test_nearest_normals_is_the_mean_distance_found_by_hand():
    x = np.array([[0.0], [1.0], [2.0], [4.0], [8.0]], np.float32)
    spread = x.std()
    detector = NearestNormals(k=2, components=0).fit(x)
    np.testing.assert_allclose(
        detector.score_samples(np.array([[3.0], [10.0]], np.float32)),
        [-1.0 / spread, -4.0 / spread],
        rtol=2e-3,
    )


def test_the_combination_is_the_mean_of_robust_z_scores():
    x = np.stack([np.arange(9.0), 100 * np.arange(9.0)], axis=1)
    # (2 + 0) / 2 deviations of 2
    np.testing.assert_allclose(
        Combination().fit(x).score_samples(np.array([[6.0, 400.0]])), [1 / (1.4826 * 2)]
    )


def test_cross_fitting_never_scores_a_patient_by_its_own_rows():
    # each patient's two radiographs are the same
    x = np.repeat(np.arange(30.0)[:, None] ** 2, 2, axis=0).astype(np.float32)

    def build():
        return NearestNormals(k=1, components=0)

    assert np.abs(build().fit(x).score_samples(x)).max() < 2e-3  # float16 of the bank
    # the nearest other patient is 1 / 266 away or farther
    assert cross_fit_scores(build, x, PATIENTS).max() < -3e-3


def test_a_committee_comes_back_whole_and_follows_its_members(features):
    committee = Committee(tuple(DETECTORS)).fit(features, PATIENTS)
    again = Committee.from_arrays(committee.to_arrays())
    np.testing.assert_array_equal(again.score_samples(features), committee.score_samples(features))
    raw = committee.member_scores(features)
    assert raw.shape == (60, len(DETECTORS))
    rows = [(row.build, features[row.features]) for row in DETECTORS.values()]
    held_out = np.stack([cross_fit_scores(*row, PATIENTS) for row in rows], axis=1)
    centre = np.median(held_out, axis=0)
    by_hand = (raw - centre) / (1.4826 * np.median(abs(held_out - centre), axis=0))
    np.testing.assert_allclose(committee.score_samples(features), by_hand.mean(axis=1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: Mahalanobis(0), "components must be a whole number from 1 on"),
        (lambda f: NearestNormals(k=True), "k must be a whole number"),
        (lambda f: Committee(("psychic",)), "names must be some of"),
        (lambda f: NearestNormals().fit(f["zones"][:5]), "N at least 6. Received: shape (5, 12)"),
        (lambda f: Mahalanobis().fit(f["zones"][:, None]), "x must be (N, D) finite numbers"),
        (
            lambda f: Mahalanobis().fit(np.ones((9, 4), np.float32)),
            "none of the 4 dimensions varies",
        ),
        (
            lambda f: Mahalanobis().fit(f["zones"] * np.float32("inf")),
            "must be finite. Received: 60 of 60",
        ),
        (
            lambda f: Mahalanobis().fit(f["zones"]).score_samples(f["zones"][:, :3]),
            "Received: shape (60, 3)",
        ),
        (
            lambda f: Mahalanobis.from_arrays(NearestNormals().fit(f["zones"]).to_arrays()),
            "arrays are of another detector. Expected Mahalanobis",
        ),
        (lambda f: Mahalanobis.from_arrays({}), "not those of Mahalanobis.to_arrays"),
        (lambda f: Committee.from_arrays({}), "names is missing"),
        (
            lambda f: Combination().fit(np.ones((9, 2))),
            "columns [0, 1] score half of the normals or more alike",
        ),
        (lambda f: cross_fit_scores(Mahalanobis, f["zones"], ["a"] * 60), "two patients or more"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(make, message, features):
    with pytest.raises(
        ValueError,
        match=message.replace("(", r"\(")
        .replace(")", r"\)")
        .replace("[", r"\[")
        .replace("]", r"\]"),
    ):
        make(features)
