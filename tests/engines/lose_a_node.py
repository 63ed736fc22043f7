"""Answer an archive on a Ray cluster of two nodes, and kill one of them once both have answered:
python lose_a_node.py MODEL SOURCE OUT. It prints what was seen as JSON; a test and a person run it.
"""

import json
import logging
import os
import sys
import threading
import time
from pathlib import Path

MEMORY = 100 * 2**20  # of each object store


def main(model: str, source: str, out: str, rows_per_part: int = 1) -> dict:
    import ray
    from pyarrow.parquet import read_schema
    from ray.cluster_utils import Cluster

    from xray_tf.engines.score_archive import score_archive

    said, seen, started = [], {}, time.perf_counter()
    logger = logging.getLogger("xray_tf")
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    sizes = {"num_cpus": 1, "object_store_memory": MEMORY}
    # nothing but what is asked for is started
    settings = {"prestart_worker_first_driver": False}
    cluster = Cluster(
        initialize_head=True,
        head_node_args={**sizes, "include_dashboard": False, "_system_config": settings},
    )
    other = cluster.add_node(**sizes)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    seen["cluster_seconds"] = time.perf_counter() - started

    def kill() -> None:
        folder, writers = Path(f"{out}.partial", "predictions"), set()
        while len(writers) < 2 and not Path(out).exists():
            for file in folder.glob("part-*.parquet"):
                writers.add(read_schema(file).metadata[b"xray_tf.writer"])
            time.sleep(0.05)
        seen["writers_before"], seen["parts_before"] = len(writers), len(list(folder.glob("p*")))
        cluster.remove_node(other, allow_graceful=False)

    watcher = threading.Thread(target=kill)
    watcher.start()
    found = score_archive(
        model, [source], out, engine="ray", rows_per_part=rows_per_part, progress=False
    )
    watcher.join()
    seen["seconds"] = time.perf_counter() - started
    ray.shutdown()
    cluster.shutdown()
    lost = sum("a worker was lost" in text for text in said)
    return {**seen, **found.counts._asdict(), "lost": lost, "parts": len(os.listdir(found.folder))}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
