"""Measure scoring an archive: the speed of parts against the local loop, memory against the number
of files, and from both what ten million radiographs would cost.

python benchmarks/archive.py [--data DIR] [--files N] [--repetitions N] [--counts 1000,100000]
                             [--whole]

In each repetition the local loop (`predict` to a CSV file) and `--engine parts` answer the same
links in one process, in turn; the ratio is formed within a repetition by processor time and by the
clock. Memory is the largest resident size of a process of its own for each number of links (a few
radiographs under many names); there decoding and the network are replaced by constants, unless
--whole, so that a hundred thousand links take a minute. The cost is plain arithmetic, see
`cost_of`. Results are in results/archive.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

RESULTS = Path(__file__).parent / "results" / "archive.json"
MODEL = "pneumonia-binary"


def links_to(data: Path, count: int, folder: Path) -> Path:
    """Make a folder of `count` links to the first radiographs of another."""
    files = [f for f in sorted(data.rglob("*")) if f.suffix.lower() in (".jpeg", ".png")][:48]
    folder.mkdir()
    for i in range(count):
        (folder / f"{i:07d}{files[i % len(files)].suffix}").symlink_to(files[i % len(files)])
    return folder


def timed(work, *args, **more) -> tuple[float, float]:
    """Return seconds by the clock and of processor time."""
    wall, own = time.perf_counter(), time.process_time()
    work(*args, **more)
    return time.perf_counter() - wall, time.process_time() - own


def speed(data: Path, count: int, repetitions: int, scratch: Path) -> dict:
    """Compare the local loop and parts on the same files, in turn."""
    from xray_tf.engines.score_archive import score_archive
    from xray_tf.jobs.classifier.predict_files import predict_files
    from xray_tf.models.load import load

    model, links = load(MODEL), links_to(data, count, scratch / "links")
    model.predict(sorted(links.iterdir())[:64])  # tracing does not count
    rows = []
    for i in range(repetitions):
        local = timed(predict_files, model, [links], scratch / f"l{i}", progress=False)
        parts = timed(score_archive, model, [links], scratch / f"p{i}", progress=False)
        rows.append({"local": local, "parts": parts})
    processor = [count / row["parts"][1] for row in rows]
    return {
        "files": count,
        "images_a_core_second": round(statistics.median(processor), 2),
        "ratio_by_processor_time": [round(r["local"][1] / r["parts"][1], 3) for r in rows],
        "ratio_by_clock": [round(r["local"][0] / r["parts"][0], 3) for r in rows],
    }


def memory(data: Path, counts: list[int], whole: bool) -> dict[str, float]:
    """Return the largest resident size, MB, of a process that answers so many links."""
    found = {}
    for count in counts:
        with tempfile.TemporaryDirectory() as scratch:
            links = links_to(data, count, Path(scratch) / "links")
            line = [sys.executable, __file__, "--one", str(links), str(Path(scratch) / "out")]
            line += ["--whole"] * whole
            done = subprocess.run(line, capture_output=True, text=True, check=True)
            found[str(count)] = float(done.stdout.splitlines()[-1])
    return found


def one(links: str, out: str, whole: bool) -> None:
    from xray_tf.engines.functions import PredictFn
    from xray_tf.engines.score_archive import score_archive
    from xray_tf.models.classifier import Classifier
    from xray_tf.models.decided import predictions_of

    if not whole:
        square = np.zeros((224, 224), np.uint8)
        PredictFn.read = lambda self, data: square
        Classifier.decided = lambda self, records, results, point=None: predictions_of(
            self.card, records, np.full((len(records), 2), 0.5), point
        )
    score_archive(MODEL, [links], out, progress=False)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def cost_of(
    images_a_core_second: float,
    nodes: int,
    images: int = 10_000_000,
    cores: int = 16,
    price: float = 0.04,
    start_seconds: float = 60.0,
    lost_nodes_a_day: float = 0.05,
    rows_per_part: int = 2048,
    worker_cpus: int = 8,
) -> dict[str, float]:
    """Return hours and price of an archive on nodes of equal cores.

    Args:
        images_a_core_second: as measured here; another processor has another figure.
        nodes, cores, worker_cpus: what there is, and cores a worker.
        images: to answer.
        price: of a core for an hour, in any currency.
        start_seconds: until a worker answers, once a worker.
        lost_nodes_a_day: the chance that a node is lost within a day; a lost worker loses half a
            part on average, and starts again.
        rows_per_part: radiographs a part.
    """
    rate = images_a_core_second * cores * nodes
    busy = images / rate
    # the last parts: workers wait for the slowest, half a part on average
    part = rows_per_part / (images_a_core_second * worker_cpus)
    losses = lost_nodes_a_day * nodes * busy / 86400 * (part / 2 + start_seconds)
    seconds = busy + start_seconds + part / 2 + losses / nodes
    hours = seconds / 3600
    return {
        "nodes": nodes,
        "hours": round(hours, 2),
        "core_hours": round(hours * nodes * cores, 1),
        "price": round(hours * nodes * cores * price, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--data", default="../shared/data/originals")
    parser.add_argument("--files", type=int, default=192)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--counts", default="1000,100000")
    parser.add_argument("--whole", action="store_true", help="decode and answer for memory too")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(*given.one, given.whole)
        return
    data = Path(given.data).resolve()
    counts = [int(n) for n in given.counts.split(",") if n]
    # first, while this process is small: a child's largest size begins with its parent's
    found = {"memory_mb": memory(data, counts, given.whole)}
    with tempfile.TemporaryDirectory() as scratch:
        found["speed"] = speed(data, given.files, given.repetitions, Path(scratch))
    rate = found["speed"]["images_a_core_second"]
    found["ten_million"] = [cost_of(rate, nodes) for nodes in (1, 4, 16, 64)]
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
