"""The stages of a study: presets as rows of options, and what each stage is, needs and runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from xray_tf.artifact import sha256_of
from xray_tf.options import (
    ExplainOptions,
    TrainOptions,
)
from xray_tf.study import runs
from xray_tf.study.presets import Recipe, Study

UNRECORDED = ("cache", "strict")  # options that do not change a result


@dataclass(frozen=True)
class Stage:
    """One step of a study.

    Attributes:
        name: unique, such as train-binary-resnet101.
        kind: audit, split, train, embed, shift, explain, ...: what `--only` takes as well, and what
            the page sorts by.
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


def stages_of(study: Study) -> list[Stage]:
    """Return a study's stages in the order in which they run."""
    seed = study.options.seed
    data = _recorded(study.data_options)
    stages = [
        Stage(
            "audit",
            "audit",
            "audit",
            lambda: runs.run_audit(study),
            {k: data[k] for k in ("source", "patient_key")},
        ),
        Stage(
            "split",
            "split",
            "split",
            lambda: runs.run_split(study),
            {
                **data,
                "seed": seed,
                "rows": study.options.rows if study.limited else 0,
                "tasks": sorted({r.train.task for r in study.preset.recipes}),
            },
        ),
    ]
    for recipe in study.preset.recipes:
        weights = recipe.model.weights
        digest = (
            {"weights_sha256": sha256_of(weights)}
            if weights not in (None, "none", "imagenet") and Path(weights).is_file()
            else {}
        )
        stages.append(
            Stage(
                f"train-{recipe.name}",
                "train",
                f"models/{recipe.name}",
                lambda r=recipe: runs.run_train(study, r),
                {**_recorded(recipe.model, recipe.train, study.evaluate_options), **digest}
                | _unused(recipe.train),
                ("split",),
                recipe,
            )
        )
    stages.append(
        Stage(
            "detector",
            "detector",
            "detector",
            lambda: runs.run_detector(study),
            _recorded(study.preset.detect, study.evaluate_options),
            ("split",),
        )
    )
    for recipe in study.preset.recipes:
        stages += _about(study, recipe)
    return stages


def _unused(train: TrainOptions) -> dict[str, None]:
    """Return the options of a phase that is not run, which decide nothing."""
    return {
        k: None for k in asdict(train) if k.startswith("fine_tune_") and train.fine_tune == "none"
    }


def _about(study: Study, recipe: Recipe) -> list[Stage]:
    """What is asked of one trained classifier."""
    name, preset, after = recipe.name, study.preset, (f"train-{recipe.name}",)
    return [
        Stage(
            f"embed-{name}",
            "embed",
            f"embeddings/{name}",
            lambda: runs.run_embed(study, recipe),
            _recorded(preset.embed, study.evaluate_options),
            after,
            recipe,
        ),
        Stage(
            f"shift-{name}",
            "shift",
            f"shift/{name}",
            lambda: runs.run_shift(study, recipe),
            _recorded(preset.shift, study.evaluate_options),
            after,
            recipe,
        ),
        Stage(
            f"explain-{name}",
            "explain",
            f"explanations/{name}",
            lambda: runs.run_explain(study, recipe),
            {
                **_recorded(ExplainOptions()),
                "explained": preset.explained,
                "seed": study.options.seed,
            },
            after,
            recipe,
        ),
        Stage(
            f"examine-{name}",
            "examine",
            f"examinations/{name}",
            lambda: runs.run_examine(study, recipe),
            _recorded(preset.examine),
            after,
            recipe,
        ),
    ]


def _recorded(*options: Any) -> dict[str, Any]:
    return {k: v for o in options for k, v in asdict(o).items() if k not in UNRECORDED}
