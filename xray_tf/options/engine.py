"""Options of what runs a model over very many files."""

from __future__ import annotations

from dataclasses import dataclass

from xray_tf.options.declare import Checked, count, option

LOCAL, IN_PARTS, RAY = "local", "parts", "ray"


@dataclass(frozen=True)
class EngineOptions(Checked):
    """Engine: what runs the model over the files."""

    engine: str = option(
        LOCAL,
        "this machine (local), this machine with Parquet files as the result (parts), or a Ray "
        "cluster with the same result (ray)",
        (LOCAL, IN_PARTS, RAY),
    )
    address: str | None = option(
        None,
        "the Ray cluster: auto, or HOST:PORT (default: one that is started on this machine)",
        metavar="ADDRESS",
    )
    workers: int = count(0, "workers on the Ray cluster; 0: as many as fit")
    worker_cpus: int = count(0, "cores of a worker; 0: those of the smallest node, at most 8")
    worker_gpus: float = option(0.0, "GPUs of a worker", metavar="N", least=0)
    rows_per_part: int = count(
        2048, "radiographs a Parquet file, which is what is done again after a failure", least=1
    )
