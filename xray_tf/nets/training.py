"""One loop for every way of training: phases of epochs, a checkpoint after each, the best epoch kept, bit-exact resume.

A phase is a Keras net whose output is the loss of each row, so augmentation, mixup and the objective are layers, the same
`fit` serves one or several GPUs and mixed precision, and everything that changes while training is a variable of the net
or of its optimizer. A checkpoint is all of those variables: restored, the run goes on bit for bit.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
from keras import ops

from xray_tf.artifact import CHECKPOINT
from xray_tf.nets.augment import Mixup, RandomAugment
from xray_tf.nets.backbones import trunk_layers
from xray_tf.nets.classifier import derive
from xray_tf.options import TrainOptions

PLATEAU_PATIENCE, PLATEAU_FACTOR = 3, 0.3
GRADIENT_NORM = 1.0  # with batch norm frozen nothing else holds a trunk together when a batch goes astray


class Objective(keras.layers.Layer):
    """The loss of each row: class-weighted cross-entropy on logits, with label smoothing (Szegedy et al. 2016, section 7).

    Takes logits (B, L) and targets (B, L), L = 1 for a one-logit head; gives (B, 1) float32.
    """

    def __init__(self, class_weights: tuple[float, ...], label_smoothing: float = 0.0, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.class_weights, self.label_smoothing = tuple(class_weights), label_smoothing

    def call(self, logits, targets):
        if logits.shape[-1] == 1:
            logits, targets = ops.concatenate([ops.zeros_like(logits), logits], -1), ops.concatenate([1 - targets, targets], -1)
        weight = ops.sum(targets * ops.convert_to_tensor(self.class_weights, targets.dtype), axis=-1, keepdims=True)
        smooth = targets * (1 - self.label_smoothing) + self.label_smoothing / logits.shape[-1]
        return -weight * ops.sum(smooth * ops.log_softmax(logits, axis=-1), axis=-1, keepdims=True)

    def compute_output_shape(self, logits_shape, targets_shape):
        return (logits_shape[0], 1)

    def get_config(self):
        return {**super().get_config(), "class_weights": self.class_weights, "label_smoothing": self.label_smoothing}


class StagewiseAdamW(keras.optimizers.AdamW):
    """AdamW (Loshchilov & Hutter 2019, algorithm 2) with one learning-rate factor a variable; biases and norms do not decay."""

    def __init__(self, factors: dict[str, float] | None = None, **kwargs):
        super().__init__(**kwargs)
        self.factors = factors or {}
        self.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])

    def build(self, variables):
        super().build(variables)
        self._factor_list = [self.factors.get(v.path, 1.0) for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate * self._factor_list[self._get_variable_index(variable)])

    def finalize_variable_values(self, var_list):
        """Do nothing: `fit` calls this when it ends, here after every epoch, and the average must not replace what is being trained."""

    def put_averages(self, var_list):
        """Set the variables to their moving averages."""
        super().finalize_variable_values(var_list)


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


def targets_of(labels: np.ndarray, class_count: int) -> np.ndarray:
    """Return labels (N,) int as targets (N, 1) float32 for two classes, one-hot (N, K) for more."""
    one_hot = np.eye(class_count, dtype=np.float32)[np.asarray(labels)]
    return one_hot[:, 1:] if class_count == 2 else one_hot


def class_weights_of(labels: np.ndarray, class_count: int, balanced: bool) -> tuple[float, ...]:
    """Return one weight a class: inverse frequency, mean 1 over the rows, or ones."""
    counts = np.bincount(labels, minlength=class_count)
    return tuple(float(w) for w in len(labels) / (class_count * counts)) if balanced else (1.0,) * class_count


def loss_net(model: keras.Model, options: TrainOptions, class_weights: tuple[float, ...]) -> keras.Model:
    """Return (image, target) -> loss a row, with augmentation and mixup before `model`, which it shares and does not change."""
    logits = derive(model, "logits")
    image = keras.Input(model.input.shape[1:], name="image")
    target = keras.Input(logits.output.shape[1:], name="target")
    x = RandomAugment(options.augment, options.seed, name="augment", dtype="float32")(image)
    x, y = Mixup(options.mixup, options.seed + 1, name="mixup", dtype="float32")(x, target)
    return keras.Model([image, target], Objective(class_weights, options.label_smoothing, name="objective")(logits(x), y))


def vector_loss_net(head: keras.Model, options: TrainOptions, class_weights: tuple[float, ...]) -> keras.Model:
    """Return (embedding, target) -> loss a row, for training a head on stored vectors."""
    vector = keras.Input(head.input.shape[1:], name="vector")
    target = keras.Input(head.output.shape[1:], name="target")
    return keras.Model([vector, target], Objective(class_weights, options.label_smoothing, name="objective")(head(vector), target))


def open_stages(model: keras.Model, backbone: str, stages: str | int, pretrained: bool) -> None:
    """Let the head and the last `stages` of the trunk learn; batch norm of a pretrained trunk stays as it is.

    Args:
        stages: `none`, `all`, or how many from the end.

    Raises:
        ValueError: anything else, or more stages than the trunk has.
    """
    groups = trunk_layers(model, backbone)
    count = {"none": 0, "all": len(groups)}.get(stages)
    if count is None:
        if not str(stages).isdigit() or not int(stages) <= len(groups):
            raise ValueError(f"fine_tune must be none, all, or a number of stages from 0 to {len(groups)} for {backbone}. Received: fine_tune={stages!r}")
        count = int(stages)
    for position, group in enumerate(groups):
        for layer in group:
            frozen_norm = pretrained and isinstance(layer, keras.layers.BatchNormalization)
            layer.trainable = position >= len(groups) - count and not frozen_norm


def stage_factors(model: keras.Model, backbone: str, decay: float) -> dict[str, float]:
    """Return variable path -> decay ** (number of stages between it and the head)."""
    groups = trunk_layers(model, backbone)
    return {v.path: decay ** (len(groups) - position) for position, group in enumerate(groups) for layer in group for v in layer.variables}


@contextmanager
def policy(name: str) -> Iterator[None]:
    """Build layers under a dtype policy, and restore the one that was set."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def make_optimizer(options: TrainOptions, phase: Phase) -> StagewiseAdamW:
    """Return the phase's optimizer: warm-up and cosine to zero, or a plain rate that `run` lowers on a plateau."""
    rate = phase.learning_rate
    if options.schedule == "cosine":
        total = phase.steps * phase.epochs
        warm = int(total * options.warmup)
        start, target = (rate * 0.01, rate) if warm else (rate, None)
        rate = keras.optimizers.schedules.CosineDecay(start, max(1, total - warm), warmup_target=target, warmup_steps=warm)
    ema = {"use_ema": True, "ema_momentum": options.ema} if options.ema else {}
    return StagewiseAdamW(phase.factors, learning_rate=rate, weight_decay=options.weight_decay, global_clipnorm=GRADIENT_NORM, **ema)


class Training:
    """A run of phases over one model, with its state on disk.

    Args:
        model: the classifier that learns, in place.
        options: how.
        folder: where the checkpoint lies between epochs; None keeps none.
        report: called with one dict an epoch (the rows of history.csv).
        resume: go on from the checkpoint in `folder`.
    """

    def __init__(self, model: keras.Model, options: TrainOptions, folder: Path | None = None, report: Callable[[dict], None] = lambda row: None,
                 resume: bool = False):
        self.model, self.options, self.folder, self.report = model, options, folder, report
        self.history: list[dict] = []
        self.best: dict | None = None
        self.best_weights: list[np.ndarray] | None = None
        self.interrupted = False
        self._saved: dict[str, np.ndarray] | None = None
        self._place = (0, 0)  # phase, epochs done in it
        self._wait = 0
        if resume:
            self._read_checkpoint()

    def run(self, phases: list[Phase]) -> None:
        """Run what is left of the phases; the model ends with the weights of the best validation epoch.

        Ctrl-C ends the run early with the best so far. KeyboardInterrupt goes on to the caller when no epoch was finished.
        """
        for number, phase in enumerate(phases):
            if number < self._place[0] or self.interrupted:
                continue
            phase.prepare()
            phase.net.compile(optimizer=make_optimizer(self.options, phase), loss=_mean_of_output, jit_compile=_jit(phase.net))
            phase.net.optimizer.build(phase.net.trainable_variables)
            self._restore_variables(phase.net)
            try:
                for epoch in range(self._place[1], phase.epochs):
                    self._epoch(phase, number, epoch)
            except KeyboardInterrupt:
                if self.best is None:
                    raise
                self.interrupted = True
            if self.best_weights is not None:
                self.model.set_weights(self.best_weights)
            self._place, self._wait = (number + 1, 0), 0

    def _epoch(self, phase: Phase, number: int, epoch: int) -> None:
        start = time.perf_counter()
        net = phase.net
        loss = net.fit(phase.feed(epoch), verbose=0, epochs=1, shuffle=False).history["loss"][-1]
        rate = float(net.optimizer.learning_rate)
        seconds = time.perf_counter() - start
        with self._averaged(net):
            scores = phase.validate()
            row = {"phase": phase.name, "epoch": epoch + 1, "loss": float(loss), **scores, "learning_rate": rate, "seconds": round(seconds, 2)}
            better = self.best is None or scores["val_loss"] < self.best["val_loss"]
            self._wait = 0 if better else self._wait + 1
            if better or self.options.keep == "last":
                self.best, self.best_weights = row, [_copy(v) for v in self.model.weights]
        if self.options.schedule == "plateau" and self._wait and self._wait % PLATEAU_PATIENCE == 0:
            net.optimizer.learning_rate = rate * PLATEAU_FACTOR
        self.history.append(row)
        self._place = (number, epoch + 1)
        self._write_checkpoint(net)
        self.report(row)

    @contextmanager
    def _averaged(self, net: keras.Model) -> Iterator[None]:
        """Put the weights' moving average in place while validating, where there is one."""
        if not self.options.ema:
            yield
            return
        raw = [_copy(v) for v in net.trainable_variables]
        getattr(net.optimizer, "inner_optimizer", net.optimizer).put_averages(net.trainable_variables)  # float16 wraps it to scale the loss
        try:
            yield
        finally:
            for variable, value in zip(net.trainable_variables, raw, strict=True):
                variable.assign(value)

    def _variables(self, net: keras.Model) -> list:
        return [*net.variables, *net.optimizer.variables]

    def _write_checkpoint(self, net: keras.Model) -> None:
        if self.folder is None:
            return
        best = {f"best{i}": w for i, w in enumerate(self.best_weights)}
        state = {f"state{i}": _copy(v) for i, v in enumerate(self._variables(net))}
        note = json.dumps({"place": self._place, "wait": self._wait, "best": self.best, "history": self.history})
        draft = self.folder / f"{CHECKPOINT}.tmp"
        with draft.open("wb") as stream:
            np.savez(stream, note=np.frombuffer(note.encode(), np.uint8), **best, **state)
        os.replace(draft, self.folder / CHECKPOINT)

    def _read_checkpoint(self) -> None:
        path = self.folder / CHECKPOINT
        if not path.is_file():
            return  # killed before the first epoch ended: start again
        with np.load(path, allow_pickle=False) as stored:
            note = json.loads(stored["note"].tobytes())
            self.best_weights = [stored[f"best{i}"] for i in range(sum(k.startswith("best") for k in stored.files))]
            self._saved = {k: stored[k] for k in stored.files if k.startswith("state")}
        self._place, self._wait, self.best, self.history = tuple(note["place"]), note["wait"], note["best"], note["history"]
        self.model.set_weights(self.best_weights)

    def _restore_variables(self, net: keras.Model) -> None:
        if self._saved is None:
            return
        variables = self._variables(net)
        if len(variables) != len(self._saved):
            raise ValueError(f"The checkpoint holds {len(self._saved)} variables and this net has {len(variables)}. "
                             "Resume with the options it was started with.")
        for i, variable in enumerate(variables):
            variable.assign(self._saved[f"state{i}"])
        self._saved = None


def choose_precision(candidates: dict[str, Callable[[], tuple]], seconds: float = 20.0) -> tuple[str, dict[str, float]]:
    """Time a few training steps under each candidate and return the fastest and every rate.

    Args:
        candidates: policy name -> () -> (compiled net, batch); built one at a time, so that memory holds one.
        seconds: stop timing a candidate after this long.

    Returns:
        The name, and {name: rows a second}.
    """
    rates = {}
    for name, build in candidates.items():
        net, batch = build()
        rows = len(batch[1])
        net.train_on_batch(*batch)  # tracing is not counted
        times = []
        while len(times) < 3 or (sum(times) < seconds / 4 and len(times) < 6):
            start = time.perf_counter()
            net.train_on_batch(*batch)
            times.append(time.perf_counter() - start)
        rates[name] = rows / float(np.median(times))
    return max(rates, key=rates.get), rates


def compiled_for_timing(model: keras.Model, options: TrainOptions, feed: Callable) -> tuple:
    """Return (compiled training net, one batch) for `choose_precision`; its learning rate is zero."""
    logits = model.get_layer("logits").output.shape[-1]
    net = loss_net(model, options, (1.0,) * max(2, logits))
    net.compile(optimizer=StagewiseAdamW(learning_rate=0.0), loss=_mean_of_output, jit_compile=_jit(net))
    return net, next(iter(feed(0)))


def half_precision() -> str | None:
    """Name the mixed policy worth measuring on this machine: bfloat16 on a GPU or on a CPU that has it, else None."""
    if _has_gpu():
        return "mixed_bfloat16"
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as stream:
            return "mixed_bfloat16" if "avx512_bf16" in stream.read() else None
    except OSError:
        return None


def event_writer(folder: str | os.PathLike) -> Callable[[dict], None]:
    """Return a function that writes a history row's numbers as TensorBoard scalars.

    Raises:
        ImportError: TensorBoard is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise ImportError("--tensorboard needs the package tensorboard: pip install 'xray_tf[tensorboard]', or leave the flag out.")
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


def every_gpu():
    """Return the scope in which a net is built and trained: mirrored over the GPUs where TensorFlow sees several, else an empty one."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if len(tf.config.list_physical_devices("GPU")) > 1:
            return tf.distribute.MirroredStrategy().scope()
    return nullcontext()


def _mean_of_output(target, loss):
    return ops.mean(loss)


def _jit(net: keras.Model) -> bool | str:
    """XLA where it helps: not on a CPU under TensorFlow, where it was measured ten times slower; else where every layer can."""
    return False if keras.backend.backend() == "tensorflow" and not _has_gpu() else "auto"


def _has_gpu() -> bool:
    if keras.backend.backend() != "tensorflow":
        return keras.distribution.list_devices("gpu") != []
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _copy(variable) -> np.ndarray:
    """Return a variable's value in memory of its own: on a CPU `numpy()` may be a view, which the next step overwrites."""
    value = np.array(variable.numpy())
    return value.astype(np.float32) if value.dtype.name == "bfloat16" else value
