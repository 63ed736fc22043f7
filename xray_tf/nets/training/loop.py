"""One loop for every way of training: phases of epochs, a checkpoint after each, the last epoch or
the best kept, bit-exact resume.

A phase is a Keras net whose output is the loss of each row, so augmentation and the
objective are layers, the same `fit` serves one or several GPUs and mixed precision, and everything
that changes while training is a variable of the net or of its optimizer. A checkpoint is all of
those variables: restored, the run goes on bit for bit.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from xray_tf.nets.training.checkpoint import read_checkpoint, refuse_damaged, write_checkpoint
from xray_tf.nets.training.devices import jit_compile
from xray_tf.nets.training.objective import StagewiseAdamW, mean_of_output
from xray_tf.nets.training.together import process_count, refuse_unlike
from xray_tf.progress import ProgressLine

PLATEAU_PATIENCE, PLATEAU_FACTOR = 3, 0.3
# with batch norm frozen nothing else holds a trunk together when a batch goes astray
GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class Optimisation:
    """How the weights are moved, and which are kept.

    Attributes:
        weight_decay: AdamW's, decoupled.
        schedule: `cosine`, after a warm-up, or `plateau` of the validation loss.
        warmup: share of the steps spent warming up.
        ema: momentum of the weights' moving average; 0 has none.
        keep: `best`, the epoch of the lowest validation loss, or `last`.
        scale_loss: multiply the loss before its gradient is taken, as float16 needs it.
    """

    weight_decay: float = 0.01
    schedule: str = "cosine"
    warmup: float = 0.1
    ema: float = 0.0
    keep: str = "best"
    scale_loss: bool = False


@dataclass
class Phase:
    """One stretch of training.

    Attributes:
        name: `warm`, `head` or `fine-tune`.
        net: gives the loss (B, 1) of each row of what `feed` yields.
        feed: epoch -> one epoch of batches.
        steps: batches an epoch.
        epochs: how many.
        learning_rate: the peak.
        factors: variable path -> learning-rate factor.
        validate: () -> {`val_loss`, ...} of the model as it is now.
        prepare: sets which layers learn; called before the net is compiled.
    """

    name: str
    net: keras.Model
    feed: Callable
    steps: int
    epochs: int
    learning_rate: float
    validate: Callable[[], dict[str, float]]
    factors: dict[str, float] = field(default_factory=dict)
    prepare: Callable[[], None] = lambda: None


def make_optimizer(how: Optimisation, phase: Phase) -> keras.optimizers.Optimizer:
    """Return the phase's optimizer: warm-up and cosine to zero, or a plain rate that `run` lowers
    on a plateau.

    Under float16 it scales the loss, since small gradients would be rounded to zero (Micikevicius
    et al. 2018, section 3.2).
    """
    rate = phase.learning_rate
    if how.schedule == "cosine":
        total = phase.steps * phase.epochs
        warm = int(total * how.warmup)
        start, target = (rate * 0.01, rate) if warm else (rate, None)
        rate = keras.optimizers.schedules.CosineDecay(
            start, max(1, total - warm), warmup_target=target, warmup_steps=warm
        )
    # A window, 1 / (1 - momentum) steps, beyond a tenth of the phase would still average in the
    # weights it began with.
    momentum = max(0.0, min(how.ema, 1 - 10 / max(1, phase.steps * phase.epochs)))
    ema = {"use_ema": True, "ema_momentum": momentum} if how.ema else {}
    kept_small = {"weight_decay": how.weight_decay, "global_clipnorm": GRADIENT_NORM}
    optimizer = StagewiseAdamW(phase.factors, learning_rate=rate, **kept_small, **ema)
    return keras.optimizers.LossScaleOptimizer(optimizer) if how.scale_loss else optimizer


class Training:
    """A run of phases over one model, with its state on disk.

    Args:
        model: the classifier that learns, in place.
        how: the optimiser, its schedule, and which epoch is kept.
        folder: where the checkpoint lies between epochs; None keeps none.
        report: called with one dict an epoch (the rows of history.csv).
        resume: go on from the checkpoint in `folder`.
        progress: show the batches of an epoch as a bar, where the output is a terminal.
        writes: whether this process writes the checkpoint; one of several that train together does.

    Attributes:
        history: one dict an epoch.
        kept: the epoch whose weights the model ends with: the last, or with `keep="best"` that of
            the lowest validation loss.
        interrupted: Ctrl-C ended it early.
        stopped: in which epoch, of how many of its phase; empty where it was not interrupted.
    """

    def __init__(
        self,
        model: keras.Model,
        how: Optimisation,
        folder: Path | None = None,
        report: Callable[[dict], None] = lambda row: None,
        resume: bool = False,
        progress: bool = False,
        writes: bool = True,
    ):
        self.model, self.how, self.folder = model, how, folder
        self.report, self.progress, self.writes = report, progress, writes
        self.history: list[dict] = []
        self.kept: dict | None = None
        self.interrupted, self.stopped = False, ""
        self._saved: list[np.ndarray] | None = None
        self._place = (0, 0)  # phase, epochs done in it
        # of this phase: validation loss, and epochs since it was reached
        self._lowest, self._wait = math.inf, 0
        self._kept_weights: list[np.ndarray] | None = None
        if resume:
            self._read_checkpoint()
        if process_count() > 1:
            refuse_unlike(f"{len(self.history)} epochs in {folder}", "What a training goes on from")

    def run(self, phases: list[Phase]) -> None:
        """Run what is left of the phases; the model ends with the weights of the epoch kept.

        Ctrl-C ends the run early with what is kept by then. KeyboardInterrupt goes on to the caller
        when no epoch was finished.
        """
        for number, phase in enumerate(phases):
            if number < self._place[0] or self.interrupted:
                continue
            phase.prepare()
            phase.net.compile(
                optimizer=make_optimizer(self.how, phase),
                loss=mean_of_output,
                jit_compile=jit_compile(phase.net),
            )
            phase.net.optimizer.build(phase.net.trainable_variables)
            self._restore_variables(phase.net)
            try:
                for epoch in range(self._place[1], phase.epochs):
                    self._epoch(phase, number, epoch)
            except KeyboardInterrupt:
                # the others of several processes would wait for this one's next step
                if self.kept is None or process_count() > 1:
                    raise
                self.interrupted = True
                done = self._place[1] if self._place[0] == number else 0
                self.stopped = f"{phase.name} epoch {done + 1} of {phase.epochs}"
            if self._kept_weights is not None:
                self.model.set_weights(self._kept_weights)
            self._place, self._lowest, self._wait = (number + 1, 0), math.inf, 0

    def _epoch(self, phase: Phase, number: int, epoch: int) -> None:
        start = time.perf_counter()
        net = phase.net
        label = f"{phase.name} epoch {epoch + 1}/{phase.epochs}"
        with ProgressLine(label, phase.steps, self.progress, line=False) as line:
            fitted = net.fit(
                phase.feed(epoch), verbose=0, epochs=1, shuffle=False, callbacks=_counting(line)
            )
        loss = fitted.history["loss"][-1]
        rate = float(net.optimizer.learning_rate)
        seconds = time.perf_counter() - start
        with self._averaged(net):
            scores = phase.validate()
            row = {
                "phase": phase.name,
                "epoch": epoch + 1,
                "loss": float(loss),
                **scores,
                "learning_rate": rate,
                "seconds": round(seconds, 2),
            }
            first, last = self.kept is None, self.how.keep == "last"
            if first or last or row["val_loss"] < self.kept["val_loss"]:
                self.kept, self._kept_weights = row, [_copy(v) for v in self.model.weights]
        self._wait = 0 if row["val_loss"] < self._lowest else self._wait + 1
        self._lowest = min(self._lowest, row["val_loss"])
        if self.how.schedule == "plateau" and self._wait and self._wait % PLATEAU_PATIENCE == 0:
            net.optimizer.learning_rate = rate * PLATEAU_FACTOR
        self.history.append(row)
        self._place = (number, epoch + 1)
        self._write_checkpoint(net)
        self.report(row)

    @contextmanager
    def _averaged(self, net: keras.Model) -> Iterator[None]:
        """Put the weights' moving average in place while validating, where there is one."""
        if not self.how.ema:
            yield
            return
        raw = [_copy(v) for v in net.trainable_variables]
        inner = getattr(net.optimizer, "inner_optimizer", net.optimizer)  # float16 wraps it
        inner.put_averages(net.trainable_variables)
        for variable in net.trainable_variables:
            # under JAX both would hold one buffer, which a forward pass may give away
            variable.assign(keras.ops.copy(variable.value))
        try:
            yield
        finally:
            for variable, value in zip(net.trainable_variables, raw, strict=True):
                variable.assign(value)

    def _variables(self, net: keras.Model) -> list:
        return [*net.variables, *net.optimizer.variables]

    def _write_checkpoint(self, net: keras.Model) -> None:
        if self.folder is None or not self.writes:
            return
        note = {
            "place": self._place,
            "lowest": self._lowest,
            "wait": self._wait,
            "kept": self.kept,
            "history": self.history,
        }
        state = [_copy(v) for v in self._variables(net)]
        write_checkpoint(self.folder, note, kept=self._kept_weights, state=state)

    def _read_checkpoint(self) -> None:
        with refuse_damaged(self.folder):
            found = read_checkpoint(self.folder, "kept", "state")
            if found is None:
                return  # killed before the first epoch ended: start again
            note, self._kept_weights, self._saved = found
            self._place = tuple(note["place"])
            self._lowest, self._wait = note["lowest"], note["wait"]
            self.kept, self.history = note["kept"], note["history"]
            self.model.set_weights(self._kept_weights)

    def _restore_variables(self, net: keras.Model) -> None:
        if self._saved is None:
            return
        variables = self._variables(net)
        if len(variables) != len(self._saved):
            raise ValueError(
                f"The checkpoint holds {len(self._saved)} variables and this net has "
                f"{len(variables)}. Resume with the options it was started with."
            )
        for variable, value in zip(variables, self._saved, strict=True):
            variable.assign(value)
        self._saved = None


def event_writer(folder: str | os.PathLike) -> Callable[[dict], None]:
    """Return a function that writes a history row's numbers as TensorBoard scalars.

    Raises:
        ImportError: TensorBoard is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise ImportError(
            "--tensorboard needs the package tensorboard: pip install "
            "'xray_tf[tensorboard]', or leave the flag out."
        )
    import tensorflow as tf

    writer = tf.summary.create_file_writer(os.fspath(folder))
    steps = itertools.count(1)

    def write(row: dict) -> None:
        with writer.as_default(step=next(steps)):
            for name, value in row.items():
                if isinstance(value, float):
                    tf.summary.scalar(f"{row['phase']}/{name}", value)
        writer.flush()

    return write


def _counting(line: ProgressLine) -> list[keras.callbacks.Callback]:
    """Return what counts an epoch's batches; nothing where no bar is shown."""
    if not line.drawn:
        return []
    return [keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: line.step())]


def _copy(variable) -> np.ndarray:
    """Return a variable's value in memory of its own: on a CPU `numpy()` may be a view, which the
    next step overwrites.
    """
    value = np.array(variable.numpy())
    return value.astype(np.float32) if value.dtype.name == "bfloat16" else value
