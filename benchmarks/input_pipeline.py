"""Time the way from JPEG files to 224 x 224 squares, and from the memory map to batches.

python benchmarks/input_pipeline.py [--data DIR] [--repetitions N]

In each repetition these run one after the other over the same files (read once beforehand, so that
none of them pays for the disk):
    cache         build_cache into a new folder, including hashes and checks
    antialiased   tf.data: decode_jpeg, resize(antialias=True), batches of 32, as many threads as
                  cores (and AUTOTUNE, as in the tutorials)
    plain         the same without antialiasing
    second epoch  tf.data over the memory map, its rows repeated 28 times, to shuffled batches of 32
                  (nets.images)
Ratios are formed within a repetition; the number is the median over the repetitions, with the
smallest and largest. The speed of the second epoch is compared with both kinds of first epoch: the
cache build, and decoding by tf.data. Ratios by the clock are meaningful on an otherwise idle
machine only, so two others are given: that of each pipeline's best repetition, and that of
processor time (all threads). Results are in results/input_pipeline.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import numpy as np
import tensorflow as tf

from xray_tf.data.pixels.cache import build_cache
from xray_tf.data.records import Record, Records
from xray_tf.nets.images import batches

HERE = Path(__file__).parent
SIZE, BATCH, THREADS = 224, 32, len(os.sched_getaffinity(0))
# 184 files x 28 are the 5,152 rows of the whole training split; 184 rows would time the starting of
# tf.data
REPEATS = 28


def tf_data(files: list[str], antialias: bool, parallel: int = THREADS) -> int:
    """Decode and resize the files with tf.data; return how many images came out."""

    def read(file: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_jpeg(tf.io.read_file(file), channels=1)
        return tf.image.resize(image, (SIZE, SIZE), antialias=antialias)

    dataset = (
        tf.data.Dataset.from_tensor_slices(files)
        .map(read, num_parallel_calls=parallel)
        .batch(BATCH)
        .prefetch(tf.data.AUTOTUNE)
    )
    return sum(int(batch.shape[0]) for batch in dataset)


def enlarge(pixels: np.ndarray, folder: str) -> np.ndarray:
    """Write every row REPEATS times and map the result: an epoch of real length, and too large for
    the processor's caches.
    """
    large = np.lib.format.open_memmap(
        os.path.join(folder, "large.npy"),
        "w+",
        np.uint8,
        (REPEATS * len(pixels), *pixels.shape[1:]),
    )
    for start in range(0, len(large), len(pixels)):
        large[start : start + len(pixels)] = pixels
    large.flush()
    return np.load(os.path.join(folder, "large.npy"), mmap_mode="r")


def from_cache(pixels: np.ndarray) -> int:
    """Read one shuffled epoch from the memory map; return how many images came out."""
    return sum(
        int(batch.shape[0])
        for batch in batches(pixels, np.arange(len(pixels)), batch_size=BATCH, shuffle_key=(0, 1))
    )


def timed(work, *arguments) -> tuple[float, float]:
    """Return images a second, and images a second of processor time (all threads), which neighbours
    on the machine disturb less.
    """
    started, busy = time.perf_counter(), time.process_time()
    count = work(*arguments)
    return count / (time.perf_counter() - started), count / (time.process_time() - busy)


def measure(records: Records) -> dict[str, tuple[float, float]]:
    """Time every pipeline once and return the images a second of each, by the clock and by
    processor time.
    """
    files = [os.fspath(records.file(row)) for row in records]
    with tempfile.TemporaryDirectory() as directory:
        made = []

        def build() -> int:
            made.append(build_cache(records, SIZE, "crop", directory, progress=False))
            return len(made[0].pixels)

        return {
            "cache": timed(build),
            "antialiased": timed(tf_data, files, True),
            "plain": timed(tf_data, files, False),
            "antialiased_autotune": timed(tf_data, files, True, tf.data.AUTOTUNE),
            "plain_autotune": timed(tf_data, files, False, tf.data.AUTOTUNE),
            "second_epoch": timed(from_cache, enlarge(made[0].pixels, directory)),
        }


def spread(values: list[float]) -> dict[str, float]:
    """Return median, smallest and largest."""
    return {
        "median": round(statistics.median(values), 2),
        "low": round(min(values), 2),
        "high": round(max(values), 2),
    }


def main(args: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--data",
        type=Path,
        default=HERE.parents[1] / "shared" / "data" / "originals",
        help="folder of JPEG radiographs as published",
    )
    parser.add_argument("--repetitions", type=int, default=7)
    options = parser.parse_args(args)
    records = Records(
        [
            Record(f.relative_to(options.data).as_posix())
            for f in sorted(options.data.glob("*/*.jpeg"))
        ],
        options.data,
    )
    if not len(records):
        parser.error(f"{options.data} holds no */*.jpeg")
    measure(records)  # warms the disk's cache and TensorFlow
    runs = [measure(records) for _ in range(options.repetitions)]
    ratios = {
        "cache_to_antialiased": ("cache", "antialiased"),
        "cache_to_plain": ("cache", "plain"),
        "cache_to_antialiased_autotune": ("cache", "antialiased_autotune"),
        "cache_to_plain_autotune": ("cache", "plain_autotune"),
        "second_epoch_to_first": ("second_epoch", "cache"),
        "second_epoch_to_antialiased": ("second_epoch", "antialiased"),
    }
    result = {
        "claim": "decode once: a fresh cache against tf.data over the same files, and the second "
        "epoch against the first",
        "images": len(records),
        "image_size": SIZE,
        "repetitions": options.repetitions,
        "images_per_second": {name: spread([run[name][0] for run in runs]) for name in runs[0]},
        "ratios": {
            name: spread([run[a][0] / run[b][0] for run in runs]) for name, (a, b) in ratios.items()
        },
        "ratios_of_best": {
            name: round(max(run[a][0] for run in runs) / max(run[b][0] for run in runs), 2)
            for name, (a, b) in ratios.items()
        },
        "ratios_by_processor_time": {
            name: spread([run[a][1] / run[b][1] for run in runs]) for name, (a, b) in ratios.items()
        },
        "machine": {
            "cpu_cores": len(os.sched_getaffinity(0)),
            "processor": platform.machine(),
            "load_1_min": round(os.getloadavg()[0], 2),
        },
        "versions": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "opencv": cv2.__version__,
            "numpy": np.__version__,
        },
    }
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "input_pipeline.json").write_text(
        json.dumps(result, indent=1) + "\n", encoding="utf-8"
    )
    print(
        json.dumps(
            {
                k: result[k]
                for k in (
                    "images_per_second",
                    "ratios",
                    "ratios_of_best",
                    "ratios_by_processor_time",
                    "machine",
                )
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
