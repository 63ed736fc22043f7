"""Hand parts to workers on a Ray cluster, each of which opens the model once.

Plain actors: a part is one file that is written whole, so a part that lost its worker is given to
another one, a part done twice is there once, and nothing but numbers travels through Ray. (Ray Data
with an actor pool survives a lost node as well. It keeps each result as a block, computes the
blocks of the lost node again, and took twice as long until its first part.)
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from xray_tf.engines.functions import PredictFn
from xray_tf.engines.parts import Done, answer_part
from xray_tf.engines.places import Folder
from xray_tf.options import EngineOptions
from xray_tf.progress import LOG

MOST_LOSSES = 3  # of workers that had the same part
MOST_CPUS = 8  # a worker, if nothing is said: more speed up one forward pass little
_PATIENCE_S = 30.0
_READY = -1


class WorkerLostError(OSError):
    """One part ended every worker that it was given to."""


class Worker:
    """Answers parts in a process of its own, with the model that it was sent."""

    def __init__(self, ask: PredictFn, artifact: dict[str, bytes], about: dict[str, Any]):
        """Keep what is needed; the model is opened by `open`, so that its errors come back.

        Args:
            ask: what answers, with a model that lies elsewhere.
            artifact: the files of the model.
            about: `cpus`, `backend`, `folder` and `strict`.
        """
        cpus = str(about["cpus"])
        for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"):
            os.environ[name] = cpus
        os.environ.update(about["environment"])
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
        self._ask, self._artifact, self._about = ask, artifact, about
        self._place = tempfile.TemporaryDirectory(prefix="xray_tf-model-")

    def open(self) -> None:
        """Open the model."""
        for name, data in self._artifact.items():
            file = Path(self._place.name, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        self._artifact = {}
        self._ask = PredictFn(
            self._place.name, self._ask.answers, self._ask.operating_point, self._ask.thresholds
        )
        _ = self._ask.header, self._ask.card

    def answer(self, number: int) -> Done:
        """Answer one part."""
        about = self._about
        return answer_part(self._ask, about["folder"], number, about["strict"], about["cpus"])


class _Pool:
    """Workers, what each of them does, and what is left to do."""

    def __init__(self, make: Callable[[], Any], parts: Sequence[int], workers: int):
        self.make, self.left = make, list(parts)[::-1]
        self.losses: dict[int, int] = {}
        self.busy: dict[Any, tuple[Any, int]] = {}
        self.workers: list[Any] = []
        self.idle: list[Any] = []
        for _ in range(workers):
            self.add()

    def add(self) -> None:
        """Ask for one more worker; it is given a part when it is ready."""
        worker = self.make()
        self.workers.append(worker)
        self.busy[worker.open.remote()] = worker, _READY

    def go_on(self, worker: Any) -> None:
        """Give a worker that is free the next part, if there is one; else it waits, because a part
        may come back from one that is lost.
        """
        if self.left:
            number = self.left.pop()
            self.busy[worker.answer.remote(number)] = worker, number
        else:
            self.idle.append(worker)

    def lost(self, worker: Any, number: int) -> None:
        """Put a part back whose worker went away, and ask for another worker."""
        self.workers.remove(worker)
        self.losses[number] = self.losses.get(number, 0) + 1
        started = number != _READY
        if self.losses[number] >= (MOST_LOSSES if started else 10 * MOST_LOSSES):
            what = f"at part {number}" if started else "before their first part"
            raise WorkerLostError(
                f"{self.losses[number]} workers ended {what}. Did they run out of memory? Look at "
                "Ray's logs, ask for fewer --workers, and run the same line again; it goes on."
            )
        if started:
            self.left.append(number)
        LOG.info("  a worker was lost; its part is given to another one")
        self.add()
        while self.idle and self.left:  # the one just asked for may never find a free core
            self.go_on(self.idle.pop())

    @property
    def unfinished(self) -> bool:
        """Whether a part is still to be given away or answered."""
        return bool(self.left) or any(number != _READY for _, number in self.busy.values())


def answer_on_ray(
    ask: PredictFn,
    folder: Folder,
    parts: Sequence[int],
    options: EngineOptions,
    strict: bool,
    done: Callable[[Done], None],
) -> None:
    """Answer parts on the Ray cluster that this process is connected to, that `--address` names, or
    that is started on this machine.

    Args:
        ask: what answers.
        folder: where the listing lies and the answers go; every node must be able to write there.
        parts: their numbers.
        options: address, workers and their cores.
        strict: stop at the first file that cannot be read.
        done: called with the counts of each part, as it is finished.
    """
    ray = _ray()
    mine = not ray.is_initialized()
    if mine:
        here = {} if options.address else {"include_dashboard": False}
        ray.init(address=options.address, log_to_driver=False, logging_level="WARNING", **here)
    try:
        _answer(ray, ask, folder, parts, options, strict, done)
    finally:
        if mine:
            ray.shutdown()


def _answer(
    ray: Any,
    ask: PredictFn,
    folder: Folder,
    parts: Sequence[int],
    options: EngineOptions,
    strict: bool,
    done: Callable[[Done], None],
) -> None:
    cpus, workers = _shares(ray, options)
    about = {"cpus": cpus, "folder": folder, "strict": strict, "environment": _environment()}
    artifact = ray.put(_packed(ask))
    # a worker is replaced here, with its part, and not by Ray
    actor = ray.remote(num_cpus=cpus, num_gpus=options.worker_gpus, max_restarts=0)(Worker)
    pool = _Pool(lambda: actor.remote(ask, artifact, about), parts, min(workers, len(parts)))
    LOG.info("Ray: %d worker(s) of %d core(s), %d part(s)", workers, cpus, len(parts))
    try:
        while pool.unfinished:
            ready, _ = ray.wait(list(pool.busy), num_returns=1, timeout=_PATIENCE_S)
            if not ready and all(number == _READY for _, number in pool.busy.values()):
                LOG.info("  waiting for a node with %d free core(s)", cpus)
            for future in ready:
                worker, number = pool.busy.pop(future)
                try:
                    counts = ray.get(future)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause if error.cause is not None else error from None
                except ray.exceptions.RayError:
                    pool.lost(worker, number)
                    continue
                if number != _READY:
                    done(Done(*counts))
                pool.go_on(worker)
    finally:
        for worker in pool.workers:
            ray.kill(worker)


def _shares(ray: Any, options: EngineOptions) -> tuple[int, int]:
    """Return the cores of a worker, and how many workers there are."""
    nodes = [int(n["Resources"].get("CPU", 0)) for n in ray.nodes() if n["Alive"]]
    nodes = [n for n in nodes if n] or [1]
    cpus = options.worker_cpus or min(MOST_CPUS, *nodes)
    return cpus, options.workers or max(1, sum(n // cpus for n in nodes))


def _environment() -> dict[str, str]:
    """Return the variables of this process that decide how a worker computes."""
    names = ("KERAS_BACKEND", "TF_ENABLE_ONEDNN_OPTS", "XRAY_TF_CACHE")
    return {name: os.environ[name] for name in names if name in os.environ}


def _packed(ask: PredictFn) -> dict[str, bytes]:
    """Return the files of a model by name, so that no worker has to find its folder; what it was
    exported to stays here.
    """
    root = ask.folder
    files = [f for f in sorted(root.rglob("*")) if f.is_file()]
    inside = {f.relative_to(root).as_posix(): f for f in files}
    exported = ("saved_model/", "openvino/")
    return {n: f.read_bytes() for n, f in inside.items() if not n.startswith(exported)}


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ImportError(
            "--engine ray needs the package ray: pip install 'xray_tf[ray]', or use --engine parts."
        ) from error
    return ray
