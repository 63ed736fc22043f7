"""Measure training and scoring on a GPU that is at hand for minutes only.

python benchmarks/gpu.py --data RADIOGRAPHS.npz [--backbones resnet50,resnet101] [--rows N] \\
    [--batch-size 128] [--tiny]

Needs JAX, Keras and NumPy, neither TensorFlow nor OpenCV. The data are radiographs that were
resized elsewhere: `.npz` with `pixels` (N, S, S) uint8 and `labels` (N,) 0 or 1, or `.npy` with the
pixels alone, as the cache of xray-tf is (labels are then drawn); without --data, noise. For each
backbone, with the package's own network, augmentation, objective and optimiser, in bfloat16:
images a second of training steps on one batch, of scoring, and of one real epoch (shuffled, read
from the file); the peak memory of the device; and in float32, by how much logits on the device
differ from those on the CPU. Rows go to benchmarks/results/gpu.json with the card's name. --tiny
tries all of it on a CPU in a minute or two.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import sys
import time
import types
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import keras
import numpy as np

if importlib.util.find_spec("cv2") is None:
    # the networks' module of lungs imports what fits pictures to them; nothing here calls it
    sys.modules["cv2"] = types.ModuleType("cv2")

sys.path.insert(0, str(Path(__file__).parents[1]))

from xray_tf.nets.classifier import build_classifier
from xray_tf.nets.training.devices import policy
from xray_tf.nets.training.loop import Optimisation, Phase, make_optimizer
from xray_tf.nets.training.objective import (
    loss_net,
    mean_of_output,
    open_stages,
    stage_factors,
    targets_of,
)
from xray_tf.options import ModelOptions, TrainOptions

RESULTS = Path(__file__).parent / "results" / "gpu.json"
CLASSES = ("normal", "pneumonia")
PARITY_ROWS = 32


class Epoch(keras.utils.PyDataset):
    """The full batches of one epoch in a random order."""

    def __init__(self, pixels: np.ndarray, targets: np.ndarray, batch_size: int):
        super().__init__(workers=8, max_queue_size=16)
        self.pixels, self.targets, self.batch_size = pixels, targets, batch_size
        self.order = np.random.default_rng(0).permutation(len(pixels))

    def __len__(self) -> int:
        return len(self.order) // self.batch_size

    def __getitem__(self, index: int) -> tuple:
        rows = np.sort(self.order[index * self.batch_size :][: self.batch_size])
        targets = self.targets[rows]
        return (self.pixels[rows][..., None].astype(np.float32), targets), targets


def read(path: str | None, rows: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels (N, S, S) uint8 and labels (N,) int."""
    rng = np.random.default_rng(0)
    if path is None:
        pixels = rng.integers(0, 256, (rows or 64, size, size), np.uint8)
    elif path.endswith(".npz"):
        with np.load(path, allow_pickle=False) as stored:
            return stored["pixels"][: rows or None], stored["labels"][: rows or None].astype(int)
    else:
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)[: rows or None]
    return pixels, rng.integers(0, 2, len(pixels))


def build(backbone: str, size: int, precision: str) -> keras.Model:
    how = ModelOptions(backbone=backbone, weights=None, image_size=size, region="whole")
    with policy(precision):
        return build_classifier(how, CLASSES)


def trainer(model: keras.Model, backbone: str, steps: int) -> keras.Model:
    """Return the compiled net that `xray-tf train` would fit."""
    options = TrainOptions()
    open_stages(model, backbone, options.fine_tune, pretrained=False)
    net = loss_net(model, options, (1.0, 1.0))
    factors = stage_factors(model, backbone, options.layer_decay)
    rate = options.fine_tune_learning_rate
    phase = Phase("fine-tune", net, lambda epoch: None, steps, 1, rate, dict, factors)
    optimizer = make_optimizer(Optimisation(ema=options.ema), phase)
    net.compile(optimizer=optimizer, loss=mean_of_output, jit_compile=True)
    return net


def training_rate(net: keras.Model, images: np.ndarray, targets: np.ndarray, steps: int) -> float:
    """Return images a second of training steps on one batch, compilation apart."""
    batch = jax.device_put(images), jax.device_put(targets)

    def data(count: int):
        return ((batch, batch[1]) for _ in range(count))

    net.fit(data(2), steps_per_epoch=2, verbose=0)
    start = time.perf_counter()
    net.fit(data(steps), steps_per_epoch=steps, verbose=0)
    return steps * len(images) / (time.perf_counter() - start)


def scorer(model: keras.Model, device: jax.Device):
    """Return images -> logits on a device, compiled."""
    logits = keras.Model(model.input, model.get_layer("logits").output)
    weights = [[v.value for v in group] for group in _variables(logits)]
    weights = jax.device_put(weights, device)
    run = jax.jit(lambda learnt, rest, x: logits.stateless_call(learnt, rest, x, training=False)[0])
    return lambda images: run(*weights, jax.device_put(images, device))


def _variables(model: keras.Model) -> tuple[list, list]:
    return model.trainable_variables, model.non_trainable_variables


def scoring_rate(model: keras.Model, images: np.ndarray, steps: int) -> float:
    run, batch = scorer(model, jax.devices()[0]), jax.device_put(images)
    run(batch).block_until_ready()
    start = time.perf_counter()
    for _ in range(steps):
        found = run(batch)
    found.block_until_ready()
    return steps * len(images) / (time.perf_counter() - start)


def parity(backbone: str, images: np.ndarray) -> dict[str, float]:
    """Return the largest difference of logits from the CPU's, in float32, as JAX computes by
    default (on recent cards in TF32) and with full float32 products.
    """
    model = build(backbone, images.shape[1], "float32")
    wanted = np.asarray(scorer(model, jax.devices("cpu")[0])(images))
    found = {"largest_logit": float(np.abs(wanted).max())}
    for name in ("default", "highest"):
        with jax.default_matmul_precision(name):
            there = np.asarray(scorer(model, jax.devices()[0])(images))
        found[f"difference_{name}"] = float(np.abs(there - wanted).max())
    return found


def measure(backbone: str, pixels: np.ndarray, labels: np.ndarray, given) -> dict:
    size, batch_size = pixels.shape[1], min(given.batch_size, len(pixels))
    targets = targets_of(labels, 2)
    first = pixels[:batch_size][..., None].astype(np.float32)
    model = build(backbone, size, given.precision)
    epoch = Epoch(pixels, targets, batch_size)
    net = trainer(model, backbone, max(1, len(epoch)))
    row = {"training": training_rate(net, first, targets[:batch_size], given.steps)}
    start = time.perf_counter()
    loss = net.fit(epoch, verbose=0).history["loss"][-1]
    seconds = time.perf_counter() - start
    row["epoch"] = len(epoch) * batch_size / seconds
    row |= {"epoch_seconds": seconds, "epoch_rows": len(epoch) * batch_size, "loss": float(loss)}
    row["scoring"] = scoring_rate(model, first, given.steps)
    peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    row["peak_gib"] = peak and round(peak / 2**30, 2)
    del net
    row["parity"] = parity(backbone, first[:PARITY_ROWS])
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data")
    parser.add_argument("--backbones", default="resnet50,resnet101")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rows", type=int, default=0, help="0: all")
    parser.add_argument("--precision", default="mixed_bfloat16")
    parser.add_argument("--tiny", action="store_true", help="resnet18 on noise, a few steps")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    size = 224
    if given.tiny:
        given.backbones, given.batch_size, given.steps, given.rows, size = "resnet18", 4, 2, 12, 32
    pixels, labels = read(given.data, given.rows, size)
    device = jax.devices()[0]
    row = {
        "device": device.device_kind,
        "platform": device.platform,
        "jax": jax.__version__,
        "keras": keras.__version__,
        "python": platform.python_version(),
        "precision": given.precision,
        "batch_size": min(given.batch_size, len(pixels)),
        "image_size": pixels.shape[1],
        "data": "noise" if given.data is None else "radiographs",
    }
    for backbone in given.backbones.split(","):
        row[backbone] = measure(backbone, pixels, labels, given)
        print(json.dumps({backbone: row[backbone]}), flush=True)
    rows = json.loads(given.out.read_text(encoding="utf-8")) if given.out.exists() else []
    given.out.write_text(json.dumps([*rows, row], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
