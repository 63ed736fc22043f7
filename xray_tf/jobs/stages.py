"""The stages of a study: presets as rows of options, and what each stage is, needs and runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from xray_tf.artifact import sha256_of
from xray_tf.jobs import stage_runs as runs
from xray_tf.options import (
    DataOptions,
    DetectOptions,
    EmbedOptions,
    EvaluateOptions,
    ExamineOptions,
    ExplainOptions,
    ModelOptions,
    ReproduceOptions,
    ShiftOptions,
    TrainOptions,
)

UNRECORDED = ("cache", "strict")  # options that do not change a result


@dataclass(frozen=True)
class Recipe:
    """One classifier of a study."""

    model: ModelOptions
    train: TrainOptions

    @property
    def name(self) -> str:
        """Its folder's name, such as binary-resnet101."""
        return f"{self.train.task}-{self.model.backbone}"


@dataclass(frozen=True)
class Preset:
    """One size of a study.

    Attributes:
        recipes: the classifiers.
        words: what it is, in one sentence.
        bootstrap: replicates behind each interval.
        shift: the shift bench's rows and changes.
        embed: the neighbours' options.
        detect: the anomaly detector's.
        explained: test radiographs with a heat map.
        examine: on how many the faithfulness of the maps and the shortcuts are measured, and how.
    """

    recipes: tuple[Recipe, ...]
    words: str
    bootstrap: int = 2000
    shift: ShiftOptions = ShiftOptions(shift=True)
    embed: EmbedOptions = EmbedOptions()
    detect: DetectOptions = DetectOptions(report_on_pneumonia=True, examples=True, detectors="none")  # autoencoder and density, as in the report
    explained: int = 60
    examine: ExamineOptions = ExamineOptions()


_PLAIN = {"augment": "light", "layer_decay": 1.0, "weight_decay": 1e-4, "label_smoothing": 0.0, "ema": 0.0, "keep": "best", "steady_rows": 0}
_REPORT = {**_PLAIN, "method": "head", "epochs": 20, "fine_tune": "none"}  # trunk frozen, last layer, AdamW, warm-up and cosine
_QUICK = {**_PLAIN, "method": "warm", "epochs": 20, "fine_tune": "all", "fine_tune_epochs": 12, "fine_tune_learning_rate": 3e-4}
PRESETS: dict[str, Preset] = {
    "report": Preset(
        (Recipe(ModelOptions(backbone="resnet101", standardize=False), TrainOptions(task="binary", **_REPORT)),
         Recipe(ModelOptions(backbone="resnet18", adapter=True, standardize=False), TrainOptions(task="three-class", **_REPORT)),
         Recipe(ModelOptions(backbone="resnet101", standardize=False), TrainOptions(task="three-class", **_REPORT))),
        "the course report's recipe: ResNet-101, and ResNet-18 behind a convolution; trunk frozen, last layer trained on augmented radiographs",
        shift=ShiftOptions(shift=True, shift_rows=150), examine=ExamineOptions(rows=20, random_rows=10, shortcut_rows=60)),
    "best": Preset(
        tuple(Recipe(ModelOptions(), TrainOptions(task=task)) for task in ("binary", "three-class")),
        "the defaults of train and of detect: the shipped models' recipe in one training, with a central crop",
        detect=DetectOptions(report_on_pneumonia=True, examples=True)),
    "quick": Preset(
        tuple(Recipe(ModelOptions(image_size=96, standardize=False), TrainOptions(task=task, **_QUICK)) for task in ("binary", "three-class")),
        "small pictures and few epochs, to see every stage work within minutes", 300,
        ShiftOptions(shift=True, shift_rows=60, shift_bootstrap=50), EmbedOptions(map_rows=1500),
        DetectOptions(report_on_pneumonia=True, examples=True, detectors="none", image_size=96, epochs=20), 24,
        ExamineOptions(rows=6, steps=5, random_rows=6, depths=3, shortcut_rows=24, bootstrap=200)),
}


@dataclass(frozen=True)
class Study:
    """What every stage of a study may ask.

    Attributes:
        out: the study's folder.
        data, data_options: as given; `source_of` gives what a stage reads.
        options: see `ReproduceOptions`.
        preset: its row, with the recipes as the options change them.
        total: radiographs in the data.
        command_line, progress: as everywhere.
    """

    out: Path
    data: str
    data_options: DataOptions
    options: ReproduceOptions
    preset: Preset
    total: int = 0
    command_line: str = ""
    progress: bool = True

    @property
    def limited(self) -> bool:
        """Whether the study uses only some of the radiographs."""
        return 0 < self.options.rows < self.total

    @property
    def evaluate_options(self) -> EvaluateOptions:
        """Of every stage that scores."""
        return EvaluateOptions(bootstrap=self.preset.bootstrap)

    def source_of(self, task: str) -> tuple[str, DataOptions]:
        """Return (data, its options) for a task: the same rows in the same parts for every stage."""
        options = replace(self.data_options, split=os.fspath(self.out / "split" / f"{task}.csv"))
        return (os.fspath(self.out / "split" / "rows.csv"), replace(options, source="csv")) if self.limited else (self.data, options)

    def notes(self, recipe: Recipe | None = None) -> list[str]:
        """Return the caveats that every page of this study must show."""
        said = []
        if self.limited:
            said.append(f"Row-limited: {self.options.rows:,} of {self.total:,} radiographs, drawn evenly over the classes. The figures show that the recipe "
                        "runs, not what it reaches.")
        if self.data.split(":")[0] == "phantom":
            said.append("Synthetic radiographs: no patient is behind them, and the figures say nothing about real ones.")
        weights = recipe.model.weights if recipe else "imagenet"
        if weights in (None, "none"):
            frozen = " and stayed frozen" if recipe.train.fine_tune == "none" else ""
            said.append(f"The trunk started from random weights{frozen}: the figures are not those of a pretrained net.")
        elif weights != "imagenet":
            said.append(f"The trunk's weights came from the file {Path(weights).name}, sha256 {sha256_of(weights)[:16]}.")
        if self.options.epochs:
            said.append(f"Trained for {self.options.epochs} epochs a phase, which is not the preset's number.")
        return said


@dataclass(frozen=True)
class Stage:
    """One step of a study.

    Attributes:
        name: unique, such as train-binary-resnet101.
        kind: audit, split, train, embed, shift, explain, ...: what `--only` takes as well, and what the page sorts by.
        folder: what it makes, below the study's.
        run: called with no argument.
        options: whatever decides the result beside the data; JSON-able.
        after: names of the stages whose results it reads.
        recipe: of the classifier it is about, if it is about one.
    """

    name: str
    kind: str
    folder: str
    run: Callable[[], None]
    options: dict[str, Any] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    recipe: Recipe | None = None


def make_preset(options: ReproduceOptions) -> Preset:
    """Return the preset's row as the options change it.

    Raises:
        ValueError: weights named for a backbone that the study does not have.
    """
    preset = PRESETS[options.preset]
    recipes: dict[str, Recipe] = {}
    for recipe in preset.recipes:
        if options.backbone:
            recipe = replace(recipe, model=replace(recipe.model, backbone=options.backbone, adapter=False))
        if options.epochs:
            recipe = replace(recipe, train=replace(recipe.train, epochs=options.epochs, fine_tune_epochs=options.epochs))
        recipe = replace(recipe, train=replace(recipe.train, seed=options.seed))
        recipes.setdefault(recipe.name, recipe)
    used = sorted({r.model.backbone for r in recipes.values()})
    given = _weights_of(options.weights, used)
    detect = replace(preset.detect, epochs=options.epochs or preset.detect.epochs, seed=options.seed)
    if options.rows:
        preset = replace(preset, **_for_few(preset, options.rows))
    weighed = (replace(r, model=replace(r.model, weights=given.get(r.model.backbone, r.model.weights))) for r in recipes.values())
    return replace(preset, detect=detect, recipes=tuple(weighed))


def _for_few(preset: Preset, rows: int) -> dict[str, Any]:
    """Return the measuring stages' options cut down to what a trial on `rows` radiographs is worth."""
    few, more, examine = max(2, rows // 20), max(6, rows // 10), preset.examine
    return {"shift": replace(preset.shift, shift_rows=min(preset.shift.shift_rows, more)),
            "examine": replace(examine, rows=min(examine.rows, few), random_rows=min(examine.random_rows, few), steps=min(examine.steps, 5),
                               depths=min(examine.depths, 3), shortcut_rows=min(examine.shortcut_rows, more))}


def _weights_of(text: str | None, used: list[str]) -> dict[str, str]:
    """Read `--weights`: one value for every backbone, or NAME=VALUE, comma-separated."""
    if not text:
        return {}
    if text in ("imagenet", "none") or Path(text).is_file() or "=" not in text:
        return dict.fromkeys(used, text)
    given = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name.strip() not in used or not value:
            raise ValueError(f"weights must be imagenet, none, a file, or NAME=VALUE for the backbones of this study ({', '.join(used)}). Received: {part!r}")
        given[name.strip()] = value
    return given


def stages_of(study: Study) -> list[Stage]:
    """Return a study's stages in the order in which they run."""
    seed = study.options.seed
    data = _recorded(study.data_options)
    stages = [Stage("audit", "audit", "audit", lambda: runs.run_audit(study), {k: data[k] for k in ("source", "patient_key")}),
              Stage("split", "split", "split", lambda: runs.run_split(study), {**data, "seed": seed, "rows": study.options.rows if study.limited else 0,
                                                                               "tasks": sorted({r.train.task for r in study.preset.recipes})})]
    for recipe in study.preset.recipes:
        weights = recipe.model.weights
        digest = {"weights_sha256": sha256_of(weights)} if weights not in (None, "none", "imagenet") and Path(weights).is_file() else {}
        stages.append(Stage(f"train-{recipe.name}", "train", f"models/{recipe.name}", lambda r=recipe: runs.run_train(study, r),
                            {**_recorded(recipe.model, recipe.train, study.evaluate_options), **digest} | _unused(recipe.train), ("split",), recipe))
    stages.append(Stage("detector", "detector", "detector", lambda: runs.run_detector(study),
                        _recorded(study.preset.detect, study.evaluate_options), ("split",)))
    for recipe in study.preset.recipes:
        stages += _about(study, recipe)
    return stages


def _unused(train: TrainOptions) -> dict[str, None]:
    """Return the options of a phase that is not run, which decide nothing."""
    return {k: None for k in asdict(train) if k.startswith("fine_tune_") and train.fine_tune == "none"}


def _about(study: Study, recipe: Recipe) -> list[Stage]:
    """What is asked of one trained classifier."""
    name, preset, after = recipe.name, study.preset, (f"train-{recipe.name}",)
    return [
        Stage(f"embed-{name}", "embed", f"embeddings/{name}", lambda: runs.run_embed(study, recipe),
              _recorded(preset.embed, study.evaluate_options), after, recipe),
        Stage(f"shift-{name}", "shift", f"shift/{name}", lambda: runs.run_shift(study, recipe),
              _recorded(preset.shift, study.evaluate_options), after, recipe),
        Stage(f"explain-{name}", "explain", f"explanations/{name}", lambda: runs.run_explain(study, recipe),
              {**_recorded(ExplainOptions()), "explained": preset.explained, "seed": study.options.seed}, after, recipe),
        Stage(f"examine-{name}", "examine", f"examinations/{name}", lambda: runs.run_examine(study, recipe), _recorded(preset.examine), after, recipe),
    ]


def _recorded(*options: Any) -> dict[str, Any]:
    return {k: v for o in options for k, v in asdict(o).items() if k not in UNRECORDED}
