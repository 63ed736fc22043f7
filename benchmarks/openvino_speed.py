"""Compare OpenVINO's forward pass with TensorFlow's, side by side in one run.

python benchmarks/openvino_speed.py [--models pneumonia-binary,...] [--batch-size 32] [--repeats 7]

Both run the same graph, from pixels of the network's size to calibrated probabilities, in float32.
In each repetition one runs after the other on the same rows; the ratio is TensorFlow's time over
OpenVINO's, by processor time and by the clock. Writes benchmarks/results/openvino_speed.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import openvino
import tensorflow as tf

import xray_tf
from xray_tf.engines.openvino_graph import FLOAT32, convert_signature
from xray_tf.nets.serving import export_serving, pixels_signature

RESULTS = Path(__file__).parent / "results" / "openvino_speed.json"


def timed(ask, pixels: np.ndarray) -> tuple[float, float]:
    """Return (processor seconds, seconds) of one call."""
    before, start = time.process_time(), time.perf_counter()
    ask(pixels)
    return time.process_time() - before, time.perf_counter() - start


def summary(ratios: list[float]) -> dict[str, float]:
    low, middle, high = np.quantile(ratios, (0, 0.5, 1))
    return {"median": round(middle, 2), "low": round(low, 2), "high": round(high, 2)}


def measure(name: str, batch_size: int, repeats: int) -> dict:
    classifier = xray_tf.load(name)
    size = classifier.card.preprocessing["image_size"]
    pixels = np.random.default_rng(0).integers(0, 256, (batch_size, size, size), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        export_serving(classifier.model, folder, classifier.card)
        ours, signature = pixels_signature(folder)
        graph = convert_signature(signature)
    theirs = openvino.compile_model(graph, "CPU", FLOAT32)
    difference = np.abs(ours(pixels)["probability"] - theirs(pixels)["probability"]).max()
    pairs = [(timed(ours, pixels), timed(theirs, pixels)) for _ in range(repeats)]
    return {
        "difference": float(difference),
        "processor_time": summary([a[0] / b[0] for a, b in pairs]),
        "clock": summary([a[1] / b[1] for a, b in pairs]),
        "tensorflow_ms": round(1e3 * min(a[0] for a, _ in pairs) / batch_size, 2),
        "openvino_ms": round(1e3 * min(b[0] for _, b in pairs) / batch_size, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", default="pneumonia-binary,pneumonia-three-class")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    found = {
        "tensorflow": tf.__version__,
        "openvino": openvino.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "batch_size": given.batch_size,
        "repeats": given.repeats,
        "models": {
            name: measure(name, given.batch_size, given.repeats) for name in given.models.split(",")
        },
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found["models"], indent=1))


if __name__ == "__main__":
    main()
