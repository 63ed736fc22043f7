"""Options of training, evaluating and stress-testing a classifier."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from xray_tf.options.declare import Checked, count, option, rate, resizing, share
from xray_tf.registry import BACKBONES, TASKS

LUNGS, WHOLE = "lungs", "whole"  # what a classifier may see
SUM = "sum"  # the method that trains nothing


@dataclass(frozen=True)
class ModelOptions(Checked):
    """Network: backbone, weights and input."""

    backbone: str = option(
        "efficientnet_lite0",
        "efficientnet_lite0, resnet18, resnet50, resnet101, or a model in keras.applications",
        metavar="NAME",
        known=tuple(BACKBONES),
    )
    weights: str | None = option(
        "imagenet", "imagenet, none, or the path of a weights file", metavar="WHICH"
    )
    image_size: int = option(
        224, "side of the square that the network sees, in pixels", metavar="PIXELS", least=32
    )
    resize: str = resizing()
    region: str = option(
        LUNGS,
        "what the network sees: the lungs, which a segmenter inside it finds, or the whole "
        "radiograph",
        (LUNGS, WHOLE),
    )
    adapter: bool = option(
        False, "put a learnable convolution between the grey channel and the backbone"
    )
    standardize: bool = option(
        True, "standardise each image to mean 0 and variance 1 inside the graph; lungs always are"
    )
    dropout: float = option(0.2, "dropout rate on the embedding", metavar="RATE", least=0, below=1)


@dataclass(frozen=True)
class TrainOptions(Checked):
    """Training: task, phases, optimiser and augmentation.

    The defaults are the recipe that docs/recipe.md explains.
    """

    headings: ClassVar = {
        "task": "Training: task and phases",
        "batch_size": "Optimiser: steps, learning rates and the loss",
        "augment": "Augmentation: how radiographs are changed for training",
        "ema": "Result: weights kept, default decision, precision and seed",
    }

    task: str = option("binary", "the classes to tell apart", tuple(TASKS))
    method: str = option(
        "warm",
        "how the last layer is trained first: on stored features (warm), with augmentation (head), "
        "or not at all (none); sum trains nothing and adds up the sick classes of the classifier "
        "in --weights",
        ("warm", "head", "none", SUM),
    )
    epochs: int = count(20, "epochs of this first phase", least=1)
    fine_tune: str = option(
        "all",
        "how many backbone stages, from the last one, to train after that: all, none or a number",
        metavar="STAGES",
    )
    fine_tune_epochs: int = count(14, "epochs of fine-tuning", least=1)
    batch_size: int = count(32, "radiographs per step", least=1)
    learning_rate: float = rate(1e-3, "peak learning rate of the first phase")
    fine_tune_learning_rate: float = rate(4e-4, "peak learning rate of fine-tuning")
    layer_decay: float = option(
        0.9,
        "factor on the learning rate from each stage to the one before it",
        metavar="FACTOR",
        least=0,
    )
    weight_decay: float = rate(0.01, "decoupled weight decay of AdamW")
    label_smoothing: float = share(0.05, "share of each label that is spread over all classes")
    class_weight: bool = option(True, "weight classes inversely to their frequency")
    schedule: str = option(
        "cosine",
        "learning rate: warm-up and cosine decay, or reduced when the validation loss stalls",
        ("cosine", "plateau"),
    )
    warmup: float = share(0.1, "share of the steps spent on warm-up")
    augment: str = option(
        "robust",
        "strength of augmentation; robust also adds borders, grey rectangles and shrinking",
        ("none", "light", "strong", "robust"),
    )
    swapped: float = share(
        0.5,
        "share of the radiographs of a step that get the surroundings of another around their "
        "lungs, where the network sees lungs",
    )
    emptied: float = share(
        0.2,
        "share of the radiographs of a step whose lungs are filled with grey and speak for no "
        "class, where the network sees lungs",
    )
    ema: float = option(
        0.995,
        "momentum of the moving average of the weights; 0 switches it off",
        metavar="MOMENTUM",
        least=0,
        below=1,
    )
    keep: str = option(
        "last",
        "the epoch whose weights are saved: the last, or the one with the lowest validation loss",
        ("best", "last"),
    )
    steady_rows: int = count(
        300,
        "validation radiographs, put under graded changes, on which the default operating point "
        "`steady` is fitted; 0: the default is `balanced`, fitted on unchanged radiographs",
    )
    precision: str = option(
        "auto",
        "auto times a few steps of float32 and mixed precision, and takes the faster",
        ("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    )
    seed: int = count(0, "seed of the split, weights, order and augmentation")


@dataclass(frozen=True)
class EvaluateOptions(Checked):
    """Evaluation: forward passes and confidence intervals."""

    forward_batch_size: int = count(64, "radiographs per forward pass", least=1)
    bootstrap: int = count(2000, "bootstrap replicates behind each 95 % interval")
    bootstrap_seed: int = count(0, "seed of the bootstrap")


@dataclass(frozen=True)
class PageOptions(Checked):
    """Page: what report.html shows."""

    mistakes: int = count(
        12,
        "surest mistakes that the page shows with small pictures of the radiographs; 0: no "
        "radiograph is on the page",
    )


@dataclass(frozen=True)
class PredictOptions(Checked):
    """Answers: how files are predicted."""

    batch_size: int = count(64, "radiographs per forward pass", least=1)
    operating_point: str | None = option(
        None, "the operating point that decides (default: the model's own default)", metavar="NAME"
    )
    strict: bool = option(False, "stop at the first file that cannot be read")


@dataclass(frozen=True)
class ShiftOptions(Checked):
    """Shift bench: the same radiographs under graded changes."""

    shift: bool = option(
        False, "also score the radiographs under graded changes (shift.json, shift.csv, shift.png)"
    )
    stresses: str = option(
        "all",
        "the changes: all, or a list of names and groups (intensity, detail, geometry, additions)",
        metavar="NAME,...",
    )
    shift_rows: int = count(
        300, "radiographs to change, drawn with the classes as even as possible; 0: all"
    )
    shift_bootstrap: int = count(200, "bootstrap replicates behind each interval of the bench")
    shift_seed: int = count(0, "seed of the radiographs drawn, the changes and their bootstrap")


def is_pretrained(weights: str | None) -> bool:
    """Tell whether a backbone with these `weights` starts from learned ones (its batch
    normalisation is then frozen); the flag's `none` counts as None.
    """
    return weights not in (None, "none")


def weights_file(weights: str | None) -> Path | None:
    """Return the file that a `weights` option names; None for `imagenet` and random weights."""
    return None if weights == "imagenet" or not is_pretrained(weights) else Path(weights)
