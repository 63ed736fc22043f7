"""Define a study: a preset, the data it reads, and what its pages must say."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from xray_tf.artifact import sha256_of
from xray_tf.jobs.run import Run
from xray_tf.options import DataOptions, EvaluateOptions, ReproduceOptions
from xray_tf.study.presets import Preset, Recipe


@dataclass(frozen=True)
class Study:
    """What every stage of a study may need.

    Attributes:
        out: the study's folder.
        data, data_options: as given; `source_of` returns what a stage reads.
        options: see `ReproduceOptions`.
        preset: its row, with the recipes after the options are applied.
        total: the number of radiographs in the data.
        run: how it is told, and the command line kept with the results.
        opened: the classifier that stages are about, by its name; see `study.runs`.
    """

    out: Path
    data: str
    data_options: DataOptions
    options: ReproduceOptions
    preset: Preset
    total: int = 0
    run: Run = Run()
    opened: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of its classifiers, and that of the detector."""
        return tuple(sorted({"binary", *(r.train.task for r in self.preset.recipes)}))

    @property
    def limited(self) -> bool:
        """Whether the study uses only a part of the radiographs."""
        return 0 < self.options.rows < self.total

    @property
    def used(self) -> int:
        """How many radiographs the study uses."""
        return self.options.rows if self.limited else self.total

    @property
    def evaluate_options(self) -> EvaluateOptions:
        """The options of every stage that scores."""
        return EvaluateOptions(bootstrap=self.preset.bootstrap)

    def source_of(self, task: str) -> tuple[str, DataOptions]:
        """Return (data, data options) for a task; every stage gets the same rows in the same
        parts.
        """
        options = replace(self.data_options, split=os.fspath(self.out / "split" / f"{task}.csv"))
        return (
            (os.fspath(self.out / "split" / "rows.csv"), replace(options, source="csv"))
            if self.limited
            else (self.data, options)
        )

    def notes(self, recipe: Recipe | None = None) -> list[str]:
        """Return the caveats that every page of this study shows."""
        said = []
        if self.limited:
            said.append(
                f"Row-limited: {self.options.rows:,} of {self.total:,} radiographs, drawn evenly "
                "over the classes. These numbers show that the recipe runs, not what it achieves."
            )
        if self.data.split(":")[0] == "phantom":
            said.append(
                "Synthetic radiographs without patients: these numbers say nothing about real ones."
            )
        weights = recipe.model.weights if recipe else "imagenet"
        if weights in (None, "none"):
            frozen = " and stayed frozen" if recipe.train.fine_tune == "none" else ""
            said.append(
                f"The backbone started from random weights{frozen}: a pretrained network has "
                "other numbers."
            )
        elif weights != "imagenet":
            said.append(
                f"The backbone's weights came from the file {Path(weights).name}, sha256 "
                f"{sha256_of(weights)[:16]}."
            )
        if self.options.epochs:
            said.append(
                f"Trained for {self.options.epochs} epochs per phase, not the preset's number."
            )
        if self.options.image_size:
            said.append(f"Radiographs of {self.options.image_size} pixels, not the preset's size.")
        return said
