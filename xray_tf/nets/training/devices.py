"""Choose how this machine trains: precision by measurement, XLA, several GPUs."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import keras
import numpy as np

from xray_tf.nets.training.objective import StagewiseAdamW, loss_net, mean_of_output
from xray_tf.nets.training.together import every_device
from xray_tf.options import TrainOptions


@contextmanager
def policy(name: str) -> Iterator[None]:
    """Build layers under a dtype policy, and restore the previous one afterwards."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def choose_precision(
    candidates: dict[str, Callable[[], tuple]], seconds: float = 5.0
) -> tuple[str, dict[str, float]]:
    """Time a few training steps under each candidate and return the fastest and every rate.

    Args:
        candidates: policy name -> a function that returns (compiled network, batch); they are
            built and released one at a time.
        seconds: stop timing a candidate after this time or six steps, but not before three steps.

    Returns:
        The name, and {name: rows per second}.
    """
    rates = {}
    for name, build in candidates.items():
        net, batch = build()
        rows = len(batch[1])
        net.train_on_batch(*batch)  # tracing does not count
        times = []
        while len(times) < 3 or (sum(times) < seconds and len(times) < 6):
            start = time.perf_counter()
            net.train_on_batch(*batch)
            times.append(time.perf_counter() - start)
        rates[name] = rows / float(np.median(times))
        del net, batch
        gc.collect()  # a Keras model is part of reference cycles
    return max(rates, key=rates.get), rates


def compiled_for_timing(model: keras.Model, options: TrainOptions, feed: Callable) -> tuple:
    """Return (compiled training graph, one batch) for `choose_precision`, with learning rate 0."""
    logits = model.get_layer("logits").output.shape[-1]
    net = loss_net(model, options, (1.0,) * max(2, logits))
    still = StagewiseAdamW(learning_rate=0.0)
    net.compile(optimizer=still, loss=mean_of_output, jit_compile=jit_compile(net))
    return net, next(iter(feed(0)))


def half_precision() -> str | None:
    """Return the mixed-precision policy worth measuring on this machine: bfloat16 on a GPU, or on a
    CPU that supports it; else None.
    """
    if has_gpu():
        return "mixed_bfloat16"
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as stream:
            return "mixed_bfloat16" if "avx512_bf16" in stream.read() else None
    except OSError:
        return None


def every_gpu():
    """Return the scope in which a network is built and trained: mirrored over the GPUs if there are
    several, under JAX those of all processes, else an empty one.
    """
    if keras.backend.backend() == "jax":
        return every_device()
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if len(tf.config.list_physical_devices("GPU")) > 1:
            return tf.distribute.MirroredStrategy().scope()
    return nullcontext()


def jit_compile(net: keras.Model) -> bool | str:
    """Tell whether to use XLA: not on a CPU under TensorFlow, where it was ten times slower;
    elsewhere if every layer supports it.
    """
    return False if keras.backend.backend() == "tensorflow" and not has_gpu() else "auto"


def refuse_missing_gpu(device: str) -> None:
    """Raise ValueError where the backend of Keras has no GPU."""
    if not has_gpu():
        backend = keras.backend.backend()
        raise ValueError(
            f"{backend} finds no such GPU here; a build for CPUs, or a missing driver, hides one "
            f"too. Use --device cpu, or leave it out. Received: device={device!r}"
        )


def has_gpu() -> bool:
    """Tell whether the backend of Keras computes on a GPU."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.default_backend() != "cpu"
    if backend == "torch":
        import torch

        return torch.cuda.is_available()
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))
