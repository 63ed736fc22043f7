"""Options of what computes, on every command that computes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from xray_tf.options.declare import Checked, count, option

CPU, GPU = "cpu", "gpu"


@dataclass(frozen=True)
class MachineOptions(Checked):
    """Machine: what computes."""

    device: str | None = option(
        None,
        "cpu, gpu (all of them), or one such as gpu:0 (default: GPUs where there are any)",
        metavar="DEVICE",
    )
    threads: int = count(0, "threads that compute and decode; 0: one a core")

    def __post_init__(self):
        super().__post_init__()
        if self.device and not re.fullmatch(r"cpu|gpu(:\d+)?", self.device):
            raise ValueError(
                "device must be cpu, gpu, or gpu: and a number from 0. Received: "
                f"device={self.device!r}"
            )
