"""Define the stages of a study: what each one is, needs and runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from xray_tf.artifact import sha256_of
from xray_tf.jobs.run import UNRECORDED
from xray_tf.options import (
    ExplainOptions,
    TrainOptions,
)
from xray_tf.study import runs
from xray_tf.study.presets import Recipe
from xray_tf.study.study import Study


@dataclass(frozen=True)
class Stage:
    """One step of a study.

    Attributes:
        name: unique, such as train-binary-resnet101.
        kind: audit, split, train, embed, shift, explain, ...; `--only` accepts it too, and the
            page is sorted by it.
        folder: the folder it makes, relative to the study's.
        run: a function without arguments.
        options: everything besides the data that decides the result; JSON-serialisable.
        after: names of the stages whose results it reads.
        recipe: the recipe of its classifier, if it has one.
    """

    name: str
    kind: str
    folder: str
    run: Callable[[], None]
    options: dict[str, Any] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    recipe: Recipe | None = None


def stages_of(study: Study) -> list[Stage]:
    """Return the stages of a study in the order in which they run."""
    data, preset = _recorded(study.data_options), study.preset
    split = {
        **data,
        "seed": study.options.seed,
        "rows": study.options.rows if study.limited else 0,
        "tasks": list(study.tasks),
    }
    split |= _contents("split", study.data_options.split)
    seen = {k: data[k] for k in ("source", "patient_key")}
    detector = _recorded(preset.detect, study.evaluate_options)
    return [
        Stage("audit", "audit", "audit", partial(runs.run_audit, study), seen),
        Stage("split", "split", "split", partial(runs.run_split, study), split),
        *(_training(study, recipe) for recipe in preset.recipes),
        Stage(
            "detector",
            "detector",
            "detector",
            partial(runs.run_detector, study),
            detector,
            ("split",),
        ),
        *(stage for recipe in preset.recipes for stage in _about(study, recipe)),
    ]


def _training(study: Study, recipe: Recipe) -> Stage:
    options = _recorded(recipe.model, recipe.train, study.evaluate_options)
    options |= _contents("weights", recipe.model.weights) | _unused(recipe.train)
    run = partial(runs.run_train, study, recipe)
    folder = f"models/{recipe.name}"
    return Stage(f"train-{recipe.name}", "train", folder, run, options, ("split",), recipe)


def _contents(option: str, given: str | os.PathLike | None) -> dict[str, str]:
    """Return the hash of the file that an option names, if it names one."""
    named = given is not None and Path(given).is_file()
    return {f"{option}_sha256": sha256_of(given)} if named else {}


def _unused(train: TrainOptions) -> dict[str, None]:
    """Return the options of a phase that does not run, which have no effect."""
    return {
        k: None for k in asdict(train) if k.startswith("fine_tune_") and train.fine_tune == "none"
    }


def _about(study: Study, recipe: Recipe) -> list[Stage]:
    """Return the stages that examine one trained classifier."""
    name, preset = recipe.name, study.preset
    drawn = {"explained": preset.explained, "seed": study.options.seed}
    rows = (
        ("embed", "embeddings", runs.run_embed, _recorded(preset.embed, study.evaluate_options)),
        ("shift", "shift", runs.run_shift, _recorded(preset.shift, study.evaluate_options)),
        ("explain", "explanations", runs.run_explain, _recorded(ExplainOptions()) | drawn),
        ("examine", "examinations", runs.run_examine, _recorded(preset.examine)),
    )
    return [
        Stage(
            f"{kind}-{name}",
            kind,
            f"{folder}/{name}",
            partial(run, study, recipe),
            options,
            (f"train-{name}",),
            recipe,
        )
        for kind, folder, run, options in rows
    ]


def _recorded(*options: Any) -> dict[str, Any]:
    return {k: v for o in options for k, v in asdict(o).items() if k not in UNRECORDED}
