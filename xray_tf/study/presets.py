"""Define the presets of a study: which recipes, and at which size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xray_tf.options import (
    DetectOptions,
    EmbedOptions,
    ExamineOptions,
    ModelOptions,
    ReproduceOptions,
    ShiftOptions,
    TrainOptions,
)


@dataclass(frozen=True)
class Recipe:
    """One classifier of a study."""

    model: ModelOptions
    train: TrainOptions

    @property
    def name(self) -> str:
        """The name of its folder, such as binary-resnet101."""
        return f"{self.train.task}-{self.model.backbone}"


@dataclass(frozen=True)
class Preset:
    """One size of a study.

    Attributes:
        recipes: the classifiers.
        words: a description in one sentence.
        bootstrap: bootstrap replicates behind each interval.
        shift: rows and changes of the shift bench.
        embed: options of the nearest neighbours.
        detect: options of the anomaly detector.
        explained: the number of test radiographs with a heat map.
        examine: how faithfulness and shortcuts are measured, and on how many radiographs.
    """

    recipes: tuple[Recipe, ...]
    words: str
    bootstrap: int = 2000
    shift: ShiftOptions = ShiftOptions(shift=True)
    embed: EmbedOptions = EmbedOptions()
    # autoencoder and density, as in the report
    detect: DetectOptions = DetectOptions(report_on_pneumonia=True, examples=True, detectors="none")
    explained: int = 60
    examine: ExamineOptions = ExamineOptions()


_PLAIN = {
    "augment": "light",
    "layer_decay": 1.0,
    "weight_decay": 1e-4,
    "label_smoothing": 0.0,
    "ema": 0.0,
    "keep": "best",
    "steady_rows": 0,
}


# frozen backbone, last layer, AdamW, warm-up and cosine
_REPORT = {**_PLAIN, "method": "head", "epochs": 20, "fine_tune": "none"}


_QUICK = {
    **_PLAIN,
    "method": "warm",
    "epochs": 20,
    "fine_tune": "all",
    "fine_tune_epochs": 12,
    "fine_tune_learning_rate": 3e-4,
}


PRESETS: dict[str, Preset] = {
    "report": Preset(
        (
            Recipe(
                ModelOptions(backbone="resnet101", standardize=False),
                TrainOptions(task="binary", **_REPORT),
            ),
            Recipe(
                ModelOptions(backbone="resnet18", adapter=True, standardize=False),
                TrainOptions(task="three-class", **_REPORT),
            ),
            Recipe(
                ModelOptions(backbone="resnet101", standardize=False),
                TrainOptions(task="three-class", **_REPORT),
            ),
        ),
        "the course report's recipe: ResNet-101, and ResNet-18 behind a convolution; the backbone "
        "is frozen and the last layer trained on augmented radiographs",
        shift=ShiftOptions(shift=True, shift_rows=150),
        examine=ExamineOptions(rows=20, random_rows=10, shortcut_rows=60),
    ),
    "best": Preset(
        tuple(
            Recipe(ModelOptions(), TrainOptions(task=task)) for task in ("binary", "three-class")
        ),
        "the defaults of train and detect: the recipe of the shipped models in one training, with "
        "a central crop",
        detect=DetectOptions(report_on_pneumonia=True, examples=True),
    ),
    "quick": Preset(
        tuple(
            Recipe(
                ModelOptions(image_size=96, standardize=False), TrainOptions(task=task, **_QUICK)
            )
            for task in ("binary", "three-class")
        ),
        "small images and few epochs, to see every stage work within minutes",
        300,
        ShiftOptions(shift=True, shift_rows=60, shift_bootstrap=50),
        EmbedOptions(map_rows=1500),
        DetectOptions(
            report_on_pneumonia=True, examples=True, detectors="none", image_size=96, epochs=20
        ),
        24,
        ExamineOptions(rows=6, steps=5, random_rows=6, depths=3, shortcut_rows=24, bootstrap=200),
    ),
}
PRESETS["demo"] = replace(
    PRESETS["quick"],
    recipes=PRESETS["quick"].recipes[1:],
    words="small images, few epochs and one classifier, to see every stage work within minutes",
    shift=ShiftOptions(shift=True, shift_rows=24, shift_bootstrap=50),
    explained=24,
    examine=ExamineOptions(
        rows=4, steps=5, random_rows=4, depths=3, shortcut_rows=12, bootstrap=100
    ),
)


def make_preset(options: ReproduceOptions) -> Preset:
    """Return the preset's row with the options applied.

    Raises:
        ValueError: weights are given for a backbone that the study does not use, or the image size
            is no multiple of 32, which the detector needs.
    """
    if options.image_size % 32:
        raise ValueError(
            f"image_size must be a multiple of 32. Received: image_size={options.image_size}"
        )
    preset = PRESETS[options.preset]
    recipes: dict[str, Recipe] = {}
    for recipe in preset.recipes:
        if options.backbone:
            recipe = replace(
                recipe, model=replace(recipe.model, backbone=options.backbone, adapter=False)
            )
        if options.epochs:
            recipe = replace(
                recipe,
                train=replace(recipe.train, epochs=options.epochs, fine_tune_epochs=options.epochs),
            )
        if options.image_size:
            recipe = replace(recipe, model=replace(recipe.model, image_size=options.image_size))
        recipe = replace(recipe, train=replace(recipe.train, seed=options.seed))
        recipes.setdefault(recipe.name, recipe)
    used = sorted({r.model.backbone for r in recipes.values()})
    given = _weights_of(options.weights, used)
    detect = replace(
        preset.detect,
        epochs=options.epochs or preset.detect.epochs,
        image_size=options.image_size or preset.detect.image_size,
        seed=options.seed,
    )
    if options.rows:
        preset = replace(preset, **_for_few(preset, options.rows))
    weighed = (
        replace(r, model=replace(r.model, weights=given.get(r.model.backbone, r.model.weights)))
        for r in recipes.values()
    )
    return replace(preset, detect=detect, recipes=tuple(weighed))


def _for_few(preset: Preset, rows: int) -> dict[str, Any]:
    """Return options of the measuring stages, reduced to what a trial on `rows` radiographs
    deserves.
    """
    few, more, examine = max(2, rows // 20), max(6, rows // 10), preset.examine
    return {
        "shift": replace(preset.shift, shift_rows=min(preset.shift.shift_rows, more)),
        "examine": replace(
            examine,
            rows=min(examine.rows, few),
            random_rows=min(examine.random_rows, few),
            steps=min(examine.steps, 5),
            depths=min(examine.depths, 3),
            shortcut_rows=min(examine.shortcut_rows, more),
        ),
    }


def _weights_of(text: str | None, used: list[str]) -> dict[str, str]:
    """Parse `--weights`: one value for every backbone, or NAME=VALUE,..."""
    if not text:
        return {}
    if text in ("imagenet", "none") or Path(text).is_file() or "=" not in text:
        return dict.fromkeys(used, text)
    given = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name.strip() not in used or not value:
            raise ValueError(
                "weights must be imagenet, none, a file, or NAME=VALUE for the "
                f"backbones of this study ({', '.join(used)}). Received: {part!r}"
            )
        given[name.strip()] = value
    return given
