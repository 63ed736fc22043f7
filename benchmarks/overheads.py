"""Measure what is spent beside the network's own work, as ratios side by side in one run.

python benchmarks/overheads.py [--model NAME] [--data DIR] [--rounds N]

* training: images a second of `fit` over an epoch, read from pixels on disk as `train` reads them,
  over those of its bare training steps on batches that lie in memory;
* prediction: files a second of `predict` from full-size files, over the bare forward pass on
  squares that lie in memory;
* lungs: the cost of the segmenter inside the classifier, as a share of its forward pass.

In each round both sides of a ratio run one after the other. Processor time is that of all threads.
Results are in results/overheads.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

import xray_tf
from xray_tf.data.pixels.decoding import decode
from xray_tf.models.classifier import Classifier
from xray_tf.nets.classifier import build_classifier
from xray_tf.nets.images import batches
from xray_tf.nets.inference import forward
from xray_tf.nets.training.devices import compiled_for_timing
from xray_tf.nets.training.objective import open_stages
from xray_tf.options import ModelOptions, TrainOptions

HERE = Path(__file__).parent
ROWS, BATCH = 256, 32


def cost(work: Callable[[], object]) -> tuple[float, float]:
    """Return (seconds by the clock, processor seconds) of a call."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - processor


def ratios(bare: Callable, whole: Callable, rounds: int) -> dict[str, list[float]]:
    """Return bare / whole, [median, lowest, highest], by the clock and by processor time."""
    bare(), whole()  # traced and in the page cache
    pairs = [(cost(bare), cost(whole)) for _ in range(rounds)]
    names = ("by_the_clock", "by_processor_time")
    found = ([one[i] / both[i] for one, both in pairs] for i in (0, 1))
    told = {
        name: [round(v, 3) for v in (statistics.median(values), min(values), max(values))]
        for name, values in zip(names, found, strict=True)
    }
    print(told, flush=True)
    return told


def training(backbone: str, side: int, rounds: int) -> dict[str, list[float]]:
    """Return how much of the rate of bare steps `fit` reaches."""
    model = build_classifier(
        ModelOptions(backbone=backbone, image_size=side, region="whole", weights=None),
        ("normal", "pneumonia"),
        0,
    )
    open_stages(model, backbone, "all", True)
    targets = (np.arange(ROWS) % 2).astype(np.float32)[:, None]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pixels.npy"
        drawn = np.random.default_rng(0).integers(0, 256, (ROWS, side, side), np.uint8)
        np.save(file, drawn)
        pixels = np.load(file, mmap_mode="r")

        def feed(epoch: int) -> tf.data.Dataset:
            return batches(pixels, range(ROWS), targets, BATCH, (0, epoch), True)

        net, _ = compiled_for_timing(model, TrainOptions(), feed)
        ready = list(feed(0))
        step = tf.function(net.train_step)
        return ratios(
            lambda: [step(batch) for batch in ready],
            lambda: net.fit(feed(1), verbose=0, shuffle=False),
            rounds,
        )


def prediction(classifier: Classifier, files: list[Path], rounds: int) -> dict[str, list[float]]:
    """Return how much of the rate of the bare forward pass `predict` reaches from files."""
    how = classifier.card.preprocessing
    pixels = np.stack([decode(f.read_bytes(), how["image_size"], how["resize"]) for f in files])
    return ratios(
        lambda: classifier.forward(pixels, classifier.answer_points),
        lambda: classifier.predict([str(f) for f in files]),
        rounds,
    )


def lungs(classifier: Classifier, rounds: int) -> dict[str, list[float]]:
    """Return the segmenter's share of the forward pass."""
    size = classifier.card.preprocessing["image_size"]
    pixels = np.random.default_rng(0).integers(0, 256, (128, size, size), np.uint8)
    return ratios(
        lambda: forward(classifier.model, pixels, points=("lungs",)),
        lambda: forward(classifier.model, pixels),
        rounds,
    )


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="pneumonia-binary")
    parser.add_argument(
        "--data", type=Path, default=HERE.parents[1] / "shared/data/originals", metavar="DIR"
    )
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    classifier = xray_tf.load(given.model)
    files = sorted(given.data.rglob("*.jp*g"))
    results = {
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "rounds": given.rounds,
        "rows": {"training": ROWS, "prediction": len(files), "lungs": 128},
        "fit_over_bare_steps": {
            "efficientnet_lite0, 224": training("efficientnet_lite0", 224, given.rounds),
            "resnet18, 128": training("resnet18", 128, given.rounds),
        },
        "predict_over_forward": prediction(classifier, files, given.rounds),
        "lungs_of_forward": lungs(classifier, given.rounds),
    }
    text = json.dumps(results, indent=1) + "\n"
    (HERE / "results" / "overheads.json").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
