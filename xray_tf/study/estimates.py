"""Estimate how long a study takes on this machine: one forward pass of each backbone, timed, times
the radiographs that each stage sends through it.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from xray_tf.data.chest.regions import FILLS, REGIONS
from xray_tf.data.synthetic.stresses import choose_stresses
from xray_tf.study.presets import Recipe
from xray_tf.study.stages import Stage
from xray_tf.study.study import Study

MEASURED = 16  # radiographs of the timed pass, after as many to warm up
STEP = 3  # forward passes that a training step of an open backbone costs
STATED = (
    "Measured just now: a forward pass of each backbone. A training step is counted as three; "
    "reading files and fitting the detector are not. Expect a factor of two either way."
)
WORDS = {"to do": "to do", "begun": "to go on with", "again": "to be made again"}


def describe_plan(
    study: Study, stages: list[Stage], todo: list[str], states: dict[str, str]
) -> str:
    """Return the plan as text: every stage, its state, and what it is expected to take."""
    recipes = {s.recipe.name: s.recipe for s in stages if s.recipe and s.name in todo}
    rates = {name: measure_rate(recipe) for name, recipe in recipes.items()}
    lines, total = [f"Study: {study.options.preset}, {study.preset.words}."], 0.0
    width = max(len(s.name) for s in stages)
    for stage in stages:
        if stage.name not in todo:
            state = "done" if states[stage.name] == "done" else "not asked for"
        else:
            state = WORDS[states[stage.name]]
            if stage.recipe:
                seconds = count_passes(study, stage) / rates[stage.recipe.name]
                total, state = total + seconds, f"{state}, about {time_text(seconds)}"
        lines.append(f"  {stage.name:{width}}  {state}")
    lines.append(f"In all about {time_text(total)} for {study.used:,} radiographs.")
    lines += [f"  {name}: {rate:.1f} forward passes a second" for name, rate in rates.items()]
    return "\n".join([*lines, STATED, *study.notes()])


def measure_rate(recipe: Recipe) -> float:
    """Return a backbone's forward passes a second, from one timed batch of noise through random
    weights.
    """
    from xray_tf.models.lungs import lungs_for
    from xray_tf.nets.classifier import build_classifier
    from xray_tf.nets.inference import forward
    from xray_tf.registry import TASKS

    names = TASKS[recipe.train.task].class_names
    untrained = replace(recipe.model, weights=None)
    model = build_classifier(untrained, names, 0, lungs_for(untrained))
    shape = (MEASURED, recipe.model.image_size, recipe.model.image_size)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    forward(model, pixels)
    started = time.perf_counter()
    forward(model, pixels)
    return MEASURED / (time.perf_counter() - started)


def count_passes(study: Study, stage: Stage) -> float:
    """Return about how many radiographs a stage sends through its classifier."""
    rows, preset, train = study.used, study.preset, stage.recipe.train
    test = rows * study.data_options.test
    if stage.kind == "train":
        opened = 0 if train.fine_tune == "none" else STEP * train.fine_tune_epochs
        return rows * (1 + (train.epochs if train.method == "head" else 1) + opened)
    if stage.kind == "shift":
        return (
            3
            * len(choose_stresses(preset.shift.stresses))
            * min(preset.shift.shift_rows or test, test)
        )
    if stage.kind == "examine":
        work = preset.examine
        costs = (
            (work.rows, 24 * work.steps),  # a method and three controls, on and off, three fills
            (work.random_rows, 2 * work.depths),
            (work.shortcut_rows, len(REGIONS) * len(FILLS)),
        )
        return sum(min(count or test, test) * cost for count, cost in costs)
    return 2 * min(preset.explained, test) if stage.kind == "explain" else rows


def time_text(seconds: float) -> str:
    """Write a length of time that is only roughly known."""
    if seconds < 90:
        return f"{max(5, 5 * round(seconds / 5))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
