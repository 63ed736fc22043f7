"""Run one real training epoch of a ResNet from random weights.

python benchmarks/resnet_epoch.py --data DIR [--backbone resnet50] [--rows N] [--epochs N] \\
    [--batch-size N] [--precision auto]

All stages and batch normalisation are trained, on `train`'s own path: split by patient, cache,
augmentation, validation, calibration, artifact (which is thrown away). It reports images per second
of each epoch, its minutes, and the peak memory of the process (and of the GPU, if there is one),
and adds a row to benchmarks/results/resnet_epoch.json. The first epoch includes some tens of
seconds for tracing the graph; with --rows that is most of it, so use --epochs 2 and read the
second. --rows limits the radiographs, with the classes as even as possible.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from xray_tf.artifact import write_text
from xray_tf.data.sample import draw_rows
from xray_tf.data.sources.scan import scan
from xray_tf.jobs.classifier.train_classifier import train_classifier
from xray_tf.options import DataOptions, EvaluateOptions, ModelOptions, TrainOptions
from xray_tf.registry import TASKS

RESULTS = Path(__file__).parent / "results" / "resnet_epoch.json"


def manifest_of(data: str, task: str, limit: int, folder: Path) -> str:
    """Write a manifest of at most `limit` radiographs, in place, and return its path."""
    records = scan(data).records
    kept = [
        records[int(i)]
        for i in draw_rows(
            np.array(records.class_indices(TASKS[task])),
            [r.patient for r in records],
            limit,
            seed=0,
        )
    ]
    with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "subtype", "patient"])
        writer.writerows(
            [os.path.abspath(records.file(r)), r.label, r.subtype, r.patient] for r in kept
        )
    return str(folder / "rows.csv")


def gpu_peak_bytes() -> int | None:
    """Return the most memory TensorFlow held on the first GPU; None without one."""
    import tensorflow as tf

    return (
        tf.config.experimental.get_memory_info("GPU:0")["peak"]
        if tf.config.list_physical_devices("GPU")
        else None
    )


def measure(given: argparse.Namespace, folder: Path) -> dict:
    """Train, and return what it took."""
    data = manifest_of(given.data, given.task, given.rows, folder) if given.rows else given.data
    start = time.perf_counter()
    classifier = train_classifier(
        data,
        folder / "model",
        DataOptions(),
        ModelOptions(backbone=given.backbone, weights=None, resize="squash"),
        TrainOptions(
            task=given.task,
            method="none",
            fine_tune="all",
            fine_tune_epochs=given.epochs,
            batch_size=given.batch_size,
            augment=given.augment,
            fine_tune_learning_rate=1e-3,
            precision=given.precision,
            steady_rows=0,
        ),
        EvaluateOptions(bootstrap=200),
    )
    whole_s = time.perf_counter() - start
    with (classifier.folder / "split.csv").open(newline="", encoding="utf-8") as stream:
        train = sum(row["split"] == "train" for row in csv.DictReader(stream))
    with (classifier.folder / "history.csv").open(newline="", encoding="utf-8") as stream:
        history = list(csv.DictReader(stream))
    batch = min(given.batch_size, train)
    images = train // batch * batch
    auroc = classifier.card.metrics["auroc"]
    return {
        "backbone": given.backbone,
        "task": given.task,
        "train_radiographs": train,
        "images_per_epoch": images,
        "batch_size": batch,
        "augment": given.augment,
        "precision": given.precision,
        "notes": list(classifier.card.notes),
        "epoch_s": [float(r["seconds"]) for r in history],
        "images_per_s": [round(images / float(r["seconds"]), 2) for r in history],
        "loss": [float(r["loss"]) for r in history],
        "val_loss": [float(r["val_loss"]) for r in history],
        "val_auroc": [float(r["val_auroc"]) for r in history],
        f"{classifier.card.metrics_split}_auroc": auroc,
        "whole_command_s": round(whole_s, 1),
        "peak_memory_gib": round(
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 2**30, 2
        ),
        "gpu_peak_gib": None if (peak := gpu_peak_bytes()) is None else round(peak / 2**30, 2),
        "cores": len(os.sched_getaffinity(0)),
        "load_at_end": round(os.getloadavg()[0], 1),
        "processor": platform.machine(),
    }


def main() -> None:
    """Parse, measure, print, and keep the row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="../shared/data/chest_xray")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--task", default="binary")
    parser.add_argument("--rows", type=int, default=0, help="at most so many radiographs (0 = all)")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--augment", default="light")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file that gets the row")
    given = parser.parse_args()
    if not Path(given.data).exists():
        raise SystemExit(f"{given.data} is not here; --data names a folder of radiographs.")
    with tempfile.TemporaryDirectory() as folder:
        row = measure(given, Path(folder))
    print(json.dumps(row, indent=1))
    rows = json.loads(given.results.read_text(encoding="utf-8")) if given.results.is_file() else []
    write_text(given.results, json.dumps([*rows, row], indent=1) + "\n")


if __name__ == "__main__":
    main()
