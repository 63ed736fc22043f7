import numpy as np
from scipy.sparse import lil_matrix
from scipy.sparse.linalg import spsolve

from xray_tf.stats.heatmaps.imputation import impute_linear

RNG = np.random.default_rng(0)


def direct_solution(image, hole):
    """The linear system of Rong et al., written out pixel by pixel."""
    index = {place: i for i, place in enumerate(zip(*np.nonzero(hole), strict=True))}
    system, right = lil_matrix((len(index), len(index))), np.zeros(len(index))
    for (y, x), i in index.items():
        for dy, dx in ((a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0)):
            weight, place = (1 / 6 if 0 in (dy, dx) else 1 / 12), (y + dy, x + dx)
            if 0 <= place[0] < image.shape[0] and 0 <= place[1] < image.shape[1]:
                system[i, i] += weight
                if hole[place]:
                    system[i, index[place]] -= weight
                else:
                    right[i] += weight * image[place]
    filled = image.astype(np.float64)
    filled[hole] = spsolve(system.tocsc(), right)
    return filled


def test_imputation_solves_the_linear_system():
    images = RNG.uniform(0, 255, (3, 20, 23, 1)).astype(np.float32)
    removed = np.stack([RNG.random((20, 23)) < share for share in (0.2, 0.5, 0.95)])
    removed[0, 5:15, 0:12] = True
    filled = impute_linear(images, removed, noise=0)
    for image, hole, found in zip(images[..., 0], removed, filled[..., 0], strict=True):
        np.testing.assert_allclose(found, direct_solution(image, hole), atol=0.5)
        np.testing.assert_array_equal(found[~hole], image[~hole])


def test_imputation_at_its_ends_and_its_noise():
    images = np.full((2, 30, 30, 1), 100, np.float32)
    removed = np.stack([np.ones((30, 30), bool), np.zeros((30, 30), bool)])
    np.testing.assert_allclose(impute_linear(images, removed, noise=0), 100, rtol=1e-6)
    noisy = impute_linear(images, removed, noise=4.0)
    assert abs((noisy[0] - 100).std() - 4) < 0.3 and (noisy[1] == 100).all()


def test_every_image_is_solved_as_if_alone():
    images = RNG.uniform(0, 255, (4, 21, 18, 2)).astype(np.float32)
    removed = RNG.random((4, 21, 18)) < 0.5
    together = impute_linear(images, removed, seeds=[(1, i) for i in range(4)])
    for i in range(4):
        np.testing.assert_array_equal(
            together[i], impute_linear(images[i : i + 1], removed[i : i + 1], seeds=[(1, i)])[0]
        )
