import keras
import numpy as np
import pytest

from xray_tf.nets.heatmaps.randomise import cascade, copy_model, layers_from_the_top, shuffle_layer


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 1))
    x = keras.layers.Conv2D(8, 3, name="low")(image)
    x = keras.layers.BatchNormalization(name="norm")(x)
    inner = keras.Sequential(
        [keras.Input((14, 14, 8)), keras.layers.Conv2D(6, 3, name="middle"), keras.layers.ReLU()],
        name="nested",
    )
    x = keras.layers.GlobalAveragePooling2D()(inner(x))
    model = keras.Model(image, keras.layers.Dense(2, name="logits")(x))
    for variable in model.get_layer("norm").weights:
        variable.assign(
            np.arange(1, 9, dtype=np.float32)
            * (1 + ["gamma", "beta", "moving_mean", "moving_variance"].index(variable.name))
        )
    return model


def test_the_cascade_runs_from_the_top_and_leaves_the_model_alone(model):
    before = model.get_weights()
    copy = copy_model(model)
    assert [layer.name for layer in layers_from_the_top(copy)] == [
        "logits",
        "middle",
        "norm",
        "low",
    ]
    low = copy.get_layer("low").kernel.numpy().copy()
    seen = []
    for name, share in cascade(copy, steps=4, seed=1):
        seen.append((name, share))
        assert np.array_equal(copy.get_layer("low").kernel.numpy(), low) == (name != "low")
        assert not np.array_equal(
            copy.get_layer("logits").kernel.numpy(), model.get_layer("logits").kernel.numpy()
        )
    assert seen == [("logits", 0.25), ("middle", 0.5), ("norm", 0.75), ("low", 1.0)]
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_shuffling_keeps_the_values_and_a_channels_own_together(model):
    kernel = model.get_layer("low").kernel
    before = kernel.numpy().copy()
    shuffle_layer(model.get_layer("low"), np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(kernel.numpy(), None), np.sort(before, None))
    assert not np.array_equal(kernel.numpy(), before)
    norm = model.get_layer("norm")
    shuffle_layer(norm, np.random.default_rng(0))
    gamma = norm.gamma.numpy()
    assert not np.array_equal(gamma, np.arange(1, 9)) and sorted(gamma) == list(range(1, 9))
    np.testing.assert_array_equal(norm.moving_variance.numpy(), 4 * gamma)
    np.testing.assert_array_equal(norm.beta.numpy(), 2 * gamma)


@pytest.mark.parametrize(
    ("steps", "shares"), [(1, [1.0]), (2, [0.25, 1.0]), (9, [0.25, 0.5, 0.75, 1.0])]
)
def test_stops_are_spread_and_never_twice(model, steps, shares):
    assert [share for _, share in cascade(copy_model(model), steps)] == shares


def test_the_same_seed_shuffles_the_same(model):
    copies = [copy_model(model) for _ in range(3)]
    for copy, seed in zip(copies, (5, 5, 6), strict=True):
        list(cascade(copy, 1, seed))
    one, two, three = (np.concatenate([w.ravel() for w in c.get_weights()]) for c in copies)
    assert np.array_equal(one, two) and not np.array_equal(one, three)


def test_bad_input_is_named(model):
    with pytest.raises(ValueError, match="steps must be at least 1"):
        next(cascade(model, 0))
    image = keras.Input((4, 4, 1))
    with pytest.raises(ValueError, match="no layer with weights"):
        next(cascade(keras.Model(image, keras.layers.Flatten()(image)), 1))
