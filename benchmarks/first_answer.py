"""Time the first answer: `xray-tf predict` from a cold start, and a warm `xray-tf serve`.

python benchmarks/first_answer.py [--scan FILE] [--repetitions N] [--before DIR]

`predict` runs in a new process each time; processor time is its user and system time, in all
threads. With --before, the checkout in DIR does the same in turn, so that both meet the same load.
`serve` is asked over HTTP by one client once it is warm: for the decision and its warnings, and for
all that its page shows. Results are in results/first_answer.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
PAGE = "heatmap,lungs,picture,html"


def predict_seconds(checkout: Path, scan: Path) -> float:
    """Return the processor time of one cold `predict`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "xray_tf", "predict", scan],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        cwd=checkout,
        check=True,
        capture_output=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def serve_seconds(checkout: Path, scan: Path, repetitions: int) -> dict[str, list[float]]:
    """Return how long a warm server took for answers, by the clock and by its own account."""
    process = subprocess.Popen(
        [sys.executable, "-m", "xray_tf", "serve", "--port", "0"],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        cwd=checkout,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        process.stdout.readline()
        address = process.stdout.readline().split()[2]
        status = ""
        while status != "ok":
            time.sleep(0.5)
            with urllib.request.urlopen(f"{address}api/health") as answer:
                status = json.load(answer)["status"]
        head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="scan"\r\n\r\n'
        body = head + scan.read_bytes() + b"\r\n--x--\r\n"
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        found = {}
        for name, include in (("decision", ""), ("page", PAGE)):
            found[name] = []
            for _ in range(repetitions + 1):
                start = time.perf_counter()
                request = urllib.request.Request(f"{address}api/read?include={include}", body, kind)
                with urllib.request.urlopen(request) as answer:
                    answer.read()
                found[name].append(time.perf_counter() - start)
            found[name] = found[name][1:]
        return found
    finally:
        process.terminate()
        process.communicate()


def told(seconds: list[float]) -> dict[str, float]:
    """Return median, smallest and largest."""
    middle = statistics.median(seconds)
    numbers = {"median": middle, "lowest": min(seconds), "highest": max(seconds)}
    return {name: round(value, 3) for name, value in numbers.items()}


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    originals = HERE.parents[1] / "shared/data/originals/NORMAL"
    parser.add_argument("--scan", type=Path, default=next(iter(sorted(originals.glob("*"))), None))
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--before", type=Path)
    given = parser.parse_args()
    here, scan = HERE.parent.resolve(), given.scan.resolve()
    checkouts = {"now": here} | ({"before": given.before.resolve()} if given.before else {})
    cold = {name: [] for name in checkouts}
    for _ in range(given.repetitions):
        for name, checkout in checkouts.items():
            cold[name].append(predict_seconds(checkout, scan))
    warm = serve_seconds(here, scan, given.repetitions)
    results = {
        "machine": {"cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0]},
        "python": platform.python_version(),
        "repetitions": given.repetitions,
        "predict_processor_seconds": {name: told(seconds) for name, seconds in cold.items()},
        "serve_seconds": {name: told(seconds) for name, seconds in warm.items()},
    }
    if given.before:
        pairs = zip(cold["now"], cold["before"], strict=True)
        results["predict_now_to_before"] = told([now / then for now, then in pairs])
    text = json.dumps(results, indent=1) + "\n"
    (HERE / "results" / "first_answer.json").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
