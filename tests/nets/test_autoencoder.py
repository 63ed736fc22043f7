"""The autoencoder: named points of stock layers, errors that are what they say, training that
learns and resumes.
"""

import keras
import numpy as np
import pytest

from xray_tf.nets.autoencoder import (
    POINTS,
    build_autoencoder,
    codes_and_errors,
    differences,
    encoder_of,
    reconstruction_phase,
)
from xray_tf.nets.keras_file import load_model, save_model
from xray_tf.nets.training.loop import Optimisation, Training
from xray_tf.options import DetectOptions

OPTIONS = DetectOptions(image_size=32, latent=4, epochs=2, batch_size=4, augment="none")
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 32, 32), np.uint8)


@pytest.fixture(scope="module")
def model():
    return build_autoencoder(OPTIONS)


def test_it_has_the_named_points_and_a_code_of_the_length_asked_for(model):
    assert set(POINTS) <= {layer.name for layer in model.layers}
    out = model(np.zeros((2, 32, 32, 1), np.float32))
    assert {k: tuple(v.shape) for k, v in out.items()} == {
        "embedding": (2, 4),
        "reconstruction": (2, 32, 32, 1),
        "reconstruction_error": (2, 1),
    }
    whole = build_autoencoder(DetectOptions(image_size=32, reduce=1, latent=7))
    assert whole.output["embedding"].shape == (None, 7) and whole.output[
        "reconstruction"
    ].shape == (None, 32, 32, 1)


def test_errors_and_maps_are_the_squares_of_what_was_not_drawn(model):
    codes, errors = codes_and_errors(model, PIXELS, batch_size=5)
    out = model(PIXELS[..., None].astype(np.float32), training=False)
    squares = ((PIXELS - np.asarray(out["reconstruction"])[..., 0]) / 255.0) ** 2
    np.testing.assert_allclose(errors, squares.mean(axis=(1, 2)), rtol=1e-4)
    np.testing.assert_allclose(
        differences(model, PIXELS),
        (PIXELS - np.asarray(out["reconstruction"])[..., 0]) / 255.0,
        atol=1e-5,
    )
    np.testing.assert_allclose(
        codes, encoder_of(model)(PIXELS[..., None].astype(np.float32)), atol=1e-5
    )


def test_plain_keras_opens_it_and_it_answers_the_same(model, tmp_path):
    save_model(model, tmp_path / "m.keras")
    plain, ours = (
        keras.saving.load_model(tmp_path / "m.keras", compile=False),
        load_model(tmp_path / "m.keras"),
    )
    images = PIXELS[:3, ..., None].astype(np.float32)
    for again in (plain, ours):
        np.testing.assert_array_equal(
            again(images)["reconstruction_error"], model(images)["reconstruction_error"]
        )


@pytest.mark.parametrize(("loss", "of"), [("mse", np.square), ("mae", np.abs)])
def test_what_is_watched_is_the_loss_asked_for(model, loss, of):
    phase = reconstruction_phase(
        model, PIXELS, range(8), range(8, 12), DetectOptions(image_size=32, latent=4, loss=loss)
    )
    drawn = np.asarray(
        model(PIXELS[8:, ..., None].astype(np.float32), training=False)["reconstruction"]
    )[..., 0]
    assert phase.validate()["val_loss"] == pytest.approx(
        of((PIXELS[8:] - drawn) / 255.0).mean(), rel=1e-4
    )


def test_training_lowers_the_error_and_a_killed_run_ends_with_the_same_weights(tmp_path):
    options = DetectOptions(
        image_size=32, latent=4, epochs=3, batch_size=4, augment="light", learning_rate=5e-3
    )
    ramp = np.clip(
        np.linspace(40, 200, 32)[None, None]
        + np.arange(12)[:, None, None] * 3
        + np.zeros((12, 32, 1)),
        0,
        255,
    ).astype(np.uint8)

    def run(folder, epochs=3, resume=False):
        folder.mkdir(exist_ok=True)
        made = build_autoencoder(options)
        phase = reconstruction_phase(made, ramp, range(8), range(8, 12), options)
        training = Training(made, Optimisation(), folder, resume=resume)
        if epochs < 3:
            calls, feed = [], phase.feed

            def dies(epoch):
                if len(calls) == epochs:
                    raise MemoryError
                calls.append(epoch)
                return feed(epoch)

            phase.feed = dies
            with pytest.raises(MemoryError):
                training.run([phase])
        else:
            training.run([phase])
        return made, training

    whole, training = run(tmp_path / "whole")
    losses = [row["loss"] for row in training.history]
    assert losses[-1] < 0.7 * losses[0] and len(losses) == 3
    run(tmp_path / "cut", epochs=1)
    resumed, _ = run(tmp_path / "cut", resume=True)
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("size", "reduce", "message"),
    [(48, 2, "multiple of 32"), (40, 1, "multiple of 16"), (224, 4, "multiple of 64")],
)
def test_sizes_that_do_not_halve_are_refused(size, reduce, message):
    with pytest.raises(ValueError, match=message):
        build_autoencoder(DetectOptions(image_size=size, reduce=reduce))
