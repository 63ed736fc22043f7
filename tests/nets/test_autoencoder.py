"""The autoencoder: named points of stock layers, errors that are what they say, training that
learns and resumes.
"""

import keras
import numpy as np
import pytest

from xray_tf.nets.autoencoder import (
    build_autoencoder,
    codes_and_errors,
    reconstruction_phase,
)
from xray_tf.nets.classifier import derive
from xray_tf.nets.keras_file import load_model, save_model
from xray_tf.nets.training.loop import Optimisation, Training
from xray_tf.options import DetectOptions

POINTS = {"zones", "embedding", "reconstruction", "reconstruction_error"}
OPTIONS = DetectOptions(image_size=32, latent=4, epochs=3, batch_size=4, learning_rate=5e-3)
RNG = np.random.default_rng(0)
ZONES = (RNG.normal(size=(24, 3)) @ RNG.normal(size=(3, 20)) * 5 + 7).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    return build_autoencoder(ZONES, OPTIONS)


def test_it_has_the_named_points_and_a_code_of_the_length_asked_for(model):
    assert POINTS <= {layer.name for layer in model.layers}
    out = model(ZONES[:2])
    assert {k: tuple(v.shape) for k, v in out.items()} == {
        "embedding": (2, 4),
        "reconstruction": (2, 20),
        "reconstruction_error": (2, 1),
    }


def test_errors_are_the_squares_of_what_was_not_reconstructed_in_deviations_of_normals(model):
    codes, errors = codes_and_errors(model, ZONES)
    drawn = np.asarray(model(ZONES, training=False)["reconstruction"])
    standard = (ZONES - ZONES.mean(axis=0)) / ZONES.std(axis=0)
    np.testing.assert_allclose(errors, ((standard - drawn) ** 2).mean(axis=1), rtol=1e-3)
    np.testing.assert_allclose(codes, derive(model, "embedding")(ZONES), atol=1e-5)
    empty = codes_and_errors(model, ZONES[:0])
    assert empty[0].shape == (0, 4) and empty[1].shape == (0,)


def test_plain_keras_opens_it_and_it_answers_the_same(model, tmp_path):
    save_model(model, tmp_path / "m.keras")
    plain, ours = (
        keras.saving.load_model(tmp_path / "m.keras", compile=False),
        load_model(tmp_path / "m.keras"),
    )
    for again in (plain, ours):
        np.testing.assert_array_equal(
            again(ZONES)["reconstruction_error"], model(ZONES)["reconstruction_error"]
        )


def test_training_lowers_the_error_and_a_killed_run_ends_with_the_same_weights(tmp_path):
    def run(folder, epochs=3, resume=False):
        folder.mkdir(exist_ok=True)
        made = build_autoencoder(ZONES[:16], OPTIONS)
        phase = reconstruction_phase(made, ZONES, range(16), range(16, 24), OPTIONS)
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
    losses = [row["val_loss"] for row in training.history]
    assert losses[-1] < 0.9 * losses[0] and len(losses) == 3
    run(tmp_path / "cut", epochs=1)
    resumed, _ = run(tmp_path / "cut", resume=True)
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
