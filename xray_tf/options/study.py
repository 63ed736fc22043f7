"""Options of the whole study."""

from __future__ import annotations

from dataclasses import dataclass

from xray_tf.options.declare import Checked, count, option
from xray_tf.registry import BACKBONES


@dataclass(frozen=True)
class ReproduceOptions(Checked):
    """Study: which recipe, and how large."""

    preset: str = option(
        "report",
        "report: the course report's recipe; best: the defaults of train and detect; "
        "quick: a few minutes on phantoms; demo: one classifier of quick, measured less",
        ("report", "best", "quick", "demo"),
    )
    backbone: str | None = option(
        None,
        "one backbone for every classifier instead of the preset's",
        metavar="NAME",
        known=tuple(BACKBONES),
    )
    weights: str | None = option(
        None,
        "imagenet, none, a file, or NAME=VALUE,... for each backbone, instead of the preset's",
        metavar="WHICH",
    )
    rows: int = count(
        0,
        "use only this many radiographs, the classes as even as possible; every page then says so "
        "(0: all)",
    )
    epochs: int = count(0, "epochs of every training phase instead of the preset's")
    image_size: int = option(
        0,
        "side of the squares that every network sees, a multiple of 32, instead of the preset's",
        metavar="PIXELS",
        least=0,
    )
    seed: int = count(0, "seed of the radiographs drawn, the split and the trainings")
