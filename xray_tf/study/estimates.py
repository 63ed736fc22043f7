"""How long a study will take on this machine: a short measured throughput of each trunk, times what
each stage does with it.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from xray_tf.data.chest.regions import FILLS, REGIONS
from xray_tf.data.records import Records
from xray_tf.data.synthetic.stresses import STRESSES, choose_stresses
from xray_tf.study.presets import Recipe, Study
from xray_tf.study.stages import Stage

MEASURED = 16  # radiographs of the timed pass, after as many to warm up
STATED = (
    "Rates: the forward passes of each trunk were measured just now; the rest is stated: "
    "one training step costs 1.3 forward passes a radiograph with a "
    "frozen trunk and 3.5 with an open one, files are read at 300 a second, the autoencoder "
    "learns from 100. Expect a factor of two either way."
)
READ_PER_S, FROZEN_STEP, OPEN_STEP, START_S, AUTOENCODER_PER_S = 300.0, 1.3, 3.5, 15.0, 100.0


def describe_plan(
    study: Study, records: Records, stages: list[Stage], todo: list[str], states: dict[str, str]
) -> str:
    """Return the plan as text: every stage, its state, and what it is expected to take."""
    rates = {
        name: measure_rate(r)
        for name, r in {
            s.recipe.name: s.recipe for s in stages if s.recipe and s.name in todo
        }.items()
    }
    counts = count_parts(study, records)
    lines, total = [f"Study: {study.options.preset}, {study.preset.words}."], 0.0
    width = max(len(s.name) for s in stages)
    for stage in stages:
        if stage.name not in todo:
            lines.append(
                f"  {stage.name:{width}}  "
                f"{'done' if states[stage.name] == 'done' else 'not asked for'}"
            )
            continue
        seconds = estimate(
            study, stage, counts, rates.get(stage.recipe.name) if stage.recipe else None
        )
        total += seconds
        state = {"to do": "to do", "begun": "to go on with", "again": "to be made again"}[
            states[stage.name]
        ]
        lines.append(f"  {stage.name:{width}}  {state}, about {time_text(seconds)}")
    lines.append(
        f"In all about {time_text(total)} for {sum(counts.values()):,} radiographs "
        f"({', '.join(f'{n:,} {part}' for part, n in counts.items())})."
    )
    lines += [f"  {name}: {rate:.1f} forward passes a second" for name, rate in rates.items()]
    return "\n".join([*lines, STATED, *study.notes()])


def count_parts(study: Study, records: Records) -> dict[str, int]:
    """Return about how many radiographs each part will hold."""
    used = study.options.rows if study.limited else len(records)
    given = sum(r.split == "test" for r in records) / max(len(records), 1)
    test = round(used * (given or study.data_options.test))
    val = round((used - test) * study.data_options.validation)
    return {"train": used - test - val, "val": val, "test": test}


def measure_rate(recipe: Recipe) -> float:
    """Return a trunk's forward passes a second, from one timed batch of noise through random
    weights.
    """
    from dataclasses import replace

    from xray_tf.nets.classifier import build_classifier
    from xray_tf.nets.inference import forward
    from xray_tf.registry import TASKS

    names = TASKS[recipe.train.task].class_names
    model = build_classifier(replace(recipe.model, weights=None), names, 0)
    pixels = np.random.default_rng(0).integers(
        0, 256, (MEASURED, recipe.model.image_size, recipe.model.image_size), np.uint8
    )
    forward(model, pixels)
    started = time.perf_counter()
    forward(model, pixels)
    return MEASURED / (time.perf_counter() - started)


def estimate(study: Study, stage: Stage, counts: dict[str, int], rate: float | None) -> float:
    """Return a stage's expected seconds.

    Args:
        counts: radiographs a part.
        rate: forward passes a second of its trunk.
    """
    whole, used = study.total / READ_PER_S, sum(counts.values())
    if stage.kind == "detector":
        normals = 0.35 * counts["train"]
        return START_S + normals * study.preset.detect.epochs / AUTOENCODER_PER_S
    if rate is None:
        return whole + (used / READ_PER_S if stage.kind == "split" else 0)
    passes = {
        "train": lambda: _training_passes(stage.recipe, counts),
        "embed": lambda: used,
        "shift": lambda: counts["test"] + _stressed(study, counts),
        "examine": lambda: _examined(study, counts["test"]),
        "explain": lambda: 2.2 * min(study.preset.explained, counts["test"]),
    }[stage.kind]()
    tsne = (
        0.012 * min(used, study.preset.embed.map_rows) + 0.004 * used
        if stage.kind == "embed"
        else 0.0
    )
    return START_S + passes / rate + tsne


def _training_passes(recipe: Recipe, counts: dict[str, int]) -> float:
    options: Any = recipe.train
    train, val = counts["train"], counts["val"]
    passes = {"warm": train + val, "head": options.epochs * (FROZEN_STEP * train + val), "none": 0}[
        options.method
    ]
    if options.fine_tune != "none":
        step = OPEN_STEP if options.fine_tune == "all" else (FROZEN_STEP + OPEN_STEP) / 2
        passes += options.fine_tune_epochs * (step * train + val)
    return passes + val + counts["test"]


def _stressed(study: Study, counts: dict[str, int]) -> float:
    options = study.preset.shift
    rows = min(options.shift_rows or counts["test"], counts["test"])
    return rows * (1 + sum(len(STRESSES[n].severities) for n in choose_stresses(options.stresses)))


def _examined(study: Study, test: int) -> float:
    """Passes of the faithfulness of one method and three controls on three baselines, of the
    shuffled copies, and of the regions taken away.
    """
    options = study.preset.examine
    faithful, shuffled, masked = (
        min(n or test, test) for n in (options.rows, options.random_rows, options.shortcut_rows)
    )
    return (
        4 * (6 * options.steps + 2) * faithful
        + 2 * (options.depths + 1) * shuffled
        + (1 + len(REGIONS) * len(FILLS)) * masked
    )


def time_text(seconds: float) -> str:
    """Write a length of time that is only roughly known."""
    if seconds < 90:
        return f"{max(5, 5 * round(seconds / 5))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
