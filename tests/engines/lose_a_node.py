"""Answer an archive on a Ray cluster of two nodes, and kill one of them once both have answered:
python lose_a_node.py MODEL SOURCE OUT. It prints what was seen as JSON; a test and a person run it.
"""

import contextlib
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path

MEMORY = 100 * 2**20  # of each object store


def end_a_machine(cluster, node) -> None:
    """End a node and its workers at once, as a lost machine does; on this one, a worker whose node
    is gone answers for some seconds more.
    """
    raylet = node.all_processes["raylet"][0].process.pid
    threads = Path(f"/proc/{raylet}/task").glob("*/children")
    workers = [int(each) for thread in threads for each in thread.read_text().split()]
    cluster.remove_node(node, allow_graceful=False)
    for each in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def main(model: str, source: str, out: str, rows_per_part: int = 1) -> dict:
    import ray
    from pyarrow.parquet import read_schema
    from ray.cluster_utils import Cluster

    from xray_tf.engines.ray_pool import _Pool
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

    first, held, go_on = [], [], _Pool.go_on

    def go_on_or_wait(pool, worker) -> None:
        """Keep who has answered its first part waiting until both have; then a node goes, and both
        are given the next.
        """
        if worker in first and len(held) < 2:
            held.append(worker)
            if len(held) == 2:
                files = list(Path(f"{out}.partial", "predictions").glob("part-*.parquet"))
                writers = {read_schema(f).metadata[b"xray_tf.writer"] for f in files}
                seen["writers_before"], seen["parts_before"] = len(writers), len(files)
                end_a_machine(cluster, other)
                for each in held:
                    go_on(pool, each)
        else:
            first.append(worker)
            go_on(pool, worker)

    _Pool.go_on = go_on_or_wait
    found = score_archive(
        model, [source], out, engine="ray", rows_per_part=rows_per_part, progress=False
    )
    seen["seconds"] = time.perf_counter() - started
    ray.shutdown()
    cluster.shutdown()
    lost = sum("a worker was lost" in text for text in said)
    return {**seen, **found.counts._asdict(), "lost": lost, "parts": len(os.listdir(found.folder))}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
