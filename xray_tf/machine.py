"""Choose what computes, before a library that computes is loaded.

TensorFlow, JAX, PyTorch, OpenCV and BLAS read it from the environment, and so do the processes that
this one starts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from xray_tf.options import CPU, MachineOptions

_GPUS = "CUDA_VISIBLE_DEVICES"
_THREADS = "OMP_NUM_THREADS"
_COUNTED = (
    *(_THREADS, "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"),
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC"),
)


def use(how: MachineOptions) -> None:
    """Let this process, and those that it starts, compute as the options say.

    Raises:
        ValueError: there is no such GPU.
    """
    os.environ.update(settings(how, os.environ))


def settings(how: MachineOptions, before: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that differ from those `before`.

    Raises:
        ValueError: `before` shows fewer GPUs than the number that is asked for.
    """
    found = dict.fromkeys(_COUNTED, str(how.threads)) if how.threads else {}
    if how.device == CPU:
        found |= {_GPUS: "-1", "JAX_PLATFORMS": "cpu"}
    elif how.device and ":" in how.device:
        number = int(how.device.partition(":")[2])
        shown = [name for name in before.get(_GPUS, "").split(",") if name]
        if shown and number >= len(shown):
            raise ValueError(
                f"{_GPUS}={before[_GPUS]} shows {len(shown)} GPUs. Received: device={how.device!r}"
            )
        found[_GPUS] = shown[number] if shown else str(number)
    return found


def cores() -> int:
    """Return how many threads a computation should have: as many as were chosen, or as there are
    cores for this process.
    """
    chosen = os.environ.get(_THREADS, "")
    if chosen.isdigit() and int(chosen):
        return int(chosen)
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
