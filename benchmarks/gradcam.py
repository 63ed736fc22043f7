"""Time Grad-CAM against the plain forward pass.

python benchmarks/gradcam.py [--backbone NAME ...] [--images N] [--repetitions N]

In each repetition these run one after the other over the same phantoms (224 x 224, in memory), with
random weights and everything compiled beforehand:
    forward   the classifier alone, image -> probability, compiled, batches of 32
    batched   GradCAM(model)(images): checks, forward pass, gradient, heat map at image size,
              division by its maximum
    loop      the same explainer, one radiograph per call
    naive     as in tutorials: an uncompiled GradientTape over one radiograph at a time (only on a
              few radiographs, because it is slow)
The claim: a batched heat map costs at most 1.5 forward passes per radiograph. Ratios are formed
within a repetition; the number is the median, with the smallest and largest. Ratios by the clock
are meaningful on an otherwise idle machine only, so ratios of processor time (all threads) are
given too. Results are in results/gradcam.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from xray_tf.data.synthetic.phantom import draw_phantom
from xray_tf.nets.classifier import build_classifier
from xray_tf.nets.heatmaps.gradcam import GradCAM
from xray_tf.options import ModelOptions

HERE = Path(__file__).parent
SIZE, BATCH, NAIVE = 224, 32, 8
GOAL = 1.5


def compiled_forward(model: keras.Model) -> Callable[[np.ndarray], None]:
    """Return the bare forward pass over an array, in batches, compiled as the explainer is."""
    step = tf.function(
        lambda x: model(x, training=False),
        input_signature=[tf.TensorSpec((None, SIZE, SIZE, 1), tf.float32)],
    )

    def forward(images: np.ndarray) -> None:
        for start in range(0, len(images), BATCH):
            step(np.ascontiguousarray(images[start : start + BATCH], np.float32)).numpy()

    return forward


def naive(model: keras.Model) -> Callable[[np.ndarray], None]:
    """Return Grad-CAM as tutorials write it: eager, one image a call, the tape over the whole
    net.
    """
    both = keras.Model(
        model.input, [model.get_layer("features").output, model.get_layer("logits").output]
    )

    def explain(images: np.ndarray) -> None:
        for image in images:
            with tf.GradientTape() as tape:
                features, logits = both(image[None].astype(np.float32), training=False)
                score = logits[:, 0]
            weights = tf.reduce_mean(tape.gradient(score, features), (1, 2), keepdims=True)
            tf.image.resize(
                tf.nn.relu(tf.reduce_sum(weights * features, -1, keepdims=True)), (SIZE, SIZE)
            ).numpy()

    return explain


def timed(work: Callable[[np.ndarray], object], images: np.ndarray) -> tuple[float, float]:
    """Return seconds and processor seconds (all threads) a radiograph."""
    started, busy = time.perf_counter(), time.process_time()
    work(images)
    return (time.perf_counter() - started) / len(images), (time.process_time() - busy) / len(images)


def measure(backbone: str, images: np.ndarray, repetitions: int) -> dict:
    """Time one backbone."""
    model = build_classifier(
        ModelOptions(backbone=backbone, weights=None, image_size=SIZE, region="whole"),
        ("normal", "pneumonia"),
    )
    explainer = GradCAM(model, batch_size=BATCH)
    works = {
        "forward": compiled_forward(model),
        "batched": explainer,
        "loop": lambda x: [explainer(one[None]) for one in x],
        "naive": naive(model),
    }
    given = {"forward": images, "batched": images, "loop": images, "naive": images[:NAIVE]}
    for name, work in works.items():
        work(given[name][:BATCH])
    runs = [
        {name: timed(work, given[name]) for name, work in works.items()} for _ in range(repetitions)
    ]
    ratios = {
        "batched_to_forward": ("batched", "forward"),
        "loop_to_batched": ("loop", "batched"),
        "naive_to_batched": ("naive", "batched"),
    }
    return {
        "images_per_second": {name: spread([1 / run[name][0] for run in runs]) for name in works},
        "ratios": {
            name: spread([run[a][0] / run[b][0] for run in runs]) for name, (a, b) in ratios.items()
        },
        "ratios_by_processor_time": {
            name: spread([run[a][1] / run[b][1] for run in runs]) for name, (a, b) in ratios.items()
        },
    }


def spread(values: list[float]) -> dict[str, float]:
    """Return median, smallest and largest."""
    return {
        "median": round(statistics.median(values), 3),
        "low": round(min(values), 3),
        "high": round(max(values), 3),
    }


def main(args: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--backbone", nargs="+", default=["efficientnet_lite0", "resnet50"], metavar="NAME"
    )
    parser.add_argument("--images", type=int, default=96, help="radiographs")
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args(args)
    images = np.stack(
        [
            draw_phantom("bacterial", 0, i, height=SIZE, width=SIZE).image
            for i in range(options.images)
        ]
    )[..., None]
    load = os.getloadavg()[0]
    found = {
        backbone: measure(backbone, images, options.repetitions) for backbone in options.backbone
    }
    result = {
        "claim": f"a batched Grad-CAM costs at most {GOAL} forward passes a radiograph",
        "images": options.images,
        "image_size": SIZE,
        "batch_size": BATCH,
        "repetitions": options.repetitions,
        "naive_images": NAIVE,
        "backbones": found,
        "met": {
            name: one["ratios"]["batched_to_forward"]["median"] <= GOAL
            for name, one in found.items()
        },
        "machine": {
            "cpu_cores": len(os.sched_getaffinity(0)),
            "processor": platform.machine(),
            "load_1_min_before": round(load, 2),
        },
        "versions": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
        },
    }
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "gradcam.json").write_text(
        json.dumps(result, indent=1) + "\n", encoding="utf-8"
    )
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
