"""Features of lungs: what comes out is the trunk's own over lung alone, row by row, whatever the
batch, and reopens from a file.
"""

import cv2
import keras
import numpy as np
import pytest

from xray_tf.data.chest.registered_lungs import register_lungs
from xray_tf.data.synthetic.phantom import draw_phantom
from xray_tf.nets.feature_maps import LUNG_SHARE, build_feature_model, zone_features

SIZE = 96


@pytest.fixture(scope="module")
def found():
    drawn = [draw_phantom("normal", 0, p, height=SIZE, width=SIZE) for p in range(5)]
    return register_lungs(np.stack([p.image for p in drawn]), np.stack([p.lungs for p in drawn]))


@pytest.fixture(scope="module")
def model():
    return build_feature_model(weights=None, image_size=SIZE, seed=1)


def test_zones_are_means_of_the_trunks_maps_over_their_lung(model, found):
    stages = ("stage2_block2_add", "stage3_block2_add", "stage5_block3_add")
    fine, middle, coarse = keras.Model(
        model.input, [model.get_layer(s).output for s in stages]
    ).predict_on_batch(found.images[..., None].astype(np.float32))

    def pooled(values):
        return values.reshape(5, 12, 2, 12, 2, -1).mean(axis=(2, 4))

    coarse = coarse.repeat(2, axis=1).repeat(2, axis=2)
    maps = np.concatenate([middle, pooled(fine), pooled(fine**2), coarse], axis=-1)
    got = zone_features(model, found.images, found.shares(12)).reshape(5, 3, 4, -1)
    assert got.shape[-1] == maps.shape[-1]
    for row, column in ((0, 1), (1, 2), (2, 0)):
        here = np.s_[4 * row : 4 * row + 4, 3 * column : 3 * column + 3]
        for i in range(5):
            share = cv2.resize(
                found.lungs[i].astype(np.float32), (12, 12), interpolation=cv2.INTER_AREA
            )
            lung = share[here] > LUNG_SHARE
            expected = maps[i][here][lung].mean(axis=0) if lung.any() else 0
            np.testing.assert_allclose(got[i, row, column], expected, rtol=1e-3, atol=1e-3)


def test_a_row_has_the_same_features_in_any_batch_and_order(model, found):
    whole = zone_features(model, found.images, found.shares(12))
    parts = zone_features(model, found.images[[4, 0, 2]], found.shares(12)[[4, 0, 2]], batch_size=2)
    np.testing.assert_allclose(parts, whole[[4, 0, 2]], rtol=1e-3, atol=1e-3)
    assert zone_features(model, found.images[:0], found.shares(12)[:0]).shape == (0, whole.shape[1])


def test_the_model_reopens_from_a_file_with_stock_layers_only(model, found, tmp_path):
    model.save(tmp_path / "features.keras")
    again = keras.saving.load_model(tmp_path / "features.keras", compile=False, safe_mode=True)
    assert all(type(layer).__module__.startswith("keras.src") for layer in again.layers)
    np.testing.assert_array_equal(
        zone_features(again, found.images, found.shares(12)),
        zone_features(model, found.images, found.shares(12)),
    )


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda m, f: build_feature_model(weights=None, image_size=100), "multiple of 32"),
        (
            lambda m, f: zone_features(m, f.images[:, :32, :32], f.shares(12)),
            r"images must be \(N, 96, 96\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(run, message, model, found):
    with pytest.raises(ValueError, match=message):
        run(model, found)
