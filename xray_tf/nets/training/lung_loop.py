"""Train the lung segmenter: cross-entropy and soft Dice of the lungs, cross-entropy of the score,
one cosine, averaged weights, resumed from a checkpoint after a kill.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
from keras import ops
from tensorflow.compat.v1.nn import fused_batch_norm

from xray_tf.data.chest.lung_lessons import Lesson
from xray_tf.nets.lungs import SIDE, LungNetShape, build_lung_net, fold_norms
from xray_tf.nets.training.checkpoint import read_checkpoint, refuse_damaged, write_checkpoint
from xray_tf.nets.training.loop import GRADIENT_NORM
from xray_tf.nets.training.objective import StagewiseAdamW, mean_of_output
from xray_tf.options.lungs import TrainLungsOptions

NORM_MOMENTUM = 0.98
DICE_SMOOTHING = 20.0  # cells
CHEST_WEIGHT = 0.2
FIRST_RATE, LAST_RATE = 1e-5, 0.01  # the rate the warm-up starts at; the last, a share of the peak
AVERAGED_EVERY = 4  # steps


class FusedBatchNorm(keras.layers.BatchNormalization):
    """Batch normalisation that trains with TensorFlow's fused kernel.

    Keras's chain of operations takes four times as long on a CPU: half of this net's training step.
    Only nets in training hold this layer; a finished one is folded.
    """

    def call(self, inputs, training=None, mask=None):
        if not training:
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance = fused_batch_norm(
            inputs, self.gamma, self.beta, epsilon=self.epsilon, is_training=True
        )
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + now * (1 - self.momentum))
        return outputs


def norm_of(name: str) -> FusedBatchNorm:
    return FusedBatchNorm(momentum=NORM_MOMENTUM, name=name)


def lung_loss(targets, logits):
    """Return cross-entropy + soft Dice loss (B,) of lung logits (B, H, W, 1).

    Args:
        targets: (B, H, W, 2) float32: share of lung in [0, 1], and 1 where it is known, else 0.
            Pictures of which nothing is known cost nothing.
    """
    lung, known = targets[..., :1], targets[..., 1:]
    count = ops.sum(known, (1, 2, 3))
    entropy = ops.sum(known * cross_entropy(lung, logits), (1, 2, 3)) / ops.maximum(count, 1.0)
    probability = ops.sigmoid(logits)
    both = ops.sum(known * probability * lung, (1, 2, 3))
    sizes = ops.sum(known * (probability + lung), (1, 2, 3))
    dice = (2 * both + DICE_SMOOTHING) / (sizes + DICE_SMOOTHING)
    return ops.where(count > 0, entropy + 1 - dice, 0.0)


def chest_loss(targets, logits):
    """Return cross-entropy (B,) of chest logits (B, 1), weighted against the lungs' loss."""
    return CHEST_WEIGHT * cross_entropy(targets[:, 0], logits[:, 0])


def cross_entropy(targets, logits):
    return ops.maximum(logits, 0) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits)))


def _loss_net(net: keras.Model) -> keras.Model:
    """Return (image, lungs, chest) -> loss a row.

    One output: Keras makes a metric of each of several losses, in the middle of tracing the
    training step, which is then traced again.
    """
    lung_logits, chest_logit = (
        net.get_layer(name).output for name in ("lung_logits_coarse", "chest_logit")
    )
    lungs = keras.Input((*lung_logits.shape[1:3], 2), name="lungs")
    chest = keras.Input((1,), name="chest")
    loss = lung_loss(lungs, lung_logits) + chest_loss(chest, chest_logit)
    return keras.Model([net.inputs[0], lungs, chest], loss)


class LungTraining:
    """One training of the segmenter, with its state on disk.

    Args:
        options: how.
        steps: batches an epoch.
        folder: where the checkpoint lies between epochs.
        report: called with one dict an epoch (the rows of history.csv).
        shape: of the net; the shipped one when None.

    Attributes:
        history: one dict an epoch.
    """

    def __init__(
        self,
        options: TrainLungsOptions,
        steps: int,
        folder: Path,
        report: Callable[[dict], None] = lambda row: None,
        shape: LungNetShape | None = None,
    ):
        self.options, self.steps, self.folder, self.report = options, steps, folder, report
        self.shape, self.history = shape, []
        keras.utils.set_random_seed(options.seed)
        self.net = build_lung_net(SIDE, shape, options.seed, norm_of)
        self.learner = _loss_net(self.net)
        self.learner.compile(self._optimizer(), loss=mean_of_output, jit_compile=False)
        self.learner.optimizer.build(self.learner.trainable_variables)
        self.averaged = [np.array(w) for w in self.learner.get_weights()]
        self._read_checkpoint()

    def _optimizer(self) -> keras.optimizers.Optimizer:
        how = self.options
        rate = keras.optimizers.schedules.CosineDecay(
            FIRST_RATE,
            max(1, self.steps * (how.epochs - 1)),
            alpha=LAST_RATE,
            warmup_target=how.learning_rate,
            warmup_steps=self.steps,
        )
        return StagewiseAdamW(
            spared=(), learning_rate=rate, weight_decay=how.weight_decay, clipnorm=GRADIENT_NORM
        )

    def run(self, epoch_of: Callable[[int], Iterator[Lesson]]) -> keras.Model:
        """Run the epochs that are left, and return the finished net for images of 224 pixels."""
        for epoch in range(len(self.history), self.options.epochs):
            self._epoch(epoch, epoch_of(epoch))
        self.learner.set_weights(self.averaged)
        return fold_norms(self.net, 2 * SIDE, self.shape)

    def _epoch(self, epoch: int, lessons: Iterator[Lesson]) -> None:
        start, losses = time.perf_counter(), []
        for step, lesson in enumerate(lessons):
            batch = [lesson.images, lesson.lungs, lesson.chests]
            self.learner.reset_metrics()  # or Keras 3.10 gives the mean of all steps so far
            losses.append(float(self.learner.train_on_batch(batch, lesson.chests)))
            done = epoch * self.steps + step
            if (done + 1) % AVERAGED_EVERY == 0:
                self._average(done)
        row = {
            "phase": "lungs",
            "epoch": epoch + 1,
            "loss": float(np.mean(losses)),
            "learning_rate": float(self.learner.optimizer.learning_rate),
            "seconds": round(time.perf_counter() - start, 2),
        }
        self.history.append(row)
        self._write_checkpoint()
        self.report(row)

    def _average(self, step: int) -> None:
        """Move the averaged weights towards the present ones; faster in the first steps."""
        kept = min(self.options.ema, (1 + step) / (10 + step))
        for mean, now in zip(self.averaged, self.learner.get_weights(), strict=True):
            mean *= kept
            mean += (1 - kept) * now

    def _write_checkpoint(self) -> None:
        write_checkpoint(
            self.folder,
            self.history,
            weight=self.learner.get_weights(),
            averaged=self.averaged,
            optimizer=[np.array(v) for v in self.learner.optimizer.variables],
        )

    def _read_checkpoint(self) -> None:
        with refuse_damaged(self.folder):
            found = read_checkpoint(self.folder, "weight", "averaged", "optimizer")
            if found is None:
                return
            self.history, weights, self.averaged, optimizer = found
            self.learner.set_weights(weights)
            for variable, value in zip(self.learner.optimizer.variables, optimizer, strict=True):
                variable.assign(value)
