"""Build and train the autoencoder: image -> features -> embedding (the code) -> reconstruction ->
reconstruction_error. Each of these points is a stock Keras layer of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import ops

from xray_tf.nets.classifier import derive, seeded
from xray_tf.nets.images import batches
from xray_tf.nets.inference import forward
from xray_tf.nets.training.augment import RandomAugment
from xray_tf.nets.training.loop import Phase
from xray_tf.options import DetectOptions

POINTS = (
    *("image", "features", "embedding", "reconstruction"),
    *("difference", "squared_error", "reconstruction_error"),
)
FILTERS = (16, 32, 64, 128)  # filters of the four blocks, each of which halves the side
STEP = 2 ** len(FILTERS)


def build_autoencoder(options: DetectOptions) -> keras.Model:
    """Build an untrained convolutional autoencoder.

    Args:
        options: image size, the factor by which it is reduced first, length of the code, seed.

    Returns:
        Model from image (B, S, S, 1) float32 in [0, 255] to a dict of `embedding` (B, D), the code;
        `reconstruction` (B, S, S, 1) in [0, 255]; and `reconstruction_error` (B, 1), the mean over
        pixels of (image / 255 - reconstruction / 255) ** 2. The square itself is the layer
        `squared_error`.

    Raises:
        ValueError: the image size is not a multiple of 16 times the factor.
    """
    side = options.image_size // options.reduce
    if options.image_size % (options.reduce * STEP):
        raise ValueError(
            f"image_size must be a multiple of {options.reduce * STEP} (16 times "
            f"reduce={options.reduce}), since four blocks halve the side. Received: "
            f"image_size={options.image_size}"
        )
    grid = side // STEP
    layers = keras.layers
    with seeded(options.seed):
        image = keras.Input((options.image_size, options.image_size, 1), name="image")
        intensity = x = layers.Rescaling(1 / 255, name="intensity")(image)
        if options.reduce > 1:
            x = layers.AveragePooling2D(options.reduce, name="reduced")(x)
        for i, filters in enumerate(FILTERS):
            x = _block(x, filters, 2, f"encoder{i}")
        x = layers.Identity(name="features")(x)
        x = layers.Flatten(name="flat")(x)
        code = layers.Dense(options.latent, name="embedding", dtype="float32")(x)
        x = layers.Dense(grid * grid * FILTERS[-1], name="decoder_dense")(code)
        x = layers.Reshape((grid, grid, FILTERS[-1]), name="decoder_grid")(x)
        for i, filters in enumerate((*FILTERS[-2::-1], FILTERS[0])):
            # not a transposed convolution, which leaves a checkerboard pattern in the error image
            x = layers.UpSampling2D(2, name=f"decoder{i}_up")(x)
            x = _block(x, filters, 1, f"decoder{i}")
        x = layers.Conv2D(1, 3, 1, "same", name="decoder_out", dtype="float32")(x)
        x = layers.Activation("sigmoid", name="decoded", dtype="float32")(x)
        if options.reduce > 1:
            enlarge = {"interpolation": "bilinear", "name": "enlarged", "dtype": "float32"}
            x = layers.UpSampling2D(options.reduce, **enlarge)(x)
        reconstruction = layers.Rescaling(255.0, name="reconstruction", dtype="float32")(x)
        difference = layers.Subtract(name="difference", dtype="float32")([intensity, x])
        square = layers.Multiply(name="squared_error", dtype="float32")([difference, difference])
        error = layers.GlobalAveragePooling2D(name="reconstruction_error", dtype="float32")(square)
        points = {"embedding": code, "reconstruction": reconstruction}
        points |= {"reconstruction_error": error}
        return keras.Model(image, points, name="autoencoder")


def encoder_of(model: keras.Model) -> keras.Model:
    """Return the encoder alone, image -> code (B, D), sharing layers and weights."""
    return derive(model, "embedding")


def reconstruction_phase(
    model: keras.Model,
    pixels: np.ndarray,
    train: Sequence[int],
    watched: Sequence[int],
    options: DetectOptions,
) -> Phase:
    """Return the phase that trains an autoencoder.

    Args:
        model: a model from `build_autoencoder`.
        pixels: (N, S, S) uint8.
        train: the rows to learn from.
        watched: rows of other patients, on which `val_loss` is measured after each epoch.
        options: loss, augmentation, batch size, epochs and rate.
    """
    net = _loss_net(model, options)
    batch_size = min(options.batch_size, len(train))
    inner = keras.Model(model.input, _loss_of(derive(model, "squared_error").output, options.loss))

    def feed(epoch: int):
        images = batches(pixels, train, None, batch_size, (options.seed, epoch), True)
        # the network returns the loss itself, but `fit` needs a target
        return images.map(lambda x: (x, x[:, 0, 0]))

    def validate() -> dict[str, float]:
        parts = batches(pixels, watched, batch_size=64)
        scores = [ops.convert_to_numpy(inner(np.asarray(x), training=False)) for x in parts]
        return {"val_loss": float(np.concatenate(scores).mean())}

    steps, rate = len(train) // batch_size, options.learning_rate
    return Phase("autoencoder", net, feed, steps, options.epochs, rate, validate)


def codes_and_errors(
    model: keras.Model,
    pixels: np.ndarray,
    indices: Sequence[int] | None = None,
    batch_size: int = 64,
    progress: Callable[[int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes (M, D) float32 and the reconstruction errors (M,) float64 of rows of a pixel
    array (N, S, S) uint8; `progress` is called as by `forward`.
    """
    names = ("embedding", "reconstruction_error")
    points = forward(model, pixels, indices, names, batch_size, progress)
    return points["embedding"], points["reconstruction_error"][:, 0].astype(np.float64)


def differences(
    model: keras.Model,
    pixels: np.ndarray,
    indices: Sequence[int] | None = None,
    batch_size: int = 64,
) -> np.ndarray:
    """Return image minus reconstruction (M, S, S) float32 of rows of a pixel array, with
    intensities in [0, 1]: positive where the image is brighter.
    """
    return forward(model, pixels, indices, ("difference",), batch_size)["difference"][..., 0]


def _block(x, filters: int, stride: int, name: str):
    x = keras.layers.Conv2D(filters, 3, stride, "same", use_bias=False, name=f"{name}_conv")(x)
    x = keras.layers.BatchNormalization(name=f"{name}_norm")(x)
    return keras.layers.LeakyReLU(0.1, name=f"{name}_relu")(x)


def _loss_of(square, loss: str):
    """Return the loss (B, 1) of each row of squared errors (B, S, S, 1)."""
    values = square if loss == "mse" else ops.sqrt(square + 1e-12)
    return ops.mean(values, axis=(1, 2))


def _loss_net(model: keras.Model, options: DetectOptions) -> keras.Model:
    """Return a model image -> loss per row, with augmentation before `model`, whose weights it
    shares.
    """
    image = keras.Input(model.input.shape[1:], name="image")
    x = RandomAugment(options.augment, options.seed, name="augment", dtype="float32")(image)
    return keras.Model(image, _loss_of(derive(model, "squared_error")(x), options.loss))
