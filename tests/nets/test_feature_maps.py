"""Frozen features: what comes out is the trunk's own, row by row, whatever the batch, and reopens
from a file.
"""

import keras
import numpy as np
import pytest

from xray_tf.data.chest.lung_numbers import NAMES, lung_numbers
from xray_tf.data.chest.lungs import lung_fields
from xray_tf.data.synthetic.phantom import draw_phantom
from xray_tf.nets.feature_maps import FEATURES, FeatureExtractor, build_feature_model

SIZE = 64


@pytest.fixture(scope="module")
def pixels():
    return np.stack([draw_phantom("normal", 0, p, height=SIZE, width=SIZE).image for p in range(5)])


@pytest.fixture(scope="module")
def model():
    return build_feature_model(weights=None, image_size=SIZE, seed=1)


def test_features_are_the_moments_and_the_averaged_maps_of_the_trunks_stages(model, pixels):
    found = FeatureExtractor(model).extract(pixels)
    stages = (
        "stage2_block2_add",
        "stage3_block2_add",
        "stage4_block3_add",
        "stage5_block3_add",
        "stage6_block4_add",
        "stage7_block1_project_bn",
        "features",
    )
    maps = keras.Model(model.input, [model.get_layer(s).output for s in stages]).predict_on_batch(
        pixels[..., None].astype(np.float32)
    )
    expected = np.concatenate(
        [m.mean(axis=(1, 2)) for m in maps] + [m.std(axis=(1, 2)) for m in maps], axis=1
    )
    np.testing.assert_allclose(found["pooled"], expected, rtol=1e-2, atol=2e-3)
    fine = maps[1].reshape(5, 4, 2, 4, 2, -1).mean(axis=(2, 4))
    grid = np.concatenate([fine, maps[2], maps[3]], axis=-1)
    assert found["patches"].dtype == np.float16
    np.testing.assert_allclose(found["patches"], grid, rtol=2e-3, atol=1e-3)
    np.testing.assert_array_equal(found["lungs"], lung_numbers(pixels))
    masks = lung_fields(pixels).masks
    left = [
        np.average(
            grid[i, :, :2].reshape(8, -1),
            axis=0,
            weights=masks[i].reshape(4, 16, 4, 16).mean(axis=(1, 3))[:, :2].ravel() + 1e-6,
        )
        for i in range(5)
    ]
    np.testing.assert_allclose(found["lung_maps"][:, : grid.shape[-1]], left, rtol=1e-3, atol=1e-4)


def test_a_row_has_the_same_features_in_any_batch_and_order(model, pixels):
    whole = FeatureExtractor(model).extract(pixels)
    parts = FeatureExtractor(model, batch_size=2).extract(pixels, [4, 0])
    assert tuple(sorted(whole)) == tuple(sorted(FEATURES))
    for name in FEATURES:
        np.testing.assert_allclose(parts[name], whole[name][[4, 0]], rtol=1e-3, atol=1e-3)
    assert set(FeatureExtractor(model).extract(pixels, features=("lungs",))) == {"lungs"}


def test_a_brighter_exposure_is_no_departure(model, pixels):
    """Standardised inside the graph: grey levels all raised alike leave what comes out as it
    was.
    """
    dark = pixels // 2
    one, other = (
        FeatureExtractor(model).extract(p, features=("pooled", "lungs"))
        for p in (dark, dark + np.uint8(60))
    )
    for name in one:
        np.testing.assert_allclose(other[name], one[name], rtol=1e-2, atol=1e-2)


def test_the_model_reopens_from_a_file_with_stock_layers_only(model, pixels, tmp_path):
    model.save(tmp_path / "features.keras")
    again = keras.saving.load_model(tmp_path / "features.keras", compile=False, safe_mode=True)
    assert all(type(layer).__module__.startswith("keras.src") for layer in again.layers)
    for name, values in FeatureExtractor(again).extract(pixels).items():
        np.testing.assert_array_equal(values, FeatureExtractor(model).extract(pixels)[name])


def test_opacity_in_one_lung_moves_that_lungs_numbers():
    healthy = draw_phantom("normal", 2, 1, height=128, width=128)
    image = healthy.image.copy()
    columns = np.arange(128)[None, :]
    image[healthy.lungs & (columns < 64)] += 25  # no pixel of these lungs is above 230
    a, b = lung_numbers(np.stack([healthy.image, image]))
    change = dict(zip(NAMES, b - a, strict=True))
    for zone in ("upper", "middle", "lower"):
        assert change[f"left_{zone}_grey"] > 0.15 > change[f"right_{zone}_grey"]


def test_a_constant_image_has_finite_numbers():
    assert np.isfinite(lung_numbers(np.full((1, 64, 64), 7, np.uint8))).all()


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda m, p: build_feature_model(weights=None, image_size=100), "multiple of 32"),
        (
            lambda m, p: FeatureExtractor(
                keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
            ),
            "has the points",
        ),
        (lambda m, p: FeatureExtractor(m).extract(p[:, :32, :32]), r"pixels must be \(N, 64, 64\)"),
        (
            lambda m, p: FeatureExtractor(m).extract(p, features=("smell",)),
            "features must be some of",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(run, message, model, pixels):
    with pytest.raises(ValueError, match=message):
        run(model, pixels)
