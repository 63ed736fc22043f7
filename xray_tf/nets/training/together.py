"""Train one network on several devices and in several processes, under JAX.

Variables are whole on every device, and each batch is divided over the devices
(`keras.distribution.DataParallel`), so a step is the step of one device on the whole batch, sums
apart. A forward pass outside of training uses a copy of the network in each process, which answers
its share of the rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from weakref import WeakKeyDictionary

import keras
import numpy as np

from xray_tf.options import ProcessOptions

# the copy of each distributed network; an entry is removed with its network
_COPIES: WeakKeyDictionary[keras.Model, keras.Model] = WeakKeyDictionary()


def refuse_without_jax() -> None:
    """Raise ValueError where Keras does not run on JAX."""
    backend = keras.backend.backend()
    if backend != "jax":
        raise ValueError(
            "Several processes train together only under JAX: keras.distribution has no other "
            f"backend. Received: KERAS_BACKEND={backend}. Run it with KERAS_BACKEND=jax; the "
            "artifact is the same."
        )


def join(how: ProcessOptions) -> None:
    """Make this process one of those that train together; it waits for the others. Must be called
    before anything is computed.
    """
    refuse_without_jax()
    # with a seed set Keras need not agree on one, which would be the first thing computed
    keras.utils.set_random_seed(0)
    keras.distribution.initialize(how.coordinator, how.processes, how.process)


def leave() -> None:
    """Part from the other processes, once all have come here: one of them goes on alone."""
    if keras.backend.backend() == "jax":
        import jax

        if jax.process_count() > 1:
            jax.distributed.shutdown()


def every_device() -> AbstractContextManager:
    """Return the scope in which a network is built and trained over the devices of all processes;
    an empty one if there is one device.
    """
    import jax

    if jax.device_count() == 1:
        return nullcontext()
    return keras.distribution.DataParallel(auto_shard_dataset=False).scope()


def share(batch_size: int) -> tuple[int, int]:
    """Return the number of this process and how many share each batch.

    Raises:
        ValueError: the batch cannot be divided over the devices.
    """
    together = keras.distribution.distribution()
    if together is None:
        return 0, 1
    devices = together.device_mesh.devices.size
    if batch_size % devices:
        raise ValueError(
            f"A batch must divide evenly over {devices} devices. Received: batch_size={batch_size}"
        )
    return keras_process(), together.num_processes


def keras_process() -> int:
    """Return the number of this process among those that JAX knows."""
    import jax

    return jax.process_index()


@contextmanager
def on_this_process(model: keras.Model) -> Iterator[keras.Model]:
    """Yield a network that this process can run by itself: `model`, or if its variables lie on
    several devices, a copy with its present weights.
    """
    together = keras.distribution.distribution()
    if together is None:
        yield model
        return
    weights = model.get_weights()
    keras.distribution.set_distribution(None)
    try:
        if model not in _COPIES:
            _COPIES[model] = keras.Model.from_config(model.get_config())
        _COPIES[model].set_weights(weights)
        yield _COPIES[model]
    finally:
        keras.distribution.set_distribution(together)


def rows_of_process(count: int) -> slice:
    """Return which of `count` rows this process answers."""
    together = keras.distribution.distribution()
    if together is None:
        return slice(0, count)
    each = -(-count // together.num_processes)
    return slice(keras_process() * each, (keras_process() + 1) * each)


def gathered(values: np.ndarray, count: int) -> np.ndarray:
    """Return the `count` rows of all processes, of which this one has those of `rows_of_process`;
    all of them must ask.
    """
    together = keras.distribution.distribution()
    if together is None or together.num_processes == 1:
        return values
    from jax.experimental.multihost_utils import process_allgather

    each = -(-count // together.num_processes)
    padded = np.zeros((each, *values.shape[1:]), values.dtype)
    padded[: len(values)] = values
    return np.asarray(process_allgather(padded, tiled=True))[:count]


def refuse_unlike(said: str, what: str) -> None:
    """Compare a text with that of the other processes, all of which must ask.

    Raises:
        ValueError: another process has another text; `what` it is begins the message.
    """
    digest = np.frombuffer(hashlib.sha256(said.encode()).digest(), np.uint8)[None]
    found = gathered(digest, process_count())
    if (found != digest).any():
        raise ValueError(
            f"{what} must be equal in every process that trains. Expected the same files, options "
            f"and --out, on a disk that all of them share. Received: {said[:80]} in process "
            f"{keras_process()}."
        )


def process_count() -> int:
    """Return how many processes train together."""
    together = keras.distribution.distribution()
    return 1 if together is None else together.num_processes
