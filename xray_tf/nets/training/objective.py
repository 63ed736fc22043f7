"""What is minimised and by which steps: the loss of each row, the net that gives it, which layers
learn and how fast.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from xray_tf.nets.classifier import derive
from xray_tf.nets.training.augment import RandomAugment
from xray_tf.nets.training.surroundings import OtherSurroundings
from xray_tf.nets.trunks.stages import trunk_layers
from xray_tf.options import TrainOptions


class Objective(keras.layers.Layer):
    """The loss of each row: class-weighted cross-entropy on logits, with label smoothing (Szegedy
    et al. 2016, section 7).

    Takes logits (B, L) and targets (B, L), L = 1 for a one-logit head; gives (B, 1) float32.
    """

    def __init__(self, class_weights: tuple[float, ...], label_smoothing: float = 0.0, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.class_weights, self.label_smoothing = tuple(class_weights), label_smoothing

    def call(self, logits, targets):
        if logits.shape[-1] == 1:
            logits = ops.concatenate([ops.zeros_like(logits), logits], -1)
            targets = ops.concatenate([1 - targets, targets], -1)
        weights = ops.convert_to_tensor(self.class_weights, targets.dtype)
        weight = ops.sum(targets * weights, axis=-1, keepdims=True)
        smooth = targets * (1 - self.label_smoothing) + self.label_smoothing / logits.shape[-1]
        return -weight * ops.sum(smooth * ops.log_softmax(logits, axis=-1), axis=-1, keepdims=True)

    def compute_output_shape(self, logits_shape, targets_shape):
        return (logits_shape[0], 1)

    def get_config(self):
        own = {"class_weights": self.class_weights, "label_smoothing": self.label_smoothing}
        return {**super().get_config(), **own}


class StagewiseAdamW(keras.optimizers.AdamW):
    """AdamW (Loshchilov & Hutter 2019, algorithm 2) with one learning-rate factor a variable.

    A variable decays where it is updated, at the rate of the step. Keras decays all of them first
    and asks the schedule for the rate once for each: half of the operations of a training step.

    Args:
        factors: variable path -> factor; 1 where it has none.
        spared: names of variables that do not decay.
    """

    def __init__(
        self,
        factors: dict[str, float] | None = None,
        spared: tuple[str, ...] = ("bias", "gamma", "beta"),
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.factors = factors or {}
        if spared:
            self.exclude_from_weight_decay(var_names=list(spared))

    def build(self, variables):
        super().build(variables)
        self._factor_list = [self.factors.get(v.path, 1.0) for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        if self._use_weight_decay(variable):
            rate = ops.cast(learning_rate, variable.dtype)
            decay = ops.cast(self.weight_decay, variable.dtype)
            self.assign_sub(variable, variable * decay * rate)
        factor = self._factor_list[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * factor)

    def _apply_weight_decay(self, variables):
        """Do nothing: `update_step` does it."""

    def finalize_variable_values(self, var_list):
        """Do nothing: `fit` calls this when it ends, here after every epoch, and the average must
        not replace what is being trained.
        """

    def put_averages(self, var_list):
        """Set the variables to their moving averages."""
        super().finalize_variable_values(var_list)


def targets_of(labels: np.ndarray, class_count: int) -> np.ndarray:
    """Return labels (N,) int as targets (N, 1) float32 for two classes, one-hot (N, K) for more."""
    one_hot = np.eye(class_count, dtype=np.float32)[np.asarray(labels)]
    return one_hot[:, 1:] if class_count == 2 else one_hot


def class_weights_of(labels: np.ndarray, class_count: int, balanced: bool) -> tuple[float, ...]:
    """Return one weight a class: inverse frequency, mean 1 over the rows, or ones."""
    if not balanced:
        return (1.0,) * class_count
    counts = np.bincount(labels, minlength=class_count)
    return tuple(float(w) for w in len(labels) / (class_count * counts))


def loss_net(
    model: keras.Model, options: TrainOptions, class_weights: tuple[float, ...]
) -> keras.Model:
    """Return (image, target) -> loss a row, with augmentation before `model`, which it
    shares and does not change.
    """
    logits = derive(model, "logits")
    image = keras.Input(model.inputs[0].shape[1:], name="image")
    target = keras.Input(logits.output.shape[1:], name="target")
    x, y = image, target
    if "window" in {layer.name for layer in model.layers}:
        around = OtherSurroundings(
            options.swapped, options.emptied, options.seed + 2, name="surroundings", dtype="float32"
        )
        x, y = around(x, *derive(model, "window", "lungs")(x), y)
    x = RandomAugment(options.augment, options.seed, name="augment", dtype="float32")(x)
    loss = Objective(class_weights, options.label_smoothing, name="objective")(logits(x), y)
    return keras.Model([image, target], loss)


def vector_loss_net(
    head: keras.Model, options: TrainOptions, class_weights: tuple[float, ...]
) -> keras.Model:
    """Return (embedding, target) -> loss a row, for training a head on stored vectors."""
    vector = keras.Input(head.inputs[0].shape[1:], name="vector")
    target = keras.Input(head.output.shape[1:], name="target")
    objective = Objective(class_weights, options.label_smoothing, name="objective")
    return keras.Model([vector, target], objective(head(vector), target))


def open_stages(model: keras.Model, backbone: str, stages: str | int, pretrained: bool) -> None:
    """Let the head and the last `stages` of the trunk learn; batch norm of a pretrained trunk stays
    as it is.

    Args:
        stages: `none`, `all`, or how many from the end.

    Raises:
        ValueError: anything else, or more stages than the trunk has.
    """
    groups = trunk_layers(model, backbone)
    count = {"none": 0, "all": len(groups)}.get(stages)
    if count is None:
        if not str(stages).isdigit() or not int(stages) <= len(groups):
            raise ValueError(
                f"fine_tune must be none, all, or a number of stages from 0 to {len(groups)} for "
                f"{backbone}. Received: fine_tune={stages!r}"
            )
        count = int(stages)
    for position, group in enumerate(groups):
        for layer in group:
            frozen_norm = pretrained and isinstance(layer, keras.layers.BatchNormalization)
            layer.trainable = position >= len(groups) - count and not frozen_norm


def stage_factors(model: keras.Model, backbone: str, decay: float) -> dict[str, float]:
    """Return variable path -> decay ** (number of stages between it and the head)."""
    groups = trunk_layers(model, backbone)
    return {
        v.path: decay ** (len(groups) - position)
        for position, group in enumerate(groups)
        for layer in group
        for v in layer.variables
    }


def mean_of_output(target, loss):
    return ops.mean(loss)
