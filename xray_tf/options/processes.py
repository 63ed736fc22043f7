"""Options of a training that several processes do together."""

from __future__ import annotations

from dataclasses import dataclass

from xray_tf.options.declare import Checked, count, option


@dataclass(frozen=True)
class ProcessOptions(Checked):
    """Processes: how many train together (KERAS_BACKEND=jax)."""

    processes: int = count(
        1, "processes that train together, each on its share of every batch", least=1
    )
    coordinator: str | None = option(
        None,
        "where process 0 listens, with the same line run once a process; without it all of them "
        "are started here",
        metavar="HOST:PORT",
    )
    process: int = count(0, "the number of this process, from 0, with --coordinator")

    def __post_init__(self):
        super().__post_init__()
        if self.process >= self.processes:
            raise ValueError(
                f"process must be below {self.processes}, the number of processes. Received: "
                f"process={self.process}"
            )
        if self.coordinator is not None and not self.coordinator.rpartition(":")[2].isdigit():
            raise ValueError(
                f"coordinator must be HOST:PORT. Received: coordinator={self.coordinator!r}"
            )
