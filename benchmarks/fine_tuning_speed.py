"""Measure what makes a fine-tuning step faster on this machine.

python benchmarks/fine_tuning_speed.py [--backbone NAME ...] [--rounds N]

Every variant differs from the base (float32, batch of 32, side 224, all stages trained) in one
respect. All networks are compiled and traced first; then the steps of all variants are run in turn,
round after round, on the same random pixels. The number of a variant is the median over rounds of
its images per second divided by the base's in the same round, with the lowest and highest round. It
is given by the clock and by processor time (all threads), because other processes disturb the
clock. XLA is timed once, on two steps, because it is an order of magnitude away. Results are in
results/fine_tuning_speed.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from xray_tf.nets.classifier import build_classifier
from xray_tf.nets.training.devices import compiled_for_timing, half_precision, policy
from xray_tf.nets.training.objective import open_stages
from xray_tf.options import ModelOptions, TrainOptions

HERE = Path(__file__).parent
BASE = {
    "precision": "float32",
    "batch": 32,
    "side": 224,
    "stages": "all",
    "augment": "robust",
    "norm": "frozen",
    "xla": False,
}


def variants(backbone: str) -> dict[str, dict]:
    """Return name -> what differs from the base."""
    rows = {
        "base": {},
        "batch of 8": {"batch": 8},
        "batch of 16": {"batch": 16},
        "batch of 64": {"batch": 64},
        "side 128": {"side": 128},
        "side 160": {"side": 160},
        "side 192": {"side": 192},
        "no augmentation": {"augment": "none"},
        "batch norm learns": {"norm": "learns"},
    }
    rows |= {
        f"last {n} stages learn": {"stages": n}
        for n in (("1", "2") if backbone.startswith("resnet") else ("2", "3", "5"))
    }
    return (
        rows
        | ({"mixed_bfloat16": {"precision": "mixed_bfloat16"}} if half_precision() else {})
        | {"XLA": {"xla": True}}
    )


def step_of(backbone: str, changes: dict) -> tuple[Callable[[], None], int]:
    """Return a function that takes one training step, and how many images it takes."""
    given = {**BASE, **changes}
    random = np.random.default_rng(0)
    images = random.uniform(0, 255, (given["batch"], given["side"], given["side"], 1)).astype(
        np.float32
    )
    targets = (np.arange(given["batch"]) % 2).astype(np.float32)[:, None]
    with policy(given["precision"]):
        model = build_classifier(
            ModelOptions(backbone=backbone, weights=None, image_size=given["side"], region="whole"),
            ("normal", "pneumonia"),
            0,
        )
    open_stages(model, backbone, given["stages"], given["norm"] == "frozen")
    batch = ([images, targets], np.zeros((len(images), 1), np.float32))
    net, _ = compiled_for_timing(
        model, TrainOptions(augment=given["augment"]), lambda epoch: [batch]
    )
    if given["xla"]:
        net.compile(optimizer=net.optimizer, loss=net.loss, jit_compile=True)
    net.train_on_batch(*batch)
    return lambda: net.train_on_batch(*batch), len(images)


def rates(step: Callable[[], None], images: int) -> tuple[float, float]:
    """Return images a second by the clock and by processor time."""
    clock, processor = time.perf_counter(), time.process_time()
    step()
    return images / (time.perf_counter() - clock), images / (time.process_time() - processor)


def spread(values: list[float]) -> list[float]:
    """Return [median, lowest, highest]."""
    return [round(v, 3) for v in (statistics.median(values), min(values), max(values))]


def measure(backbone: str, rounds: int) -> dict[str, dict]:
    """Return name -> the figures of one variant."""
    steps, failed = {}, {}
    for name, changes in variants(backbone).items():
        try:
            steps[name] = step_of(backbone, changes)
        except Exception as error:  # what a machine cannot do is a finding here
            failed[name] = {"failed": str(error).splitlines()[0][:160]}
        print(f"  {backbone}: {name} {'ready' if name in steps else 'fails'}", flush=True)
    found = {name: [] for name in steps}
    for turn in range(rounds):
        for name, step in steps.items():
            if name != "XLA" or turn < 2:
                found[name].append(rates(*step))
    out = {}
    for name, values in found.items():
        clock, processor = (
            [v[i] / base[i] for v, base in zip(values, found["base"], strict=False)] for i in (0, 1)
        )
        out[name] = {
            "images_a_second": round(statistics.median(v[0] for v in values), 1),
            "ratio_by_the_clock": spread(clock),
            "ratio_by_processor_time": spread(processor),
        }
    return out | failed


def main() -> None:
    """Parse, measure, write and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", nargs="+", default=["efficientnet_lite0", "resnet50"])
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    results = {}
    for backbone in given.backbone:
        results[backbone] = measure(backbone, given.rounds)
        for name, row in results[backbone].items():
            print(
                f"| {backbone} | {name} | "
                + (
                    row["failed"]
                    if "failed" in row
                    else f"{row['images_a_second']} | "
                    f"{row['ratio_by_the_clock']} | "
                    f"{row['ratio_by_processor_time']}"
                )
                + " |",
                flush=True,
            )
    (HERE / "results" / "fine_tuning_speed.json").write_text(
        json.dumps(
            {
                "base": BASE,
                "rounds": given.rounds,
                "load": os.getloadavg()[0],
                "backbones": results,
            },
            indent=1,
        )
        + "\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
