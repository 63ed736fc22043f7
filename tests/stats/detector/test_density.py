"""The density is what its formula says, chosen on patients left out, and the same after saving."""

import numpy as np
import pytest

from xray_tf.data.kin import patient_groups
from xray_tf.stats.detector.density import Density

RNG = np.random.default_rng(0)
CODES = RNG.normal(size=(60, 6)) @ RNG.normal(size=(6, 6)) + 3
PATIENTS = [f"p{i // 2}" for i in range(60)]


@pytest.fixture(scope="module")
def density():
    return Density(components=3, bandwidths=(0.3, 0.6, 1.2), folds=5).fit(CODES, PATIENTS)


def test_it_is_the_mean_of_gaussians_about_the_normals_components(density):
    z = (CODES - CODES.mean(0)) / CODES.std(0)
    values, vectors = np.linalg.eigh(z.T @ z / len(z))
    space = z @ vectors[:, ::-1][:, :3] / np.sqrt(values[::-1][:3])
    h = density.bandwidth_
    squares = ((space[:, None] - space[None]) ** 2).sum(-1)
    slow = np.log(np.exp(-squares / (2 * h * h)).sum(1) / len(z) / (2 * np.pi * h * h) ** 1.5)
    np.testing.assert_allclose(density.score_samples(CODES), slow, rtol=1e-9)
    assert density.variance_ == pytest.approx(values[::-1][:3].sum() / 6)
    np.testing.assert_allclose(density.points_.std(0), 1)


def test_far_from_the_normals_it_is_still_what_the_formula_says():
    """A tree walk, as scikit-learn's, was off by hundreds of nats here."""
    codes = np.random.default_rng(0).normal(size=(900, 64)).astype(np.float32)
    density = Density().fit(codes)
    far = codes[:60] * np.linspace(1, 8, 60, dtype=np.float32)[:, None]
    points, h = density.points_, density.bandwidth_
    asked = (far.astype(float) - density.mean_) / density.scale_ @ density.components_
    squares = ((asked[:, None] - points[None]) ** 2).sum(-1)
    norm = np.log(len(points)) + points.shape[1] * np.log(h * np.sqrt(2 * np.pi))
    slow = np.logaddexp.reduce(-squares / (2 * h * h), axis=1) - norm
    np.testing.assert_allclose(density.score_samples(far), slow, atol=1e-8)


def test_far_away_is_less_dense(density):
    scores = density.score_samples(
        np.stack(
            [CODES.mean(0), CODES.mean(0) + 3 * CODES.std(0), CODES.mean(0) + 9 * CODES.std(0)]
        )
    )
    assert scores[0] > scores[1] > scores[2]


def test_the_bandwidth_has_the_highest_likelihood_of_patients_left_out(density):
    from sklearn.model_selection import GroupKFold
    from sklearn.neighbors import KernelDensity

    slow = np.zeros(3)
    for rest, left in GroupKFold(5, shuffle=True, random_state=0).split(
        CODES, groups=patient_groups(PATIENTS, 60)
    ):
        fold = Density(components=3)
        fold._project(CODES[rest])
        for i, h in enumerate(density.bandwidths):
            slow[i] += (
                KernelDensity(bandwidth=h)
                .fit(fold._components_of(CODES[rest]))
                .score_samples(fold._components_of(CODES[left]))
                .sum()
            )
    np.testing.assert_allclose(density.likelihoods_, slow / 60, rtol=1e-9)
    assert density.bandwidth_ == density.bandwidths[int(np.argmax(slow))]


def test_copies_of_a_patient_do_not_narrow_the_kernel():
    twice = np.repeat(CODES, 2, axis=0)
    by_patient = Density(components=3).fit(twice, [f"p{i // 2}" for i in range(120)])
    by_row = Density(components=3).fit(twice)
    assert by_row.bandwidth_ < 0.8 * by_patient.bandwidth_


def test_saved_arrays_answer_bit_for_bit(density, tmp_path):
    np.savez(tmp_path / "d.npz", **density.to_arrays())
    with np.load(tmp_path / "d.npz", allow_pickle=False) as stored:
        again = Density.from_arrays(dict(stored))
    new = RNG.normal(size=(7, 6))
    np.testing.assert_array_equal(again.score_samples(new), density.score_samples(new))
    assert again.bandwidth_ == density.bandwidth_ and again.components == 3


def test_a_dimension_that_does_not_vary_says_nothing():
    dead = np.concatenate([CODES, np.full((60, 1), 7.0)], axis=1)
    fitted = Density(components=9).fit(dead, PATIENTS)
    assert fitted.components_.shape == (7, 6)
    moved = dead + np.array([0, 0, 0, 0, 0, 0, 50.0])
    np.testing.assert_array_equal(fitted.score_samples(moved), fitted.score_samples(dead))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: Density().fit(np.ones((40, 4))), "zero variance"),
        (lambda d: Density().fit(CODES[:9]), "at least 10 patients. Received: 9 patients"),
        (lambda d: Density().fit(CODES, ["one"] * 60), "Received: 1 patients"),
        (lambda d: Density().fit(CODES[0]), r"codes must be \(N, D\)"),
        (lambda d: Density().fit(np.where(CODES > 3, np.nan, CODES)), "must be finite"),
        (lambda d: d.score_samples(np.ones((2, 5))), r"codes must be \(N, 6\)"),
        (lambda d: Density().score_samples(CODES), "Call fit first"),
        (lambda d: Density().fit(CODES, ["a", "b"]), "one key a row, 60"),
    ],
)
def test_what_has_no_density_is_refused(density, call, message):
    with pytest.raises(ValueError, match=message):
        call(density)
