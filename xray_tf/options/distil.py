"""Options of distilling a trunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xray_tf.options.classifier import LUNGS, WHOLE
from xray_tf.options.declare import Checked, count, option, rate, resizing, share
from xray_tf.registry import BACKBONES


@dataclass(frozen=True)
class DistilOptions(Checked):
    """Distillation: teacher, student and optimiser."""

    headings: ClassVar = {
        "teacher": "Distillation: teacher, student and what they see",
        "epochs": "Training: epochs, optimiser and augmentation",
    }

    teacher: str = option(
        "efficientnet_lite0",
        "the backbone whose ImageNet weights are at hand",
        metavar="NAME",
        known=tuple(BACKBONES),
    )
    backbone: str = option(
        "resnet18", "the backbone that learns", metavar="NAME", known=tuple(BACKBONES)
    )
    image_size: int = option(
        160, "side of the squares it learns from, a multiple of 32", metavar="PIXELS", least=64
    )
    resize: str = resizing()
    region: str = option(LUNGS, "what both see: the lungs, or the whole radiograph", (LUNGS, WHOLE))
    epochs: int = count(10, "epochs", least=1)
    batch_size: int = count(32, "radiographs per step", least=2)
    learning_rate: float = rate(2e-3, "peak learning rate")
    weight_decay: float = rate(0.01, "decoupled weight decay of AdamW")
    augment: str = option(
        "robust", "strength of augmentation", ("none", "light", "strong", "robust")
    )
    swapped: float = share(
        0.5,
        "share of the radiographs of a step that get the surroundings of another around their "
        "lungs, where lungs are what is seen",
    )
    seed: int = count(0, "seed of the split, weights, order and augmentation")
